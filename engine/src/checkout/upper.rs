//! The worker's side of reading what a step changed: the folder that the kernel wrote to, and of each name in it what the
//! folders below show.
//!
//! A directory comes in messages of some entries each, before all that is below it: its path, the entries, and what the
//! stack has under their names. The bytes of files that have some come along, open.

use super::{
    outcome::{Doing, Outcome},
    place,
    wire::{self, IDENTITY, INODE, MANY_BYTES, MOST_ENTRIES, OPAQUE, ORIGIN, READ_AT, WHITEOUT, weight},
};
use crate::folder::attributes;
use rbuild_tree::{
    Device, Entry, Kind, Metadata, ObjectId, Snapshot, Timestamp, Tree,
    encoding::{encode_snapshot, encode_tree},
};
use rustix::fs::{
    AtFlags, CWD, OFlags, StatxFlags, StatxTimestamp, Timespec, Timestamps, major, minor, statx, utimensat,
};
use std::{
    ffi::{OsStr, OsString},
    fs::{self, OpenOptions},
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::{
            ffi::{OsStrExt, OsStringExt},
            fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
        },
    },
    path::{Path, PathBuf},
};

/// A folder being read.
pub(super) struct Upper {
    folder: OwnedFd,
    /// Of the folders below, the uppermost first.
    roots: Vec<OwnedFd>,
    /// Directories to be read, the next last.
    open: Vec<Directory>,
    /// Of the directory being read, which is the current one: names to come, the next last.
    names: Vec<OsString>,
    now: PathBuf,
    below: Vec<Layer>,
    /// Whether it tells which file each is.
    identities: bool,
}

struct Directory {
    path: PathBuf,
    /// What the stack shows there is made up of it in these folders, the uppermost first.
    below: Vec<usize>,
}

/// A directory in one of the folders, by its number.
struct Layer {
    number: usize,
    directory: OwnedFd,
}

impl Upper {
    /// Gives the root directory too, as it is and as the stack shows it: two snapshots.
    pub(super) fn begin(folder: OwnedFd, roots: Vec<OwnedFd>, identities: bool) -> Outcome<(Self, Vec<u8>)> {
        let all = (0..roots.len()).collect();
        let uppermost = roots.first().ok_or("no stack came along")?;
        let root = |folder: &OwnedFd| {
            let path = PathBuf::from(format!("/proc/self/fd/{}/.", folder.as_raw_fd()));
            let found = if identities { identified(&path) } else { entry(&path) };
            let root = found.doing("look at", Path::new(""))?.metadata;
            Ok::<_, String>(encode_snapshot(&Snapshot { root, ..Snapshot::scratch() }))
        };
        let answer = wire::join(&[&root(&folder)?, &root(uppermost)?]);
        let open = vec![Directory { path: PathBuf::new(), below: all }];
        let (names, now, below) = Default::default();
        Ok((Self { folder, roots, open, names, now, below, identities }, answer))
    }

    /// The next message; an empty one at the end.
    pub(super) fn next(&mut self) -> Outcome<(Vec<u8>, Vec<OwnedFd>)> {
        while self.names.is_empty() {
            let Some(directory) = self.open.pop() else { return Ok((Vec::new(), Vec::new())) };
            self.enter(directory)?;
        }
        let (mut upper, mut below, mut files) = (Vec::new(), Vec::new(), Vec::new());
        let mut bytes = 0;
        while upper.len() < MOST_ENTRIES
            && bytes < MANY_BYTES
            && let Some(name) = self.names.pop()
        {
            let path = Path::new(&name);
            let found = if self.identities { identified(path) } else { entry(path) };
            let found = found.doing_in("look at", &self.now, path)?;
            let shown = shown(&self.below, &name).doing_in("look below", &self.now, path)?;
            if matches!(found.kind, Kind::File { size: 1.., .. }) {
                files.push(open_file(path).doing_in("open", &self.now, path)?);
            }
            if found.kind.is_directory() {
                let below = match &shown {
                    Some((_, below)) if !is_opaque(&found) => below.clone(),
                    _ => Vec::new(),
                };
                self.open.push(Directory { path: self.now.join(path), below });
            }
            let name: Box<[u8]> = name.into_vec().into();
            let shown = shown.map(|(entry, _)| entry);
            bytes += [Some(&found), shown.as_ref()]
                .into_iter()
                .flatten()
                .map(|entry| weight(&name, entry))
                .sum::<usize>();
            below.extend(shown.map(|entry| (name.clone(), entry)));
            upper.push((name, found));
        }
        let trees = [upper, below].map(|entries| encode_tree(&Tree::from_entries(entries)));
        Ok((wire::join(&[self.now.as_os_str().as_bytes(), &trees[0], &trees[1]]), files))
    }

    fn enter(&mut self, directory: Directory) -> Outcome<()> {
        let Directory { path, below } = directory;
        place::enter(self.folder.as_fd(), &path).doing("enter", &path)?;
        let names =
            fs::read_dir(".").and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
        self.names = names.doing("list", &path)?;
        self.names.sort_unstable_by(|one, other| other.cmp(one));
        self.below = self.layers(&below, &path)?;
        self.now = path;
        Ok(())
    }

    /// A directory in some of the folders.
    fn layers(&self, numbers: &[usize], path: &Path) -> Outcome<Vec<Layer>> {
        let open = |number: &usize| {
            let directory = place::open_directory(self.roots[*number].as_fd(), path).doing("enter", path)?;
            Ok(Layer { number: *number, directory })
        };
        numbers.iter().map(open).collect()
    }

    /// What the stack shows at a path: a tree of one entry, or of none.
    pub(super) fn look_below(&self, path: &[u8]) -> Outcome<Vec<u8>> {
        let (mut numbers, mut here) = ((0..self.roots.len()).collect::<Vec<_>>(), PathBuf::new());
        let mut found = None;
        for name in path.split(|byte| *byte == b'/') {
            let text = OsStr::from_bytes(name);
            let shown = shown(&self.layers(&numbers, &here)?, text).doing_in("look below", &here, text)?;
            let Some((entry, below)) = shown else { return Ok(encode_tree(&Tree::default())) };
            found = Some((name.into(), entry));
            numbers = below;
            here.push(text);
        }
        Ok(encode_tree(&Tree::from_entries(found)))
    }
}

/// Whether a directory hides what lies below it.
pub(super) fn is_opaque(entry: &Entry) -> bool {
    entry.metadata.xattrs.get(OPAQUE).is_some_and(|value| **value == *b"y")
}

/// What a name is in directories that lie on each other; of a directory also which ones it is made up of.
fn shown(layers: &[Layer], name: &OsStr) -> io::Result<Option<(Entry, Vec<usize>)>> {
    let mut shown: Option<(Entry, Vec<usize>)> = None;
    for Layer { number, directory } in layers {
        let path = Path::new(&format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
        let found = match entry(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            found => found?,
        };
        // What is no directory hides all below it; below a directory it is nothing.
        if !found.kind.is_directory() {
            let is_there = shown.is_none() && found.kind != WHITEOUT;
            return Ok(if is_there { Some((found, Vec::new())) } else { shown });
        }
        let hides = is_opaque(&found);
        shown.get_or_insert_with(|| (found, Vec::new())).1.push(*number);
        if hides {
            break;
        }
    }
    Ok(shown)
}

fn open_file(path: &Path) -> io::Result<OwnedFd> {
    let open = OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path);
    open.map(OwnedFd::from)
}

/// The target of a link, whose time of reading stays what it is: it tells where the link was.
fn target(path: &Path, found: &fs::Metadata) -> io::Result<Box<[u8]>> {
    let target = fs::read_link(path)?.into_os_string().into_vec();
    let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
    let times = Timestamps {
        last_access: time(found.atime(), found.atime_nsec()),
        last_modification: time(found.mtime(), found.mtime_nsec()),
    };
    // Somebody else's can't be moved either.
    let _ = utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW);
    Ok(target.into())
}

/// What is at a path, and which file it is.
fn identified(path: &Path) -> io::Result<Entry> {
    let mut entry = entry(path)?;
    let asked = StatxFlags::INO | StatxFlags::BTIME | StatxFlags::ATIME;
    let found = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, asked)?;
    let time = |time: StatxTimestamp| [&time.tv_sec.to_le_bytes()[..], &time.tv_nsec.to_le_bytes()].concat();
    let identity = [&found.stx_ino.to_le_bytes()[..], &time(found.stx_btime)].concat();
    let xattrs = &mut entry.metadata.xattrs;
    xattrs.insert(IDENTITY.into(), identity.into());
    if matches!(entry.kind, Kind::Symlink(_) | Kind::Fifo | Kind::Socket) {
        xattrs.insert(READ_AT.into(), time(found.stx_atime).into());
    }
    Ok(entry)
}

/// What is at a path; the bytes of a file and the names in a directory are not looked at.
fn entry(path: &Path) -> io::Result<Entry> {
    let found = fs::symlink_metadata(path)?;
    let mut xattrs = attributes(path)?;
    let kind = found.file_type();
    if xattrs.contains_key(ORIGIN) {
        let nanoseconds = u32::try_from(found.atime_nsec()).unwrap_or(0).to_le_bytes();
        xattrs.insert(READ_AT.into(), [&found.atime().to_le_bytes()[..], &nanoseconds].concat().into());
    }
    if found.nlink() > 1 && !kind.is_dir() {
        xattrs.insert(INODE.into(), found.ino().to_le_bytes().into());
    }
    let device = Device { major: major(found.rdev()), minor: minor(found.rdev()) };
    let kind = match () {
        () if kind.is_dir() => Kind::Directory(Tree::default().id()),
        () if kind.is_symlink() => Kind::Symlink(target(path, &found)?),
        () if kind.is_char_device() => Kind::CharDevice(device),
        () if kind.is_block_device() => Kind::BlockDevice(device),
        () if kind.is_fifo() => Kind::Fifo,
        () if kind.is_socket() => Kind::Socket,
        () => Kind::File { object: ObjectId::from_bytes([0; 32]), size: found.len() },
    };
    let mode = if matches!(kind, Kind::Symlink(_)) { 0o777 } else { found.mode() & 0o7777 };
    let nanoseconds = u32::try_from(found.mtime_nsec()).unwrap_or(0);
    let mtime = Timestamp { seconds: found.mtime(), nanoseconds };
    Ok(Entry { metadata: Metadata { mode, uid: found.uid(), gid: found.gid(), mtime, xattrs }, kind })
}
