//! An in-memory copy-on-write filesystem over a tree, served by FUSE.
//!
//! An [`Overlay`] starts as a read-only *lower*: a snapshot of the store, or a live directory of this machine that is
//! listed lazily. A directory is expanded into memory when it is first looked at; every change is made to the
//! in-memory inode; only the bytes that a step writes go to memory or to scratch files. So renames of lower
//! directories, hard links across them, stable inode numbers and exact link counts are not special cases, and there
//! is no copy-up of metadata and no whiteout anywhere. [`Overlay::commit`] hashes what was written and says what
//! changed as a [`rbuild_tree::Delta`]; with [`Options::record`] also what of the lower was looked at ([`Trace`]).
//!
//! The operations take plain values, answer `Result<_, Errno>` and know nothing of FUSE; [`fuse`] is a thin adaptor.
//! They check no permissions: the kernel does that before it asks (`default_permissions`).
//!
//! A folder of this machine that programs may change, and what they changed, as in `tests/mount.rs`:
//!
//! ```no_run
//! use rbuild_overlay::{Changes, Error, Live, Lower, Options, Overlay, Store};
//! use std::{os::fd::OwnedFd, sync::Arc};
//!
//! /// `device` is an open `/dev/fuse`, already mounted: mount(2) of a `fuse` with the options
//! /// `fd=N,rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other`.
//! fn changes(store: Arc<dyn Store>, device: OwnedFd) -> Result<Changes, Error> {
//!     let live = Live { root: "/usr/share".into(), exclude: Vec::new(), delta: None };
//!     let overlay = Overlay::new(store, Lower::Live(live), Options::new("/var/tmp/scratch"))?;
//!     let session = overlay.serve(device, 2)?;
//!     // Programs use the mount, until it is unmounted.
//!     session.join()?;
//!     overlay.commit(None)
//! }
//! ```
//!
//! The scratch folder must exist. A [`Store`] keeps bytes and trees by their digest: five functions, three of its own and two
//! of [`rbuild_tree::TreeStore`]; `tests/support/mod.rs` has one in a folder, of forty lines. [`Changes`] has the `delta`
//! (what was added, changed, removed, and the groups of hard links), the `trace` if one was asked for, and `warnings`. Of a
//! live lower, what was moved is read whole by the commit: the result must not depend on this machine.
//!
//! | module | what |
//! |---|---|
//! | `node`, `directory`, `slots`, `content` | inodes, one directory, its names, the bytes of one file |
//! | `place`, `lower` | where something stood in the lower; snapshots and live directories as lowers |
//! | `table`, `namespace` | inode numbers and the nodes they name; from a name to a node |
//! | `ops` | the operations, a file per family; ACLs |
//! | [`fuse`] | the adaptor to the `fuser` crate and the session |
//! | [`trace`] | what a step saw of its lower, and whether that is still so |
//! | `commit` | from dirty nodes to a delta |
//!
//! **Locks.** One mutex per inode, taken parent before child; two files are never locked at once. A rename between
//! directories also takes one mutex of the mount, which keeps the shape of the tree still. No lock is held while the
//! lower is read, except a file's own while its bytes are copied up.
//!
//! **Limits.** Extended attributes that a step sets: 64 KiB a file, 64 MiB in all; `security.*` other than
//! capabilities can't be set; `trusted.*` can, where the kernel allows it, but is no part of the result. Inode numbers
//! have 63 bits, so `stat` of 32-bit programs without large file support is EOVERFLOW, as on any filesystem with large
//! numbers. No `O_TMPFILE`. The access time is the modification time unless set; the link count of a live directory is
//! the host's, adjusted. In the listing of a directory that was moved, the number of `..` may be the former one: the
//! kernel keeps listings. A set-group bit without the group's execution outlives what others write: FUSE does not say
//! which groups a writer has. Nor does it tell chown(2) of neither owner nor group from a write that ends set-id bits, so
//! anybody can end those. Names that are *made* while a directory is listed are listed, too: a program that makes one for
//! each that it is shown has no end. Only what was looked at of a moved directory counts against the greatest depth of a
//! tree. Symbolic links, and that a name was ever made, are memory that no limit counts.
#![forbid(unsafe_code)]

mod cache;
mod commit;
mod content;
mod copy;
mod directory;
mod error;
pub mod fuse;
mod lend;
mod lower;
mod namespace;
mod node;
pub mod ops;
mod place;
mod scratch;
mod slots;
mod store;
mod table;
pub mod trace;

pub use commit::Changes;
pub use copy::clone_prefix;
pub use error::Error;
pub use fuse::Session;
pub use lower::live::{Stamp, hash_file};
pub use node::{Caller, FileKind, NodeId, Stat};
pub use rustix::io::Errno;
pub use store::Store;
use store::Watched;
pub use trace::{
    Attributes, Mismatch, Seen, Trace,
    input::{Input, LiveInput, SnapshotInput},
};

use cache::Cache;
use lower::Base;
use node::Node;
use rbuild_tree::{Delta, Snapshot, TreePath};
use scratch::{Budget, ScratchFolder};
use std::{
    fs::File,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, atomic::AtomicBool},
};
use table::Table;
use trace::recorder::Recorder;

/// What a mount starts from.
#[derive(Debug)]
pub enum Lower {
    /// A root filesystem of the store.
    Snapshot(Snapshot),
    /// A directory of this machine.
    Live(Live),
}

/// A directory of this machine as a lower: read only when asked for, never followed through symbolic links, and
/// expected to keep still while the overlay lives.
#[derive(Debug)]
pub struct Live {
    /// The directory.
    pub root: PathBuf,
    /// Paths below it that do not exist as far as the step can see.
    pub exclude: Vec<TreePath>,
    /// What earlier steps over the same directory changed; [`Overlay::commit`] yields theirs and this one's as one.
    pub delta: Option<Delta>,
}

/// How an overlay works.
#[derive(Debug, Clone)]
pub struct Options {
    /// An existing private directory, best on the store's filesystem, for the bytes of written files.
    pub scratch: PathBuf,
    /// Every change is EROFS.
    pub read_only: bool,
    /// Keep a [`Trace`].
    pub record: bool,
    /// The kernel gathers writes and sends them later, at the latest when a file is closed: a program that writes in small
    /// pieces is up to five times faster, one that reads or walks what it wrote two to three times slower.
    pub writeback: bool,
    /// Files up to this many bytes are kept in memory.
    pub inline_limit: usize,
    /// As long as all of them together stay below this many.
    pub inline_total: usize,
    /// Which extended attributes a commit keeps.
    pub keep_xattr: fn(&[u8]) -> bool,
}

impl Options {
    /// Writable, not recording, written through, 64 KiB a file and 160 MiB in all inline, the attributes of a tree.
    pub fn new(scratch: impl Into<PathBuf>) -> Self {
        Self {
            scratch: scratch.into(),
            read_only: false,
            record: false,
            writeback: false,
            inline_limit: 64 << 10,
            inline_total: 160 << 20,
            keep_xattr: rbuild_tree::entry::is_kept_xattr,
        }
    }
}

/// The filesystem. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Overlay(pub(crate) Arc<Shared>);

/// What all clones share.
pub(crate) struct Shared {
    pub store: Arc<Watched>,
    pub base: Base,
    pub table: Table,
    pub root: Arc<Node>,
    /// Open files of the lower.
    pub files: Cache<FileKey, File>,
    pub scratch: Arc<ScratchFolder>,
    pub budget: Arc<Budget>,
    /// For extended attributes that the step sets.
    pub attributes: Arc<Budget>,
    pub inline_limit: usize,
    pub keep_xattr: fn(&[u8]) -> bool,
    pub read_only: bool,
    pub writeback: bool,
    pub recorder: Option<Recorder>,
    /// Held by renames between directories: the tree keeps its shape for whoever holds it.
    pub renames: Mutex<()>,
    /// Every node whose metadata, bytes, names or entries changed, once each, in order. By number: what was removed
    /// and forgotten since must not keep its bytes.
    pub dirty: Mutex<Vec<NodeId>>,
    pub panicked: AtomicBool,
    /// What programs were told when there was no room for what they wrote.
    pub full: OnceLock<Errno>,
}

/// What names an open file of the lower.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum FileKey {
    Object(rbuild_tree::ObjectId),
    /// Device and inode of this machine.
    Host(u64, u64),
}

impl Overlay {
    /// A filesystem that shows `lower` and keeps what is written in `options.scratch`.
    ///
    /// # Errors
    /// The root of the lower can't be read, or the scratch folder is not a directory.
    pub fn new(store: Arc<dyn Store>, lower: Lower, options: Options) -> Result<Self, Error> {
        let scratch = Arc::new(ScratchFolder::open(&options.scratch)?);
        let base = Base::new(lower)?;
        let store = Arc::new(Watched::new(store));
        let root = base.root(&*store)?;
        let table = Table::default();
        let root = table.adopt(NodeId::ROOT, None, |id| Node::new(id, NodeId::ROOT, root));
        let recorder = options.record.then(Recorder::default);
        let overlay = Self(Arc::new(Shared {
            store,
            base,
            table,
            root,
            files: Cache::new(cache::descriptors()),
            scratch,
            budget: Arc::new(Budget::new(options.inline_total)),
            attributes: Arc::new(Budget::new(ops::xattr::BUDGET)),
            inline_limit: options.inline_limit,
            keep_xattr: options.keep_xattr,
            read_only: options.read_only,
            writeback: options.writeback,
            recorder,
            renames: Mutex::new(()),
            dirty: Mutex::default(),
            panicked: AtomicBool::new(false),
            full: OnceLock::new(),
        }));
        // No look-up leads to it, but all that is made in it depends on its owner and mode.
        overlay.saw_attributes(&overlay.0.root.lock());
        Ok(overlay)
    }
}

impl Drop for Shared {
    /// Takes the tree apart without recursion: a deep one would overflow the stack.
    fn drop(&mut self) {
        let nodes = self.table.take();
        for node in &nodes {
            node.lock().links.clear();
            if let Some(directory) = node.lock().directory_mut() {
                directory.slots = None;
            }
        }
    }
}

impl std::fmt::Debug for Overlay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Overlay").field("scratch", &self.0.scratch.path()).finish_non_exhaustive()
    }
}
