//! A folder of this machine, held open: names in it are looked at, made and removed without any symbolic link ever
//! being followed, whoever changes the workspace meanwhile.

use super::super::error::{OperationError, Result};
use super::to_path;
use crate::error::Error;
use rbuild_tree::TreePath;
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{self, AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, Timespec, Timestamps, XattrFlags},
    io::Errno,
};
use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// Says that rbuild made a folder and may replace it.
const MARK: &str = "user.rbuild.output";
/// The same, where a filesystem has no such attributes.
const MARK_FILE: &[u8] = b".rbuild-output";

/// An open folder.
pub(super) struct Folder {
    fd: OwnedFd,
    /// For messages.
    path: PathBuf,
}

impl Folder {
    /// Opens a folder that the caller named: links on the way to it are the caller's.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = fs::open(path, flags, Mode::empty()).map_err(|errno| failed("open", path, errno))?;
        Ok(Self { fd, path: path.to_owned() })
    }

    pub(super) fn path_of(&self, path: &TreePath) -> PathBuf {
        if path.is_root() { self.path.clone() } else { self.path.join(to_path(path)) }
    }

    pub(super) fn path_of_name(&self, name: &[u8]) -> PathBuf {
        self.path.join(OsStr::from_bytes(name))
    }

    /// A folder of this name that is open already.
    pub(super) fn below(&self, name: &[u8], fd: OwnedFd) -> Self {
        Self { fd, path: self.path_of_name(name) }
    }

    /// An error if the folder itself was removed meanwhile: nothing can be made in it.
    pub(super) fn check_still_there(&self) -> Result<()> {
        let stat = fs::fstat(&self.fd).map_err(|errno| failed("look at", &self.path, errno))?;
        if stat.st_nlink == 0 { Err(failed("write into", &self.path, Errno::NOENT)) } else { Ok(()) }
    }

    /// What is under this name, if something is.
    pub(super) fn look(&self, name: &[u8]) -> Result<Option<FileType>> {
        match fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.failed("look at", name, errno)),
        }
    }

    /// Opens the folder of this name.
    pub(super) fn enter(&self, name: &[u8]) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => Ok(self.below(name, fd)),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(self.in_the_way(name)?),
            Err(errno) => Err(self.failed("open", name, errno)),
        }
    }

    /// Opens the folder of this name, making it if nothing is there; says whether it did. A new one is the caller's
    /// alone until [`Folder::finish`].
    pub(super) fn make(&self, name: &[u8], mode: u32) -> Result<(Self, bool)> {
        let made = match fs::mkdirat(&self.fd, name, Mode::from_raw_mode(mode)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(self.failed("make", name, errno)),
        };
        Ok((self.enter(name)?, made))
    }

    /// The folder at a path below this one, made where it is missing.
    pub(super) fn descend(&self, path: &TreePath) -> Result<Self> {
        let mut folder = self.again()?;
        for name in path.names() {
            folder = folder.make(name, 0o777)?.0;
        }
        Ok(folder)
    }

    /// As [`Folder::descend`], if all of it is there.
    pub(super) fn descend_existing(&self, path: &TreePath) -> Result<Option<Self>> {
        let mut folder = self.again()?;
        for name in path.names() {
            if folder.look(name)?.is_none() {
                return Ok(None);
            }
            folder = folder.enter(name)?;
        }
        Ok(Some(folder))
    }

    /// The same folder once more.
    pub(super) fn again(&self) -> Result<Self> {
        let fd = self.fd.try_clone().map_err(|error| Error::io("open", &self.path, error))?;
        Ok(Self { fd, path: self.path.clone() })
    }

    /// The names in it, sorted.
    pub(super) fn names(&self) -> Result<Vec<Box<[u8]>>> {
        let failed = |errno| failed("list", &self.path, errno);
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                names.push(name.into());
            }
        }
        names.sort();
        Ok(names)
    }

    /// A name that nobody has.
    pub(super) fn fresh_name(&self) -> Vec<u8> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let name = format!(".rbuild-{}-{number}", std::process::id()).into_bytes();
            // Left by a killed process of the same id.
            if matches!(self.look(&name), Ok(None) | Err(_)) {
                return name;
            }
        }
    }

    /// A new symbolic link.
    pub(super) fn link(&self, name: &[u8], target: &[u8], mtime: Timestamps) -> Result<()> {
        fs::symlinkat(target, &self.fd, name).map_err(|errno| self.failed("make", name, errno))?;
        fs::utimensat(&self.fd, name, &mtime, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| self.failed("set the time of", name, errno))
    }

    /// Moves `from` over `to`.
    pub(super) fn rename(&self, from: &[u8], to: &[u8]) -> Result<()> {
        fs::renameat(&self.fd, from, &self.fd, to).map_err(|errno| self.failed("write", to, errno))
    }

    /// Swaps two names at once; where a filesystem can't, the folder under `to` is gone for a moment.
    pub(super) fn exchange(&self, from: &[u8], to: &[u8]) -> Result<()> {
        match fs::renameat_with(&self.fd, from, &self.fd, to, RenameFlags::EXCHANGE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                let aside = self.fresh_name();
                self.rename(to, &aside)?;
                self.rename(from, to)?;
                self.rename(&aside, from)
            }
            swapped => swapped.map_err(|errno| self.failed("write", to, errno)),
        }
    }

    /// Takes away what is under this name, with all below it; nothing there is fine.
    pub(super) fn remove(&self, name: &[u8]) -> Result<()> {
        match self.look(name)? {
            None => Ok(()),
            Some(kind) if kind.is_dir() => self.remove_folder(name),
            Some(_) => self.unlink(name, AtFlags::empty()),
        }
    }

    fn remove_folder(&self, name: &[u8]) -> Result<()> {
        // A folder with the names in it that are still to go.
        let inside = |folder: Self| folder.names().map(|names| (folder, names));
        let mut open = vec![inside(self.enter(name)?)?];
        let mut way = vec![name.to_vec().into_boxed_slice()];
        while let Some((folder, names)) = open.last_mut() {
            let Some(child) = names.pop() else {
                open.pop();
                let outer = open.last().map_or(self, |(folder, _)| folder);
                way.pop().map_or(Ok(()), |name| outer.unlink(&name, AtFlags::REMOVEDIR))?;
                continue;
            };
            if folder.look(&child)?.is_some_and(FileType::is_dir) {
                let below = inside(folder.enter(&child)?)?;
                open.push(below);
                way.push(child);
            } else {
                folder.unlink(&child, AtFlags::empty())?;
            }
        }
        Ok(())
    }

    fn unlink(&self, name: &[u8], flags: AtFlags) -> Result<()> {
        match fs::unlinkat(&self.fd, name, flags) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.failed("remove", name, errno)),
        }
    }

    /// Gives it the mode and time it shall have, once all is in it.
    pub(super) fn finish(&self, mode: u32, mtime: Timestamps) -> Result<()> {
        finish(&self.fd, mode, mtime).map_err(|errno| failed("set the mode and time of", &self.path, errno))
    }

    /// Says that rbuild made it.
    pub(super) fn mark(&self) -> Result<()> {
        match fs::fsetxattr(&self.fd, MARK, b"1", XattrFlags::empty()) {
            Err(Errno::NOTSUP | Errno::PERM | Errno::NOSPC) => {
                if self.look(MARK_FILE)?.is_none() {
                    self.claim_file(MARK_FILE)?;
                }
                Ok(())
            }
            marked => marked.map_err(|errno| failed("mark", &self.path, errno)),
        }
    }

    /// Whether [`Folder::mark`] did.
    pub(super) fn is_marked(&self) -> Result<bool> {
        let mut value = [0_u8; 8];
        Ok(fs::fgetxattr(&self.fd, MARK, &mut value[..]).is_ok() || self.look(MARK_FILE)?.is_some())
    }

    fn in_the_way(&self, name: &[u8]) -> Result<OperationError> {
        let word = self.look(name)?.map_or("thing that vanished", word);
        let message = format!("{} is a {word}, not a folder", self.path_of_name(name).display());
        let error = OperationError::new("type-conflict", message);
        Ok(if word == "symbolic link" {
            error.hint("outputs are never written through links of the workspace: remove it")
        } else {
            error
        })
    }

    pub(super) fn failed(&self, operation: &str, name: &[u8], errno: Errno) -> OperationError {
        failed(operation, &self.path_of_name(name), errno)
    }
}

/// Mode and time of a file or folder that is finished.
pub(super) fn finish(fd: impl AsFd, mode: u32, mtime: Timestamps) -> std::result::Result<(), Errno> {
    fs::fchmod(&fd, Mode::from_raw_mode(mode))?;
    fs::futimens(&fd, &mtime)
}

/// A time of a tree as the time of last change, and as that of last access, so that nothing else tells of today.
pub(super) fn times(time: rbuild_tree::Timestamp) -> Timestamps {
    let time = Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// The word for it in messages.
pub(super) fn word(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "file",
        FileType::Directory => "folder",
        FileType::Symlink => "symbolic link",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        FileType::CharacterDevice | FileType::BlockDevice => "device",
        _ => "thing of an unknown kind",
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A path for messages.
pub(super) fn display(path: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(path)
}

fn failed(operation: &str, path: &Path, errno: Errno) -> OperationError {
    Error::io(operation, path, errno.into()).into()
}
