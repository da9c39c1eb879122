//! A root filesystem.

use crate::{Metadata, SnapshotId, Timestamp, Tree, TreeId, TreePath, encoding};
use std::collections::{BTreeSet, HashMap};

/// Which paths are one file: groups of two or more, each sorted, sorted by their first path. No path is in two.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Links {
    groups: Vec<Vec<TreePath>>,
}

impl Links {
    /// A table of these groups; those of fewer than two paths vanish, and groups that share a path become one.
    pub fn new(groups: impl IntoIterator<Item = Vec<TreePath>>) -> Self {
        let mut merged: Vec<BTreeSet<TreePath>> = Vec::new();
        let mut place: HashMap<TreePath, usize> = HashMap::new();
        for group in groups {
            let known: BTreeSet<usize> = group.iter().filter_map(|path| place.get(path).copied()).collect();
            let target = known.first().copied().unwrap_or_else(|| {
                merged.push(BTreeSet::new());
                merged.len() - 1
            });
            let mut paths: BTreeSet<TreePath> = group.into_iter().collect();
            for other in known.into_iter().filter(|other| *other != target) {
                paths.append(&mut merged[other]);
            }
            for path in paths {
                place.insert(path.clone(), target);
                merged[target].insert(path);
            }
        }
        let mut groups: Vec<Vec<TreePath>> = merged
            .into_iter()
            .filter(|group| group.len() > 1)
            .map(|group| group.into_iter().collect())
            .collect();
        groups.sort();
        Self { groups }
    }

    /// For callers whose groups share no path and are each sorted.
    pub(crate) fn from_disjoint(groups: impl IntoIterator<Item = Vec<TreePath>>) -> Self {
        let mut groups: Vec<Vec<TreePath>> = groups.into_iter().filter(|group| group.len() > 1).collect();
        groups.sort();
        Self { groups }
    }

    /// The groups in order.
    pub fn groups(&self) -> &[Vec<TreePath>] {
        &self.groups
    }

    /// The place in [`groups`](Self::groups) of each path that is in one.
    pub fn by_path(&self) -> HashMap<&TreePath, usize> {
        let groups = self.groups.iter().enumerate();
        groups.flat_map(|(place, group)| group.iter().map(move |path| (path, place))).collect()
    }

    /// Whether no two paths are one file.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}

/// A root filesystem: what the root directory is, what is in it, and which of its paths are one file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// The root directory's own metadata.
    pub root: Metadata,
    /// Its entries.
    pub tree: TreeId,
    /// Its hard links.
    pub links: Links,
}

impl Snapshot {
    /// `scratch`: an empty root directory, 0755, root:root, at the epoch's second 0. The same for everybody.
    pub fn scratch() -> Self {
        Self {
            root: Metadata::root(0o755, Timestamp::default()),
            tree: Tree::default().id(),
            links: Links::default(),
        }
    }

    /// Its identity.
    pub fn id(&self) -> SnapshotId {
        SnapshotId::of(&encoding::encode_snapshot(self))
    }
}
