//! A command that has one id, and who answers its calls about others.

use rbuild_overlay::{Error as OverlayError, Overlay, Session, fuse::Notifier};
use rbuild_sandbox::{Killer, Running};
use rbuild_supervisor::{Mounted, Supervisor, Tokens};
use std::{
    io,
    os::fd::OwnedFd,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::{Scope, ScopedJoinHandle},
};

/// What is known of a command's ids and files.
#[derive(Default)]
pub(super) struct OneId {
    tokens: Arc<Tokens>,
    /// In the order of the sandbox's filesystems.
    mounts: Vec<(Overlay, Notifier)>,
}

impl OneId {
    /// Serves the next filesystem of the sandbox.
    ///
    /// # Errors
    /// As [`Overlay::serve`].
    pub(super) fn serve(
        &mut self,
        overlay: &Overlay,
        device: OwnedFd,
        threads: usize,
    ) -> Result<Session, OverlayError> {
        let tokens = Arc::clone(&self.tokens);
        let maker = move |pid| {
            let who = tokens.of(pid);
            (who.user.filesystem, who.group.filesystem)
        };
        let session = overlay.serve_one_id(device, threads, Arc::new(maker))?;
        self.mounts.push((overlay.clone(), session.notifier()));
        Ok(session)
    }

    /// Answers from now on, by a thread that ends with the command; none if that did not begin.
    ///
    /// # Errors
    /// Those of the sandbox.
    pub(super) fn answer<'scope>(
        self,
        scope: &'scope Scope<'scope, '_>,
        running: &mut Running,
        killer: Killer,
    ) -> rbuild_sandbox::Result<Option<ScopedJoinHandle<'scope, io::Result<()>>>> {
        let Some(listener) = running.listener()? else { return Ok(None) };
        let mounts = running.devices().iter().zip(self.mounts);
        let mounts =
            mounts.map(|(device, (overlay, notifier))| Mounted { device: *device, overlay, notifier });
        let supervisor = Supervisor::new(listener, self.tokens, mounts);
        Ok(Some(scope.spawn(move || run(&supervisor, &killer))))
    }
}

fn run(supervisor: &Supervisor, killer: &Killer) -> io::Result<()> {
    let ended = catch_unwind(AssertUnwindSafe(|| supervisor.run()));
    // Before the listener is closed: from then on the calls would be unknown ones, and the command go on.
    ended.unwrap_or_else(|_| Err(io::Error::other("the thread panicked"))).inspect_err(|_| killer.kill())
}
