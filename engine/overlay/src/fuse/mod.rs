//! The adaptor between the kernel's requests and [`Overlay`]: the only module that names the `fuser` crate.
//!
//! Chosen for what a build needs, by measurement: nobody else changes this tree, so names, attributes and the absence
//! of a name are valid for ever; OPEN, OPENDIR, FLUSH and FSYNC are answered ENOSYS once and never come again; a
//! listing always carries attributes; writes go through at once unless [`crate::Options::writeback`] says otherwise; the
//! kernel locks files itself. Set-id bits and capabilities are ours to clear (`HANDLE_KILLPRIV_V2`), as is the umask
//! (`DONT_MASK`, for default ACLs).

mod adaptor;
mod answer;
mod convert;
mod spin;

use crate::{Errno, Error, NodeId, Overlay};
use answer::Adaptor;
use fuser::{INodeNo, SessionACL};
use spin::Spinner;
use std::{io, os::fd::OwnedFd, sync::Arc};

/// The user and group that what a process makes belongs to; its pid is that of a request.
pub type Makers = Arc<dyn Fn(u32) -> (u32, u32) + Send + Sync>;

/// A mount being served.
pub struct Session {
    background: fuser::BackgroundSession,
}

impl Session {
    /// What tells the kernel of changes beside it.
    pub fn notifier(&self) -> Notifier {
        Notifier(self.background.notifier())
    }

    /// Waits until it is unmounted and nothing uses it any more.
    ///
    /// # Errors
    /// [`Error::Aborted`], or the connection broke otherwise.
    pub fn join(self) -> Result<(), Error> {
        self.background.join().map_err(|source| match source.kind() {
            io::ErrorKind::ConnectionAborted => Error::Aborted,
            _ => Error::Io { context: "serve the filesystem of a step".to_owned(), source },
        })
    }
}

/// Tells the kernel what it remembers wrongly: what was changed beside it.
#[derive(Clone, Debug)]
pub struct Notifier(fuser::Notifier);

impl Notifier {
    /// A name in a directory is not, or no longer, what the kernel takes it for.
    ///
    /// # Errors
    /// The mount is gone.
    pub fn forget_name(&self, directory: NodeId, name: &[u8]) -> Result<(), Errno> {
        let told = self.0.inval_entry(INodeNo(directory.0), convert::name(name));
        told.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }

    /// Mode, times and ACLs of a node are not what the kernel takes them for.
    ///
    /// # Errors
    /// The mount is gone.
    pub fn forget_attributes(&self, id: NodeId) -> Result<(), Errno> {
        // A negative offset: no bytes.
        let told = self.0.inval_inode(INodeNo(id.0), -1, 0);
        told.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Overlay {
    /// Serves this filesystem on a `/dev/fuse` descriptor that is mounted already, with `threads` threads that share
    /// it. Returns when the kernel has been greeted. The mount must have `default_permissions` and `allow_other`.
    ///
    /// # Errors
    /// The descriptor is not mounted or not that of FUSE; threads can't be started.
    pub fn serve(&self, device: OwnedFd, threads: usize) -> Result<Session, Error> {
        self.serve_to(device, threads, None)
    }

    /// Serves a mount of a user namespace that has one user and one group: the kernel is told that everything is theirs,
    /// and what it says of owners means nothing. Who owns what is to be asked and set here, beside it
    /// ([`getattr`](Self::getattr), [`setattr`](Self::setattr)); what is new belongs to whom `makers` says. The mount must
    /// have `default_permissions`.
    ///
    /// # Errors
    /// As [`serve`](Self::serve).
    pub fn serve_one_id(&self, device: OwnedFd, threads: usize, makers: Makers) -> Result<Session, Error> {
        self.serve_to(device, threads, Some(makers))
    }

    fn serve_to(&self, device: OwnedFd, threads: usize, makers: Option<Makers>) -> Result<Session, Error> {
        let failed = |source| Error::Io { context: "start to serve a FUSE mount".to_owned(), source };
        let mut config = fuser::Config::default();
        config.n_threads = Some(threads.max(1));
        let second = device.try_clone().map_err(failed)?;
        let adaptor = Adaptor::new(self.clone(), Spinner::new(second), makers);
        let background = fuser::Session::from_fd(adaptor, device, SessionACL::All, config)
            .and_then(fuser::Session::spawn)
            .map_err(failed)?;
        Ok(Session { background })
    }
}
