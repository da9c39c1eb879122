//! Inodes, made up again from what snapshots know: paths, their entries, and groups of paths that are one file.
//!
//! An inode of the base lives on in a branch as one of the branch's inodes that share a path with it: the one that is
//! unchanged, else the one that kept most names. All other inodes of a branch are new.

use super::decide::are_alike;
use crate::{Entry, Result, Snapshot, TreePath, TreeStore, walk::lookup};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

/// An inode of one snapshot: the first of its names.
pub(super) type Inode<'a> = &'a TreePath;

/// An inode across all of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Label<'a> {
    /// One of the base.
    Base(Inode<'a>),
    /// One that this branch made.
    New(usize, Inode<'a>),
}

/// The files of one snapshot as far as they matter here.
pub(super) struct Version<'a> {
    pub(super) inodes: BTreeMap<&'a TreePath, Inode<'a>>,
    pub(super) entries: BTreeMap<Inode<'a>, Entry>,
    /// Inodes of more than one name.
    linked: BTreeSet<Inode<'a>>,
    /// For each inode the one of the base that lives on in it; of the base: each itself.
    pub(super) continues: BTreeMap<Inode<'a>, Inode<'a>>,
}

/// Groups that everybody has alike, and all paths of the others. If conflicts were settled by path, a group can have
/// been torn wherever it is: then none is passed over.
pub(super) fn sort_out<'a>(
    base: &'a Snapshot,
    branches: &[&'a Snapshot],
    any_taken: bool,
) -> (Vec<Vec<TreePath>>, BTreeSet<&'a TreePath>) {
    let all = || branches.iter().copied().chain([base]);
    let mut count: BTreeMap<&Vec<TreePath>, usize> = BTreeMap::new();
    for group in all().flat_map(|snapshot| snapshot.links.groups()) {
        *count.entry(group).or_default() += 1;
    }
    let is_settled = |times: usize| times == branches.len() + 1 && !any_taken;
    let settled = count.iter().filter(|(_, times)| is_settled(**times)).map(|(group, _)| (*group).clone());
    let open = count.iter().filter(|(_, times)| !is_settled(**times)).flat_map(|(group, _)| group.iter());
    (settled.collect(), open.collect())
}

impl<'a> Version<'a> {
    fn read(store: &dyn TreeStore, snapshot: &'a Snapshot, paths: &BTreeSet<&'a TreePath>) -> Result<Self> {
        let mut inode_of = BTreeMap::new();
        for group in snapshot.links.groups() {
            inode_of.extend(group.iter().map(|path| (path, &group[0])));
        }
        let mut version = Self {
            inodes: BTreeMap::new(),
            entries: BTreeMap::new(),
            linked: snapshot.links.groups().iter().map(|group| &group[0]).collect(),
            continues: BTreeMap::new(),
        };
        for path in paths {
            let found = lookup(store, snapshot, path)?;
            if let Some(entry) = found.filter(|entry| !entry.kind.is_directory()) {
                let inode = inode_of.get(path).copied().unwrap_or(path);
                version.inodes.insert(path, inode);
                version.entries.entry(inode).or_insert(entry);
            }
        }
        Ok(version)
    }

    pub(super) fn of_base(
        store: &dyn TreeStore,
        base: &'a Snapshot,
        paths: &BTreeSet<&'a TreePath>,
    ) -> Result<Self> {
        let mut version = Self::read(store, base, paths)?;
        version.continues = version.entries.keys().map(|inode| (*inode, *inode)).collect();
        Ok(version)
    }

    pub(super) fn of_branch(
        store: &dyn TreeStore,
        snapshot: &'a Snapshot,
        paths: &BTreeSet<&'a TreePath>,
        base: &Self,
    ) -> Result<Self> {
        let mut version = Self::read(store, snapshot, paths)?;
        let mut shared: BTreeMap<(Inode<'a>, Inode<'a>), usize> = BTreeMap::new();
        for (path, inode) in &version.inodes {
            if let Some(old) = base.inodes.get(path) {
                *shared.entry((old, inode)).or_default() += 1;
            }
        }
        let likeness =
            |old: Inode<'a>, new: Inode<'a>| match (base.entries.get(old), version.entries.get(new)) {
                (Some(old), Some(new)) if old == new => 2,
                (Some(old), Some(new)) if are_alike(old, new) => 1,
                _ => 0,
            };
        let mut pairs: Vec<_> = shared
            .into_iter()
            .map(|((old, new), names)| (Reverse((likeness(old, new), names)), old, new))
            .collect();
        pairs.sort();
        let mut used = BTreeSet::new();
        for (_, old, new) in pairs {
            if !version.continues.contains_key(new) && used.insert(old) {
                version.continues.insert(new, old);
            }
        }
        Ok(version)
    }

    pub(super) fn entry(&self, path: &TreePath) -> Option<&Entry> {
        self.entries.get(self.inodes.get(path)?)
    }

    /// Whether a path has other names.
    pub(super) fn is_linked(&self, path: &TreePath) -> bool {
        self.inodes.get(path).is_some_and(|inode| self.linked.contains(inode))
    }
}
