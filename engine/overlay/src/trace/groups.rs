//! Which names of a lower are one file.

use super::wire::Writer;
use rbuild_tree::{Links, ObjectId, TreePath};
use std::collections::HashMap;

/// The link table, by path.
pub(crate) struct Groups {
    numbers: HashMap<TreePath, usize>,
    digests: Vec<ObjectId>,
}

impl Groups {
    /// Of a link table.
    pub fn new(links: &Links) -> Self {
        let numbers = links.by_path().into_iter().map(|(path, group)| (path.clone(), group));
        let digest = |paths: &Vec<TreePath>| {
            let mut out = Writer::default();
            paths.iter().for_each(|path| out.bytes(path.as_bytes()));
            out.digest()
        };
        Self { numbers: numbers.collect(), digests: links.groups().iter().map(digest).collect() }
    }

    /// Which group a path is in.
    pub fn number(&self, path: &TreePath) -> Option<usize> {
        self.numbers.get(path).copied()
    }

    /// Whether something below a directory has several names.
    pub fn any_below(&self, directory: &TreePath) -> bool {
        self.numbers.keys().any(|path| path.starts_with(directory))
    }

    /// What tells a group from any other.
    pub fn digest(&self, number: usize) -> Option<ObjectId> {
        self.digests.get(number).copied()
    }

    /// The same, of the group of a path.
    pub fn of(&self, path: &TreePath) -> Option<ObjectId> {
        self.number(path).and_then(|number| self.digest(number))
    }

    /// Whether no file has two names.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }
}

/// What stands for the group of a live file, whose other names nobody knows.
pub(crate) fn live_links(count: u32) -> Option<ObjectId> {
    (count > 1).then(|| ObjectId::of(&count.to_le_bytes()))
}
