//! Removing what a step made: as deep as it likes, closed to its owner, with links in it.
//!
//! Nothing is named by a path, so no link is followed and no path is too long. Below some levels a directory is moved up
//! to the folder that is emptied, so the stack and the open descriptors stay few however deep it goes.

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, renameat, rmdir, statat, unlinkat},
    io::Errno,
};
use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

/// Levels that are gone down; what lies deeper is moved up first.
const LEVELS: usize = 32;

/// Removes a folder and all in it, even directories without permissions for their owner.
///
/// # Errors
/// The first of them; all that can be removed is.
pub(crate) fn remove_all(path: &Path) -> io::Result<()> {
    remove_contents(open_writable(CWD, path)?)?;
    Ok(rmdir(path)?)
}

/// Removes all that is in a folder, but for what is of another filesystem.
///
/// # Errors
/// The first of them; all that can be removed is.
pub(crate) fn remove_contents(folder: OwnedFd) -> io::Result<()> {
    let device = fstat(&folder)?.st_dev;
    let mut removal = Removal { top: folder.try_clone()?, device, moved: 0, first_error: None };
    loop {
        removal.first_error = None;
        // What was moved up meanwhile may not have been listed.
        let progress = removal.clear(folder.try_clone()?, 0);
        match removal.first_error.take() {
            None if progress == 0 => return Ok(()),
            Some(error) if progress == 0 => return Err(error),
            _ => {}
        }
    }
}

struct Removal {
    top: OwnedFd,
    /// Its filesystem's.
    device: u64,
    /// Names given to directories that were moved up.
    moved: u64,
    first_error: Option<io::Error>,
}

impl Removal {
    /// Removes what is in a directory; says how many entries left their places.
    fn clear(&mut self, directory: OwnedFd, level: usize) -> usize {
        let mut progress = 0;
        // A directory of its own, since the place in the listing is one for all copies of a descriptor.
        let mut listing = match Dir::read_from(&directory) {
            Ok(listing) => listing,
            Err(error) => return self.failed(error),
        };
        while let Some(entry) = listing.read() {
            match entry {
                Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
                Ok(entry) => progress += self.remove(&directory, entry.file_name(), entry.file_type(), level),
                Err(error) => return progress + self.failed(error),
            }
        }
        progress
    }

    fn remove(&mut self, directory: &OwnedFd, name: &CStr, kind: FileType, level: usize) -> usize {
        let kind = match kind {
            FileType::Unknown => statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_or(FileType::Unknown, |found| FileType::from_raw_mode(found.st_mode)),
            kind => kind,
        };
        if kind != FileType::Directory {
            return self.done(unlinkat(directory, name, AtFlags::empty()));
        }
        if level == LEVELS {
            return self.move_up(directory, name);
        }
        let inner = match open_writable(directory.as_fd(), name) {
            Ok(inner) => inner,
            Err(error) => return self.failed(error),
        };
        // What is mounted is somebody's who has not asked for this.
        if fstat(&inner).is_ok_and(|found| found.st_dev != self.device) {
            return self.failed(Errno::XDEV);
        }
        let progress = self.clear(inner, level + 1);
        match unlinkat(directory, name, AtFlags::REMOVEDIR) {
            Ok(()) => progress + 1,
            // Whatever stayed in it has said why.
            Err(Errno::NOTEMPTY | Errno::EXIST) => progress,
            Err(error) => progress + self.failed(error),
        }
    }

    fn move_up(&mut self, directory: &OwnedFd, name: &CStr) -> usize {
        loop {
            let fresh = CString::new(format!("moved-{}", self.moved)).unwrap_or_default();
            self.moved += 1;
            match renameat(directory, name, &self.top, &fresh) {
                // An empty directory of this name is replaced: it would go as well.
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
                Err(Errno::ACCESS) if permit(directory, name).is_ok() => {
                    return self.done(renameat(directory, name, &self.top, &fresh));
                }
                moved => return self.done(moved),
            }
        }
    }

    fn done(&mut self, result: rustix::io::Result<()>) -> usize {
        match result {
            Ok(()) => 1,
            Err(error) => self.failed(error),
        }
    }

    fn failed(&mut self, error: impl Into<io::Error>) -> usize {
        self.first_error.get_or_insert_with(|| error.into());
        0
    }
}

/// Opens a directory so that names in it can be removed.
fn open_writable<'a, P: nix::NixPath + ?Sized>(
    directory: BorrowedFd<'_>,
    name: &'a P,
) -> rustix::io::Result<OwnedFd>
where
    &'a P: rustix::path::Arg,
{
    let is_open = |found: &rustix::fs::Stat| found.st_mode & 0o700 == 0o700;
    if !statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).as_ref().is_ok_and(is_open) {
        // Only the owner can; others may not need to.
        let _ = permit(directory, name);
    }
    open(directory, name)
}

fn open<P: rustix::path::Arg>(directory: BorrowedFd<'_>, name: P) -> rustix::io::Result<OwnedFd> {
    openat(directory, name, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Opens a directory to its owner; what a link leads to stays as it is.
fn permit<P: nix::NixPath + ?Sized>(directory: impl AsFd, name: &P) -> io::Result<()> {
    use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
    Ok(fchmodat(directory, name, Mode::S_IRWXU, FchmodatFlags::NoFollowSymlink)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rustix::fs::mkdirat;
    use std::{fs, os::unix::fs::PermissionsExt};

    #[test]
    fn folders_closed_to_their_owner_are_removed() {
        let parent = tempfile::tempdir().unwrap();
        let inner = parent.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("f"), "").unwrap();
        for closed in [&inner, &parent.path().join("a")] {
            fs::set_permissions(closed, fs::Permissions::from_mode(0o000)).unwrap();
        }
        remove_all(&parent.path().join("a")).unwrap();
        assert!(!parent.path().join("a").exists());
    }

    #[test]
    fn a_link_is_removed_and_not_followed() {
        let parent = tempfile::tempdir().unwrap();
        let [outside, folder] = ["outside", "a"].map(|name| parent.path().join(name));
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "").unwrap();
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o500)).unwrap();
        fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink(&outside, folder.join("link")).unwrap();
        assert!(remove_all(&folder.join("link")).is_err());
        remove_all(&folder).unwrap();
        assert!(outside.join("kept").exists());
        assert_eq!(fs::metadata(&outside).unwrap().permissions().mode() & 0o7777, 0o500);
        assert!(!folder.exists());
    }

    /// Far more levels than a process may have open files, or than a stack holds.
    #[test]
    fn no_depth_is_too_deep() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a");
        fs::create_dir(&folder).unwrap();
        // A name that one of those moved up would get.
        fs::write(folder.join("moved-0"), "").unwrap();
        let mut here = open(CWD, &folder).unwrap();
        for level in 0..20_000 {
            let name = if level % 1000 == 0 { "n".repeat(255) } else { "n".to_owned() };
            mkdirat(&here, &*name, Mode::RWXU).unwrap();
            here = open(here.as_fd(), &*name).unwrap();
        }
        remove_all(&folder).unwrap();
        assert!(!folder.exists());
    }
}
