//! Inode numbers, and the nodes they name.
//!
//! A number is a hash of where the node first existed, so that it is the same in every run: of a node of the lower,
//! its path there; of a new one, its directory's number, its name, and how many were born under that name before.
//! A counter would depend on which process came first. Two nodes with the same hash (never seen) get neighbours.

use crate::{
    FileKind, NodeId,
    node::{Inode, Node},
};
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

const SHARDS: usize = 32;

/// What makes several names of the lower one node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum NodeKey {
    /// A group of the link table.
    Group(usize),
    /// Device and inode of this machine.
    Host(u64, u64),
}

/// All nodes of a mount.
pub(crate) struct Table {
    nodes: [Mutex<HashMap<u64, Arc<Node>>>; SHARDS],
    births: [Mutex<HashMap<u64, u32>>; SHARDS],
    linked: Mutex<HashMap<NodeKey, Arc<Node>>>,
}

impl Default for Table {
    fn default() -> Self {
        let nodes = std::array::from_fn(|_| Mutex::default());
        Self { nodes, births: std::array::from_fn(|_| Mutex::default()), linked: Mutex::default() }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn shard(number: u64) -> usize {
    usize::try_from(number % SHARDS as u64).unwrap_or(0)
}

/// The number of what stands at `name` in a directory of the lower.
pub(crate) fn lower_id(parent: NodeId, name: &[u8]) -> NodeId {
    hash(parent, 0, name)
}

fn hash(parent: NodeId, birth: u32, name: &[u8]) -> NodeId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&parent.0.to_le_bytes()).update(&birth.to_le_bytes()).update(name);
    let mut bytes = [0; 8];
    hasher.finalize_xof().fill(&mut bytes);
    // 63 bits, since some programs print it signed; 0 and 1 have a meaning in FUSE.
    NodeId((u64::from_le_bytes(bytes) >> 1).max(2))
}

impl Table {
    /// The node of this number.
    pub fn get(&self, id: NodeId) -> Option<Arc<Node>> {
        lock(&self.nodes[shard(id.0)]).get(&id.0).cloned()
    }

    /// Adds a node under `wanted`, or the next number that is free.
    pub fn adopt(&self, wanted: NodeId, build: impl FnOnce(NodeId) -> Arc<Node>) -> Arc<Node> {
        let mut id = wanted;
        loop {
            if let Entry::Vacant(vacant) = lock(&self.nodes[shard(id.0)]).entry(id.0) {
                return Arc::clone(vacant.insert(build(id)));
            }
            id = NodeId((id.0 + 1).max(2));
        }
    }

    /// Adds a node that was just made as `name` in `parent`.
    pub fn give_birth(&self, parent: NodeId, name: &[u8], inode: Inode) -> Arc<Node> {
        let base = lower_id(parent, name).0;
        let birth = {
            let mut births = lock(&self.births[shard(base)]);
            let count = births.entry(base).or_insert(0);
            *count = count.wrapping_add(1);
            *count
        };
        self.adopt(hash(parent, birth, name), |id| Node::new(id, parent, inode))
    }

    /// The node that stands for several names of the lower, made by the first who asks.
    pub fn linked(&self, key: NodeKey, build: impl FnOnce() -> Arc<Node>) -> Arc<Node> {
        Arc::clone(lock(&self.linked).entry(key).or_insert_with(build))
    }

    /// The node of a link group, if one of its names was looked at.
    pub fn linked_node(&self, key: NodeKey) -> Option<Arc<Node>> {
        lock(&self.linked).get(&key).cloned()
    }

    /// Drops a node that has no name and that nobody uses any more.
    pub fn release(&self, node: &Arc<Node>) {
        let (unused, group) = {
            let inode = node.lock();
            let nameless = match inode.kind() {
                FileKind::Directory => inode.directory().is_some_and(|directory| directory.removed),
                _ => inode.nlink == 0,
            };
            (nameless && !node.is_looked_up(), inode.origin.as_ref().and_then(|origin| origin.group))
        };
        if unused {
            let gone = lock(&self.nodes[shard(node.id.0)]).remove(&node.id.0);
            let group = group.and_then(|key| lock(&self.linked).remove(&key));
            drop((gone, group)); // a scratch file is removed outside of the locks
        }
    }

    /// Takes all nodes out.
    pub fn take(&self) -> Vec<Arc<Node>> {
        lock(&self.linked).clear();
        self.nodes.iter().flat_map(|shard| std::mem::take(&mut *lock(shard)).into_values()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Body;
    use rbuild_tree::{Metadata, Timestamp};

    fn fifo() -> Inode {
        Inode::new(Metadata::root(0o644, Timestamp::default()), Body::Fifo, None)
    }

    #[test]
    fn numbers_depend_on_names_and_births_alone() {
        let (a, b) = (Table::default(), Table::default());
        let first: Vec<u64> =
            [b"x", b"y", b"x"].iter().map(|name| a.give_birth(NodeId::ROOT, *name, fifo()).id.0).collect();
        let second: Vec<u64> =
            [b"y", b"x", b"x"].iter().map(|name| b.give_birth(NodeId::ROOT, *name, fifo()).id.0).collect();
        assert_eq!([first[0], first[1], first[2]], [second[1], second[0], second[2]]);
        assert!(first.iter().all(|id| *id > 1 && *id >> 63 == 0));
        assert_ne!(lower_id(NodeId::ROOT, b"x").0, first[0]);
    }

    #[test]
    fn a_number_in_use_gives_its_neighbour() {
        let table = Table::default();
        let build = |id| Node::new(id, NodeId::ROOT, fifo());
        assert_eq!(table.adopt(NodeId(7), build).id, NodeId(7));
        assert_eq!(table.adopt(NodeId(7), build).id, NodeId(8));
        assert_eq!(table.adopt(NodeId(u64::MAX), build).id.0, u64::MAX);
    }
}
