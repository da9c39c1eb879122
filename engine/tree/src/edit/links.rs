//! Hard links while they change: which group a path is in, and which paths a group has.
//!
//! Paths are sorted, so that all below a directory are one range.

use crate::{Links, TreePath};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

/// Groups of paths that are one file. A group of one path is as good as none.
#[derive(Default)]
pub(crate) struct LinkTable {
    groups: Vec<BTreeSet<TreePath>>,
    place: BTreeMap<TreePath, usize>,
}

impl LinkTable {
    pub(crate) fn new(links: &Links) -> Self {
        let mut table = Self::default();
        for group in links.groups() {
            table.regroup(group.iter().cloned());
        }
        table
    }

    /// The group of a path, if it has two names at least.
    pub(crate) fn group(&self, path: &TreePath) -> Option<&BTreeSet<TreePath>> {
        self.place.get(path).map(|place| &self.groups[*place]).filter(|group| group.len() > 1)
    }

    /// Takes a path and all below it out of their groups.
    pub(crate) fn forget(&mut self, path: &TreePath) {
        self.forget_name(path);
        if self.place.is_empty() {
            return;
        }
        let below = [path.as_bytes(), b"/"].concat();
        let beyond = [path.as_bytes(), b"0"].concat(); // `0` follows `/`
        let range = (Bound::Included(below.as_slice()), Bound::Excluded(beyond.as_slice()));
        let inside: Vec<TreePath> =
            self.place.range::<[u8], _>(range).map(|(path, _)| path.clone()).collect();
        inside.iter().for_each(|path| self.forget_name(path));
    }

    fn forget_name(&mut self, path: &TreePath) {
        if let Some(place) = self.place.remove(path) {
            self.groups[place].remove(path);
        }
    }

    /// Puts `new` into the group of `existing`.
    pub(crate) fn join(&mut self, existing: &TreePath, new: &TreePath) {
        self.forget_name(new);
        let place = *self.place.entry(existing.clone()).or_insert_with(|| {
            self.groups.push(BTreeSet::from([existing.clone()]));
            self.groups.len() - 1
        });
        self.groups[place].insert(new.clone());
        self.place.insert(new.clone(), place);
    }

    /// Makes a group of these paths, taking each out of the one it was in.
    pub(crate) fn regroup(&mut self, paths: impl Iterator<Item = TreePath>) {
        let group: BTreeSet<TreePath> = paths.collect();
        for path in &group {
            self.forget_name(path);
            self.place.insert(path.clone(), self.groups.len());
        }
        self.groups.push(group);
    }

    pub(crate) fn into_links(self) -> Links {
        Links::from_disjoint(self.groups.into_iter().map(|group| group.into_iter().collect()))
    }
}
