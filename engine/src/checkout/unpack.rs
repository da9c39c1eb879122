//! The worker's side of making a folder: exactly what a tree says, as far as the ids and the filesystem allow.
//!
//! What is refused is left out: the engine compares with what the folder has, not with what it should have.

use super::{
    outcome::{Doing, Outcome},
    place,
    wire::{BYTES, NO_BYTES, OPAQUE, WHITEOUT, place_mark},
};
use rbuild_overlay::clone_prefix;
use rbuild_tree::{
    Entry, Kind, Metadata,
    encoding::{decode_snapshot, decode_tree},
};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, linkat, lsetxattr, mknodat, utimensat,
};
use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, ErrorKind},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            ffi::OsStrExt,
            fs::{OpenOptionsExt, PermissionsExt, lchown, symlink},
        },
    },
    path::{Path, PathBuf},
};

/// The bits that making a file sets.
const PERMISSIONS: u32 = 0o777;

/// A folder being filled.
pub(super) struct Unpack {
    folder: OwnedFd,
    root: Metadata,
    /// Directories get their metadata last: it changes, or forbids, what is done in them.
    directories: Vec<(PathBuf, Metadata)>,
}

impl Unpack {
    /// `snapshot` says what the folder itself will be.
    pub(super) fn begin(folder: OwnedFd, snapshot: &[u8]) -> Outcome<Self> {
        let root = decode_snapshot(snapshot).map_err(|error| error.to_string())?.root;
        // What is made in it would have its group, if a folder above it says so.
        let own = |path: &str| {
            lchown(path, Some(0), Some(0))?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        };
        place::enter(folder.as_fd(), Path::new(""))
            .and_then(|()| own("."))
            .doing("set the attributes of", Path::new(""))?;
        Ok(Self { folder, root, directories: Vec::new() })
    }

    /// Makes entries of the directory at `path`; `files` are the bytes of those that have some, in order.
    pub(super) fn fill(&mut self, path: &[u8], tree: &[u8], files: Vec<OwnedFd>) -> Outcome<()> {
        let tree = decode_tree(tree).map_err(|error| error.to_string())?;
        let mut files = files.into_iter().map(File::from);
        let directory = Path::new(OsStr::from_bytes(path));
        place::enter(self.folder.as_fd(), directory).doing("enter", directory)?;
        for (name, entry) in tree {
            let name = Path::new(OsStr::from_bytes(&name));
            make(name, &entry, &mut files).doing_in("make", directory, name)?;
            match entry {
                Entry { metadata, kind: Kind::Directory(_) } => {
                    self.directories.push((directory.join(name), metadata));
                }
                Entry { kind, .. } if kind == WHITEOUT => {}
                Entry { metadata, kind } => {
                    let is_link = matches!(kind, Kind::Symlink(_));
                    let mark = place_mark(directory.join(name).as_os_str().as_bytes());
                    set_metadata(name, &metadata, is_link, mark).doing_in(
                        "set the attributes of",
                        directory,
                        name,
                    )?;
                }
            }
        }
        Ok(())
    }

    /// Gives the first of these paths, a file, the others as names.
    pub(super) fn link(&self, paths: &[&[u8]]) -> Outcome<()> {
        let Some((first, others)) = paths.split_first() else { return Ok(()) };
        let open = |path| {
            let (directory, name) = place::parent(path);
            Ok::<_, String>((
                place::open_directory(self.folder.as_fd(), directory).doing("enter", directory)?,
                name,
            ))
        };
        let (from, old) = open(first)?;
        for other in others {
            let (to, new) = open(other)?;
            linkat(&from, old, &to, new, AtFlags::empty())
                .doing("link", Path::new(OsStr::from_bytes(other)))?;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Outcome<()> {
        // Those below before those above, whose time they would change.
        let root = [(PathBuf::new(), self.root)];
        for (path, metadata) in root.iter().chain(&self.directories).rev() {
            place::enter(self.folder.as_fd(), path)
                .and_then(|()| fs::set_permissions(".", fs::Permissions::from_mode(metadata.mode)))
                .and_then(|()| set_metadata(Path::new("."), metadata, false, metadata.mtime.nanoseconds))
                .doing("set the attributes of", path)?;
        }
        Ok(())
    }
}

/// Makes one entry, with its permissions but for the bits that a change of owner takes away; [`work`](super::work) has no
/// umask.
fn make(path: &Path, entry: &Entry, files: &mut impl Iterator<Item = File>) -> io::Result<()> {
    let mode = entry.metadata.mode & PERMISSIONS;
    let special = |kind, mode: u32| Ok(mknodat(CWD, path, kind, Mode::from_raw_mode(mode), 0)?);
    let create = || File::options().write(true).create_new(true).mode(mode).open(path);
    match &entry.kind {
        Kind::Directory(_) => fs::create_dir(path),
        Kind::Symlink(target) => symlink(OsStr::from_bytes(target), path),
        Kind::Fifo => special(FileType::Fifo, mode),
        Kind::Socket => special(FileType::Socket, mode),
        whiteout if *whiteout == WHITEOUT => special(FileType::CharacterDevice, 0),
        // A user namespace makes no devices.
        Kind::CharDevice(_) | Kind::BlockDevice(_) | Kind::File { size: 0, .. } => create().map(drop),
        Kind::File { size, .. } if entry.metadata.xattrs.contains_key(NO_BYTES) => create()?.set_len(*size),
        Kind::File { size, .. } => {
            let bytes = files.next().ok_or(ErrorKind::UnexpectedEof)?;
            clone_prefix(&bytes, &create()?, *size)
        }
    }
}

/// Sets what can be set: owners that the map has, attributes that the filesystem takes.
fn set_metadata(path: &Path, metadata: &Metadata, is_link: bool, mark: u32) -> io::Result<()> {
    // What is made belongs to 0:0.
    if (metadata.uid, metadata.gid) != (0, 0) {
        match lchown(path, Some(metadata.uid), Some(metadata.gid)) {
            Err(error) if !matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::PermissionDenied) => {
                return Err(error);
            }
            _ => {}
        }
    }
    if !is_link && metadata.mode & !PERMISSIONS != 0 {
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
    let times =
        Timestamps { last_access: Timespec { tv_nsec: mark.into(), ..time }, last_modification: time };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
