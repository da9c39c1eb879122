//! Trees that say literally what a folder of a stack holds: a difference with the kernel's marks, and what mounts stand
//! on.

use super::wire::{OPAQUE, ORIGIN, WHITEOUT};
use crate::store::Store;
use rbuild_tree::{
    Change, Editor, Entry, Kind, MemoryStore, Metadata, ObjectId, Result, Snapshot, Timestamp, Tree, TreeId,
    TreePath, TreeStore, Xattrs, diff, lookup,
};
use std::sync::Arc;

/// Bytes of files of several names that each step may begin with a copy of.
const MOST_LINKED: u64 = 64 << 20;

/// The trees of the store, and those of a folder: nobody else needs them.
pub(super) struct Trees<'a> {
    pub(super) store: &'a Store,
    own: MemoryStore,
}

impl<'a> Trees<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store, own: MemoryStore::default() }
    }
}

impl TreeStore for Trees<'_> {
    fn tree(&self, id: &TreeId) -> Result<Arc<Tree>> {
        self.own.tree(id).or_else(|_| self.store.tree(id))
    }

    fn put_tree(&self, tree: &Tree) -> Result<TreeId> {
        self.own.put_tree(tree)
    }
}

/// What shows `above` when it lies on what shows `below`.
pub(super) fn difference(trees: &Trees<'_>, below: &Snapshot, above: &Snapshot) -> Result<Snapshot> {
    let delta = diff(trees, below, above)?;
    let mut editor = empty(trees, above);
    let mut open = vec![(TreePath::root(), &delta.root)];
    while let Some((path, change)) = open.pop() {
        for (name, change) in &change.children {
            let path = path.join(name);
            match change {
                Change::Removed => {
                    let metadata = Metadata::root(0, Timestamp::default());
                    editor.insert(&path, Entry { metadata, kind: WHITEOUT })?;
                }
                Change::Replaced(entry) => editor.insert(&path, opaque(entry.clone()))?,
                Change::Directory(inner) => {
                    make_directories(&mut editor, trees, above, &path)?;
                    open.push((path, inner));
                }
            }
        }
    }
    // Names of one file must be in one folder.
    for group in delta.links.groups() {
        put_group(&mut editor, trees, above, group, &Xattrs::new())?;
    }
    editor.finish()
}

/// What the folder of changes begins with: every file of several names, since the kernel would break its links when it
/// copies it up. They bear the mark of what it did copy up. Nothing if that is too much to copy for each step.
pub(super) fn upper(trees: &Trees<'_>, tree: &Snapshot) -> Result<Option<Snapshot>> {
    let mut editor = empty(trees, tree);
    let mut bytes = 0;
    for group in tree.links.groups() {
        if let Some(Entry { kind: Kind::File { size, .. }, .. }) = lookup(trees, tree, &group[0])? {
            bytes += size;
        }
        if bytes > MOST_LINKED {
            return Ok(None);
        }
        put_group(&mut editor, trees, tree, group, &Xattrs::from([(ORIGIN.into(), Box::default())]))?;
    }
    editor.finish().map(Some)
}

/// Puts the names of one file, with further attributes.
fn put_group(
    editor: &mut Editor<'_>,
    trees: &Trees<'_>,
    tree: &Snapshot,
    group: &[TreePath],
    marks: &Xattrs,
) -> Result<()> {
    for path in group {
        if editor.get(path)?.is_none()
            && let Some(mut entry) = lookup(trees, tree, path)?
        {
            entry.metadata.xattrs.extend(marks.clone());
            make_directories(editor, trees, tree, &path.parent().unwrap_or_default())?;
            editor.insert(path, entry)?;
        }
        editor.link(&group[0], path)?;
    }
    Ok(())
}

/// What must lie on what shows `tree`, so that every one of these paths is there, as a directory or a file.
pub(super) fn ground(trees: &Trees<'_>, tree: &Snapshot, lent: &[(TreePath, bool)]) -> Result<Snapshot> {
    let mut editor = empty(trees, tree);
    for (path, is_directory) in lent {
        let mut here = TreePath::root();
        for name in path.names() {
            here.push(name);
            if editor.get(&here)?.is_some() {
                continue;
            }
            let is_directory = *is_directory || here != *path;
            let Some(entry) = standing(lookup(trees, tree, &here)?, is_directory) else { break };
            editor.insert(&here, entry)?;
        }
    }
    editor.finish()
}

/// A directory as the tree has it, without what is in it, or what is lent; none if something else is there.
fn standing(found: Option<Entry>, is_directory: bool) -> Option<Entry> {
    let kind = Kind::Directory(Tree::default().id());
    match found {
        Some(Entry { metadata, kind: Kind::Directory(_) }) => Some(Entry { metadata, kind }),
        Some(_) => None,
        // As `Overlay::lend` shows it.
        None if is_directory => Some(Entry { metadata: Metadata::root(0o755, Timestamp::default()), kind }),
        None => {
            let kind = Kind::File { object: ObjectId::of(b""), size: 0 };
            Some(Entry { metadata: Metadata::root(0o644, Timestamp::default()), kind })
        }
    }
}

fn empty<'a>(trees: &'a Trees<'_>, root: &Snapshot) -> Editor<'a> {
    Editor::new(trees, &Snapshot { root: root.root.clone(), ..Snapshot::scratch() })
}

/// Makes the directories of a path that are missing, as the tree has them.
fn make_directories(
    editor: &mut Editor<'_>,
    trees: &Trees<'_>,
    tree: &Snapshot,
    path: &TreePath,
) -> Result<()> {
    let mut here = TreePath::root();
    for name in path.names() {
        here.push(name);
        if editor.get(&here)?.is_none()
            && let Some(entry) = standing(lookup(trees, tree, &here)?, true)
        {
            editor.insert(&here, entry)?;
        }
    }
    Ok(())
}

/// A directory that hides what lies below it.
fn opaque(mut entry: Entry) -> Entry {
    if entry.kind.is_directory() {
        entry.metadata.xattrs.insert(OPAQUE.into(), (*b"y").into());
    }
    entry
}
