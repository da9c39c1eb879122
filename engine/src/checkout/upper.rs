//! The worker's side of reading what a step changed: the folder that the kernel wrote to, and of each name in it what the
//! folders below show.
//!
//! A directory comes in messages of some entries each, before all that is below it: its path, the entries, and what the
//! stack has under their names. The bytes of files that have some come along, open.

use super::{
    unpack::WHITEOUT,
    wire::{self, INODE, MOST_ENTRIES, OPAQUE},
    worker::{Doing, Outcome},
};
use rbuild_tree::{
    Device, Entry, Kind, Metadata, ObjectId, Snapshot, Timestamp, Tree, Xattrs,
    encoding::{encode_snapshot, encode_tree},
};
use rustix::{
    fs::{OFlags, lgetxattr, llistxattr, major, minor},
    io::Errno,
};
use std::{
    ffi::{OsStr, OsString},
    fs::{self, OpenOptions},
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{
            ffi::{OsStrExt, OsStringExt},
            fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
        },
    },
    path::{Path, PathBuf},
};

/// The kernel's limit of a list of names, and of a value.
const LARGEST: usize = 64 << 10;
/// Room for the names that most files have.
const USUAL: usize = 512;

/// A folder being read; the current one.
pub(super) struct Upper {
    /// Directories to be read, the next last.
    open: Vec<Directory>,
    /// Of the directory being read: names to come, the next last.
    names: Vec<OsString>,
    now: Directory,
    /// Kept open for `now` and `open`.
    _roots: Vec<OwnedFd>,
}

#[derive(Default)]
struct Directory {
    path: PathBuf,
    /// What the stack shows there is made up of these, the uppermost first.
    below: Vec<PathBuf>,
}

impl Upper {
    /// Gives the root directory too, as it is and as the stack shows it: two snapshots.
    pub(super) fn begin(stack: Vec<OwnedFd>) -> Outcome<(Self, Vec<u8>)> {
        let below: Vec<PathBuf> =
            stack.iter().map(|root| format!("/proc/self/fd/{}/.", root.as_raw_fd()).into()).collect();
        let uppermost = below.first().ok_or("no stack came along")?;
        let root = |path: &Path| {
            let root = entry(path).doing("look at", Path::new(""))?.metadata;
            Ok::<_, String>(encode_snapshot(&Snapshot { root, ..Snapshot::scratch() }))
        };
        let roots = wire::join(&[&root(Path::new("."))?, &root(uppermost)?]);
        let open = vec![Directory { path: PathBuf::new(), below }];
        Ok((Self { open, names: Vec::new(), now: Directory::default(), _roots: stack }, roots))
    }

    /// The next message; an empty one at the end.
    pub(super) fn next(&mut self) -> Outcome<(Vec<u8>, Vec<OwnedFd>)> {
        while self.names.is_empty() {
            let Some(directory) = self.open.pop() else { return Ok((Vec::new(), Vec::new())) };
            let list = if directory.path.as_os_str().is_empty() { Path::new(".") } else { &directory.path };
            let names =
                fs::read_dir(list).and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
            self.names = names.doing("list", &directory.path)?;
            self.now = directory;
        }
        let (mut upper, mut below, mut files) = (Vec::new(), Vec::new(), Vec::new());
        let rest = self.names.len().saturating_sub(MOST_ENTRIES);
        let mut names = self.names.split_off(rest);
        names.sort_unstable();
        for name in names {
            let path = self.now.path.join(&name);
            let found = entry(&path).doing("look at", &path)?;
            let shown = shown(&self.now.below, &name).doing("look below", &path)?;
            if matches!(found.kind, Kind::File { size: 1.., .. }) {
                files.push(open_file(&path).doing("open", &path)?);
            }
            if found.kind.is_directory() {
                let below = match &shown {
                    Some((_, below)) if !is_opaque(&found) => below.clone(),
                    _ => Vec::new(),
                };
                self.open.push(Directory { path, below });
            }
            let name: Box<[u8]> = name.into_vec().into();
            below.extend(shown.map(|(entry, _)| (name.clone(), entry)));
            upper.push((name, found));
        }
        let trees = [upper, below].map(|entries| encode_tree(&Tree::from_entries(entries)));
        Ok((wire::join(&[self.now.path.as_os_str().as_bytes(), &trees[0], &trees[1]]), files))
    }
}

/// Whether a directory hides what lies below it.
pub(super) fn is_opaque(entry: &Entry) -> bool {
    entry.metadata.xattrs.get(OPAQUE).is_some_and(|value| **value == *b"y")
}

/// What a name is in directories that lie on each other; of a directory also which ones it is made up of.
fn shown(directories: &[PathBuf], name: &OsStr) -> io::Result<Option<(Entry, Vec<PathBuf>)>> {
    let mut shown: Option<(Entry, Vec<PathBuf>)> = None;
    for directory in directories {
        let path = directory.join(name);
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
        shown.get_or_insert_with(|| (found, Vec::new())).1.push(path);
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

/// What is at a path; the bytes of a file and the names in a directory are not looked at.
fn entry(path: &Path) -> io::Result<Entry> {
    let found = fs::symlink_metadata(path)?;
    let mut xattrs = attributes(path)?;
    let kind = found.file_type();
    if found.nlink() > 1 && !kind.is_dir() {
        xattrs.insert(INODE.into(), found.ino().to_le_bytes().into());
    }
    let device = Device { major: major(found.rdev()), minor: minor(found.rdev()) };
    let kind = match () {
        () if kind.is_dir() => Kind::Directory(Tree::default().id()),
        () if kind.is_symlink() => Kind::Symlink(fs::read_link(path)?.into_os_string().into_vec().into()),
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

fn attributes(path: &Path) -> io::Result<Xattrs> {
    let (mut few, mut many) = ([0; USUAL], Vec::new());
    let names = match llistxattr(path, &mut few[..]) {
        Err(Errno::OPNOTSUPP) => &[],
        Err(Errno::RANGE) => {
            many.resize(LARGEST, 0);
            let length = llistxattr(path, &mut many[..])?;
            &many[..length]
        }
        length => &few[..length?],
    };
    let mut xattrs = Xattrs::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; LARGEST];
        let length = match lgetxattr(path, name, &mut value[..]) {
            // Of another namespace.
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM) => continue,
            length => length?,
        };
        xattrs.insert(name.into(), value[..length].into());
    }
    Ok(xattrs)
}
