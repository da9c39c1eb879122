//! `host`: this machine's files, listed when a step looks, never as a whole.

use super::Surroundings;
use crate::{
    error::{Error, Result},
    spec::types::HostSource,
    store::{FileStamp, Store},
    value::{Content, HostTree, Lineage, Value},
};
use rbuild_overlay::{Input, LiveInput, Stamp};
use rbuild_tree::{
    Change, Delta, DirectoryChange, Entry, Kind, Metadata, ObjectId, Snapshot, Timestamp, Tree, TreeId,
    TreePath, TreeStore,
};
use std::{
    fs::{self, File},
    io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

/// What is never part of the machine's tree: the kernel's, and what changes under everybody's feet.
const NEVER: [&str; 5] = ["/proc", "/sys", "/dev", "/run", "/tmp"];

pub(super) fn open(name: &str, host: &HostSource, surroundings: &Surroundings<'_>) -> Result<Value> {
    let root = fs::canonicalize(&*host.path).map_err(|error| Error::io("find", &host.path, error))?;
    if !root.is_dir() {
        return Err(Error::environment(format!("{} is not a directory", root.display())));
    }
    let mut exclude = never_seen(&root, surroundings.store.root());
    for line in &host.exclude {
        // A live tree is never walked, so only a path can be left out, not a pattern.
        if line.contains(['*', '?', '[', '!', '\\']) || !line.starts_with('/') {
            let message = format!("exclude {:?} of a `host` source is not an absolute path", line.value);
            return Err(Error::spec("bad-value", message).hint("patterns are not yet in this version"));
        }
        exclude.push(TreePath::parse(line.as_bytes())?);
    }
    Ok(Value {
        content: Content::Host(HostTree { root, exclude, delta: None }),
        config: Default::default(),
        lineage: Lineage::bottom(name, None),
    })
}

/// Paths below `root` that no step sees: /proc and its like, and the store itself.
pub fn never_seen(root: &Path, store: &Path) -> Vec<TreePath> {
    let all = NEVER.iter().map(Path::new).chain([store]);
    let below = all.filter_map(|path| path.strip_prefix(root).ok());
    below
        .filter_map(|path| TreePath::parse(path.as_os_str().as_bytes()).ok())
        .filter(|path| !path.is_root())
        .collect()
}

/// Answers, for checking a trace, what the machine's files are now; contents through the stat cache.
pub struct HostInput<'a> {
    live: LiveInput<'a>,
    store: &'a Store,
    /// New answers, written together at the end: a transaction each would cost more than the reading.
    fresh: Fresh,
}

type Fresh = Arc<Mutex<Vec<(PathBuf, FileStamp, ObjectId)>>>;

impl<'a> HostInput<'a> {
    /// Over this tree.
    ///
    /// # Errors
    /// If its root can't be opened.
    pub fn new(store: &'a Store, tree: &HostTree) -> Result<Self> {
        let fresh = Fresh::default();
        let found = fresh.clone();
        let hash =
            move |stamp: &Stamp, open: &mut dyn FnMut() -> io::Result<File>| hash(store, &found, stamp, open);
        let live = LiveInput::new(&tree.root, tree.exclude.clone(), Box::new(hash))
            .map_err(|error| Error::environment(error.to_string()))?;
        Ok(Self { live, store, fresh })
    }
}

impl Input for HostInput<'_> {
    fn look(&self, path: &TreePath) -> io::Result<Option<rbuild_overlay::Attributes>> {
        self.live.look(path)
    }
    fn listing(&self, path: &TreePath) -> io::Result<Option<ObjectId>> {
        self.live.listing(path)
    }
    fn content(&self, path: &TreePath) -> io::Result<Option<ObjectId>> {
        self.live.content(path)
    }
}

fn hash(
    store: &Store,
    fresh: &Fresh,
    stamp: &Stamp,
    open: &mut dyn FnMut() -> io::Result<File>,
) -> io::Result<ObjectId> {
    // By device and inode: the trace reaches a file by whatever path the step used.
    let name = PathBuf::from(format!("inode:{}:{}", stamp.device, stamp.inode));
    let key = FileStamp::of_live(stamp);
    if let Some(known) = store.index().digest(&name, &key) {
        return Ok(known);
    }
    let read = SystemTime::now();
    let digest = rbuild_overlay::hash_file(&open()?)?;
    if key.was_quiet(read) {
        fresh.lock().unwrap_or_else(PoisonError::into_inner).push((name, key, digest));
    }
    Ok(digest)
}

impl Drop for HostInput<'_> {
    fn drop(&mut self) {
        let fresh = std::mem::take(&mut *self.fresh.lock().unwrap_or_else(PoisonError::into_inner));
        if !fresh.is_empty() {
            self.store
                .index()
                .remember(fresh.iter().map(|(path, stamp, digest)| (path.as_path(), *stamp, *digest)));
        }
    }
}

/// What steps changed over this machine's files, as a tree of its own: the directories on the way with what changed
/// in them, and nothing that was only there.
///
/// # Errors
/// Those of the store.
pub fn changed_tree(store: &Store, host: &HostTree, delta: &Delta) -> Result<Snapshot> {
    let scratch = Snapshot::scratch();
    let tree = changed_directory(store, host, &delta.root, &TreePath::root())?;
    Ok(Snapshot {
        root: delta.root.metadata.clone().unwrap_or(scratch.root),
        tree,
        links: delta.links.clone(),
    })
}

fn changed_directory(
    store: &Store,
    host: &HostTree,
    change: &DirectoryChange,
    path: &TreePath,
) -> Result<TreeId> {
    let mut entries = Vec::new();
    for (name, child) in &change.children {
        let entry = match child {
            Change::Removed => continue,
            Change::Replaced(entry) => entry.clone(),
            Change::Directory(inner) => {
                let path = path.join(name);
                let metadata = inner.metadata.clone().unwrap_or_else(|| live_metadata(host, &path));
                Entry { metadata, kind: Kind::Directory(changed_directory(store, host, inner, &path)?) }
            }
        };
        entries.push((name.clone(), entry));
    }
    Ok(store.put_tree(&Tree::from_entries(entries))?)
}

/// Owner and mode of a directory that was there and did not change.
fn live_metadata(host: &HostTree, path: &TreePath) -> Metadata {
    let outside = host.root.join(std::ffi::OsStr::from_bytes(path.as_bytes()));
    let Ok(found) = fs::symlink_metadata(outside) else { return Metadata::root(0o755, Timestamp::default()) };
    Metadata {
        uid: found.uid(),
        gid: found.gid(),
        ..Metadata::root(found.mode() & 0o7777, Timestamp::default())
    }
}
