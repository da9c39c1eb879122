//! Random changes, and the plain model of a filesystem that an editor is checked against.

use crate::text::{metadata, path};
use proptest::prelude::*;
use rbuild_tree::{
    Editor, Entry, FoundKind, Kind, Links, Metadata, ObjectId, Snapshot, TreePath, TreeStore, walk,
};
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
pub enum Op {
    File(TreePath, u8),
    Symlink(TreePath, u8),
    Directory(TreePath),
    Remove(TreePath),
    Link(TreePath, TreePath),
    Mode(TreePath, u32),
    Time(TreePath, i64),
    Rename(TreePath, TreePath),
    Flush(TreePath),
}

pub fn any_path() -> impl Strategy<Value = TreePath> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4)
        .prop_map(|names| path(&names.join("/")))
}

pub fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (any_path(), 0..3_u8).prop_map(|(path, content)| Op::File(path, content)),
        1 => (any_path(), 0..2_u8).prop_map(|(path, target)| Op::Symlink(path, target)),
        3 => any_path().prop_map(Op::Directory),
        2 => any_path().prop_map(Op::Remove),
        4 => (any_path(), any_path()).prop_map(|(existing, new)| Op::Link(existing, new)),
        1 => (any_path(), prop::sample::select(vec![0o600, 0o755])).prop_map(|(path, mode)| Op::Mode(path, mode)),
        1 => (any_path(), 1..3_i64).prop_map(|(path, time)| Op::Time(path, time)),
        2 => (any_path(), any_path()).prop_map(|(from, to)| Op::Rename(from, to)),
        1 => any_path().prop_map(Op::Flush),
    ]
}

pub fn any_ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(any_op(), 0..30)
}

/// Files of few contents under a handful of names, mostly linked, few changes at a time: branches often agree.
pub fn linking_ops(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Op>> {
    let at = || prop::sample::select(vec!["a", "b", "c", "d", "e", "f"]).prop_map(path);
    let op = prop_oneof![
        3 => (at(), 0..2_u8).prop_map(|(path, content)| Op::File(path, content)),
        6 => (at(), at()).prop_map(|(existing, new)| Op::Link(existing, new)),
        1 => at().prop_map(Op::Remove),
        1 => at().prop_map(|path| Op::Mode(path, 0o600)),
        1 => (at(), 1..3_i64).prop_map(|(path, time)| Op::Time(path, time)),
    ];
    prop::collection::vec(op, count)
}

fn leaf(op: &Op) -> Option<(TreePath, Entry)> {
    match op {
        Op::File(path, content) => {
            let kind = Kind::File { object: ObjectId::of(&[*content]), size: 1 };
            Some((path.clone(), Entry { metadata: metadata(0o644, 0), kind }))
        }
        Op::Symlink(path, target) => {
            let kind = Kind::Symlink([*target].into());
            Some((path.clone(), Entry { metadata: metadata(0o777, 0), kind }))
        }
        _ => None,
    }
}

/// Carries out an operation; says whether it could be.
pub fn edit(editor: &mut Editor<'_>, op: &Op) -> bool {
    match op {
        Op::File(..) | Op::Symlink(..) => {
            let (path, entry) = leaf(op).unwrap();
            editor.insert(&path, entry).is_ok()
        }
        Op::Directory(path) => {
            editor.make_directories(path, &metadata(0o755, 0), &metadata(0o700, 0)).is_ok()
        }
        Op::Remove(path) => editor.remove(path).unwrap(),
        Op::Link(existing, new) => editor.link(existing, new).is_ok(),
        Op::Mode(path, mode) => edit_metadata(editor, path, |metadata| metadata.mode = *mode),
        Op::Time(path, time) => edit_metadata(editor, path, |metadata| metadata.mtime.seconds = *time),
        Op::Rename(from, to) => {
            let Some(entry) = editor.entry(from).unwrap() else { return false };
            if to.starts_with(from) || from.starts_with(to) {
                return false;
            }
            editor.insert(to, entry).is_ok() && editor.remove(from).unwrap()
        }
        Op::Flush(path) => editor.entry(path).unwrap().is_some(),
    }
}

fn edit_metadata(editor: &mut Editor<'_>, path: &TreePath, change: impl Fn(&mut Metadata)) -> bool {
    let Some(found) = editor.get(path).unwrap() else {
        return editor.set_metadata(path, metadata(0, 0)).is_ok();
    };
    let mut metadata = found.metadata;
    change(&mut metadata);
    editor.set_metadata(path, metadata).is_ok()
}

/// The snapshot after these operations, those that can't be left out.
pub fn changed(store: &dyn TreeStore, base: &Snapshot, ops: &[Op]) -> Snapshot {
    let mut editor = Editor::new(store, base);
    for op in ops {
        edit(&mut editor, op);
    }
    editor.finish().unwrap()
}

/// A filesystem as plain as can be: every path, and the inode of those that are no directories.
#[derive(Clone, Default, Debug)]
pub struct Model {
    names: BTreeMap<TreePath, Result<usize, Metadata>>,
    inodes: Vec<Entry>,
}

impl Model {
    fn is_directory(&self, path: &TreePath) -> bool {
        path.is_root() || matches!(self.names.get(path), Some(Err(_)))
    }

    fn put(&mut self, path: &TreePath, inode: usize) -> bool {
        if !self.is_directory(&path.parent().unwrap()) {
            return false;
        }
        self.names.retain(|name, _| !name.starts_with(path));
        self.names.insert(path.clone(), Ok(inode));
        true
    }

    pub fn edit(&mut self, op: &Op) -> bool {
        match op {
            Op::File(..) | Op::Symlink(..) => {
                let (path, entry) = leaf(op).unwrap();
                self.inodes.push(entry);
                self.put(&path, self.inodes.len() - 1)
            }
            Op::Directory(path) => self.make_directories(path),
            Op::Remove(path) => {
                let count = self.names.len();
                self.names.retain(|name, _| !name.starts_with(path));
                self.names.len() < count
            }
            Op::Link(existing, new) => match self.names.get(existing) {
                Some(Ok(_)) if existing == new => true,
                Some(Ok(inode)) if !existing.starts_with(new) => self.put(new, *inode),
                _ => false,
            },
            Op::Mode(path, mode) => self.metadata(path, |metadata| metadata.mode = *mode),
            Op::Time(path, time) => self.metadata(path, |metadata| metadata.mtime.seconds = *time),
            Op::Rename(from, to) => self.rename(from, to),
            Op::Flush(path) => self.names.contains_key(path),
        }
    }

    fn make_directories(&mut self, path: &TreePath) -> bool {
        let mut here = TreePath::root();
        for name in path.names() {
            here.push(name);
            let mode = if here == *path { 0o700 } else { 0o755 };
            self.names.entry(here.clone()).or_insert(Err(metadata(mode, 0)));
            if !self.is_directory(&here) {
                return false;
            }
        }
        true
    }

    fn metadata(&mut self, path: &TreePath, change: impl Fn(&mut Metadata)) -> bool {
        match self.names.get_mut(path) {
            Some(Err(metadata)) => change(metadata),
            Some(Ok(inode)) => change(&mut self.inodes[*inode].metadata),
            None => return false,
        }
        true
    }

    /// As the editor does it with an entry: what is moved keeps no links.
    fn rename(&mut self, from: &TreePath, to: &TreePath) -> bool {
        if to.starts_with(from) || from.starts_with(to) || !self.names.contains_key(from) {
            return false;
        }
        if !self.is_directory(&to.parent().unwrap()) {
            return false;
        }
        let moved: Vec<(TreePath, Result<usize, Metadata>)> = self
            .names
            .iter()
            .filter_map(|(name, what)| Some((to.join_path(&name.strip_prefix(from)?), what.clone())))
            .collect();
        self.names.retain(|name, _| !name.starts_with(to) && !name.starts_with(from));
        for (name, what) in moved {
            let what = what.map(|inode| {
                self.inodes.push(self.inodes[inode].clone());
                self.inodes.len() - 1
            });
            self.names.insert(name, what);
        }
        true
    }

    /// What is at each path, directories without their digest, and the links.
    pub fn content(&self) -> (BTreeMap<TreePath, (Metadata, FoundKind)>, Links) {
        let mut groups: BTreeMap<usize, Vec<TreePath>> = BTreeMap::new();
        let mut paths = BTreeMap::new();
        for (name, what) in &self.names {
            let found = match what {
                Err(metadata) => (metadata.clone(), FoundKind::Directory),
                Ok(inode) => {
                    groups.entry(*inode).or_default().push(name.clone());
                    let Entry { metadata, kind } = self.inodes[*inode].clone();
                    (metadata, FoundKind::Leaf(kind))
                }
            };
            paths.insert(name.clone(), found);
        }
        (paths, Links::new(groups.into_values()))
    }
}

/// The same of a snapshot.
pub fn content(
    store: &dyn TreeStore,
    snapshot: &Snapshot,
) -> (BTreeMap<TreePath, (Metadata, FoundKind)>, Links) {
    let mut paths = BTreeMap::new();
    walk(store, &snapshot.tree, &mut |path, entry| {
        let kind = match &entry.kind {
            Kind::Directory(_) => FoundKind::Directory,
            kind => FoundKind::Leaf(kind.clone()),
        };
        paths.insert(path.clone(), (entry.metadata.clone(), kind));
        Ok(())
    })
    .unwrap();
    (paths, snapshot.links.clone())
}
