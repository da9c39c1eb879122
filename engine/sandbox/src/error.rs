//! What can go wrong, always with the operation's name.

use std::fmt;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// The result of this crate's operations.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a sandbox could not be made, run or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The set-up contradicts itself; nothing was started.
    #[error("sandbox set-up: {0}")]
    Setup(String),
    /// An id is used that the id map does not hold.
    #[error("{kind} {id} has no id in this sandbox: {cure}")]
    Unmapped {
        /// `user` or `group`.
        kind: &'static str,
        /// The id inside.
        id: u32,
        /// What to do.
        cure: String,
    },
    /// The child program did not start.
    #[error("start {}: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An operation of the set-up failed.
    #[error("{failure}{}", cure.as_ref().map(|cure| format!(": {cure}")).unwrap_or_default())]
    Failed {
        /// Which one, and its cause.
        failure: Failure,
        /// What to do, where that is known.
        cure: Option<String>,
    },
    /// newuidmap or newgidmap refused.
    #[error("{program}: {message}")]
    Helper {
        /// The program.
        program: String,
        /// What it said.
        message: String,
    },
    /// A file that tells about this machine could not be read, or an operation on the control socket failed.
    #[error("{operation}: {source}")]
    Io {
        /// The operation and its path.
        operation: String,
        /// Why.
        source: io::Error,
    },
    /// What it was to do takes more memory than it may have.
    #[error(
        "the limit of memory is too low for the sandbox, which was killed while it {0}: raise `memory` in `limits`"
    )]
    OutOfMemory(&'static str),
    /// The sandbox ended without saying how.
    #[error("the sandbox was killed from outside while it {0} (out of memory?)")]
    Lost(&'static str),
}

/// A failed operation of the set-up: its name and errno, as reported by the child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which part of the set-up it belongs to.
    pub part: Part,
    /// Its name with its operands, such as `mount proc on /proc`.
    pub operation: String,
    /// The cause; 0 if the operation tells it.
    pub errno: i32,
}

/// Parts of the set-up that fail for different reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Changing the root without a namespace.
    Chroot,
    /// Moving the entries of a root.
    InPlace,
    /// Making the namespaces.
    Namespace,
    /// Writing the id maps or taking the ids.
    Ids,
    /// Giving up capabilities.
    Capabilities,
    /// Opening /dev/fuse.
    FuseDevice,
    /// Mounting a FUSE filesystem.
    FuseMount,
    /// Mounting an overlay filesystem, and what it needs of its directories.
    OverlayMount,
    /// Any other mount.
    Mount,
    /// Having somebody else answer calls.
    Listener,
    /// Opening /dev/null.
    Null,
    /// Looking for a program that leads outward.
    Outward,
    /// Opening /dev/net/tun.
    Tunnel,
    /// Everything else.
    Other,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What a program said needs no errno.
        if self.errno == 0 {
            return f.write_str(&self.operation);
        }
        let errno = Errno::from_raw(self.errno);
        let words = match (self.part, errno) {
            // Of namespaces and mounts it is their number, and nobody needs to look for room on a disk.
            (Part::Namespace | Part::Mount | Part::FuseMount | Part::OverlayMount, Errno::ENOSPC) => {
                "a limit is reached"
            }
            _ => errno.desc(),
        };
        write!(f, "{}: {errno:?} ({words})", self.operation)
    }
}

/// The errno behind the error types of the three system call libraries in use.
pub(crate) trait Cause {
    fn errno(&self) -> i32;
}

impl Cause for Errno {
    fn errno(&self) -> i32 {
        *self as i32
    }
}

impl Cause for rustix::io::Errno {
    fn errno(&self) -> i32 {
        self.raw_os_error()
    }
}

impl Cause for io::Error {
    fn errno(&self) -> i32 {
        self.raw_os_error().unwrap_or(libc::EIO)
    }
}

/// Names the operation that a system call belongs to.
pub(crate) trait Named<T> {
    /// Turns an error into a [`Failure`] of `part`; `operation` is only called then.
    fn named<S: Into<String>>(self, part: Part, operation: impl FnOnce() -> S) -> Outcome<T>;
}

/// The result of a set-up operation in the child.
pub(crate) type Outcome<T> = std::result::Result<T, Failure>;

impl<T, E: Cause> Named<T> for std::result::Result<T, E> {
    fn named<S: Into<String>>(self, part: Part, operation: impl FnOnce() -> S) -> Outcome<T> {
        self.map_err(|error| Failure { part, operation: operation().into(), errno: error.errno() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_operation_and_cause() {
        let failed: Outcome<()> = Err(Errno::EPERM).named(Part::Mount, || "mount proc on /proc");
        let Err(failure) = failed else { panic!("an error stays one") };
        assert_eq!(failure.to_string(), "mount proc on /proc: EPERM (Operation not permitted)");
        let full = Failure { errno: libc::ENOSPC, ..failure.clone() };
        assert_eq!(full.to_string(), "mount proc on /proc: ENOSPC (a limit is reached)");
        let plain = Error::Failed { failure: failure.clone(), cure: None };
        assert_eq!(plain.to_string(), "mount proc on /proc: EPERM (Operation not permitted)");
        let cured = Error::Failed { failure, cure: Some("do this".into()) };
        assert_eq!(cured.to_string(), "mount proc on /proc: EPERM (Operation not permitted): do this");
    }
}
