//! A directory of this machine as a lower.
//!
//! Every path is opened from the root's descriptor and no symbolic link is ever followed: a path of the lower names
//! itself. Extended attributes have no call that takes a directory and a name, so they go through `/proc/self/fd`;
//! where that is not mounted there are none.

use super::kind_from_type;
use crate::{Errno, Error, FileKind, cache::Cache};
use rbuild_tree::{
    Device, Kind, Metadata, ObjectId, Timestamp, TreeId, TreePath, Xattrs,
    entry::{image_value, is_kept_xattr},
    tree::Name,
};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

/// What tells two states of a file of this machine apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Stamp {
    /// Filesystem.
    pub device: u64,
    /// Inode on it.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Modification time.
    pub mtime: Timestamp,
    /// Change time.
    pub ctime: Timestamp,
}

impl Stamp {
    /// Of an open file.
    ///
    /// # Errors
    /// fstat(2) fails.
    pub fn of(file: &File) -> io::Result<Self> {
        Ok(Self::from_stat(&rustix::fs::fstat(file)?))
    }

    // The widths of these fields differ between machines.
    #[allow(clippy::unnecessary_cast)]
    fn from_stat(stat: &Stat) -> Self {
        let time = |seconds, nanoseconds: u64| Timestamp {
            seconds,
            nanoseconds: u32::try_from(nanoseconds).unwrap_or_default().min(999_999_999),
        };
        Self {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            mtime: time(stat.st_mtime as i64, stat.st_mtime_nsec as u64),
            ctime: time(stat.st_ctime as i64, stat.st_ctime_nsec as u64),
        }
    }
}

/// The blake3 of all bytes of a file, from its start.
///
/// # Errors
/// Reading fails.
pub fn hash_file(file: &File) -> io::Result<ObjectId> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(Positioned { file, at: 0 })?;
    Ok(hasher.finalize().into())
}

/// Reads without moving the file's own offset, which others may share.
struct Positioned<'a> {
    file: &'a File,
    at: u64,
}

impl Read for Positioned<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = std::os::unix::fs::FileExt::read_at(self.file, buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// What stands at a path. The ids in `kind` mean nothing: nobody hashed it.
pub(crate) struct Found {
    pub metadata: Metadata,
    pub kind: Kind,
    pub links: u32,
    pub blocks: u64,
    pub stamp: Stamp,
}

/// An open root.
pub(crate) struct LiveRoot {
    path: PathBuf,
    root: OwnedFd,
    exclude: BTreeSet<TreePath>,
    directories: Cache<TreePath, OwnedFd>,
}

impl LiveRoot {
    /// Opens it.
    pub fn open(path: &Path, exclude: Vec<TreePath>) -> Result<Self, Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, path, flags, Mode::empty());
        let root = root.map_err(|cause| Error::io("open", path)(cause.into()))?;
        let exclude = exclude.into_iter().collect();
        Ok(Self { path: path.into(), root, exclude, directories: Cache::new(16) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn is_excluded(&self, path: &TreePath) -> bool {
        !self.exclude.is_empty() && self.exclude.iter().any(|excluded| path.starts_with(excluded))
    }

    fn open_at(&self, path: &TreePath, flags: OFlags) -> io::Result<OwnedFd> {
        if self.is_excluded(path) {
            return Err(Errno::NOENT.into());
        }
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = if path.is_root() { &b"."[..] } else { path.as_bytes() };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&self.root, name, flags, Mode::empty(), resolve) {
            // Old kernels, and containers whose filter does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => self.open_step_by_step(path, flags),
            other => Ok(other?),
        }
    }

    fn open_step_by_step(&self, path: &TreePath, flags: OFlags) -> io::Result<OwnedFd> {
        let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut at = rustix::fs::openat(&self.root, c".", step, Mode::empty())?;
        let Some(last) = path.name() else {
            return Ok(rustix::fs::openat(&at, c".", flags, Mode::empty())?);
        };
        for name in path.parent().unwrap_or_default().names() {
            at = rustix::fs::openat(&at, name, step, Mode::empty())?;
        }
        Ok(rustix::fs::openat(&at, last, flags, Mode::empty())?)
    }

    fn directory(&self, path: &TreePath) -> io::Result<Arc<OwnedFd>> {
        self.directories.get(path, || self.open_at(path, OFlags::PATH | OFlags::DIRECTORY))
    }

    /// A regular file, for reading.
    pub fn file(&self, path: &TreePath) -> io::Result<File> {
        // Nonblocking, lest something that became a fifo holds us up.
        self.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY).map(File::from)
    }

    /// The names in a directory, sorted.
    pub fn list(&self, path: &TreePath) -> io::Result<Vec<(Name, FileKind)>> {
        let directory = self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut names = Vec::new();
        for entry in Dir::new(directory)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") || self.is_excluded(&path.join(name)) {
                continue;
            }
            let kind = match kind_from_type(entry.file_type()) {
                Some(kind) => kind,
                None => self.kind(&path.join(name))?,
            };
            names.push((name.into(), kind));
        }
        names.sort_by(|(a, _): &(Name, FileKind), (b, _)| a.cmp(b));
        Ok(names)
    }

    fn kind(&self, path: &TreePath) -> io::Result<FileKind> {
        let found = self.look(path)?;
        Ok(found.map_or(FileKind::File, |found| crate::directory::kind_of(&found.kind)))
    }

    /// What stands at a path; nothing if a part of it is missing or no directory.
    pub fn look(&self, path: &TreePath) -> io::Result<Option<Found>> {
        match self.find(path) {
            Ok(found) => Ok(Some(found)),
            Err(cause) => match Errno::from_io_error(&cause) {
                Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
                _ => Err(cause),
            },
        }
    }

    fn find(&self, path: &TreePath) -> io::Result<Found> {
        if self.is_excluded(path) {
            return Err(Errno::NOENT.into());
        }
        let directory = self.directory(&path.parent().unwrap_or_default())?;
        let name = path.name().unwrap_or(b".");
        let stat = rustix::fs::statat(directory.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let xattrs = match kind {
            FileType::RegularFile | FileType::Directory => xattrs(&directory, name),
            _ => Xattrs::new(),
        };
        let stamp = Stamp::from_stat(&stat);
        let mode = if kind == FileType::Symlink { 0o777 } else { stat.st_mode & 0o7777 };
        Ok(Found {
            metadata: Metadata { mode, uid: stat.st_uid, gid: stat.st_gid, mtime: stamp.mtime, xattrs },
            kind: self.entry_kind(kind, &stat, &directory, name)?,
            links: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
            blocks: u64::try_from(stat.st_blocks).unwrap_or_default(),
            stamp,
        })
    }

    fn entry_kind(&self, kind: FileType, stat: &Stat, directory: &OwnedFd, name: &[u8]) -> io::Result<Kind> {
        let device =
            || Device { major: rustix::fs::major(stat.st_rdev), minor: rustix::fs::minor(stat.st_rdev) };
        Ok(match kind {
            FileType::RegularFile => {
                let size = u64::try_from(stat.st_size).unwrap_or_default();
                Kind::File { object: ObjectId::from_bytes([0; 32]), size }
            }
            FileType::Directory => Kind::Directory(TreeId::from_bytes([0; 32])),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(directory, name, Vec::new())?;
                Kind::Symlink(target.into_bytes().into_boxed_slice())
            }
            FileType::CharacterDevice => Kind::CharDevice(device()),
            FileType::BlockDevice => Kind::BlockDevice(device()),
            FileType::Fifo => Kind::Fifo,
            FileType::Socket => Kind::Socket,
            FileType::Unknown => return Err(Errno::IO.into()),
        })
    }
}

/// Bytes of all names of attributes, and of one value: as many as Linux knows.
const MOST_XATTRS: usize = 64 << 10;

/// Those that a tree keeps. Not being allowed to read one is like not having it.
fn xattrs(directory: &OwnedFd, name: &[u8]) -> Xattrs {
    let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    let mut names = vec![0_u8; 1 << 10];
    let length = match rustix::fs::llistxattr(&path, &mut names[..]) {
        Err(Errno::RANGE) => {
            names.resize(MOST_XATTRS, 0);
            rustix::fs::llistxattr(&path, &mut names[..])
        }
        length => length,
    };
    let Some(length @ 1..) = length.ok() else { return Xattrs::new() };
    let mut kept = Xattrs::new();
    let mut value = vec![0_u8; MOST_XATTRS];
    for attribute in names[..length].split(|byte| *byte == 0).filter(|name| is_kept_xattr(name)) {
        if let Ok(length) = rustix::fs::lgetxattr(&path, attribute, &mut value[..]) {
            kept.insert(attribute.into(), image_value(attribute, &value[..length]).into());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::symlink;

    fn path(text: &str) -> TreePath {
        TreePath::parse(text.as_bytes()).unwrap()
    }

    fn root(folder: &Path, exclude: &[&str]) -> LiveRoot {
        LiveRoot::open(folder, exclude.iter().map(|text| path(text)).collect()).unwrap()
    }

    #[test]
    fn links_on_the_way_are_not_followed_and_excluded_paths_are_absent() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("d/hidden")).unwrap();
        std::fs::write(at("d/f"), b"bytes").unwrap();
        symlink("d", at("link")).unwrap();
        symlink("/etc", at("d/etc")).unwrap();
        let root = root(folder.path(), &["d/hidden"]);
        assert!(matches!(root.look(&path("d/f")).unwrap().unwrap().kind, Kind::File { size: 5, .. }));
        assert!(
            matches!(root.look(&path("link")).unwrap().unwrap().kind, Kind::Symlink(target) if *target == *b"d")
        );
        for missing in ["link/f", "d/etc/passwd", "d/hidden", "d/hidden/x", "d/f/x", "none"] {
            assert!(root.look(&path(missing)).unwrap().is_none(), "{missing}");
            assert!(root.open_step_by_step(&path(missing), OFlags::RDONLY).is_err() || missing == "d/hidden");
        }
        let names = root.list(&path("d")).unwrap();
        assert_eq!(names, [(b"etc"[..].into(), FileKind::Symlink), (b"f"[..].into(), FileKind::File)]);
        assert!(root.list(&path("link")).is_err());
    }

    #[test]
    fn all_attributes_are_found_however_long_their_names() {
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let file = folder.path().join("f");
        std::fs::write(&file, b"").unwrap();
        let names: Vec<String> = (0..8).map(|number| format!("user.{number}{}", "x".repeat(200))).collect();
        for name in &names {
            rustix::fs::setxattr(&file, name.as_str(), b"1", rustix::fs::XattrFlags::empty()).unwrap();
        }
        let found = root(folder.path(), &[]).look(&path("f")).unwrap().unwrap();
        assert_eq!(found.metadata.xattrs.len(), names.len());
    }

    #[test]
    fn a_file_is_read_and_stamped() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("f"), b"bytes").unwrap();
        let root = root(folder.path(), &[]);
        let file = root.file(&path("f")).unwrap();
        assert_eq!(hash_file(&file).unwrap(), ObjectId::of(b"bytes"));
        assert_eq!(Stamp::of(&file).unwrap(), root.look(&path("f")).unwrap().unwrap().stamp);
        std::fs::write(folder.path().join("f"), b"other bytes").unwrap();
        assert_ne!(Stamp::of(&file).unwrap(), Stamp { size: 5, ..Stamp::of(&file).unwrap() });
    }
}
