//! Roots that are plain directories, where there are neither namespaces nor mounts: what a step runs over in a container
//! that allows nothing.
//!
//! A directory is made what a tree says (`lay.rs`), with the real owners, since whoever may chroot is root. What can't be
//! set (ids that a container's user namespace does not have, attributes) is known from the tree. What mounts
//! would show is put in place by renaming, and taken out again (`ground.rs`, `devices.rs`). The change is found by looking at every
//! file's metadata before and after (`stamps.rs`, `look.rs`): what has the same inode, size and times is not read (`changes.rs`).
//! When a step is done its directory is the next one's, which then differs by little.
//!
//! Where nobody can answer for /proc, and that is asked for, the directory's entries take the places of the container's
//! own while a step's command runs (`in_place.rs`); all else is the same.
//!
//! **What is different from the other tiers**: nothing keeps a step in, so what is read-only is so by agreement; a tmpfs
//! is on disk; what a step's program leaves open or mapped after its end is lost.

mod carry;
mod changes;
mod devices;
mod ground;
mod in_place;
mod lay;
mod look;
mod stamps;
mod step;
mod times;

pub use in_place::{FOLDER, put_back};
pub use step::{StepRoot, Wanted};

use crate::{
    error::{Error, Result},
    store::{Scratch, Store, remove_all},
};
use in_place::InPlace;
use rbuild_sandbox::{Facts, capabilities_cure};
use rbuild_tree::{Change, Delta, Snapshot, diff};
use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// A directory that needs more changes than this is not changed: another one is made.
const MOST_CHANGES: usize = 2000;
/// What a whole directory that is to be replaced counts.
const DIRECTORY: usize = 100;

/// The directories of a build that no step uses now.
pub struct Roots {
    store: Arc<Store>,
    stopped: Arc<AtomicBool>,
    idle: Mutex<Vec<Laid>>,
    in_place: Option<InPlace>,
}

/// A directory and what it holds.
struct Laid {
    folder: PathBuf,
    tree: Snapshot,
}

impl Roots {
    /// None yet; `stopped` ends the making of one.
    pub fn new(store: Arc<Store>, stopped: Arc<AtomicBool>) -> Self {
        Self { store, stopped, idle: Mutex::default(), in_place: None }
    }

    /// The same for steps in the place of this container's files.
    ///
    /// # Errors
    /// Why that can't be, in one sentence.
    pub fn in_place(store: Arc<Store>, stopped: Arc<AtomicBool>) -> Result<Self, String> {
        let in_place = InPlace::open(&store)?;
        Ok(Self { in_place: Some(in_place), ..Self::new(store, stopped) })
    }

    /// What stays of this container, and is no part of a step's tree, but for what every container has; none if steps do
    /// not run in place.
    pub fn volumes(&self) -> Option<Vec<String>> {
        self.in_place.as_ref().map(InPlace::volumes)
    }

    /// Folders on the filesystem where directories are made.
    fn scratch(&self) -> &Scratch {
        self.in_place.as_ref().and_then(InPlace::scratch).unwrap_or(self.store.scratch())
    }

    /// A directory that holds `tree`, for nobody else.
    fn take(&self, tree: &Snapshot) -> Result<Laid> {
        let Laid { folder, tree: had } = match self.nearest(tree)? {
            Some(laid) => laid,
            None => Laid { folder: self.scratch().fresh_folder()?, tree: Snapshot::scratch() },
        };
        let stopped = || self.stopped.load(Ordering::SeqCst);
        match lay::change(&self.store, &folder, &had, tree, &stopped) {
            Ok(()) => Ok(Laid { folder, tree: tree.clone() }),
            Err(error) => {
                // Half of it is of no use.
                let _ = remove_all(&folder);
                Err(error)
            }
        }
    }

    /// The idle directory that differs least from a tree; none if all differ much.
    fn nearest(&self, tree: &Snapshot) -> Result<Option<Laid>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut nearest = None;
        for (place, laid) in idle.iter().enumerate() {
            let distance = distance(&diff(&*self.store, &laid.tree, tree)?);
            if distance <= nearest.map_or(MOST_CHANGES, |(least, _)| least) {
                nearest = Some((distance, place));
            }
        }
        Ok(nearest.map(|(_, place)| idle.swap_remove(place)))
    }

    /// Gives one back for later steps.
    fn give(&self, laid: Laid) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(laid);
    }
}

/// How many entries a difference touches, about.
fn distance(delta: &Delta) -> usize {
    let (mut count, mut open) = (0, vec![&delta.root]);
    while let Some(directory) = open.pop() {
        for change in directory.children.values() {
            count += match change {
                Change::Replaced(entry) if entry.kind.is_directory() => DIRECTORY,
                _ => 1,
            };
            if let Change::Directory(inner) = change {
                open.push(inner);
            }
        }
    }
    count
}

/// What the operating system says of a path in a step's directory.
fn failed(operation: &'static str, path: &std::path::Path, error: impl Into<std::io::Error>) -> Error {
    let error = error.into();
    let is_refused = error.kind() == std::io::ErrorKind::PermissionDenied;
    let cure = is_refused.then(|| capabilities_cure(&Facts::load())).flatten();
    cure.into_iter().fold(Error::io(operation, path, error), Error::hint)
}
