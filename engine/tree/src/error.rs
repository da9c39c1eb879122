use crate::path::TreePath;

/// What can go wrong with trees.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store does not have it, or what it has is damaged: a miss, never a wrong answer.
    #[error("{what} {id} is missing from the store")]
    Missing {
        /// `tree`, `object`, `snapshot`, `delta`.
        what: &'static str,
        /// Its identity in hex.
        id: String,
    },
    /// Bytes that are not the canonical encoding of what was asked for.
    #[error("damaged {what}: {reason}")]
    Encoding {
        /// What was being decoded.
        what: &'static str,
        /// Why it was refused.
        reason: String,
    },
    /// A path that can't be a path of a tree.
    #[error("bad path {path:?}: {reason}")]
    BadPath {
        /// As it was given.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Something stands in the way at this path.
    #[error("{path}: {reason}")]
    At {
        /// Where.
        path: TreePath,
        /// What is wrong there, lower case, no full stop.
        reason: String,
    },
    /// The store failed to read or write.
    #[error("{context}: {source}")]
    Io {
        /// Which operation on which file.
        context: String,
        /// The cause.
        source: std::io::Error,
    },
}

/// The result of an operation on trees.
pub type Result<T, E = Error> = std::result::Result<T, E>;
