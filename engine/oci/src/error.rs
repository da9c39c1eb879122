use rbuild_tree::{ObjectId, TreePath};
use std::io;

/// What can go wrong with archives, layers and images.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tree store failed, or lacks a directory.
    #[error(transparent)]
    Tree(#[from] rbuild_tree::Error),
    /// An entry of an archive that is malformed, leads outside or breaks a limit.
    #[error("archive entry {entry:?}: {reason}")]
    Entry {
        /// Its name, control characters escaped.
        entry: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The archive as a whole is malformed.
    #[error("malformed archive {}: {reason}", after(last))]
    Archive {
        /// The last entry that was read; empty if there was none.
        last: String,
        /// What is wrong.
        reason: String,
    },
    /// The archive stops before its end.
    #[error("the archive is cut off {}", after(last))]
    Truncated {
        /// The last entry that was read; empty if there was none.
        last: String,
    },
    /// Something of the tree that no layer can hold.
    #[error("{path} can't be written to a layer: {reason}")]
    NotInLayer {
        /// Where it is.
        path: TreePath,
        /// Why not.
        reason: &'static str,
    },
    /// An object that is missing, or whose bytes are not what its identity says: to be dropped and made again.
    #[error("object {id} (the content of {path}) is missing or damaged: {reason}")]
    Object {
        /// Which object.
        id: ObjectId,
        /// The file that needs it.
        path: TreePath,
        /// What was seen.
        reason: String,
    },
    /// An image layout or archive that can't be used.
    #[error("{image}: {reason}")]
    Image {
        /// The layout, archive, manifest or blob, as a person names it.
        image: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A reference or tag that is not one.
    #[error("invalid reference {text:?}: {reason}")]
    Reference {
        /// As it was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Reading or writing failed.
    #[error("{context}: {source}")]
    Io {
        /// Which operation on what.
        context: String,
        /// The cause.
        source: io::Error,
    },
}

/// The result of an operation on archives, layers and images.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Where in an archive, by the last entry that was read.
pub(crate) fn after(last: &str) -> String {
    if last.is_empty() { "before its first entry".to_owned() } else { format!("in or after entry {last:?}") }
}

/// For `map_err`: says what was being done.
pub(crate) fn io_error(context: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { context: context.into(), source }
}
