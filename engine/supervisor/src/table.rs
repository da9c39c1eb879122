//! Who owns what on a filesystem of the kernel that knows one owner: kept beside it, by the numbers that statx(2) shows.
//!
//! All folders of an overlay lie on one filesystem, where a number is one file. What was there keeps its number when the
//! kernel copies it up, until the kernel forgets that; then it has the copy's. So what changes hands is known by both,
//! and what was only copied is recognised as it is when the step has ended, by the time at which it was read last. What
//! has that time set is known by both before.
//!
//! The numbers of folders that are only read never become those of other files. Those of changes may, and then the time of
//! birth is another; what was born within this tick of the clock is held open until it is over.

use crate::{
    acl,
    resolve::look,
    upper::{Upper, born},
};
use rbuild_overlay::Errno;
use rbuild_tree::{Device, Entry, Kind, Metadata, Timestamp, TreePath, Xattrs};
use rustix::{
    fs::{AtFlags, Statx, StatxFlags, Timespec, Timestamps, UTIME_OMIT, statx, utimensat},
    io::fcntl_dupfd_cloexec,
    time::{ClockId, clock_gettime},
};
use std::{
    collections::HashMap,
    ffi::OsStr,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// What must be known of a file to find it here.
pub(crate) const NEEDED: StatxFlags = StatxFlags::TYPE
    .union(StatxFlags::MODE)
    .union(StatxFlags::INO)
    .union(StatxFlags::NLINK)
    .union(StatxFlags::ATIME)
    .union(StatxFlags::BTIME);

/// Files that are held open at once, and how long a tick of the clock takes at most.
const MOST_HELD: usize = 64;
const TICK: Duration = Duration::from_millis(10);

/// What a file is that its filesystem can't show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owned {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The device that an empty file or a socket stands for.
    pub device: Option<Kind>,
    /// ACLs that name others.
    pub acls: Xattrs,
}

/// An entry of a tree that its folder can't show as it is.
#[derive(Clone, Debug)]
pub struct Foreign {
    /// Where it is in the tree.
    pub path: TreePath,
    /// What it is.
    pub owned: Owned,
    /// When its file was read last, which the kernel takes along; none of a directory.
    pub read: Option<Timestamp>,
    /// The number of its file in a folder that is only read, if that is known already.
    pub number: Option<u64>,
    /// Whether it lies in the folder of changes from the start.
    pub is_copy: bool,
}

/// The owners of the files of one mount.
#[derive(Debug)]
pub struct OwnerTable {
    target: PathBuf,
    source: PathBuf,
    foreign: Vec<Foreign>,
    upper: Option<Upper>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    files: HashMap<u64, File>,
    /// What a copy is that the kernel has forgotten to be one.
    read: HashMap<Timestamp, Owned>,
    held: Vec<Held>,
}

/// A file whose number must not become another's yet.
#[derive(Debug)]
struct Held {
    born: Timestamp,
    since: Instant,
    _file: OwnedFd,
}

#[derive(Debug)]
struct File {
    /// None if the number is never another one's.
    born: Option<Timestamp>,
    owned: Owned,
}

impl Owned {
    /// What folders of one id can't show of an entry; none if they can.
    pub fn of(entry: &Entry) -> Option<Self> {
        let metadata = &entry.metadata;
        let device = matches!(entry.kind, Kind::CharDevice(_) | Kind::BlockDevice(_));
        let acls = metadata.xattrs.iter().filter(|(name, value)| acl::names_others(name, value));
        let owned = Self {
            uid: metadata.uid,
            gid: metadata.gid,
            device: device.then(|| entry.kind.clone()),
            acls: acls.map(|(name, value)| (name.clone(), value.clone())).collect(),
        };
        (owned != Self::default()).then_some(owned)
    }

    /// Puts it in the place of what a folder shows of a file.
    pub fn tell(&self, metadata: &mut Metadata) {
        (metadata.uid, metadata.gid) = (self.uid, self.gid);
        metadata.xattrs.retain(|name, value| !acl::names_others(name, value));
        let mode = metadata.mode;
        let acls = self.acls.iter().map(|(name, value)| (name.clone(), acl::in_effect(name, value, mode)));
        metadata.xattrs.extend(acls);
    }

    /// That of a new file.
    pub(crate) fn by(uid: u32, gid: u32) -> Self {
        Self { uid, gid, ..Self::default() }
    }

    /// Puts it in the place of what the kernel says.
    pub(crate) fn show(&self, stat: &mut Statx) {
        (stat.stx_uid, stat.stx_gid) = (self.uid, self.gid);
        let (kind, Device { major, minor }) = match self.device {
            Some(Kind::CharDevice(device)) => (libc::S_IFCHR, device),
            Some(Kind::BlockDevice(device)) => (libc::S_IFBLK, device),
            _ => return,
        };
        stat.stx_mode = stat.stx_mode & 0o7777 | kind as u16;
        (stat.stx_rdev_major, stat.stx_rdev_minor) = (major, minor);
        (stat.stx_size, stat.stx_blocks) = (0, 0);
    }
}

impl OwnerTable {
    /// Of a mount of `source` of a tree on `target`, whose changes go to a folder.
    ///
    /// # Errors
    /// That can't be opened.
    pub fn new(
        (target, source): (&str, &str),
        changes: Option<&Path>,
        foreign: Vec<Foreign>,
    ) -> std::io::Result<Self> {
        let upper = changes.map(|folder| Upper::open(folder, target)).transpose()?;
        let read = foreign.iter().filter_map(|entry| Some((entry.read?, entry.owned.clone()))).collect();
        let known = |entry: &Foreign| Some((entry.number?, File { born: None, owned: entry.owned.clone() }));
        let files = foreign.iter().filter_map(known).collect();
        let state = Mutex::new(State { read, files, ..State::default() });
        Ok(Self { target: target.into(), source: source.into(), foreign, upper, state })
    }

    /// Looks up the numbers that are not known, in the root of the command, which has not begun.
    pub(crate) fn load(&self, root: &OwnedFd, is_ours: impl Fn(&Statx) -> bool) {
        let mut state = self.state();
        let unknown = self.foreign.iter().filter(|entry| entry.number.is_none());
        for Foreign { path, owned, is_copy, .. } in unknown {
            let Some(place) = self.place(path) else { continue };
            let Ok(stat) = statx(root, &place, AtFlags::SYMLINK_NOFOLLOW, NEEDED) else { continue };
            // Another mount may hide it.
            if is_ours(&stat) {
                let born = is_copy.then(|| born(&stat));
                state.files.insert(stat.stx_ino, File { born, owned: owned.clone() });
            }
        }
    }

    /// Where an entry of the tree is seen, from the root.
    fn place(&self, path: &TreePath) -> Option<PathBuf> {
        let inside = Path::new(OsStr::from_bytes(path.as_bytes())).strip_prefix(&self.source).ok()?;
        let place = self.target.join(inside);
        let place = place.strip_prefix("/").unwrap_or(&place);
        Some(Path::new(".").join(place))
    }

    /// What a file is of which a step left this number in the folder of changes, if it is not all that the folder shows.
    pub fn of(&self, number: u64, born: Timestamp) -> Option<Owned> {
        self.state().known(number, born)
    }

    /// The same of a file that is seen; `open` gives it, if it must be looked at closely.
    pub(crate) fn find(
        &self,
        stat: &Statx,
        open: impl FnOnce() -> Result<OwnedFd, Errno>,
    ) -> Result<Option<Owned>, Errno> {
        let (number, born) = (stat.stx_ino, born(stat));
        let read = Timestamp { seconds: stat.stx_atime.tv_sec, nanoseconds: stat.stx_atime.tv_nsec };
        let copied = {
            let state = self.state();
            match state.known(number, born) {
                Some(owned) => return Ok(Some(owned)),
                None => state.read.get(&read).cloned(),
            }
        };
        let (Some(owned), Some(upper)) = (copied, &self.upper) else { return Ok(None) };
        let is_copy = match u32::from(stat.stx_mode) & libc::S_IFMT {
            libc::S_IFDIR => false,
            libc::S_IFREG => upper.is_copy(&open()?),
            // What a step makes of these is known.
            _ => true,
        };
        if is_copy {
            self.state().keep(number, born, &owned);
        }
        Ok(is_copy.then_some(owned))
    }

    /// Says what a file of the folder of changes, perhaps by now, is.
    pub(crate) fn set(&self, file: OwnedFd, owned: &Owned) -> Result<(), Errno> {
        let stat = look(&file, AtFlags::empty(), NEEDED)?;
        let (shown, born) = (stat.stx_ino, born(&stat));
        // Of what is removed only those know that have it open.
        let copy =
            self.upper.as_ref().filter(|_| stat.stx_nlink > 0).and_then(|upper| upper.find(&file, born));
        self.put(file, [Some(shown), copy.filter(|number| *number != shown)], born, owned);
        Ok(())
    }

    /// Has a file that was there known by its copy, too, whose access time is about to be another.
    ///
    /// # Errors
    /// It can't be copied.
    pub(crate) fn recognise(&self, file: OwnedFd, stat: &Statx) -> Result<(), Errno> {
        let Some(upper) = &self.upper else { return Ok(()) };
        let Some(owned) = self.find(stat, || fcntl_dupfd_cloexec(&file, 0))? else { return Ok(()) };
        if !self.state().was_there(stat.stx_ino) {
            return Ok(());
        }
        if !upper.has(&file) {
            // Copies it up, and forgets no set-id bits as chown(2) does.
            utimensat(&file, "", &unchanged(stat), AtFlags::EMPTY_PATH)?;
        }
        self.set(file, &owned)
    }

    /// The same of a file that was just made.
    pub(crate) fn set_new(&self, file: OwnedFd, owned: &Owned) -> Result<(), Errno> {
        let stat = look(&file, AtFlags::empty(), NEEDED)?;
        self.put(file, [Some(stat.stx_ino), None], born(&stat), owned);
        Ok(())
    }

    fn put(&self, file: OwnedFd, numbers: [Option<u64>; 2], born: Timestamp, owned: &Owned) {
        let mut state = self.state();
        numbers.into_iter().flatten().for_each(|number| state.keep(number, born, owned));
        state.hold(file, born);
    }

    /// Lets go of the files that are held open.
    pub(crate) fn release(&self) {
        self.state().held.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn known(&self, number: u64, born: Timestamp) -> Option<Owned> {
        let file = self.files.get(&number)?;
        file.born.is_none_or(|known| known == born).then(|| file.owned.clone())
    }

    /// Whether a number that is known is of a folder that is only read.
    fn was_there(&self, number: u64) -> bool {
        self.files.get(&number).is_some_and(|file| file.born.is_none())
    }

    fn keep(&mut self, number: u64, born: Timestamp, owned: &Owned) {
        let file =
            self.files.entry(number).or_insert_with(|| File { born: Some(born), owned: Owned::default() });
        file.born = file.born.map(|_| born);
        file.owned = owned.clone();
    }

    /// Keeps a number from becoming another file's as long as that could be as young.
    fn hold(&mut self, file: OwnedFd, born: Timestamp) {
        if is_over(born) {
            return;
        }
        while self.held.len() >= MOST_HELD {
            self.let_go();
            if self.held.len() >= MOST_HELD {
                thread::sleep(TICK);
            }
        }
        self.let_go();
        self.held.push(Held { born, since: Instant::now(), _file: file });
    }

    fn let_go(&mut self) {
        // A clock that was set back makes what is held look young for long.
        self.held.retain(|held| !is_over(held.born) && held.since.elapsed() < 2 * TICK);
    }
}

/// Times that leave a file as it is.
fn unchanged(stat: &Statx) -> Timestamps {
    let (seconds, nanoseconds) = (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec);
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() },
    }
}

/// Whether nothing is born at this time any more.
fn is_over(born: Timestamp) -> bool {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    let now = Timestamp { seconds: now.tv_sec, nanoseconds: u32::try_from(now.tv_nsec).unwrap_or(0) };
    born < now
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
