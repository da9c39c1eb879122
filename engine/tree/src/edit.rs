//! A snapshot being changed.
//!
//! An [`Editor`] stands on a snapshot and looks like it at once; a directory is fetched from the store when something
//! in it is first asked for, and [`Editor::finish`] writes back those that changed and no others. So a change costs the
//! directories on its way, whatever the size of the root filesystem.
//!
//! Directories that were looked at are nodes of one flat list. A node is the stored tree (shared, never copied) and a
//! sorted map of what is different, so 100,000 names put in one by one cost a map insertion each, and neither writing
//! nor dropping recurses.
//!
//! Hard links are kept in a table beside the tree, as a snapshot has them: replacing or removing a path takes it out of
//! its group, with all below it.
//!
//! No function but [`Editor::resolve`] follows a symbolic link: callers resolve a path first, then work on what it says.
//!
//! ```
//! use rbuild_tree::{Editor, Entry, Kind, MemoryStore, Metadata, ObjectId, Snapshot, Timestamp, TreePath};
//!
//! let store = MemoryStore::default();
//! let mut editor = Editor::new(&store, &Snapshot::scratch());
//! let directory = Metadata::root(0o755, Timestamp::default());
//! editor.make_directories(&TreePath::parse(b"/usr/bin")?, &directory, &directory)?;
//! let kind = Kind::File { object: ObjectId::of(b"#!/bin/sh\n"), size: 10 };
//! editor.insert(&TreePath::parse(b"/usr/bin/hi")?, Entry { metadata: directory, kind })?;
//! editor.link(&TreePath::parse(b"/usr/bin/hi")?, &TreePath::parse(b"/hello")?)?;
//! assert_eq!(editor.finish()?.links.groups()[0].len(), 2);
//! # Ok::<(), rbuild_tree::Error>(())
//! ```

mod links;
mod node;
mod resolve;

pub(crate) use links::LinkTable;
pub use resolve::Resolved;

use crate::{
    Entry, Error, Kind, Metadata, Result, Snapshot, Timestamp, TreePath, TreeStore, encoding::MAX_DEPTH,
    tree::Name, walk::EMPTY,
};
use node::{Descent, Node, ROOT, Slot, View};

/// What is at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Owner, mode, time, extended attributes.
    pub metadata: Metadata,
    /// What it is.
    pub kind: FoundKind,
}

/// What is at a path; a directory without its digest, which is not known while it is being changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FoundKind {
    /// A directory.
    Directory,
    /// Anything else; never [`Kind::Directory`].
    Leaf(Kind),
}

impl Found {
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind == FoundKind::Directory
    }

    /// The word for it in messages.
    pub fn word(&self) -> &'static str {
        match &self.kind {
            FoundKind::Directory => "directory",
            FoundKind::Leaf(kind) => kind.word(),
        }
    }
}

/// A snapshot being changed. See the module.
pub struct Editor<'s> {
    store: &'s dyn TreeStore,
    nodes: Vec<Node>,
    links: LinkTable,
    touch: Option<Timestamp>,
}

impl<'s> Editor<'s> {
    /// Starts from `base`; reads nothing yet.
    pub fn new(store: &'s dyn TreeStore, base: &Snapshot) -> Self {
        let links = LinkTable::new(&base.links);
        Self { links, ..Self::without_links(store, base.root.clone(), base.tree) }
    }

    /// As [`Editor::new`], for callers that don't ask for links or count them themselves.
    pub(crate) fn without_links(store: &'s dyn TreeStore, root: Metadata, tree: crate::TreeId) -> Self {
        Self { store, nodes: vec![Node::stored(ROOT, root, tree)], links: LinkTable::default(), touch: None }
    }

    /// From now on a directory that gains or loses a name gets this time. Otherwise times stay as they are, which is
    /// what an importer wants.
    #[must_use]
    pub fn touching(mut self, time: Timestamp) -> Self {
        self.touch = Some(time);
        self
    }

    /// What is at `path`. No link is followed: below a symbolic link, or anything else that is no directory, is nothing.
    ///
    /// # Errors
    /// Those of the store.
    pub fn get(&mut self, path: &TreePath) -> Result<Option<Found>> {
        let Some((parent, name)) = split(path) else { return Ok(Some(self.found_directory(ROOT))) };
        match self.descend(&parent)? {
            Descent::Directory(node) => self.found(node, &name),
            Descent::Missing(_) | Descent::Blocked(..) => Ok(None),
        }
    }

    /// The names in a directory, sorted, with what they are.
    ///
    /// # Errors
    /// [`Error::At`] if there is no directory.
    pub fn list(&mut self, path: &TreePath) -> Result<Vec<(Name, Found)>> {
        let node = self.directory(path)?;
        self.load(node)?;
        Ok(self.views(node).into_iter().map(|(name, view)| (name.into(), self.found_view(&view))).collect())
    }

    /// Puts an entry, with the whole subtree if it is a directory, in place of what was there. The old paths leave
    /// their link groups; the new ones are in none.
    ///
    /// # Errors
    /// [`Error::At`] if its parent is not a directory, if the root is to be something else than a directory, or if it
    /// lies deeper than [`MAX_DEPTH`].
    pub fn insert(&mut self, path: &TreePath, entry: Entry) -> Result<()> {
        let Some((parent, name)) = split(path) else { return self.insert_root(entry) };
        check_depth(path)?;
        let node = self.directory(&parent)?;
        self.put(node, &name, Some(Slot::Entry(entry)))?;
        self.links.forget(path);
        Ok(())
    }

    /// Puts a whole root filesystem at `path`, with its hard links: a graft.
    ///
    /// # Errors
    /// As [`Editor::insert`].
    pub fn insert_snapshot(&mut self, path: &TreePath, snapshot: &Snapshot) -> Result<()> {
        let kind = Kind::Directory(snapshot.tree);
        self.insert(path, Entry { metadata: snapshot.root.clone(), kind })?;
        for group in snapshot.links.groups() {
            self.links.regroup(group.iter().map(|member| path.join_path(member)));
        }
        Ok(())
    }

    /// Makes `new` another name of the file at `existing`, in place of what was there.
    ///
    /// # Errors
    /// [`Error::At`] if `existing` is nothing or a directory, if `new` is a directory that holds it, or as
    /// [`Editor::insert`].
    pub fn link(&mut self, existing: &TreePath, new: &TreePath) -> Result<()> {
        let entry = self.leaf(existing)?;
        if existing == new {
            return Ok(());
        }
        if existing.starts_with(new) {
            return Err(at(new, format!("is a directory that holds the file to be linked, {existing}")));
        }
        self.insert(new, entry)?;
        self.links.join(existing, new);
        Ok(())
    }

    /// Every name of the file at `path`, itself among them, sorted; empty if it is its only one.
    pub fn linked(&self, path: &TreePath) -> Vec<TreePath> {
        self.links.group(path).map(|group| group.iter().cloned().collect()).unwrap_or_default()
    }

    /// Makes these paths one file, each taken out of its earlier group.
    ///
    /// # Errors
    /// [`Error::At`] if one is nothing or a directory, or if they are not all the same.
    pub(crate) fn regroup(&mut self, group: &[TreePath]) -> Result<()> {
        let mut first = None;
        for path in group {
            let entry = self.leaf(path)?;
            if *first.get_or_insert_with(|| entry.clone()) != entry {
                return Err(at(path, "differs from the files it is said to be hard-linked to"));
            }
        }
        self.links.regroup(group.iter().cloned());
        Ok(())
    }

    /// Takes away what is at `path`, with all below it; says whether there was something.
    ///
    /// # Errors
    /// [`Error::At`] for the root.
    pub fn remove(&mut self, path: &TreePath) -> Result<bool> {
        let Some((parent, name)) = split(path) else {
            return Err(at(path, "the root directory can't be removed"));
        };
        let Descent::Directory(node) = self.descend(&parent)? else { return Ok(false) };
        if self.view(node, &name)?.is_none() {
            return Ok(false);
        }
        self.put(node, &name, None)?;
        self.links.forget(path);
        Ok(true)
    }

    /// Gives what is at `path` other metadata, under all its names.
    ///
    /// # Errors
    /// [`Error::At`] if there is nothing.
    pub fn set_metadata(&mut self, path: &TreePath, metadata: Metadata) -> Result<()> {
        for member in self.linked(path).iter().filter(|member| *member != path) {
            self.set_metadata_of_name(member, metadata.clone())?;
        }
        self.set_metadata_of_name(path, metadata)
    }

    /// Makes the directories of `path` that are missing: parents with `missing`, the last with `last`. Those that
    /// exist stay as they are.
    ///
    /// # Errors
    /// [`Error::At`] if something else is in the way, a symbolic link too: resolve the path first.
    pub fn make_directories(&mut self, path: &TreePath, missing: &Metadata, last: &Metadata) -> Result<()> {
        check_depth(path)?;
        let (mut node, mut here) = (ROOT, TreePath::root());
        for name in path.names() {
            here.push(name);
            if self.view(node, name)?.is_none() {
                let metadata = if here == *path { last } else { missing };
                let entry = Entry { metadata: metadata.clone(), kind: Kind::Directory(*EMPTY) };
                self.put(node, name, Some(Slot::Entry(entry)))?;
            }
            node = match self.enter(node, name)? {
                Descent::Directory(child) => child,
                Descent::Missing(_) => return Err(at(&here, "does not exist")),
                Descent::Blocked(_, word) => return Err(at(&here, format!("is a {word}, not a directory"))),
            };
        }
        Ok(())
    }

    /// The entry at `path`. A directory that changed is written to the store, to have a digest.
    ///
    /// # Errors
    /// Those of the store.
    pub fn entry(&mut self, path: &TreePath) -> Result<Option<Entry>> {
        let Some((parent, name)) = split(path) else { return self.written(ROOT).map(Some) };
        let Descent::Directory(node) = self.descend(&parent)? else { return Ok(None) };
        match self.view(node, &name)? {
            None => Ok(None),
            Some(View::Entry(entry)) => Ok(Some(entry.clone())),
            Some(View::Open(child)) => self.written(child).map(Some),
        }
    }

    /// Writes the directories that changed and says what came out.
    ///
    /// # Errors
    /// Those of the store.
    pub fn finish(mut self) -> Result<Snapshot> {
        let tree = self.flush(ROOT)?;
        let root = self.nodes.swap_remove(ROOT).metadata;
        Ok(Snapshot { root, tree, links: self.links.into_links() })
    }

    fn insert_root(&mut self, entry: Entry) -> Result<()> {
        let Kind::Directory(tree) = entry.kind else {
            return Err(at(&TreePath::root(), format!("the root can't be a {}", entry.kind.word())));
        };
        self.nodes = vec![Node::stored(ROOT, entry.metadata, tree)];
        self.links = LinkTable::default();
        Ok(())
    }

    fn set_metadata_of_name(&mut self, path: &TreePath, metadata: Metadata) -> Result<()> {
        let Some((parent, name)) = split(path) else {
            self.nodes[ROOT].metadata = metadata;
            return Ok(());
        };
        let node = self.directory(&parent)?;
        match self.view(node, &name)? {
            None => return Err(at(path, "does not exist")),
            Some(View::Open(child)) => {
                self.nodes[child].metadata = metadata;
                self.mark_changed(node);
            }
            Some(View::Entry(entry)) => {
                let entry = Entry { metadata, kind: entry.kind.clone() };
                self.put(node, &name, Some(Slot::Entry(entry)))?;
            }
        }
        Ok(())
    }

    /// The entry of a path that must be there and no directory.
    fn leaf(&mut self, path: &TreePath) -> Result<Entry> {
        match self.get(path)? {
            None => Err(at(path, "does not exist")),
            Some(Found { kind: FoundKind::Directory, .. }) => {
                Err(at(path, "is a directory, which can't be hard-linked"))
            }
            Some(Found { metadata, kind: FoundKind::Leaf(kind) }) => Ok(Entry { metadata, kind }),
        }
    }
}

/// The directory and the name in it; none for the root.
fn split(path: &TreePath) -> Option<(TreePath, Name)> {
    Some((path.parent()?, path.name()?.into()))
}

/// An [`Error::At`].
pub(crate) fn at(path: &TreePath, reason: impl Into<String>) -> Error {
    Error::At { path: path.clone(), reason: reason.into() }
}

/// Refuses what no delta could hold.
pub(crate) fn check_depth(path: &TreePath) -> Result<()> {
    if path.names().count() <= MAX_DEPTH { Ok(()) } else { Err(too_deep(path)) }
}

/// Names the start of a path only: the whole of it is too long to print.
pub(crate) fn too_deep(path: &TreePath) -> Error {
    let start = path.names().take(20).fold(TreePath::root(), |start, name| start.join(name));
    at(&start, format!("nests deeper than {MAX_DEPTH} directories"))
}
