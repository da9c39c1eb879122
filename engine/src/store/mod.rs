//! The folder where everything built is kept: plain immutable files, named by their digests.
//!
//! ```text
//! version            the format, one number
//! objects/ab/cdef…   file bytes, blake3, mode 0444
//! trees/ab/cdef…     canonical encodings of trees, snapshots and deltas
//! records/ab/cdef…   key -> what a step gave           (record.rs)
//! blobs/sha256/…     compressed layers, configs, manifests, mode 0444; layouts hold hard links to layers
//! history/           the last build of each file       (history.rs)
//! caches/            contents of cache mounts
//! checkouts/         trees as folders, for the kernel's overlay filesystem (checkout/kept.rs)
//! index.db           SQLite, rebuildable: the stat cache (index.rs), where blobs are (locations.rs)
//! locks/             held by who makes a key
//! writers/           a file for each process whose writes may not be on the disk yet (durability.rs)
//! tmp/PID-N/         scratch of one process, locked; dead ones are removed at the next start (scratch.rs)
//! ```
//!
//! Of a store that is only read (extra.rs), `objects/`, `trees/`, `records/` and `blobs/` count.
//!
//! A file is written in `tmp/`, then renamed: a reader never sees half of one. Nothing is synced while a build runs;
//! [`Store::settle`] syncs once at its end. What was written since the last such sync by an earlier *boot* may have
//! been lost by a power cut, and is checked against its name at first use (durability.rs).

mod blobs;
mod durability;
mod extra;
mod history;
mod index;
mod locations;
mod objects;
mod record;
mod removal;
mod scratch;
mod trees;

pub use history::{Build, History, ImageNode, Node};
pub use index::{FileStamp, Index};
pub use objects::{file_sha256, sha256_of};
pub use record::{LayerMemo, OutputMemo, Record, Records, Warned, Yield};
pub(crate) use removal::{remove_all, remove_contents};
pub use scratch::Scratch;

use durability::Durability;
use extra::Extras;
use std::{
    ffi::OsStr,
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
};
use trees::TreeCache;

/// What helps where nothing says where the store is.
pub const SAY_WHERE: &str = "say --store DIR, or set RBUILD_STORE";
/// What helps where it can't be.
pub const PUT_ELSEWHERE: &str = "put it elsewhere with --store DIR or RBUILD_STORE: in a container on a volume that this \
                                 user may write to (a new one is root's: chown it once)";

/// The format of the folder; another number is refused.
const VERSION: &str = "1\n";

/// An I/O failure in the store, with what was being done.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {source}")]
pub struct StoreError {
    /// Which operation on which file.
    pub doing: String,
    /// The cause.
    pub source: io::Error,
}

impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        Self::new(error.source.kind(), error)
    }
}

/// The result of a store operation.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Says what was being done when an I/O operation failed.
pub(crate) trait Doing<T> {
    fn doing(self, what: &str, path: &Path) -> Result<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: &str, path: &Path) -> Result<T> {
        self.map_err(|source| StoreError { doing: format!("{what} {}", path.display()), source })
    }
}

/// An open store, shared by the threads of one process and by several processes.
pub struct Store {
    root: PathBuf,
    scratch: Scratch,
    durability: Durability,
    index: Index,
    trees: TreeCache,
    extras: Extras,
}

/// Where the stores of a command are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folders {
    /// The one that is written to.
    pub own: PathBuf,
    /// Stores that are only read, looked at in this order when the own one lacks something.
    pub read_only: Vec<PathBuf>,
}

impl Folders {
    /// Opens the own store; see [`Store::open`]. A read-only one that can't be used is left out, and
    /// [`Store::left_out`] says why.
    ///
    /// # Errors
    /// As [`Store::open`], with [`PUT_ELSEWHERE`].
    pub fn open(&self) -> crate::error::Result<Arc<Store>> {
        let opened = Store::open_with(&self.own, &self.read_only);
        opened.map_err(|error| crate::error::Error::from(error).hint(PUT_ELSEWHERE))
    }

    /// The read-only stores that would not be used, as [`Store::left_out`] tells them; nothing is made.
    pub fn left_out(&self) -> Vec<String> {
        let own = self.own.canonicalize();
        Extras::open(&self.read_only, own.as_ref().unwrap_or(&self.own)).left_out().to_vec()
    }
}

impl Store {
    /// Opens the store in `root`, making it if it is not there, and removes what dead processes left in its scratch.
    ///
    /// # Errors
    /// If it can't be made or written to, or is of another version.
    pub fn open(root: &Path) -> Result<Arc<Self>> {
        Self::open_with(root, &[])
    }

    fn open_with(root: &Path, read_only: &[PathBuf]) -> Result<Arc<Self>> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(root).doing("make the store", root)?;
        // Set-up reads paths from other directories; the store's own must not depend on where that is.
        let root = root.canonicalize().doing("find the store", root)?;
        for name in [
            "objects",
            "trees",
            "records",
            "blobs/sha256",
            "history",
            "caches",
            "checkouts",
            "locks",
            "tmp",
            "writers",
        ] {
            let path = root.join(name);
            if !path.is_dir() {
                fs::create_dir_all(&path).doing("make", &path)?;
            }
        }
        check_version(&root.join("version"))?;
        let scratch = Scratch::open(&root.join("tmp"))?;
        Ok(Arc::new(Self {
            durability: Durability::open(&root, scratch.folder())?,
            scratch,
            index: Index::open(&root.join("index.db")),
            trees: trees::cache(),
            extras: Extras::open(read_only, &root),
            root,
        }))
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where it is, and those that are only read.
    pub fn roots(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(self.root()).chain(self.extras.roots())
    }

    /// The read-only stores that are not used, each in a sentence with its path and the reason.
    pub fn left_out(&self) -> &[String] {
        self.extras.left_out()
    }

    /// Whether there are stores that are only read.
    pub fn has_extras(&self) -> bool {
        !self.extras.is_empty()
    }

    /// This process's scratch folder.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// The stat cache.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// What steps gave before.
    pub fn records(&self) -> Records<'_> {
        Records::new(self)
    }

    /// The last builds.
    pub fn history(&self) -> History {
        History::new(self.root.join("history"))
    }

    /// The folder of all objects.
    pub fn objects_path(&self) -> PathBuf {
        self.root.join("objects")
    }

    /// The folder of trees as folders.
    pub fn checkouts_path(&self) -> PathBuf {
        self.root.join("checkouts")
    }

    /// Says that something is about to be renamed into the store.
    pub fn note_write(&self) {
        self.durability.note_write();
    }

    /// Whether a power cut may have taken bytes of a file, and what was written before it.
    pub fn doubts(&self, metadata: &fs::Metadata) -> bool {
        self.durability.doubts(metadata.ctime())
    }

    /// The folder of a cache mount.
    pub fn cache_path(&self, name: &str) -> PathBuf {
        self.root.join("caches").join(name)
    }

    /// The lock that whoever makes this key holds.
    pub fn lock_path(&self, key: &str) -> PathBuf {
        self.root.join("locks").join(key)
    }

    /// Makes what was written since the last time survive a power cut.
    ///
    /// # Errors
    /// If the filesystem reports that it could not.
    pub fn settle(&self) -> Result<()> {
        self.durability.settle()
    }
}

/// The read-only stores that `RBUILD_STORES_RO` names, separated by colons.
pub fn read_only_roots(value: &OsStr) -> Vec<PathBuf> {
    std::env::split_paths(value).filter(|path| !path.as_os_str().is_empty()).collect()
}

/// Where the store is when nobody says: `$RBUILD_STORE`, else `$XDG_DATA_HOME/rbuild`, else `~/.local/share/rbuild`.
pub fn default_root(environment: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let set = |name| environment(name).filter(|path: &PathBuf| !path.as_os_str().is_empty());
    set("RBUILD_STORE")
        .or_else(|| set("XDG_DATA_HOME").filter(|path| path.is_absolute()).map(|path| path.join("rbuild")))
        .or_else(|| set("HOME").map(|path| path.join(".local/share/rbuild")))
}

/// The version must be the one this program knows; an error that says both otherwise.
fn read_version(path: &Path) -> io::Result<()> {
    let version = fs::read_to_string(path)?;
    if version == VERSION {
        return Ok(());
    }
    let other = format!("it is of version {:?}, this rbuild knows {:?}", version.trim(), VERSION.trim());
    Err(io::Error::new(io::ErrorKind::InvalidData, other))
}

fn check_version(path: &Path) -> Result<()> {
    match read_version(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Two processes may do this at once; both write the same.
            let fresh = path.with_extension(std::process::id().to_string());
            fs::write(&fresh, VERSION).doing("write", &fresh)?;
            fs::rename(&fresh, path).doing("write", path)
        }
        read => read.doing("read the store's", path),
    }
}
