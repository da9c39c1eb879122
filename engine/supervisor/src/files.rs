//! A filesystem of a command, and where the owners of its files are kept.

use crate::table::{Owned, OwnerTable};
use rbuild_overlay::{Errno, NodeId, Overlay, fuse::Notifier};
use rustix::fs::Statx;
use std::{os::fd::OwnedFd, sync::Arc};

/// A filesystem of the command.
#[derive(Debug)]
pub struct Mounted {
    /// The device number that stat(2) shows of its files.
    pub device: u64,
    /// Who owns them.
    pub files: Files,
}

/// Where the owners of files are kept.
#[derive(Debug)]
pub enum Files {
    /// In our own filesystem, where the number of a file is its node.
    Served {
        /// It.
        overlay: Overlay,
        /// What the kernel remembers of them.
        notifier: Notifier,
    },
    /// Beside the kernel's overlay filesystem.
    Kernel(Arc<OwnerTable>),
}

impl Mounted {
    /// Whether a file is of it.
    pub(crate) fn has(&self, stat: &Statx) -> bool {
        self.device == rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor)
    }

    /// What a file of it is that the kernel does not say; `open` gives it, if it must be looked at closely.
    pub(crate) fn owned(
        &self,
        stat: &Statx,
        open: impl FnOnce() -> Result<OwnedFd, Errno>,
    ) -> Result<Option<Owned>, Errno> {
        match &self.files {
            Files::Served { overlay, .. } => {
                let (uid, gid) = overlay.owner(NodeId(stat.stx_ino))?;
                Ok(((uid, gid) != (0, 0)).then(|| Owned::by(uid, gid)))
            }
            Files::Kernel(table) => table.find(stat, open),
        }
    }
}
