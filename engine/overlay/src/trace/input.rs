//! What a trace is checked against: a live directory, or a snapshot.

use super::{
    Attributes, SeenKind,
    groups::{Groups, live_links},
    listing, whole,
};
use crate::{
    Errno, Error, Stamp,
    directory::subdirectories,
    lower::live::{Found, LiveRoot},
};
use rbuild_tree::{Entry, Kind, Metadata, ObjectId, Snapshot, Timestamp, Tree, TreePath, TreeStore};
use std::{fs::File, io, path::Path, sync::Arc};

/// A lower as a checker sees it. Paths through anything but directories name nothing.
pub trait Input {
    /// What stands at a path.
    ///
    /// # Errors
    /// It can't be read.
    fn look(&self, path: &TreePath) -> io::Result<Option<Attributes>>;

    /// Digest of a directory's listing; none if there is no directory.
    ///
    /// # Errors
    /// It can't be read.
    fn listing(&self, path: &TreePath) -> io::Result<Option<ObjectId>>;

    /// Digest of a file's bytes, or of all metadata of what is no file; none if nothing is there.
    ///
    /// # Errors
    /// It can't be read.
    fn content(&self, path: &TreePath) -> io::Result<Option<ObjectId>>;
}

/// Finds the blake3 of a file: from what is known about its stamp, or by opening it and
/// [`hash_file`](crate::hash_file).
pub type Hash<'a> =
    dyn Fn(&Stamp, &mut dyn FnMut() -> io::Result<File>) -> io::Result<ObjectId> + Send + Sync + 'a;

/// A live directory of this machine.
pub struct LiveInput<'a> {
    root: LiveRoot,
    hash: Box<Hash<'a>>,
}

impl<'a> LiveInput<'a> {
    /// The directory `root` without the paths in `exclude`.
    ///
    /// # Errors
    /// It can't be opened.
    pub fn new(root: &Path, exclude: Vec<TreePath>, hash: Box<Hash<'a>>) -> Result<Self, Error> {
        Ok(Self { root: LiveRoot::open(root, exclude)?, hash })
    }
}

impl Input for LiveInput<'_> {
    fn look(&self, path: &TreePath) -> io::Result<Option<Attributes>> {
        Ok(self.root.look(path)?.map(|found| attributes(&found)))
    }

    fn listing(&self, path: &TreePath) -> io::Result<Option<ObjectId>> {
        live_listing(&self.root, path)
    }

    fn content(&self, path: &TreePath) -> io::Result<Option<ObjectId>> {
        let Some(found) = self.root.look(path)? else { return Ok(None) };
        Ok(Some(match found.kind {
            Kind::File { .. } => (self.hash)(&found.stamp, &mut || self.root.file(path))?,
            _ => whole(attributes(&found), found.metadata.mtime),
        }))
    }
}

impl std::fmt::Debug for LiveInput<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveInput").field("root", &self.root.path()).finish_non_exhaustive()
    }
}

fn attributes(found: &Found) -> Attributes {
    let links = live_links(found.links).filter(|_| !found.kind.is_directory());
    Attributes::of(&found.metadata, &found.kind, links)
}

/// Digest of the listing of a live directory.
pub(crate) fn live_listing(root: &LiveRoot, path: &TreePath) -> io::Result<Option<ObjectId>> {
    let Some(found) = root.look(path)?.filter(|found| found.kind.is_directory()) else { return Ok(None) };
    let mut entries = Vec::new();
    for (name, _) in root.list(path)? {
        // What vanished since is not there.
        if let Some(child) = root.look(&path.join(&name))? {
            entries.push((name, attributes(&child)));
        }
    }
    Ok(Some(listing(found.metadata.mtime, found.links, entries.into_iter())))
}

/// A snapshot of the store.
pub struct SnapshotInput<'a> {
    store: &'a dyn TreeStore,
    snapshot: &'a Snapshot,
    groups: Groups,
}

impl<'a> SnapshotInput<'a> {
    /// This one.
    pub fn new(store: &'a dyn TreeStore, snapshot: &'a Snapshot) -> Self {
        Self { store, snapshot, groups: Groups::new(&snapshot.links) }
    }

    fn tree(&self, path: &TreePath) -> io::Result<Option<(Metadata, Arc<Tree>)>> {
        let entry = if path.is_root() { Some(self.root()) } else { self.entry(path)? };
        match entry.as_ref().map(|entry| &entry.kind) {
            Some(Kind::Directory(id)) => {
                let tree = self.store.tree(id).map_err(io::Error::other)?;
                Ok(entry.map(|entry| (entry.metadata, tree)))
            }
            _ => Ok(None),
        }
    }

    fn root(&self) -> Entry {
        Entry { metadata: self.snapshot.root.clone(), kind: Kind::Directory(self.snapshot.tree) }
    }

    fn entry(&self, path: &TreePath) -> io::Result<Option<Entry>> {
        let mut entry = self.root();
        for name in path.names() {
            let Kind::Directory(id) = &entry.kind else { return Ok(None) };
            let tree = self.store.tree(id).map_err(io::Error::other)?;
            match tree.get(name) {
                Some(next) => entry = next.clone(),
                None => return Ok(None),
            }
        }
        Ok(Some(entry))
    }
}

impl Input for SnapshotInput<'_> {
    fn look(&self, path: &TreePath) -> io::Result<Option<Attributes>> {
        let entry = self.entry(path)?;
        Ok(entry.map(|entry| Attributes::of(&entry.metadata, &entry.kind, self.groups.of(path))))
    }

    fn listing(&self, path: &TreePath) -> io::Result<Option<ObjectId>> {
        Ok(self.tree(path)?.map(|(metadata, tree)| tree_listing(path, metadata.mtime, &tree, &self.groups)))
    }

    fn content(&self, path: &TreePath) -> io::Result<Option<ObjectId>> {
        Ok(self.entry(path)?.map(|entry| entry_content(&entry)))
    }
}

/// Digest of the listing of a directory of the store.
pub(crate) fn tree_listing(path: &TreePath, mtime: Timestamp, tree: &Tree, groups: &Groups) -> ObjectId {
    let links = |name: &[u8]| if groups.is_empty() { None } else { groups.of(&path.join(name)) };
    let entries = tree
        .iter()
        .map(|(name, entry)| (name.into(), Attributes::of(&entry.metadata, &entry.kind, links(name))));
    listing(mtime, subdirectories(tree).saturating_add(2), entries)
}

/// Digest that stands for the content of an entry.
pub(crate) fn entry_content(entry: &Entry) -> ObjectId {
    match &entry.kind {
        Kind::File { object, .. } => *object,
        kind => whole(Attributes::of(&entry.metadata, kind, None), entry.metadata.mtime),
    }
}

/// What the lower shows of a node, from what is in memory.
pub(crate) fn inode_attributes(inode: &crate::node::Inode) -> Attributes {
    use crate::node::Body;
    let kind = match &inode.body {
        Body::File(_) => SeenKind::File(inode.lower_size()),
        Body::Directory(_) => SeenKind::Directory,
        Body::Symlink(target) => SeenKind::Symlink(target.clone()),
        Body::CharDevice(device) => SeenKind::CharDevice(*device),
        Body::BlockDevice(device) => SeenKind::BlockDevice(*device),
        Body::Fifo => SeenKind::Fifo,
        Body::Socket => SeenKind::Socket,
    };
    let links = inode.origin.as_ref().and_then(|origin| origin.links);
    Attributes::from_parts(&inode.lower_metadata(), kind, links)
}

/// Hashes an open file if it still has the stamp it had when the step saw it.
pub(crate) fn unchanged(file: &File, stamp: &Stamp) -> io::Result<ObjectId> {
    let is_same = |file: &File| Ok::<bool, io::Error>(Stamp::of(file)? == *stamp);
    if is_same(file)? {
        let id = crate::hash_file(file)?;
        if is_same(file)? {
            return Ok(id);
        }
    }
    Err(io::Error::from(Errno::STALE))
}
