//! Trees, snapshots and deltas, each in a file of its canonical encoding, checked against its name when read.

use super::{Store, objects::fan_out};
use quick_cache::{DefaultHashBuilder, Options, OptionsBuilder, sync::DefaultLifecycle};
use rbuild_tree::{
    Delta, DeltaId, Error, Kind, Result, Snapshot, SnapshotId, Tree, TreeId, TreeStore,
    encoding::{decode_delta, decode_snapshot, decode_tree, encode_delta, encode_snapshot, encode_tree},
};
use std::{fs, io, sync::Arc};

/// Trees that were read or written lately, in memory.
pub(super) type TreeCache = quick_cache::sync::Cache<TreeId, Arc<Tree>, Weight>;

/// Bytes of memory, roughly.
#[derive(Clone)]
pub(super) struct Weight;

impl quick_cache::Weighter<TreeId, Arc<Tree>> for Weight {
    fn weight(&self, _: &TreeId, tree: &Arc<Tree>) -> u64 {
        64 + 200 * tree.len() as u64
    }
}

/// A root filesystem of 100,000 entries fits. Few shards: an item must fit into one, and a directory may have very many
/// names.
pub(super) fn cache() -> TreeCache {
    TreeCache::with_options(options(), Weight, DefaultHashBuilder::default(), DefaultLifecycle::default())
}

fn options() -> Options {
    let mut builder = OptionsBuilder::new();
    let options = builder.shards(2).estimated_items_capacity(10_000).weight_capacity(64 << 20).build();
    options.unwrap_or_else(|_| unreachable!("both capacities are given"))
}

impl TreeStore for Store {
    fn tree(&self, id: &TreeId) -> Result<Arc<Tree>> {
        if let Some(tree) = self.trees.get(id) {
            return Ok(tree);
        }
        let missing = || Error::Missing { what: "tree", id: id.to_string() };
        let tree = if *id == Tree::default().id() {
            Arc::default()
        } else {
            let bytes = self.read_checked(&id.to_string()).ok_or_else(missing)?;
            Arc::new(decode_tree(&bytes)?)
        };
        self.trees.insert(*id, tree.clone());
        Ok(tree)
    }

    fn put_tree(&self, tree: &Tree) -> Result<TreeId> {
        let bytes = encode_tree(tree);
        let id = TreeId::of(&bytes);
        if self.trees.get(&id).is_none() {
            self.write_named(&id.to_string(), &bytes)?;
            self.trees.insert(id, Arc::new(tree.clone()));
        }
        Ok(id)
    }
}

impl Store {
    /// Keeps a snapshot.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn put_snapshot(&self, snapshot: &Snapshot) -> Result<SnapshotId> {
        let bytes = encode_snapshot(snapshot);
        let id = SnapshotId::of(&bytes);
        self.write_named(&id.to_string(), &bytes)?;
        Ok(id)
    }

    /// The snapshot of this identity.
    ///
    /// # Errors
    /// [`Error::Missing`] if it is not there or damaged.
    pub fn snapshot(&self, id: &SnapshotId) -> Result<Snapshot> {
        let missing = || Error::Missing { what: "snapshot", id: id.to_string() };
        decode_snapshot(&self.read_checked(&id.to_string()).ok_or_else(missing)?)
    }

    /// Keeps a delta.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn put_delta(&self, delta: &Delta) -> Result<DeltaId> {
        let bytes = encode_delta(delta);
        let id = DeltaId::of(&bytes);
        self.write_named(&id.to_string(), &bytes)?;
        Ok(id)
    }

    /// The delta of this identity.
    ///
    /// # Errors
    /// [`Error::Missing`] if it is not there or damaged.
    pub fn delta(&self, id: &DeltaId) -> Result<Delta> {
        let missing = || Error::Missing { what: "delta", id: id.to_string() };
        decode_delta(&self.read_checked(&id.to_string()).ok_or_else(missing)?)
    }

    /// Makes sure that a snapshot is whole: every tree and every object is there, as long as its entry says.
    ///
    /// # Errors
    /// [`Error::Missing`] for the first that is not.
    pub fn check_whole(&self, snapshot: &Snapshot) -> Result<()> {
        rbuild_tree::walk(self, &snapshot.tree, &mut |_, entry| {
            let Kind::File { object, size } = &entry.kind else { return Ok(()) };
            let there = self.open_object(object).and_then(|file| file.metadata());
            if there.is_ok_and(|metadata| metadata.len() == *size) {
                return Ok(());
            }
            self.drop_object(object);
            Err(Error::Missing { what: "object", id: object.to_string() })
        })
    }

    fn write_named(&self, hex: &str, bytes: &[u8]) -> Result<()> {
        let path = fan_out(&self.root.join("trees"), hex);
        // A truncated one of an earlier boot is replaced here, since its length is not right.
        if fs::metadata(&path).is_ok_and(|known| known.len() == bytes.len() as u64)
            || self.extras.tree(hex).is_some()
        {
            return Ok(());
        }
        let write = || {
            let fresh = self.scratch.write(bytes)?;
            self.adopt(&fresh, &path)
        };
        write().map_err(|error| Error::Io { context: error.doing, source: error.source })
    }

    /// The bytes of a file of `trees/`; none, and no file either, if they are not what its name says.
    fn read_checked(&self, hex: &str) -> Option<Vec<u8>> {
        let path = fan_out(&self.root.join("trees"), hex);
        if let Ok(bytes) = fs::read(&path) {
            if blake3::hash(&bytes).to_hex().as_str() == hex {
                return Some(bytes);
            }
            let removed: io::Result<()> = fs::remove_file(&path);
            tracing::warn!(?path, ?removed, "damaged file in the store");
        }
        self.extras.tree(hex)
    }
}
