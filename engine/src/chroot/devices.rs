//! The /dev of a directory.

use super::failed;
use crate::error::Result;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

/// The devices of every container, and their numbers (Documentation/admin-guide/devices.txt).
const DEVICES: [(&str, u32, u32); 7] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
    ("ptmx", 5, 2),
];

const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Makes what is in /dev.
///
/// # Errors
/// What the machine says.
pub(super) fn make(place: &Path) -> Result<()> {
    let made = |error| failed("make", place, error);
    for (name, major, minor) in DEVICES {
        let path = place.join(name);
        // Where none may be made, the supervisor answers for all but tty.
        if mknodat(CWD, &path, FileType::CharacterDevice, Mode::empty(), makedev(major, minor)).is_ok() {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).map_err(made)?;
        }
    }
    for (name, target) in LINKS {
        symlink(target, place.join(name)).map_err(made)?;
    }
    for (name, mode) in [("pts", 0o755), ("shm", 0o1777), ("mqueue", 0o1777)] {
        fs::create_dir(place.join(name)).map_err(made)?;
        fs::set_permissions(place.join(name), fs::Permissions::from_mode(mode)).map_err(made)?;
    }
    Ok(())
}
