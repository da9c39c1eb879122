//! Inodes: what the mount knows of one file, whatever it is called and wherever it is.

use crate::{
    content::{Data, Source},
    directory::Directory,
    place::Place,
    scratch::Reserved,
    table::NodeKey,
    trace::recorder::Content,
};
use rbuild_tree::{Device, Metadata, ObjectId, Timestamp, Xattrs};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// The number of an inode: the same in every run, kept over renames and writes, never used twice in one mount.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct NodeId(pub u64);

impl NodeId {
    /// The root directory (FUSE demands 1).
    pub const ROOT: Self = Self(1);
}

/// Who asks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caller {
    /// Filesystem user.
    pub uid: u32,
    /// Filesystem group.
    pub gid: u32,
    /// File mode creation mask; used where something is created.
    pub umask: u32,
    /// Process, in the pid namespace of whoever serves.
    pub pid: u32,
}

/// What a file is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device; only data here.
    CharDevice,
    /// A block device; only data here.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket's name.
    Socket,
}

/// What stat(2) says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat {
    /// Inode number.
    pub id: NodeId,
    /// What it is.
    pub kind: FileKind,
    /// Permission, set-id and sticky bits.
    pub mode: u32,
    /// Hard links; of a directory 2 and its sub-directories, or 1 if that is not known.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Which device it is, 0/0 for all that are none.
    pub device: Device,
    /// Bytes.
    pub size: u64,
    /// Units of 512 bytes in use.
    pub blocks: u64,
    /// Access time.
    pub atime: Timestamp,
    /// Modification time.
    pub mtime: Timestamp,
    /// Change time.
    pub ctime: Timestamp,
}

impl Stat {
    /// Of something that can't be looked at.
    pub(crate) fn unknown(id: NodeId, kind: FileKind) -> Self {
        let (device, time) = (Device { major: 0, minor: 0 }, Timestamp::default());
        let (mode, links, uid, gid, size, blocks) = (0, 1, 0, 0, 0, 0);
        Self { id, kind, mode, links, uid, gid, device, size, blocks, atime: time, mtime: time, ctime: time }
    }
}

/// One inode.
pub(crate) struct Node {
    pub id: NodeId,
    /// A directory's parent. Read without a lock by whoever holds the rename mutex.
    parent: AtomicU64,
    /// How often the kernel was told of it and has not forgotten.
    lookups: AtomicU64,
    inode: Mutex<Inode>,
}

impl Node {
    pub fn new(id: NodeId, parent: NodeId, inode: Inode) -> Arc<Self> {
        let (parent, lookups) = (AtomicU64::new(parent.0), AtomicU64::new(0));
        Arc::new(Self { id, parent, lookups, inode: Mutex::new(inode) })
    }

    /// Its lock. A handler that panicked is found out at commit, not here.
    pub fn lock(&self) -> MutexGuard<'_, Inode> {
        self.inode.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn parent(&self) -> NodeId {
        NodeId(self.parent.load(Ordering::Acquire))
    }

    pub fn set_parent(&self, parent: NodeId) {
        self.parent.store(parent.0, Ordering::Release);
    }

    pub fn count_lookup(&self) {
        self.count_lookups(1);
    }

    pub fn count_lookups(&self, count: u64) {
        self.lookups.fetch_add(count, Ordering::AcqRel);
    }

    /// Takes lookups back; says whether none is left.
    pub fn forget(&self, count: u64) -> bool {
        let rest = |lookups: u64| Some(lookups.saturating_sub(count));
        let before = self.lookups.fetch_update(Ordering::AcqRel, Ordering::Acquire, rest);
        before.unwrap_or_else(|unchanged| unchanged) <= count
    }

    pub fn is_looked_up(&self) -> bool {
        self.lookups.load(Ordering::Acquire) > 0
    }
}

/// What it is and holds.
pub(crate) enum Body {
    File(Data),
    Directory(Box<Directory>),
    Symlink(Box<[u8]>),
    CharDevice(Device),
    BlockDevice(Device),
    Fifo,
    Socket,
}

/// A node that the lower had.
pub(crate) struct Origin {
    /// Where; the first name that was looked at if it has several.
    pub place: Arc<Place>,
    /// Further names that were looked at.
    pub aliases: Vec<Arc<Place>>,
    /// False for what the delta of a live lower brought: it is no part of the input that a trace speaks of.
    pub traced: bool,
    /// Which link group of the lower it stands for.
    pub group: Option<NodeKey>,
    /// What a trace says of that group.
    pub links: Option<ObjectId>,
}

impl Origin {
    /// Of what stood at a place and was not looked at under any other name.
    pub fn new(place: Arc<Place>, traced: bool) -> Self {
        Self { place, aliases: Vec::new(), traced, group: None, links: None }
    }
}

/// A name in a directory; shared by all who mention it.
pub(crate) type Name = Arc<[u8]>;

/// Everything about a node that changes.
pub(crate) struct Inode {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Hard links of what is no directory.
    pub nlink: u32,
    pub mtime: Timestamp,
    pub ctime: Timestamp,
    /// Whether the modification time was set to a date after the last ordinary write.
    pub dated: bool,
    /// Only if it was set.
    pub atime: Option<Timestamp>,
    pub xattrs: Xattrs,
    /// Memory for attributes that the step set.
    pub reserved: Option<Reserved>,
    pub body: Body,
    /// The names that were looked at or made: directory and name.
    pub links: Vec<(NodeId, Name)>,
    pub origin: Option<Origin>,
    /// What the lower says, from the first change on.
    pub original: Option<Box<Original>>,
    /// Whether it is in the list of dirty nodes.
    pub dirty: bool,
    /// Made for a mount to stand on: no part of the result by itself.
    pub lent: bool,
    /// Whether its bytes are in the trace already.
    pub read: bool,
}

/// The lower's side of a node that changes, from before its first change.
pub(crate) struct Original {
    pub metadata: Metadata,
    pub size: u64,
    pub content: Option<Content>,
}

impl Inode {
    /// A node with this metadata, in no directory yet.
    pub fn new(metadata: Metadata, body: Body, origin: Option<Origin>) -> Self {
        let Metadata { mode, uid, gid, mtime, xattrs } = metadata;
        Self {
            mode,
            uid,
            gid,
            nlink: 1,
            mtime,
            ctime: mtime,
            dated: false,
            atime: None,
            xattrs,
            reserved: None,
            body,
            links: Vec::new(),
            origin,
            original: None,
            dirty: false,
            lent: false,
            read: false,
        }
    }

    pub fn metadata(&self) -> Metadata {
        let (mode, uid, gid, mtime) = (self.mode, self.uid, self.gid, self.mtime);
        Metadata { mode, uid, gid, mtime, xattrs: self.xattrs.clone() }
    }

    /// Metadata as the lower has it.
    pub fn lower_metadata(&self) -> Metadata {
        self.original.as_ref().map_or_else(|| self.metadata(), |original| original.metadata.clone())
    }

    /// Size of a file as the lower has it.
    pub fn lower_size(&self) -> u64 {
        self.original.as_ref().map_or_else(|| self.size(), |original| original.size)
    }

    pub fn kind(&self) -> FileKind {
        match &self.body {
            Body::File(_) => FileKind::File,
            Body::Directory(_) => FileKind::Directory,
            Body::Symlink(_) => FileKind::Symlink,
            Body::CharDevice(_) => FileKind::CharDevice,
            Body::BlockDevice(_) => FileKind::BlockDevice,
            Body::Fifo => FileKind::Fifo,
            Body::Socket => FileKind::Socket,
        }
    }

    pub fn size(&self) -> u64 {
        match &self.body {
            Body::File(data) => data.size(),
            Body::Directory(_) => 4096,
            Body::Symlink(target) => target.len() as u64,
            _ => 0,
        }
    }

    pub fn directory(&self) -> Option<&Directory> {
        if let Body::Directory(directory) = &self.body { Some(directory) } else { None }
    }

    pub fn directory_mut(&mut self) -> Option<&mut Directory> {
        if let Body::Directory(directory) = &mut self.body { Some(directory) } else { None }
    }

    pub fn is_directory(&self) -> bool {
        self.directory().is_some()
    }

    /// Whether the lower that a trace speaks of has it.
    pub fn is_traced(&self) -> bool {
        self.origin.as_ref().is_some_and(|origin| origin.traced)
    }

    /// Where it stood in the lower that a trace speaks of.
    pub fn traced_place(&self) -> Option<&Arc<Place>> {
        self.origin.as_ref().filter(|origin| origin.traced).map(|origin| &origin.place)
    }

    /// Whether it stood in the lower as `name` of the directory at `above`.
    pub fn stood_at(&self, above: &Arc<Place>, name: &[u8]) -> bool {
        self.origin.as_ref().is_some_and(|origin| {
            origin.place.is(above, name) || origin.aliases.iter().any(|place| place.is(above, name))
        })
    }

    /// Whether a tree of the lower says all that is known of it, so that it can be made again.
    pub fn is_pristine(&self) -> bool {
        let of_tree = match &self.body {
            Body::File(Data::Lower { source: Source::Object(_), .. }) => true,
            Body::File(_) => false,
            Body::Directory(directory) => directory.is_pristine(),
            _ => true,
        };
        let is_as_found =
            |origin: &Origin| origin.traced && origin.aliases.is_empty() && origin.group.is_none();
        of_tree
            && self.origin.as_ref().is_some_and(is_as_found)
            && !(self.dirty || self.lent || self.original.is_some() || self.reserved.is_some())
    }

    /// Content changed.
    pub fn touch(&mut self) {
        self.mtime = now();
        self.ctime = self.mtime;
        self.dated = false;
    }

    /// What stat(2) says.
    pub fn stat(&self, id: NodeId) -> Stat {
        let size = self.size();
        let (blocks, links) = match &self.body {
            Body::File(data) => (data.blocks(), self.nlink),
            Body::Directory(directory) => (8, directory.links()),
            _ => (0, self.nlink),
        };
        let device = match self.body {
            Body::CharDevice(device) | Body::BlockDevice(device) => device,
            _ => Device { major: 0, minor: 0 },
        };
        Stat {
            id,
            kind: self.kind(),
            mode: self.mode,
            links,
            uid: self.uid,
            gid: self.gid,
            device,
            size,
            blocks,
            atime: self.atime.unwrap_or(self.mtime),
            mtime: self.mtime,
            ctime: self.ctime,
        }
    }
}

/// The time of day.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanoseconds: since.subsec_nanos(),
    }
}
