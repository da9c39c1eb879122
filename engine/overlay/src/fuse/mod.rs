//! The adaptor between the kernel's requests and [`Overlay`]: the only module that names the `fuser` crate.
//!
//! Chosen for what a build needs, by measurement: nobody else changes this tree, so names, attributes and the absence
//! of a name are valid for ever; OPEN, OPENDIR, FLUSH and FSYNC are answered ENOSYS once and never come again; a
//! listing always carries attributes; writes go through at once unless [`crate::Options::writeback`] says otherwise; the
//! kernel locks files itself. Set-id bits and capabilities are ours to clear (`HANDLE_KILLPRIV_V2`), as is the umask (`DONT_MASK`, for default ACLs).

mod adaptor;
mod answer;
mod convert;
mod spin;

use crate::{Error, Overlay};
use answer::Adaptor;
use fuser::SessionACL;
use spin::Spinner;
use std::{io, os::fd::OwnedFd};

/// A mount being served.
pub struct Session {
    background: fuser::BackgroundSession,
}

impl Session {
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
        let failed = |source| Error::Io { context: "start to serve a FUSE mount".to_owned(), source };
        let mut config = fuser::Config::default();
        config.n_threads = Some(threads.max(1));
        let second = device.try_clone().map_err(failed)?;
        let adaptor = Adaptor::new(self.clone(), Spinner::new(second));
        let background = fuser::Session::from_fd(adaptor, device, SessionACL::All, config)
            .and_then(fuser::Session::spawn)
            .map_err(failed)?;
        Ok(Session { background })
    }
}
