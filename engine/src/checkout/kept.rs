//! Folders of stacks that are kept between builds, in the store:
//!
//! ```text
//! checkouts/NAME/          digest of what it holds, whose ids it bears, and the format
//! checkouts/NAME/folder/   for the kernel; nobody writes to it
//! checkouts/NAME/objects   those that files of it name, 32 bytes each
//! checkouts/NAME/stamp     written last: the inode of the folder, when that was changed last, the size of `objects`
//! ```
//!
//! An empty `NAME` is a note that a build did without ([`in_memory`](super::in_memory)): the next one that needs it makes it,
//! if there is room on the disk.
//! A copy of a store has other inodes: perhaps it lacks attributes, without which files would be empty. Who uses one holds a
//! shared lock on `NAME`; its time is that of its last use. What a power cut may have taken is not used.

use super::Hand;
use crate::store::Store;
use rbuild_sandbox::IdMap;
use rbuild_tree::{ObjectId, SnapshotId};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Of what [`layer`](super::layer) and the worker make of a tree.
const FORMAT: &str = "1";
/// More are not kept.
const MOST: usize = 12;
/// With less room in bytes on the disk, none are.
const ROOM: u64 = 1 << 30;
const FOLDER: &str = "folder";
const OBJECTS: &str = "objects";
const STAMP: &str = "stamp";

/// A kept folder; nobody removes it as long as this lives.
pub(super) struct Kept {
    pub(super) folder: PathBuf,
    /// A file with the objects that files name.
    pub(super) objects: PathBuf,
    _lock: File,
}

/// Which folder it would be: what is shown, and what it lies on if it is a difference only.
pub(super) fn name(ids: &IdMap, shares: bool, above: SnapshotId, below: Option<SnapshotId>) -> String {
    let (uids, gids) = (&ids.uids, &ids.gids);
    let text = format!("{FORMAT} {above} {below:?} {shares} {uids:?} {gids:?}");
    ObjectId::of(text.as_bytes()).to_string()
}

/// Where a folder is made that may be kept: in a scratch folder of its own.
pub(super) fn folder_in(scratch: &Path) -> PathBuf {
    scratch.join(FOLDER)
}

/// Whether there is one, as it seems.
pub(super) fn is_there(store: &Store, name: &str) -> bool {
    store.checkouts_path().join(name).join(STAMP).exists()
}

/// Notes that this build does without it; gives whether that was noted before, and there is room for it.
pub(super) fn is_missed_again(store: &Store, name: &str) -> bool {
    // An empty folder that one that is kept can replace.
    match fs::create_dir(store.checkouts_path().join(name)) {
        Ok(()) => forget_old_notes(store),
        Err(error) => return error.kind() == io::ErrorKind::AlreadyExists && room(store) >= ROOM,
    }
    false
}

fn forget_old_notes(store: &Store) {
    let notes = places(store).filter(|place| is_note(place)).collect();
    for note in oldest(notes, MOST) {
        // Not if another process has just put what was missed there.
        let _ = fs::remove_dir(note);
    }
}

fn places(store: &Store) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(store.checkouts_path()).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn is_note(place: &Path) -> bool {
    fs::read_dir(place).is_ok_and(|mut inside| inside.next().is_none())
}

/// Takes one into use; none if there is none that can be trusted.
pub(super) fn take(store: &Store, name: &str) -> Option<Kept> {
    let place = store.checkouts_path().join(name);
    let lock = File::open(&place).ok()?;
    lock.try_lock_shared().ok()?;
    // Perhaps it was removed before it was locked.
    let is_there = fs::metadata(&place).ok()?.ino() == lock.metadata().ok()?.ino();
    (is_there && is_sound(store, &place)).then(|| {
        let _ = lock.set_modified(SystemTime::now());
        Kept { folder: place.join(FOLDER), objects: place.join(OBJECTS), _lock: lock }
    })
}

fn is_sound(store: &Store, place: &Path) -> bool {
    let stamp =
        File::open(place.join(STAMP)).and_then(|stamp| Ok((stamp.metadata()?, io::read_to_string(stamp)?)));
    let now = stamp_of(place);
    matches!((stamp, now), (Ok((metadata, stamp)), Ok(now)) if stamp == now && !store.doubts(&metadata))
}

/// Keeps a folder that is whole, made in this scratch folder; fails if it stays there, as good as before.
pub(super) fn keep(store: &Store, scratch: &Path, name: &str, objects: &[ObjectId]) -> io::Result<Kept> {
    let place = store.checkouts_path().join(name);
    let bytes: Vec<u8> = objects.iter().flat_map(ObjectId::as_bytes).copied().collect();
    fs::write(scratch.join(OBJECTS), bytes)?;
    fs::write(scratch.join(STAMP), stamp_of(scratch)?)?;
    let lock = File::open(scratch)?;
    lock.lock_shared()?;
    store.note_write();
    fs::rename(scratch, &place)?;
    Ok(Kept { folder: place.join(FOLDER), objects: place.join(OBJECTS), _lock: lock })
}

/// Makes room for one more: those that can't be trusted go, and then those used least recently, unless somebody uses them.
pub(super) fn tidy(store: &Store, hand: &Hand) {
    let most = if room(store) < ROOM { 0 } else { MOST };
    let places = places(store).filter(|place| !is_note(place));
    let (sound, mut excess): (Vec<_>, Vec<_>) = places.partition(|place| is_sound(store, place));
    // For one more.
    excess.extend(oldest(sound, most.saturating_sub(1)));
    for place in excess {
        if let Err(error) = remove(store, hand, &place) {
            tracing::debug!(?place, %error, "a kept folder could not be removed");
        }
    }
}

/// Those that are too many.
fn oldest(places: Vec<PathBuf>, most: usize) -> impl Iterator<Item = PathBuf> {
    let used = |place: &PathBuf| fs::metadata(place).and_then(|found| found.modified()).ok();
    let mut places: Vec<_> = places.into_iter().map(|place| (used(&place), place)).collect();
    places.sort();
    let count = places.len().saturating_sub(most);
    places.into_iter().take(count).map(|(_, place)| place)
}

fn remove(store: &Store, hand: &Hand, place: &Path) -> io::Result<()> {
    let lock = File::open(place)?;
    // Perhaps it is another one by now.
    if lock.try_lock().is_err() || fs::metadata(place)?.ino() != lock.metadata()?.ino() {
        return Ok(());
    }
    // From here on nobody finds it.
    let scratch = store.scratch().fresh();
    fs::rename(place, &scratch)?;
    hand.empty(&scratch.join(FOLDER)).map_err(|error| io::Error::other(error.message().to_owned()))?;
    crate::store::remove_all(&scratch)
}

fn room(store: &Store) -> u64 {
    let found = rustix::fs::statvfs(store.checkouts_path());
    found.map_or(u64::MAX, |found| found.f_bavail.saturating_mul(found.f_frsize))
}

fn stamp_of(place: &Path) -> io::Result<String> {
    let found = fs::symlink_metadata(place.join(FOLDER))?;
    let objects = fs::metadata(place.join(OBJECTS))?.len();
    Ok(format!("{} {}.{:09} {objects}\n", found.ino(), found.ctime(), found.ctime_nsec()))
}
