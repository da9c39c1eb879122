//! A store in memory: for tests and examples.

use crate::ObjectStore;
use rbuild_tree::{MemoryStore, ObjectId, Result, Tree, TreeId, TreeStore};
use std::{
    collections::HashMap,
    io::{self, Cursor, Read},
    sync::{Arc, Mutex, PoisonError},
};

/// Trees and objects in memory.
#[derive(Debug, Default)]
pub struct MemoryObjects {
    trees: MemoryStore,
    objects: Mutex<HashMap<ObjectId, Arc<[u8]>>>,
}

impl MemoryObjects {
    /// The bytes of an object, if it is there.
    pub fn bytes(&self, id: &ObjectId) -> Option<Arc<[u8]>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Puts bytes under an identity that need not be theirs, as a damaged disk would.
    pub fn put_as(&self, id: ObjectId, bytes: &[u8]) {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).insert(id, bytes.into());
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl TreeStore for MemoryObjects {
    fn tree(&self, id: &TreeId) -> Result<Arc<Tree>> {
        self.trees.tree(id)
    }

    fn put_tree(&self, tree: &Tree) -> Result<TreeId> {
        self.trees.put_tree(tree)
    }
}

impl ObjectStore for MemoryObjects {
    fn open(&self, id: &ObjectId) -> io::Result<Box<dyn Read + Send>> {
        let bytes =
            self.bytes(id).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such object"))?;
        Ok(Box::new(Cursor::new(bytes)))
    }

    fn put_stream(&self, bytes: &mut dyn Read, _size_hint: u64) -> io::Result<(ObjectId, u64)> {
        let mut content = Vec::new();
        bytes.read_to_end(&mut content)?;
        let id = ObjectId::of(&content);
        self.put_as(id, &content);
        Ok((id, content.len() as u64))
    }
}
