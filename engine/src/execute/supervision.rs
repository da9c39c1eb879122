//! A command whose calls stop, and who answers them: about ids where there is one, about paths where there are no mounts.

use rbuild_overlay::{Error as OverlayError, Overlay, Session};
use rbuild_sandbox::{Killer, Mount, Running, Setup, notify::Listener};
use rbuild_supervisor::{Files, Mounted, OwnerTable, PathSupervisor, Supervisor, Tokens};
use std::{
    io,
    os::fd::OwnedFd,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
    thread::{Scope, ScopedJoinHandle},
};

/// Who answers for a command.
pub(super) enum Supervision {
    /// Nobody needs to.
    None,
    /// What is known of its ids and files; filesystems are in the order of the sandbox's.
    Ids { tokens: Arc<Tokens>, mounts: Vec<Files> },
    /// Where its root is.
    Paths(PathBuf),
}

impl Supervision {
    /// What a set-up says; `tables` are those of its overlay mounts, in order.
    pub(super) fn of(setup: &Setup, tables: &[Arc<OwnerTable>]) -> Self {
        match &setup.mounts[..] {
            _ if !setup.supervised => Self::None,
            [Mount::Chroot { path }] => Self::Paths(path.clone()),
            _ => {
                let mounts = tables.iter().cloned().map(Files::Kernel).collect();
                Self::Ids { tokens: Arc::default(), mounts }
            }
        }
    }

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
        let Self::Ids { tokens, mounts } = self else { return overlay.serve(device, threads) };
        let tokens = Arc::clone(tokens);
        let maker = move |pid| {
            let who = tokens.of(pid);
            (who.user.filesystem, who.group.filesystem)
        };
        let session = overlay.serve_one_id(device, threads, Arc::new(maker))?;
        mounts.push(Files::Served { overlay: overlay.clone(), notifier: session.notifier() });
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
        if matches!(self, Self::None) {
            return Ok(None);
        }
        let Some(listener) = running.listener()? else { return Ok(None) };
        let devices = running.devices().to_vec();
        Ok(Some(scope.spawn(move || self.run(listener, &devices, &killer))))
    }

    fn run(self, listener: Listener, devices: &[u64], killer: &Killer) -> io::Result<()> {
        match self {
            Self::None => Ok(()),
            Self::Paths(root) => {
                let mut supervisor = PathSupervisor::new(listener, &root).inspect_err(|_| killer.kill())?;
                guarded(killer, || supervisor.run())
            }
            Self::Ids { tokens, mounts } => {
                let mounts = devices.iter().zip(mounts);
                let mounts = mounts.map(|(device, files)| Mounted { device: *device, files });
                let supervisor = Supervisor::new(listener, tokens, mounts);
                guarded(killer, || supervisor.run())
            }
        }
    }
}

fn guarded(killer: &Killer, answer: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let ended = catch_unwind(AssertUnwindSafe(answer));
    // Before the listener is closed: from then on the calls would be unknown ones, and the command go on.
    ended.unwrap_or_else(|_| Err(io::Error::other("the thread panicked"))).inspect_err(|_| killer.kill())
}
