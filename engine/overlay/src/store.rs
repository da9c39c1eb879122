//! Where the bytes of files are kept.

use rbuild_tree::{Error, ObjectId, Tree, TreeId, TreeStore};
use std::{
    fs::File,
    io,
    path::Path,
    sync::{Arc, OnceLock},
};

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

/// A store that remembers the first thing it should have had and could not give. To a program that is EIO, never
/// "no such file"; what became of its step is not to be used.
pub(crate) struct Watched {
    store: Arc<dyn Store>,
    lost: OnceLock<(&'static str, String)>,
}

impl Watched {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, lost: OnceLock::new() }
    }

    /// # Errors
    /// [`Error::Missing`] if something was lost.
    pub fn check(&self) -> rbuild_tree::Result<()> {
        self.lost.get().map_or(Ok(()), |(what, id)| Err(Error::Missing { what, id: id.clone() }))
    }
}

impl TreeStore for Watched {
    fn tree(&self, id: &TreeId) -> rbuild_tree::Result<Arc<Tree>> {
        let found = self.store.tree(id);
        if let Err(Error::Missing { .. } | Error::Encoding { .. }) = &found {
            let _ = self.lost.set(("tree", id.to_string()));
        }
        found
    }

    fn put_tree(&self, tree: &Tree) -> rbuild_tree::Result<TreeId> {
        self.store.put_tree(tree)
    }
}

impl Store for Watched {
    fn open(&self, id: &ObjectId) -> io::Result<File> {
        self.store.open(id).map_err(|cause| {
            tracing::error!(%id, %cause, "the store can't give an object");
            if cause.kind() == io::ErrorKind::NotFound {
                let _ = self.lost.set(("object", id.to_string()));
            }
            crate::Errno::IO.into()
        })
    }

    fn put_bytes(&self, bytes: &[u8]) -> io::Result<ObjectId> {
        self.store.put_bytes(bytes)
    }

    fn put_file(&self, path: &Path) -> io::Result<(ObjectId, u64)> {
        self.store.put_file(path)
    }
}
