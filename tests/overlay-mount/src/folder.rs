//! An open directory. `/proc/self/fd` gives its entries paths of their own, however deep it lies: what takes no
//! directory and name, extended attributes first of all, takes those.

use crate::error::{Error, Result};
use rbuild_tree::{Device, Metadata, Timestamp, TreePath, Xattrs, entry::image_value, tree::Name};
use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat},
    io::Errno,
};
use std::{
    ffi::OsStr,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

/// Longer paths are walked name by name.
const LONGEST: usize = 3500;

/// An open directory and its path, for messages.
pub struct Folder {
    descriptor: OwnedFd,
    path: PathBuf,
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Folder {
    /// Opens a directory of this machine.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = rustix::fs::openat(CWD, path, flags, Mode::empty());
        Ok(Self { descriptor: descriptor.map_err(Error::io("open", &path.display()))?, path: path.into() })
    }

    /// Opens one below it.
    pub fn reach(root: &Path, path: &TreePath) -> Result<Self> {
        let whole = root.join(OsStr::from_bytes(path.as_bytes()));
        if whole.as_os_str().len() <= LONGEST {
            return Self::open(&whole);
        }
        path.names().try_fold(Self::open(root)?, |folder, name| folder.enter(name))
    }

    /// Opens a directory in it.
    pub fn enter(&self, name: &[u8]) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let descriptor = rustix::fs::openat(&self.descriptor, name, flags, Mode::empty());
        let path = self.path.join(OsStr::from_bytes(name));
        Ok(Self { descriptor: descriptor.map_err(Error::io("open", &path.display()))?, path })
    }

    /// A short path of an entry; of the directory itself if the name is empty.
    pub fn at(&self, name: &[u8]) -> PathBuf {
        let folder = PathBuf::from(format!("/proc/self/fd/{}", self.descriptor.as_raw_fd()));
        if name.is_empty() { folder.join(".") } else { folder.join(OsStr::from_bytes(name)) }
    }

    /// An error about an entry.
    pub fn error<E: Into<std::io::Error>>(
        &self,
        operation: &str,
        name: &[u8],
    ) -> impl FnOnce(E) -> Error + use<E> {
        Error::io(operation, &self.path.join(OsStr::from_bytes(name)).display())
    }

    /// The names in it.
    pub fn names(&self) -> Result<Vec<Name>> {
        let listing = Dir::read_from(&self.descriptor).and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.file_name().to_bytes().into()))
                .collect::<rustix::io::Result<Vec<Name>>>()
        });
        let mut names = listing.map_err(self.error("list", b""))?;
        names.retain(|name| !matches!(&**name, b"." | b".."));
        Ok(names)
    }

    /// What stat(2) says of an entry; of the directory itself if the name is empty.
    pub fn stat(&self, name: &[u8]) -> Result<Stat> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
        rustix::fs::statat(&self.descriptor, name, flags).map_err(self.error("look at", name))
    }

    /// All extended attributes of an entry, overlayfs's own too.
    pub fn xattrs(&self, name: &[u8]) -> Result<Xattrs> {
        let path = self.at(name);
        let mut names = Vec::with_capacity(1 << 10);
        loop {
            match rustix::fs::llistxattr(&path, rustix::buffer::spare_capacity(&mut names)) {
                Ok(_) => break,
                Err(Errno::RANGE) => names = Vec::with_capacity(64 << 10),
                Err(Errno::OPNOTSUPP) => return Ok(Xattrs::new()),
                Err(cause) => return Err(self.error("list the attributes of", name)(cause)),
            }
        }
        let mut xattrs = Xattrs::new();
        for attribute in names.split(|byte| *byte == 0).filter(|attribute| !attribute.is_empty()) {
            let mut value = Vec::with_capacity(64 << 10);
            rustix::fs::lgetxattr(&path, attribute, rustix::buffer::spare_capacity(&mut value))
                .map_err(self.error("read an attribute of", name))?;
            xattrs.insert(attribute.into(), image_value(attribute, &value).into());
        }
        Ok(xattrs)
    }

    /// Gives an entry its metadata; of a directory after all that was made in it.
    pub fn set_metadata(&self, name: &[u8], metadata: &Metadata, is_symlink: bool) -> Result<()> {
        let path = self.at(name);
        let (uid, gid) = (metadata.uid, metadata.gid);
        std::os::unix::fs::lchown(&path, Some(uid), Some(gid))
            .map_err(self.error("give its owner to", name))?;
        if !is_symlink {
            rustix::fs::chmod(&path, Mode::from_raw_mode(metadata.mode))
                .map_err(self.error("give its mode to", name))?;
        }
        for (attribute, value) in &metadata.xattrs {
            rustix::fs::lsetxattr(&path, &**attribute, value, rustix::fs::XattrFlags::empty())
                .map_err(self.error("give an attribute to", name))?;
        }
        let time = rustix::fs::Timespec {
            tv_sec: metadata.mtime.seconds,
            tv_nsec: metadata.mtime.nanoseconds.into(),
        };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(self.error("give its time to", name))
    }
}

/// What a tree says of a file of this machine, but for its attributes.
pub fn metadata(stat: &Stat, xattrs: Xattrs) -> Metadata {
    let kind = FileType::from_raw_mode(stat.st_mode);
    let mode = if kind == FileType::Symlink { 0o777 } else { stat.st_mode & 0o7777 };
    let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or_default();
    Metadata {
        mode,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: Timestamp { seconds: stat.st_mtime, nanoseconds },
        xattrs,
    }
}

/// Which device a file is.
pub fn device(stat: &Stat) -> Device {
    Device { major: rustix::fs::major(stat.st_rdev), minor: rustix::fs::minor(stat.st_rdev) }
}
