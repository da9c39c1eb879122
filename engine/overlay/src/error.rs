use rbuild_tree::TreePath;
use std::{io, path::Path};

/// What can go wrong with an overlay as a whole; single operations answer an [`Errno`](crate::Errno).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading or writing outside of the mount failed.
    #[error("{context}: {source}")]
    Io {
        /// Which operation on which file.
        context: String,
        /// The cause.
        source: io::Error,
    },
    /// The store has not got a tree, or could not keep one.
    #[error(transparent)]
    Tree(#[from] rbuild_tree::Error),
    /// A handler panicked: what is in memory can't be trusted.
    #[error("the filesystem of this step failed inside (a bug in rbuild); its changes are not used")]
    Panicked,
    /// Somebody aborted the connection to the kernel while programs still used the mount.
    #[error(
        "the filesystem of this step was cut off while it was in use (/sys/fs/fuse/connections/*/abort); \
         its changes are not used"
    )]
    Aborted,
    /// Something at this path of the mount can't be read or kept.
    #[error("{path}: {reason}")]
    At {
        /// Where in the mount.
        path: TreePath,
        /// Why, lower case, no full stop.
        reason: String,
    },
}

impl Error {
    /// For `map_err` after an operation on a file of this machine.
    pub(crate) fn io(operation: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let context = format!("{operation} {}", path.display());
        move |source| Self::Io { context, source }
    }

    /// For `map_err` after an operation on a path of the mount.
    pub(crate) fn at<E: std::fmt::Display>(path: &TreePath) -> impl FnOnce(E) -> Self {
        let path = path.clone();
        move |cause| Self::At { path, reason: cause.to_string() }
    }
}

/// The number of an I/O error, EIO if it has none.
pub(crate) fn errno(error: &io::Error) -> crate::Errno {
    crate::Errno::from_io_error(error).unwrap_or(crate::Errno::IO)
}

/// A tree that can't be read is EIO to the program.
pub(crate) fn damaged(error: rbuild_tree::Error) -> crate::Errno {
    tracing::error!(%error, "the lower can't be read");
    crate::Errno::IO
}
