//! Where trees are kept.

use crate::{Error, Result, Tree, TreeId, encoding};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Fetches and keeps single directories; shared by threads.
pub trait TreeStore: Send + Sync {
    /// The directory of this identity.
    ///
    /// # Errors
    /// [`Error::Missing`] if it is not there or is damaged.
    fn tree(&self, id: &TreeId) -> Result<Arc<Tree>>;

    /// Keeps a directory and says what it is called from now on.
    ///
    /// # Errors
    /// [`Error::Io`] if it could not be written.
    fn put_tree(&self, tree: &Tree) -> Result<TreeId>;
}

/// Trees in memory: for tests and examples.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<HashMap<TreeId, Arc<Tree>>>);

impl TreeStore for MemoryStore {
    fn tree(&self, id: &TreeId) -> Result<Arc<Tree>> {
        if *id == Tree::default().id() {
            return Ok(Arc::default());
        }
        let trees = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        trees.get(id).cloned().ok_or_else(|| Error::Missing { what: "tree", id: id.to_string() })
    }

    fn put_tree(&self, tree: &Tree) -> Result<TreeId> {
        // Through the encoding, so that a test sees what a real store would give back.
        let bytes = encoding::encode_tree(tree);
        let id = TreeId::of(&bytes);
        let kept = Arc::new(encoding::decode_tree(&bytes)?);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, kept);
        Ok(id)
    }
}
