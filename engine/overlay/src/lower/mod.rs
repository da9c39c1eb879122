//! The lower: what a mount starts from, and how an entry of it becomes an inode.

pub(crate) mod live;

use crate::{
    Errno, Error, FileKind, Lower, NodeId, Store,
    content::{Data, Source as Bytes, WORTH_ASKING, blocks, full_blocks},
    directory::{Directory, Source},
    error::{damaged, errno},
    node::{Body, Inode, Name, Origin, Original},
    place::Place,
    table::{NodeKey, lower_id},
    trace::groups::{Groups, live_links},
};
use live::{Found, LiveRoot};
use rbuild_tree::{DirectoryChange, Entry, Kind, Links, Snapshot, TreePath};
use std::sync::Arc;

/// The lower of one mount.
pub(crate) struct Base {
    kind: BaseKind,
    /// Link groups that are known from the start: the snapshot's, or those of the delta.
    pub links: Links,
    pub groups: Groups,
}

/// Which kind of lower.
enum BaseKind {
    Snapshot(Snapshot),
    Live { root: LiveRoot, change: DirectoryChange },
}

/// What an entry that nobody looked at yet will be made from.
pub(crate) struct Seed {
    pub place: Arc<Place>,
    pub parent: NodeId,
    pub name: Name,
    pub from: From,
}

/// See [`Seed`].
pub(crate) enum From {
    Entry { entry: Entry, traced: bool },
    Live(Option<DirectoryChange>),
}

/// An inode that is not in the table yet.
pub(crate) struct Born {
    pub inode: Inode,
    pub id: NodeId,
    pub key: Option<NodeKey>,
    /// See [`Origin::traced`].
    pub traced: bool,
}

impl Base {
    /// Opens a lower.
    pub fn new(lower: Lower) -> Result<Self, Error> {
        let (kind, links) = match lower {
            Lower::Snapshot(snapshot) => {
                let links = snapshot.links.clone();
                (BaseKind::Snapshot(snapshot), links)
            }
            Lower::Live(live) => {
                let root = LiveRoot::open(&live.root, live.exclude)?;
                let delta = live.delta.unwrap_or_default();
                (BaseKind::Live { root, change: delta.root }, delta.links)
            }
        };
        let groups = Groups::new(&links);
        Ok(Self { kind, links, groups })
    }

    /// The root directory.
    pub fn root(&self, store: &dyn Store) -> Result<Inode, Error> {
        let place = Place::root();
        match &self.kind {
            BaseKind::Snapshot(snapshot) => {
                let source = Source::Tree(snapshot.tree, store.tree(&snapshot.tree)?);
                let origin = Origin::new(place, true);
                let body = Body::Directory(Box::new(Directory::new(source)));
                Ok(Inode::new(snapshot.root.clone(), body, Some(origin)))
            }
            BaseKind::Live { root, change } => {
                let found = root.look(&TreePath::root()).and_then(|found| found.ok_or(Errno::NOENT.into()));
                let found = found.map_err(Error::io("read", root.path()))?;
                Ok(live_inode(found, place, Some(change.clone())))
            }
        }
    }

    /// The live directory, if it is one.
    pub fn live(&self) -> Option<&LiveRoot> {
        if let BaseKind::Live { root, .. } = &self.kind { Some(root) } else { None }
    }

    /// Makes the inode of an entry; none if it vanished from a live directory.
    pub fn born(&self, store: &dyn Store, seed: &Seed) -> Result<Option<Born>, Errno> {
        let mut key = self.group_of(&seed.place).map(NodeKey::Group);
        let inode = match &seed.from {
            From::Entry { entry, traced } => entry_inode(store, entry, Arc::clone(&seed.place), *traced)?,
            From::Live(change) => {
                let root = self.live().ok_or(Errno::IO)?;
                let Some(found) = root.look(&seed.place.path()).map_err(|cause| errno(&cause))? else {
                    return Ok(None);
                };
                if key.is_none() && found.links > 1 && !matches!(found.kind, Kind::Directory(_)) {
                    key = Some(NodeKey::Host(found.stamp.device, found.stamp.inode));
                }
                live_inode(found, Arc::clone(&seed.place), change.clone())
            }
        };
        Ok(Some(self.named(inode, seed, key)))
    }

    fn named(&self, mut inode: Inode, seed: &Seed, key: Option<NodeKey>) -> Born {
        let id = match key {
            Some(NodeKey::Group(group)) => {
                let paths = &self.links.groups()[group];
                inode.nlink = u32::try_from(paths.len()).unwrap_or(u32::MAX);
                paths[0].names().fold(NodeId::ROOT, lower_id)
            }
            Some(NodeKey::Host(device, number)) => lower_id(NodeId(device), &number.to_le_bytes()),
            None => lower_id(seed.parent, &seed.name),
        };
        if let Some(origin) = &mut inode.origin {
            origin.group = key;
            // Of a live lower, the groups are those of an earlier step, which no trace speaks of.
            if let (Some(NodeKey::Group(group)), None) = (key, self.live()) {
                origin.links = self.groups.digest(group);
            }
        }
        let traced = inode.is_traced();
        Born { inode, id, key, traced }
    }

    fn group_of(&self, place: &Place) -> Option<usize> {
        if self.groups.is_empty() { None } else { self.groups.number(&place.path()) }
    }
}

fn entry_inode(store: &dyn Store, entry: &Entry, place: Arc<Place>, traced: bool) -> Result<Inode, Errno> {
    let body = match &entry.kind {
        Kind::File { object, size } => {
            let asked = if *size >= WORTH_ASKING { store.open(object).ok() } else { None };
            let blocks = asked.map_or(full_blocks(*size), |file| blocks(&file, *size));
            Body::File(Data::Lower { source: Bytes::Object(*object), size: *size, blocks })
        }
        Kind::Directory(id) => {
            let tree = store.tree(id).map_err(damaged)?;
            Body::Directory(Box::new(Directory::new(Source::Tree(*id, tree))))
        }
        other => plain_body(other),
    };
    let origin = Origin::new(place, traced);
    Ok(Inode::new(entry.metadata.clone(), body, Some(origin)))
}

fn live_inode(found: Found, place: Arc<Place>, change: Option<DirectoryChange>) -> Inode {
    let body = match &found.kind {
        Kind::File { size, .. } => {
            let source = Bytes::Live { place: Arc::clone(&place), stamp: found.stamp };
            // Opening it is not worth it: the machine's own count says whether there are holes.
            let most = full_blocks(*size);
            let blocks = if *size >= WORTH_ASKING { found.blocks.min(most) } else { most };
            Body::File(Data::Lower { source, size: *size, blocks })
        }
        Kind::Directory(_) => Body::Directory(Box::new(Directory {
            directories: found.links.checked_sub(2),
            ..Directory::new(Source::Live(None))
        })),
        other => plain_body(other),
    };
    let links = live_links(found.links).filter(|_| !found.kind.is_directory());
    let origin = Origin { links, ..Origin::new(place, true) };
    let mut inode = Inode::new(found.metadata, body, Some(origin));
    inode.nlink = found.links;
    if let Some(change) = change {
        amend(&mut inode, change);
    }
    inode
}

/// Lets a directory start as an earlier step's delta left it.
fn amend(inode: &mut Inode, change: DirectoryChange) {
    if let Some(metadata) = change.metadata {
        inode.original = Some(Box::new(Original { metadata: inode.metadata(), size: 0, content: None }));
        (inode.mode, inode.uid, inode.gid) = (metadata.mode, metadata.uid, metadata.gid);
        (inode.mtime, inode.ctime, inode.xattrs) = (metadata.mtime, metadata.mtime, metadata.xattrs);
    }
    if let Some(directory) = inode.directory_mut().filter(|_| !change.children.is_empty()) {
        // How many sub-directories there are would take looking at each name.
        directory.directories = None;
        directory.changed = change.children.keys().map(|name| Name::from(&**name)).collect();
        directory.pending = change.children;
    }
}

fn plain_body(kind: &Kind) -> Body {
    match kind {
        Kind::Symlink(target) => Body::Symlink(target.clone()),
        Kind::CharDevice(device) => Body::CharDevice(*device),
        Kind::BlockDevice(device) => Body::BlockDevice(*device),
        Kind::Socket => Body::Socket,
        // Files and directories are made where their content is known.
        Kind::Fifo | Kind::File { .. } | Kind::Directory(_) => Body::Fifo,
    }
}

/// The kind of a directory entry, from its `d_type`.
pub(crate) fn kind_from_type(kind: rustix::fs::FileType) -> Option<FileKind> {
    use rustix::fs::FileType;
    Some(match kind {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        FileType::CharacterDevice => FileKind::CharDevice,
        FileType::BlockDevice => FileKind::BlockDevice,
        FileType::Fifo => FileKind::Fifo,
        FileType::Socket => FileKind::Socket,
        FileType::Unknown => return None,
    })
}
