//! The name under which something is written before it is whole.
//!
//! The name follows from the final one, and whoever writes holds a lock on what is under it: so what a killed process
//! left is found and removed by the next one, and two processes that write the same output wait for each other.

use super::{super::error::Result, folder::Folder};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{self, AtFlags, FlockOperation, Mode, OFlags},
    io::{Errno, retry_on_intr},
};

/// The name used while the thing of this final name is written.
pub(super) fn unfinished_name(name: &[u8]) -> Vec<u8> {
    format!(".rbuild-{}", &blake3::hash(name).to_hex()[..16]).into_bytes()
}

impl Folder {
    /// A new file of the caller's alone; its lock goes when it is closed.
    pub(super) fn claim_file(&self, name: &[u8]) -> Result<std::fs::File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let make = || fs::openat(self, name, flags, Mode::RUSR | Mode::WUSR);
        Ok(self.claim(name, &make)?.into())
    }

    /// A new folder of the caller's alone; its lock goes when it is closed.
    pub(super) fn claim_folder(&self, name: &[u8]) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let make = || {
            fs::mkdirat(self, name, Mode::RWXU)?;
            fs::openat(self, name, flags, Mode::empty())
        };
        Ok(self.below(name, self.claim(name, &make)?))
    }

    /// Waits until nobody else holds it; the lock goes when it is closed.
    pub(super) fn lock(&self) -> Result<()> {
        lock(self).map_err(|errno| self.failed("lock", b".", errno))
    }

    fn claim(&self, name: &[u8], make: &dyn Fn() -> rustix::io::Result<OwnedFd>) -> Result<OwnedFd> {
        loop {
            match make() {
                Ok(fd) => {
                    lock(&fd).map_err(|errno| self.failed("lock", name, errno))?;
                    // Between making and locking it another process may have taken it for dead.
                    if self.is_named(name, &fd)? {
                        return Ok(fd);
                    }
                }
                Err(Errno::EXIST) => self.remove_dead(name)?,
                // A folder that another process took for dead before it was open; a third may have made it anew since.
                Err(Errno::NOENT) => self.check_still_there()?,
                Err(errno) => return Err(self.failed("make", name, errno)),
            }
        }
    }

    /// Waits for whoever writes it, and removes it if it is there still: its writer is dead.
    fn remove_dead(&self, name: &[u8]) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match fs::openat(self, name, flags, Mode::empty()) {
            Ok(fd) => {
                lock(&fd).map_err(|errno| self.failed("lock", name, errno))?;
                if self.is_named(name, &fd)? { self.remove(name) } else { Ok(()) }
            }
            Err(Errno::NOENT) => Ok(()),
            // Nothing of ours: a link, or what can't be read.
            Err(_) => self.remove(name),
        }
    }

    /// Whether the open thing is what has this name.
    fn is_named(&self, name: &[u8], fd: &OwnedFd) -> Result<bool> {
        let failed = |errno| self.failed("look at", name, errno);
        let open = fs::fstat(fd).map_err(failed)?;
        match fs::statat(self, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(named) => Ok((named.st_dev, named.st_ino) == (open.st_dev, open.st_ino)),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(failed(errno)),
        }
    }
}

/// Waits for the lock; some filesystems have none, and then nobody is kept out.
fn lock(fd: impl AsFd) -> rustix::io::Result<()> {
    match retry_on_intr(|| fs::flock(&fd, FlockOperation::LockExclusive)) {
        Err(Errno::NOTSUP | Errno::NOLCK | Errno::NOSYS | Errno::INVAL) => Ok(()),
        locked => locked,
    }
}
