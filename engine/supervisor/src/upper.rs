//! The folder that the kernel's overlay filesystem writes to, and which file in it is behind one that is seen.

use crate::resolve::look;
use rbuild_tree::Timestamp;
use rustix::{
    fs::{
        AtFlags, CWD, Mode, OFlags, ResolveFlags, Statx, StatxFlags, getxattr, openat, openat2, readlinkat,
    },
    io::Errno,
};
use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

/// What one more try may find otherwise: somebody renamed on the way.
const TRIES: usize = 16;

/// The kernel's mark of what it copied up.
const COPY: &str = "user.overlay.origin";

/// The changes of a mount.
#[derive(Debug)]
pub(crate) struct Upper {
    folder: OwnedFd,
    target: PathBuf,
}

impl Upper {
    /// Those of the mount on `target`.
    pub(crate) fn open(folder: &Path, target: &str) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { folder: openat(CWD, folder, flags, Mode::empty())?, target: target.into() })
    }

    /// The number of the file that is behind one that was born then; none if it lies too deep, or nobody leaves it alone.
    pub(crate) fn find(&self, file: &OwnedFd, born_then: Timestamp) -> Option<u64> {
        (0..TRIES).find_map(|_| {
            let behind = self.behind(file).ok()?;
            let stat = look(&behind, AtFlags::empty(), StatxFlags::INO | StatxFlags::BTIME).ok()?;
            (born(&stat) == born_then).then_some(stat.stx_ino)
        })
    }

    /// Whether a file is one that the kernel copied up.
    pub(crate) fn is_copy(&self, file: &OwnedFd) -> bool {
        let behind = self.behind(file);
        behind.is_ok_and(|behind| getxattr(own(&behind), COPY, &mut [0_u8; 256]).is_ok())
    }

    /// Whether the kernel has copied up what is seen there.
    pub(crate) fn has(&self, file: &OwnedFd) -> bool {
        self.behind(file).is_ok()
    }

    fn behind(&self, file: &OwnedFd) -> Result<OwnedFd, Errno> {
        let seen = readlinkat(CWD, own(file), Vec::new())?;
        let inside = Path::new(OsStr::from_bytes(seen.as_bytes())).strip_prefix(&self.target);
        let inside = Path::new(".").join(inside.map_err(|_| Errno::NOENT)?);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        openat2(&self.folder, inside, flags, Mode::empty(), within)
    }
}

/// The path of a descriptor of this process.
pub(crate) fn own(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// When a file was made; some filesystems don't know.
pub(crate) fn born(stat: &Statx) -> Timestamp {
    Timestamp { seconds: stat.stx_btime.tv_sec, nanoseconds: stat.stx_btime.tv_nsec }
}
