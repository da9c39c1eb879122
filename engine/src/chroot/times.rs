//! The times of directories, of which putting something in or taking it away would tell.

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// The times of a directory in which something is about to be put or taken away, of which they are not to tell.
pub(super) struct Times {
    pub(super) place: PathBuf,
    found: fs::Metadata,
}

impl Times {
    /// Those of what a path lies in.
    pub(super) fn above(path: &Path) -> io::Result<Self> {
        let place = path.parent().unwrap_or(path).to_owned();
        Ok(Self { found: fs::symlink_metadata(&place)?, place })
    }

    /// Sets them again.
    pub(super) fn restore(&self) -> io::Result<()> {
        let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
        let found = &self.found;
        let times = Timestamps {
            last_access: time(found.atime(), found.atime_nsec()),
            last_modification: time(found.mtime(), found.mtime_nsec()),
        };
        Ok(utimensat(CWD, &self.place, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }
}
