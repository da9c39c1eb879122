//! A filesystem in memory that overlay mounts of several sandboxes show.
//!
//! It is mounted nowhere, so a [`Worker`](crate::Worker) that made it can fill it, and it is gone when nobody holds it any
//! more. Each sandbox of the same ids mounts a copy of it (`open_tree`), since an overlay takes what belongs to the caller's
//! own mounts only: the kernel allows both since Linux 6.15.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen, open_tree,
};

/// A filesystem in memory, owned by 0:0 of the ids that made it.
#[derive(Clone, Debug)]
pub struct Memory(Arc<OwnedFd>);

impl Memory {
    /// Makes one with room for `kibibytes` of entries, of which each takes one and what it has of names of attributes and
    /// their values, and for `bytes` of contents and targets of links. To be called by a worker.
    ///
    /// # Errors
    /// The kernel is too old, or a filter of system calls forbids it.
    pub fn make(kibibytes: u64, bytes: u64) -> io::Result<Self> {
        let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let context = context.as_fd();
        // That is how inodes are accounted for, and attributes with them.
        let options =
            [("mode", "755".to_owned()), ("nr_inodes", kibibytes.to_string()), ("size", bytes.to_string())];
        for (name, value) in options {
            fsconfig_set_string(context, name, value)?;
        }
        fsconfig_create(context)?;
        let memory = fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_NODEV)?;
        let memory = Self::from(memory);
        // Where a sandbox could not, nobody should begin.
        memory.copy().map(|_| memory)
    }

    /// A mount of it that is the caller's own.
    pub(crate) fn copy(&self) -> io::Result<OwnedFd> {
        let flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        Ok(open_tree(&self.0, "", flags)?)
    }
}

impl From<OwnedFd> for Memory {
    /// From what [`AsFd`] gave, in another process.
    fn from(descriptor: OwnedFd) -> Self {
        Self(Arc::new(descriptor))
    }
}

impl AsFd for Memory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
