//! What layers and archives need of a store beside trees: the bytes of files.

use rbuild_tree::{ObjectId, TreeStore};
use std::io::{self, Read};

/// Keeps the content of regular files; shared by threads.
pub trait ObjectStore: TreeStore {
    /// Opens an object for reading from its first byte. Callers check the bytes against `id` where it matters.
    ///
    /// # Errors
    /// `NotFound` if the store does not have it, else what reading gave.
    fn open(&self, id: &ObjectId) -> io::Result<Box<dyn Read + Send>>;

    /// Keeps all of `bytes`, hashed on the way; says what the object is called and how many bytes it has.
    /// `size_hint` is the number of bytes expected and may be wrong.
    ///
    /// # Errors
    /// What reading `bytes` or writing to the store gave; then nothing was kept.
    fn put_stream(&self, bytes: &mut dyn Read, size_hint: u64) -> io::Result<(ObjectId, u64)>;
}
