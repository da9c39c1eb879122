//! Making a directory what a tree says, from what it is.

use super::failed;
use crate::{
    error::{Error, Result},
    folder::attributes,
    store::{Store, remove_all},
};
use rayon::prelude::*;
use rbuild_overlay::clone_prefix;
use rbuild_tree::{
    Change, Delta, Device, Entry, Kind, Metadata, ObjectId, Snapshot, TreePath, TreeStore, diff,
    entry::is_kept_xattr, lookup,
};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, lremovexattr, lsetxattr, makedev,
    mknodat, utimensat,
};
use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::{self, File},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, lchown, symlink},
    },
    path::{Path, PathBuf},
};

/// Where a path of a tree is below a folder.
pub(super) fn below(folder: &Path, path: &TreePath) -> PathBuf {
    folder.join(OsStr::from_bytes(path.as_bytes()))
}

/// Changes `folder`, which holds `had`, so that it holds `wanted`.
///
/// # Errors
/// The store lacks something, the disk is full, the build is stopped; then it holds neither.
pub(super) fn change(
    store: &Store,
    folder: &Path,
    had: &Snapshot,
    wanted: &Snapshot,
    stopped: &(dyn Fn() -> bool + Sync),
) -> Result<()> {
    let delta = diff(store, had, wanted)?;
    if delta.is_empty() {
        return Ok(());
    }
    let mut work = Work { store, folder, files: Vec::new(), directories: Vec::new() };
    work.collect(&delta, had, wanted)?;
    work.files.par_iter().try_for_each(|(path, object, size, metadata)| {
        if stopped() {
            return Err(Error::interrupted());
        }
        make_file(store, path, object, *size)?;
        give(path, metadata, false).map_err(|error| failed("make", path, error))
    })?;
    for group in delta.links.groups() {
        let first = below(folder, &group[0]);
        for other in &group[1..] {
            let path = below(folder, other);
            remove(&path)?;
            fs::hard_link(&first, &path).map_err(|error| failed("link", &path, error))?;
        }
    }
    // Those below before those above, whose time they would change.
    for (path, metadata) in work.directories.iter().rev() {
        set_metadata(path, metadata, false).map_err(|error| failed("set the attributes of", path, error))?;
    }
    // A link changes the time of its directory.
    for group in delta.links.groups() {
        for path in group {
            let parent = path.parent().unwrap_or_default();
            if let Some(entry) = directory(store, wanted, &parent)? {
                let path = below(folder, &parent);
                set_time(&path, &entry).map_err(|error| failed("set the time of", &path, error))?;
            }
        }
    }
    Ok(())
}

fn directory(store: &Store, tree: &Snapshot, path: &TreePath) -> Result<Option<Metadata>> {
    if path.is_root() {
        return Ok(Some(tree.root.clone()));
    }
    Ok(lookup(store, tree, path)?.map(|entry| entry.metadata))
}

/// What is left to do when all directories, links and special files are there.
struct Work<'a> {
    store: &'a Store,
    folder: &'a Path,
    files: Vec<(PathBuf, ObjectId, u64, Metadata)>,
    /// They get their metadata last: it changes, or forbids, what is done in them.
    directories: Vec<(PathBuf, Metadata)>,
}

impl Work<'_> {
    fn collect(&mut self, delta: &Delta, had: &Snapshot, wanted: &Snapshot) -> Result<()> {
        let linked: HashSet<&TreePath> = had.links.groups().iter().flatten().collect();
        self.directories.push((self.folder.to_owned(), wanted.root.clone()));
        let mut open = vec![(TreePath::root(), &delta.root)];
        while let Some((path, change)) = open.pop() {
            for (name, change) in &change.children {
                let path = path.join(name);
                let place = below(self.folder, &path);
                match change {
                    Change::Removed => remove(&place)?,
                    Change::Replaced(entry) => {
                        let was = lookup(self.store, had, &path)?;
                        let is_same = was.is_some_and(|was| was.kind == entry.kind);
                        if is_same && !entry.kind.is_directory() && !linked.contains(&path) {
                            let is_link = matches!(entry.kind, Kind::Symlink(_));
                            set_metadata(&place, &entry.metadata, is_link)
                                .map_err(|error| failed("set the attributes of", &place, error))?;
                        } else {
                            remove(&place)?;
                            self.make(place, entry)?;
                        }
                    }
                    Change::Directory(inner) => {
                        if let Some(metadata) = directory(self.store, wanted, &path)? {
                            self.directories.push((place, metadata));
                        }
                        open.push((path, inner));
                    }
                }
            }
        }
        Ok(())
    }

    /// Makes an entry with all below it; bytes of files come later.
    fn make(&mut self, place: PathBuf, entry: &Entry) -> Result<()> {
        let mut open = vec![(place, entry.clone())];
        while let Some((place, Entry { metadata, kind })) = open.pop() {
            match kind {
                Kind::File { object, size } => self.files.push((place, object, size, metadata)),
                Kind::Directory(tree) => {
                    fs::create_dir(&place).map_err(|error| failed("make", &place, error))?;
                    let tree = self.store.tree(&tree)?;
                    open.extend(
                        tree.iter().map(|(name, entry)| (place.join(OsStr::from_bytes(name)), entry.clone())),
                    );
                    self.directories.push((place, metadata));
                }
                kind => {
                    let is_link = matches!(kind, Kind::Symlink(_));
                    make_special(&place, &kind)
                        .and_then(|()| give(&place, &metadata, is_link))
                        .map_err(|error| failed("make", &place, error))?;
                }
            }
        }
        Ok(())
    }
}

fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Err(error) => Err(error),
        Ok(found) if found.is_dir() => remove_all(path),
        Ok(_) => fs::remove_file(path),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path, error)),
        _ => Ok(()),
    }
}

fn make_file(store: &Store, path: &Path, object: &ObjectId, size: u64) -> Result<()> {
    let file = File::create_new(path).map_err(|error| failed("make", path, error))?;
    if size == 0 {
        return Ok(());
    }
    let bytes = store.open_object(object).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            Error::from(rbuild_tree::Error::Missing { what: "object", id: object.to_string() })
        }
        _ => failed("open", &store.object_path(object), error),
    })?;
    clone_prefix(&bytes, &file, size).map_err(|error| failed("write", path, error))
}

pub(super) fn make_special(path: &Path, kind: &Kind) -> io::Result<()> {
    let make = |kind, device: u64| mknodat(CWD, path, kind, Mode::empty(), device);
    let number = |device: &Device| makedev(device.major, device.minor);
    match kind {
        Kind::Symlink(target) => symlink(OsStr::from_bytes(target), path),
        Kind::Fifo => Ok(make(FileType::Fifo, 0)?),
        Kind::Socket => Ok(make(FileType::Socket, 0)?),
        // A container may make few devices or none: then an empty file stands for it.
        Kind::CharDevice(device) => make(FileType::CharacterDevice, number(device))
            .or_else(|_| make(FileType::RegularFile, 0))
            .map_err(io::Error::from),
        Kind::BlockDevice(device) => make(FileType::BlockDevice, number(device))
            .or_else(|_| make(FileType::RegularFile, 0))
            .map_err(io::Error::from),
        Kind::File { .. } | Kind::Directory(_) => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Gives what was there this metadata, and no other attributes.
fn set_metadata(path: &Path, metadata: &Metadata, is_link: bool) -> io::Result<()> {
    let is_other = |name: &[u8]| is_kept_xattr(name) && !metadata.xattrs.contains_key(name);
    for name in attributes(path)?.keys().filter(|name| is_other(name)) {
        lremovexattr(path, &**name)?;
    }
    give(path, metadata, is_link)
}

/// Sets what can be set: owners that this user namespace has, attributes that the filesystem takes.
pub(super) fn give(path: &Path, metadata: &Metadata, is_link: bool) -> io::Result<()> {
    match lchown(path, Some(metadata.uid), Some(metadata.gid)) {
        Err(error)
            if !matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::PermissionDenied) =>
        {
            return Err(error);
        }
        _ => {}
    }
    if !is_link {
        fs::set_permissions(path, fs::Permissions::from_mode(metadata.mode))?;
    }
    for (name, value) in &metadata.xattrs {
        let _ = lsetxattr(path, &**name, value, XattrFlags::empty());
    }
    set_time(path, metadata)
}

/// Sets the time of the last change.
pub(super) fn set_time(path: &Path, metadata: &Metadata) -> io::Result<()> {
    let time = Timespec { tv_sec: metadata.mtime.seconds, tv_nsec: metadata.mtime.nanoseconds.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
