//! The worker's side of making a folder: exactly what a tree says, as far as the ids and the filesystem allow.
//!
//! What is refused is left out: the engine compares with what the folder has, not with what it should have.

use super::{
    wire::{BYTES, NO_BYTES, OPAQUE},
    worker::{Doing, Outcome},
};
use rbuild_overlay::clone_prefix;
use rbuild_tree::{
    Device, Entry, Kind, Metadata, Snapshot, TreePath,
    encoding::{decode_snapshot, decode_tree},
};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, lsetxattr, mknodat, utimensat,
};
use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, ErrorKind},
    os::{
        fd::OwnedFd,
        unix::{
            ffi::OsStrExt,
            fs::{PermissionsExt, lchown, symlink},
        },
    },
    path::{Path, PathBuf},
};

/// How a directory of an overlay says that a name of those below it is gone.
pub(super) const WHITEOUT: Kind = Kind::CharDevice(Device { major: 0, minor: 0 });

/// A folder being filled; the current one.
pub(super) struct Unpack {
    snapshot: Snapshot,
    /// Directories get their metadata last: it changes, or forbids, what is done in them.
    directories: Vec<(PathBuf, Metadata)>,
}

impl Unpack {
    /// `snapshot` is what the folder will be: itself and the hard links in it.
    pub(super) fn begin(snapshot: &[u8]) -> Outcome<Self> {
        let snapshot = decode_snapshot(snapshot).map_err(|error| error.to_string())?;
        Ok(Self { snapshot, directories: Vec::new() })
    }

    /// Makes entries of the directory at `path`; `files` are the bytes of those that have some, in order.
    pub(super) fn fill(&mut self, path: &[u8], tree: &[u8], files: Vec<OwnedFd>) -> Outcome<()> {
        let tree = decode_tree(tree).map_err(|error| error.to_string())?;
        let mut files = files.into_iter().map(File::from);
        for (name, entry) in tree {
            let path = Path::new(OsStr::from_bytes(path)).join(OsStr::from_bytes(&name));
            make(&path, &entry, &mut files).doing("make", &path)?;
            match entry {
                Entry { metadata, kind: Kind::Directory(_) } => self.directories.push((path, metadata)),
                Entry { kind, .. } if kind == WHITEOUT => {}
                Entry { metadata, kind } => {
                    let is_link = matches!(kind, Kind::Symlink(_));
                    set_metadata(&path, &metadata, is_link).doing("set the attributes of", &path)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Outcome<()> {
        for group in self.snapshot.links.groups() {
            let Some((first, others)) = group.split_first() else { continue };
            for other in others {
                let path = relative(other);
                fs::hard_link(relative(first), path).doing("link", path)?;
            }
        }
        // Those below before those above, whose time they would change.
        for (path, metadata) in self.directories.iter().rev() {
            set_metadata(path, metadata, false).doing("set the attributes of", path)?;
        }
        set_metadata(Path::new("."), &self.snapshot.root, false).doing("set the attributes of", Path::new(""))
    }
}

fn relative(path: &TreePath) -> &Path {
    Path::new(OsStr::from_bytes(path.as_bytes()))
}

/// Makes one entry, not yet with its metadata.
fn make(path: &Path, entry: &Entry, files: &mut impl Iterator<Item = File>) -> io::Result<()> {
    let special = |kind, mode: u32| Ok(mknodat(CWD, path, kind, Mode::from_raw_mode(mode), 0)?);
    match &entry.kind {
        Kind::Directory(_) => fs::create_dir(path),
        Kind::Symlink(target) => symlink(OsStr::from_bytes(target), path),
        Kind::Fifo => special(FileType::Fifo, 0),
        Kind::Socket => special(FileType::Socket, 0),
        whiteout if *whiteout == WHITEOUT => special(FileType::CharacterDevice, 0),
        // A user namespace makes no devices.
        Kind::CharDevice(_) | Kind::BlockDevice(_) | Kind::File { size: 0, .. } => {
            File::create_new(path).map(drop)
        }
        Kind::File { size, .. } if entry.metadata.xattrs.contains_key(NO_BYTES) => {
            File::create_new(path)?.set_len(*size)
        }
        Kind::File { size, .. } => {
            let bytes = files.next().ok_or(ErrorKind::UnexpectedEof)?;
            clone_prefix(&bytes, &File::create_new(path)?, *size)
        }
    }
}

/// Sets what can be set: owners that the map has, attributes that the filesystem takes.
fn set_metadata(path: &Path, metadata: &Metadata, is_link: bool) -> io::Result<()> {
    match lchown(path, Some(metadata.uid), Some(metadata.gid)) {
        Err(error) if !matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::PermissionDenied) => {
            return Err(error);
        }
        _ => {}
    }
    if !is_link {
        fs::set_permissions(path, fs::Permissions::from_mode(metadata.mode))?;
    }
    for (name, value) in &metadata.xattrs {
        // Without a mark of the kernel it would be something else.
        let is_needed = [OPAQUE, NO_BYTES, BYTES].contains(&&**name);
        match lsetxattr(path, &**name, value, XattrFlags::empty()) {
            Err(error) if is_needed => return Err(error.into()),
            _ => {}
        }
    }
    let time = Timespec { tv_sec: metadata.mtime.seconds, tv_nsec: metadata.mtime.nanoseconds.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
