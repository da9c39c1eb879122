//! Trees as folders, for the kernel's overlay filesystem: what a step runs over where there is no FUSE.
//!
//! A snapshot is shown by a *stack* of folders. The lowest holds a whole tree; each above it what a snapshot changed of
//! the one below, with the kernel's own marks (`layer.rs`), so that a chain of steps costs one checkout and its changes.
//! On top lies what mounts stand on. A step's own changes go into one more folder, and are told from there
//! (`changes.rs`).
//!
//! Files of a stack belong to the ids of the sandbox, so a worker with these ids makes, reads and removes them
//! ([`work`]); bytes and trees go to it and come back over its socket. A folder shares no inode with an object. Bytes are
//! copied, by reference where the filesystem can; but since Linux 6.16 files of the lowest folder only name their object,
//! which the kernel reads and never writes (those of another one it refuses). The first build over a base has that folder
//! in memory (`in_memory.rs`).
//!
//! **What a folder can't hold** is known from the tree itself: an attribute that a step left as the folder has it is as
//! the tree has it. So owners outside the range of ids, devices (an empty file stands for each), attributes that the
//! filesystem refuses, and times that it can't keep reach the image as they are. What a step does to owners where there is
//! one id is known to the supervisor ([`rbuild_supervisor::OwnerTable`]).
//!
//! **What is different from the `fuse` tier**, since the kernel's overlay does it so. `rename` of a directory that was
//! there before is EXDEV, for which programs copy: as new files those get the epoch where the tree has a later time. What
//! a folder can't hold of a file goes along when the file is moved, unless a program has set its time of reading too. A
//! character device 0:0 of a tree is not there. The order of listings, inode numbers and the nanoseconds of times of reading
//! are the filesystem's and rbuild's; inode numbers of a base in memory have the uppermost bit. A program that goes on after "No space left on device" is not found out. Where
//! files of several names have more than 64 MiB (`layer.rs`), a write to one goes to that name alone; other changes reach
//! all its names.
//!
//! ```text
//! mod      what a build has of all these
//! stack    which folders a snapshot is shown by        kept     those that outlive a build
//! in_memory  whole trees laid out in memory
//! checks   whether the store has what kept ones name
//! step     the folders of one step's mounts
//! layer    a difference, and what mounts stand on, as trees that say literally what a folder holds
//! hand     the engine's side of the worker            fill     making a folder
//! foreign  what of a tree folders of one id can't show
//! changes  from what the kernel left to a snapshot    moved    … of what was somewhere else
//! outcome  what its operations give
//! worker   the worker: dispatch        unpack  filling a folder        upper  reading changes
//! place    directories by paths of any length
//! wire     what goes between them
//! ```

mod changes;
mod checks;
mod fill;
mod foreign;
mod hand;
mod in_memory;
mod kept;
mod layer;
mod outcome;
mod place;
mod stack;
mod step;
mod unpack;
mod upper;
mod wire;
mod worker;

pub use hand::EarlyWorker;
pub use stack::Shown;
pub use step::StepFolders;
pub use worker::work;

use crate::value::Lineage;
use crate::{
    error::{Error, Result},
    store::Store,
};
use checks::Checks;
use fill::Bytes;
use hand::Hand;
use layer::Trees;
use rbuild_sandbox::IdMap;
use rbuild_tree::{Snapshot, SnapshotId};
use stack::Stack;
use std::{
    collections::HashMap,
    fs, io,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

/// The stacks of a build; folders that are not kept are removed when it is dropped.
pub struct Checkouts {
    store: Arc<Store>,
    ids: IdMap,
    /// What the kernel may read the bytes of files from.
    objects: Option<PathBuf>,
    stopped: Arc<AtomicBool>,
    stacks: Mutex<HashMap<SnapshotId, Arc<Mutex<Option<Stack>>>>>,
    /// What a snapshot was made from. Nothing is made from itself, over any number of others.
    origins: Mutex<HashMap<SnapshotId, (SnapshotId, Snapshot)>>,
    /// All that were made and are not kept.
    folders: Mutex<Vec<PathBuf>>,
    /// How many bytes of entries are laid out in memory.
    in_memory: Mutex<u64>,
    /// In use.
    kept: Mutex<Vec<kept::Kept>>,
    /// Of what they name.
    checks: Checks,
    /// What mounts stand on, by what it holds.
    grounds: Mutex<HashMap<SnapshotId, Arc<Mutex<Option<PathBuf>>>>>,
    /// Trees in which there is nothing that folders of one id can't show.
    plain: foreign::Plain,
    /// Workers that have nothing to do.
    idle: Arc<Mutex<Vec<Arc<Hand>>>>,
    /// Folders of steps being removed.
    removals: Mutex<Vec<JoinHandle<()>>>,
}

impl Checkouts {
    /// None yet; `stopped` ends the making of one. With `share` no bytes are copied: needs Linux 6.16.
    pub fn new(
        store: Arc<Store>,
        ids: IdMap,
        share: bool,
        stopped: Arc<AtomicBool>,
        worker: EarlyWorker,
    ) -> Self {
        let objects = share.then(|| store.objects_path());
        let (stacks, origins, folders, kept, checks) = Default::default();
        let (in_memory, grounds, plain, removals) = Default::default();
        let idle = Arc::new(Mutex::new(worker.with(&ids).into_iter().collect()));
        Self {
            store,
            ids,
            objects,
            stopped,
            stacks,
            origins,
            folders,
            in_memory,
            kept,
            checks,
            grounds,
            plain,
            idle,
            removals,
        }
    }

    /// Says what a snapshot was made from, if nobody has: its stack will be that one's and the difference.
    pub fn derive(&self, snapshot: &Snapshot, origin: &Snapshot) {
        let id = snapshot.id();
        if !locked(&self.origins).contains_key(&id) {
            self.set_origin(id, origin);
        }
    }

    /// Says what the snapshots of a build come from: the same in every build, so that what is kept is found.
    pub fn derive_all(&self, lineage: &Arc<Lineage>) {
        let mut next = Some(lineage);
        while let Some(lineage) = next {
            next = lineage.parent.as_ref();
            let origin = next.and_then(|origin| origin.snapshot.as_deref());
            if let (Some(snapshot), Some(origin)) = (lineage.snapshot.as_deref(), origin) {
                self.set_origin(snapshot.id(), origin);
            }
        }
    }

    fn set_origin(&self, id: SnapshotId, origin: &Snapshot) {
        let mut origins = locked(&self.origins);
        let mut ancestor = Some(origin.id());
        // A step may lead back to what an earlier one began with.
        while let Some(known) = ancestor {
            if known == id {
                return;
            }
            ancestor = origins.get(&known).map(|(origin, _)| *origin);
        }
        origins.insert(id, (origin.id(), origin.clone()));
    }

    /// A worker.
    fn hand(&self) -> Result<Arc<Hand>> {
        let idle = locked(&self.idle).pop();
        idle.map_or_else(|| Hand::start(&self.ids).map(Arc::new), Ok)
    }

    /// Removes folders of a step while others go on.
    fn remove_later(&self, hand: Arc<Hand>, folders: Vec<PathBuf>) {
        let idle = self.idle.clone();
        locked(&self.removals).push(thread::spawn(move || {
            remove(&hand, &folders);
            if hand.is_well() {
                locked(&idle).push(hand);
            }
        }));
    }

    /// What mounts stand on: the same for most steps.
    fn ground(&self, hand: &Hand, trees: &Trees<'_>, ground: &Snapshot) -> Result<PathBuf> {
        let slot = locked(&self.grounds).entry(ground.id()).or_default().clone();
        let mut made = locked(&slot);
        if let Some(folder) = &*made {
            return Ok(folder.clone());
        }
        Ok(made.insert(self.folder(hand, trees, ground, Bytes::Copied)?).clone())
    }

    /// Removes all folders that are not kept, and those of dead processes that only these ids can remove.
    pub fn clear(&self) {
        for removal in std::mem::take(&mut *locked(&self.removals)) {
            let _ = removal.join();
        }
        locked(&self.stacks).clear();
        locked(&self.grounds).clear();
        locked(&self.kept).clear();
        let mut folders = std::mem::take(&mut *locked(&self.folders));
        folders.retain(|folder| folder.exists());
        folders.extend(self.store.scratch().dead());
        if !folders.is_empty()
            && let Ok(hand) = self.hand()
        {
            remove(&hand, &folders);
        }
        locked(&self.idle).clear();
    }

    fn bytes(&self) -> Bytes<'_> {
        self.objects.as_deref().map_or(Bytes::Copied, Bytes::Shared)
    }

    /// A new folder that holds what a tree says.
    fn folder(&self, hand: &Hand, trees: &Trees<'_>, tree: &Snapshot, bytes: Bytes<'_>) -> Result<PathBuf> {
        let folder = self.empty_folder()?;
        self.fill(hand, trees, tree, open_folder(&folder)?.as_fd(), bytes)?;
        Ok(folder)
    }

    fn fill(
        &self,
        hand: &Hand,
        trees: &Trees<'_>,
        tree: &Snapshot,
        folder: BorrowedFd<'_>,
        bytes: Bytes<'_>,
    ) -> Result<()> {
        hand.fill(trees, tree, folder, bytes, &|| self.stopped.load(Ordering::SeqCst))
    }

    /// A new empty folder of the sandbox's root.
    fn empty_folder(&self) -> Result<PathBuf> {
        let folder = self.store.scratch().fresh();
        self.make_folder(&folder)?;
        Ok(folder)
    }

    fn make_folder(&self, folder: &Path) -> Result<()> {
        fs::create_dir(folder).map_err(|error| Error::io("make", folder, error))?;
        locked(&self.folders).push(folder.to_owned());
        let given = match (self.ids.host_uid(0), self.ids.host_gid(0)) {
            // Only root can, and with any other map it is the caller's own.
            (Some(uid), Some(gid)) if rustix::process::geteuid().is_root() => {
                std::os::unix::fs::chown(folder, Some(uid), Some(gid))
            }
            _ => Ok(()),
        };
        given.map_err(|error| Error::io("give to the sandbox", folder, error))
    }
}

impl Drop for Checkouts {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Removes folders with all in them. What can't be is left to the next build.
fn remove(hand: &Hand, folders: &[PathBuf]) {
    for folder in folders {
        let removed = hand.empty(folder).map_err(|error| io::Error::other(error.message().to_owned()));
        if let Err(error) = removed.and_then(|()| fs::remove_dir(folder)) {
            tracing::debug!(?folder, %error, "a folder of a step could not be removed");
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opened only to name it.
fn open_folder(path: &Path) -> Result<std::os::fd::OwnedFd> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = (rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY).bits();
    let open = fs::OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path);
    open.map(Into::into).map_err(|error| Error::io("open", path, error))
}
