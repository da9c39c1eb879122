//! Where the bytes of files are kept.

use rbuild_tree::{ObjectId, TreeStore};
use std::{fs::File, io, path::Path};

/// The store as an overlay needs it: directories and the bytes of files, shared by threads.
pub trait Store: TreeStore {
    /// Opens an object for reading. Nobody writes to it.
    ///
    /// # Errors
    /// It is missing, damaged, or can't be opened.
    fn open(&self, id: &ObjectId) -> io::Result<File>;

    /// Keeps these bytes.
    ///
    /// # Errors
    /// They could not be written.
    fn put_bytes(&self, bytes: &[u8]) -> io::Result<ObjectId>;

    /// Takes a finished scratch file away from `path` (moves or copies and removes it) and says its identity and size.
    ///
    /// # Errors
    /// It could not be read or kept.
    fn put_file(&self, path: &Path) -> io::Result<(ObjectId, u64)>;
}
