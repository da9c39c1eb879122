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

/// Where a number comes from that a listing told and nobody asked about since.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Listed {
    pub directory: NodeId,
    /// The cookie of the name there.
    pub sequence: u64,
}

/// What a number names.
pub(crate) enum Known {
    Node(Arc<Node>),
    Listed(Listed),
    Nothing,
}

/// A part of all numbers.
#[derive(Default)]
struct Shard {
    nodes: HashMap<u64, Arc<Node>>,
    /// Numbers without a node yet, and how often they were told.
    listed: HashMap<u64, (NodeId, u32, u32)>,
}

/// All nodes of a mount.
pub(crate) struct Table {
    shards: [Mutex<Shard>; SHARDS],
    births: [Mutex<HashMap<u64, u32>>; SHARDS],
    linked: Mutex<HashMap<NodeKey, Arc<Node>>>,
}

impl Default for Table {
    fn default() -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        Self { shards, births: std::array::from_fn(|_| Mutex::default()), linked: Mutex::default() }
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

impl Listed {
    fn new(directory: NodeId, sequence: u32) -> Self {
        Self { directory, sequence: sequence.into() }
    }
}

impl Table {
    /// The node of this number.
    pub fn get(&self, id: NodeId) -> Option<Arc<Node>> {
        self.shard(id).nodes.get(&id.0).cloned()
    }

    fn shard(&self, id: NodeId) -> MutexGuard<'_, Shard> {
        lock(&self.shards[shard(id.0)])
    }

    /// Adds a node under `wanted`, or the next number that is free; one that a listing told is free for what was listed.
    pub fn adopt(
        &self,
        wanted: NodeId,
        from: Option<Listed>,
        build: impl FnOnce(NodeId) -> Arc<Node>,
    ) -> Arc<Node> {
        let mut id = wanted;
        loop {
            let mut shard = self.shard(id);
            let told = shard.listed.get(&id.0).copied();
            let is_free =
                told.is_none_or(|(directory, sequence, _)| from == Some(Listed::new(directory, sequence)));
            if is_free && let Entry::Vacant(vacant) = shard.nodes.entry(id.0) {
                let node = Arc::clone(vacant.insert(build(id)));
                if let Some((.., count)) = shard.listed.remove(&id.0) {
                    node.count_lookups(count.into());
                }
                return node;
            }
            id = NodeId((id.0 + 1).max(2));
        }
    }

    /// Counts that the number of a name was told. False, and nothing is done, if the number is another's.
    pub fn tell(&self, id: NodeId, from: Listed) -> bool {
        let Ok(sequence) = u32::try_from(from.sequence) else { return false };
        let mut shard = self.shard(id);
        if shard.nodes.contains_key(&id.0) {
            return false;
        }
        let (directory, known, count) = shard.listed.entry(id.0).or_insert((from.directory, sequence, 0));
        let is_same = (*directory, *known) == (from.directory, sequence);
        *count = if is_same { count.saturating_add(1) } else { *count };
        is_same
    }

    /// What is known of a number.
    pub fn find(&self, id: NodeId) -> Known {
        let shard = self.shard(id);
        match (shard.nodes.get(&id.0), shard.listed.get(&id.0)) {
            (Some(node), _) => Known::Node(Arc::clone(node)),
            (None, Some((directory, sequence, _))) => Known::Listed(Listed::new(*directory, *sequence)),
            (None, None) => Known::Nothing,
        }
    }

    /// Takes back look-ups of a number, or tellings while it has no node. Gives the node if those were its last.
    pub fn forget(&self, id: NodeId, count: u64) -> Option<Arc<Node>> {
        let mut shard = self.shard(id);
        if let Some(node) = shard.nodes.get(&id.0) {
            return node.forget(count).then(|| Arc::clone(node));
        }
        if let Entry::Occupied(mut listed) = shard.listed.entry(id.0) {
            match u32::try_from(count).ok().and_then(|count| listed.get().2.checked_sub(count)) {
                Some(rest @ 1..) => listed.get_mut().2 = rest,
                _ => drop(listed.remove()),
            }
        }
        if shard.listed.len() < shard.listed.capacity() / 8 {
            shard.listed.shrink_to_fit();
        }
        None
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
        self.adopt(hash(parent, birth, name), None, |id| Node::new(id, parent, inode))
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
            let gone = self.shard(node.id).nodes.remove(&node.id.0);
            let group = group.and_then(|key| lock(&self.linked).remove(&key));
            drop((gone, group)); // a scratch file is removed outside of the locks
        }
    }

    /// Drops a node that can be made again, if only the table, its directory and the caller have it. Of a directory it
    /// is kept where it comes from: numbers that were told of its files lead there.
    pub fn unlearn(&self, node: &Arc<Node>, from: Listed, is_directory: bool) -> bool {
        let Ok(sequence) = u32::try_from(from.sequence) else { return false };
        let mut shard = self.shard(node.id);
        if node.is_looked_up() || Arc::strong_count(node) != 3 {
            return false;
        }
        shard.nodes.remove(&node.id.0);
        if is_directory {
            shard.listed.insert(node.id.0, (from.directory, sequence, 0));
        }
        true
    }

    /// Takes all nodes out.
    pub fn take(&self) -> Vec<Arc<Node>> {
        lock(&self.linked).clear();
        self.shards.iter().flat_map(|shard| std::mem::take(&mut *lock(shard)).nodes.into_values()).collect()
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
    fn what_was_told_is_free_for_what_was_listed_alone() {
        let table = Table::default();
        let build = |id| Node::new(id, NodeId::ROOT, fifo());
        let [first, other] = [3, 4].map(|sequence| Listed { directory: NodeId::ROOT, sequence });
        assert!(table.tell(NodeId(7), first) && table.tell(NodeId(7), first));
        assert!(!table.tell(NodeId(7), other));
        let listed = |id| match table.find(NodeId(id)) {
            Known::Listed(listed) => Some(listed),
            _ => None,
        };
        assert_eq!(listed(7), Some(first));
        assert_eq!(table.adopt(NodeId(7), Some(other), build).id, NodeId(8));
        let node = table.adopt(NodeId(7), Some(first), build);
        assert_eq!((node.id, listed(7)), (NodeId(7), None));
        assert!(table.forget(NodeId(7), 1).is_none(), "both tellings count");
        assert!(table.forget(NodeId(7), 1).is_some_and(|gone| Arc::ptr_eq(&gone, &node)));
        assert!(!table.tell(NodeId(7), first), "it has a node now");
        assert!(table.tell(NodeId(9), first) && table.tell(NodeId(9), first));
        assert!(table.forget(NodeId(9), 1).is_none());
        assert_eq!(listed(9), Some(first));
        assert!(table.forget(NodeId(9), 1).is_none());
        assert_eq!(listed(9), None);
    }

    #[test]
    fn a_number_in_use_gives_its_neighbour() {
        let table = Table::default();
        let build = |id| Node::new(id, NodeId::ROOT, fifo());
        assert_eq!(table.adopt(NodeId(7), None, build).id, NodeId(7));
        assert_eq!(table.adopt(NodeId(7), None, build).id, NodeId(8));
        assert_eq!(table.adopt(NodeId(u64::MAX), None, build).id.0, u64::MAX);
    }
}
