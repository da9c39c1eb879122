//! Directories by paths of any length: the kernel takes 4,096 bytes at once.

use rustix::{
    fs::{Mode, OFlags, openat},
    process::fchdir,
};
use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

/// Less than the kernel takes, with room for one more name.
const AT_ONCE: usize = 3_500;

/// Opens a directory below another one, to name what is in it.
pub(super) fn open_directory(root: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |directory: BorrowedFd<'_>, path: &[u8]| openat(directory, path, flags, Mode::empty());
    let mut directory = open(root, b".")?;
    let mut rest = path.as_os_str().as_bytes();
    while !rest.is_empty() {
        let (piece, tail) = split(rest);
        directory = open(directory.as_fd(), piece)?;
        rest = tail;
    }
    Ok(directory)
}

/// Makes it the current one.
pub(super) fn enter(root: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    Ok(fchdir(open_directory(root, path)?)?)
}

/// The directory of a path, which is not empty, and its last name.
pub(super) fn parent(path: &[u8]) -> (&Path, &OsStr) {
    let at = path.iter().rposition(|byte| *byte == b'/');
    let (directory, name) = at.map_or((&b""[..], path), |at| (&path[..at], &path[at + 1..]));
    (Path::new(OsStr::from_bytes(directory)), OsStr::from_bytes(name))
}

/// As much as the kernel takes, and what follows.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.get(..AT_ONCE).and_then(|start| start.iter().rposition(|byte| *byte == b'/')) {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (path, b""),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::{fs, path::PathBuf};

    #[test]
    fn a_path_of_any_length_leads_to_its_directory() {
        let root = tempfile::tempdir().unwrap();
        let mut here = OwnedFd::from(fs::File::open(root.path()).unwrap());
        let mut path = PathBuf::new();
        for level in 0..100 {
            let name = if level % 2 == 0 { "a".repeat(255) } else { "b".to_owned() };
            rustix::fs::mkdirat(&here, &*name, Mode::RWXU).unwrap();
            path.push(&name);
            here = open_directory(here.as_fd(), Path::new(&name)).unwrap();
            let root = fs::File::open(root.path()).unwrap();
            let found = open_directory(root.as_fd(), &path).unwrap();
            let inode = |directory| rustix::fs::fstat(directory).unwrap().st_ino;
            assert_eq!(inode(&found), inode(&here), "{level}");
        }
        assert_eq!(parent(b"a/b/c"), (Path::new("a/b"), OsStr::new("c")));
        assert_eq!(parent(b"a"), (Path::new(""), OsStr::new("a")));
    }
}
