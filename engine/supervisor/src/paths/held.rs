//! The file that a call is about.

use super::walk::{Place, Root};
use rbuild_overlay::Errno;
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use std::{
    os::fd::{AsRawFd, OwnedFd},
    path::PathBuf,
};

/// What a call is about. From here on it is one file, whatever becomes of its path.
pub(super) struct Held {
    /// None if there is nothing yet, in the command's root.
    pub(super) file: Option<OwnedFd>,
    /// Leads to it.
    pub(super) path: PathBuf,
    /// Whether it is a link itself.
    pub(super) is_link: bool,
}

impl Held {
    /// What is at a place.
    ///
    /// # Errors
    /// ENOENT if it tells of this program; what the kernel says.
    pub(super) fn open(root: &Root, place: &Place) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let flags = if place.follow { flags } else { flags | OFlags::NOFOLLOW };
        let file = match openat(CWD, &place.path, flags, Mode::empty()) {
            Err(Errno::NOENT) if root.is_below(&place.path) => {
                return Ok(Self { file: None, path: place.path.clone(), is_link: false });
            }
            file => file?,
        };
        if root.hides_file(&file)? {
            return Err(Errno::NOENT);
        }
        let is_link = FileType::from_raw_mode(fstat(&file)?.st_mode) == FileType::Symlink;
        // Of a link only its own attributes are told.
        let path =
            if is_link { place.path.clone() } else { format!("/proc/self/fd/{}", file.as_raw_fd()).into() };
        Ok(Self { file: Some(file), path, is_link })
    }
}
