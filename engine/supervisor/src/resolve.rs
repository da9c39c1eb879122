//! From what a caller names to a file, seen as the caller sees it. The caller's words are read once; from then on only
//! our own descriptor counts.
//!
//! A path that a process of the sandbox looks for in /proc/self or in /dev/fd means itself, which the kernel would take
//! for us: those are known by their text.
//!
//! Limits: other links to /proc/self, as an image may have of its own, lead nowhere; directories that their owner may not
//! search (mode 000) can't be passed through from here.

use crate::Caller;
use rustix::{
    fs::{
        AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags, openat, openat2, readlinkat,
        statx,
    },
    io::Errno,
};
use std::{
    ffi::OsStr,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

/// What an argument names.
#[derive(Debug)]
pub(crate) struct Name {
    /// Where a relative path begins: a descriptor of the caller or AT_FDCWD.
    pub(crate) directory: i32,
    /// The path; empty for the descriptor itself.
    pub(crate) path: Vec<u8>,
    /// Whether a link at its end is followed.
    pub(crate) follow: bool,
}

/// What one more try may find otherwise: somebody renamed on the way.
const TRIES: usize = 16;

impl Name {
    /// A descriptor itself.
    fn descriptor(number: i32) -> Self {
        Self { directory: number, path: Vec::new(), follow: true }
    }

    /// The descriptor that an argument is.
    pub(crate) fn of_descriptor(caller: &Caller<'_>, at: usize) -> Self {
        Self::descriptor(caller.number(at).cast_signed())
    }

    /// The path that an argument is.
    ///
    /// # Errors
    /// ENOENT if it is empty; EFAULT, ENAMETOOLONG.
    pub(crate) fn at(caller: &Caller<'_>, at: usize, follow: bool) -> Result<Self, Errno> {
        let path = caller.path(caller.address(at))?;
        if path.is_empty() { Err(Errno::NOENT) } else { Ok(Self { directory: libc::AT_FDCWD, path, follow }) }
    }

    /// The descriptor and the path behind it that two arguments are, with these flags.
    ///
    /// # Errors
    /// As [`at`](Self::at).
    pub(crate) fn behind(caller: &Caller<'_>, at: usize, flags: AtFlags) -> Result<Self, Errno> {
        let empty = flags.contains(AtFlags::EMPTY_PATH);
        let path = match caller.address(at + 1) {
            0 if empty => Vec::new(),
            address => caller.path(address)?,
        };
        if path.is_empty() && !empty {
            return Err(Errno::NOENT);
        }
        let follow = !flags.contains(AtFlags::SYMLINK_NOFOLLOW);
        Ok(Self { directory: caller.number(at).cast_signed(), path, follow })
    }

    /// Opens it only to name it.
    ///
    /// # Errors
    /// What the caller would be told; EOPNOTSUPP for a link of /proc itself.
    pub(crate) fn open(&self, pid: u32) -> Result<OwnedFd, Errno> {
        if self.path.is_empty() {
            return start(pid, self.directory);
        }
        if let Some((number, rest)) = own_descriptor(&self.path) {
            return match rest {
                b"" if self.follow => start(pid, number),
                b"" => Err(Errno::OPNOTSUPP),
                rest => beneath(&start(pid, number)?, rest, self.follow),
            };
        }
        if self.path.starts_with(b"/") {
            return in_root(&root(pid)?, &self.path, self.follow);
        }
        match beneath(&start(pid, self.directory)?, &self.path, self.follow) {
            // An absolute link, or `..` to above where it began.
            Err(Errno::XDEV) => self.open_from_root(pid),
            other => other,
        }
    }

    /// What is known of it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) fn look(&self, pid: u32, flags: AtFlags, mask: StatxFlags) -> Result<Statx, Errno> {
        // One call does for the most frequent names: a descriptor, and an entry of a directory, as of a listing.
        if self.path.is_empty() {
            return statx(CWD, place(pid, self.directory), flags, mask);
        }
        if self.is_entry() {
            let mut path = place(pid, self.directory).into_bytes();
            path.push(b'/');
            path.extend_from_slice(&self.path);
            let stat = statx(CWD, path, flags | AtFlags::SYMLINK_NOFOLLOW, mask)?;
            let is_link = FileType::from_raw_mode(stat.stx_mode.into()) == FileType::Symlink;
            // Where a link leads depends on the caller's root.
            if !(self.follow && is_link) {
                return Ok(stat);
            }
        }
        look(&self.open(pid)?, flags, mask)
    }

    /// Whether it is an entry of the directory where it begins. `..` may be above the caller's root.
    fn is_entry(&self) -> bool {
        !self.path.contains(&b'/') && self.path != b".."
    }

    fn open_from_root(&self, pid: u32) -> Result<OwnedFd, Errno> {
        let text = |place: String| -> Result<PathBuf, Errno> {
            let link = readlinkat(CWD, place, Vec::new())?;
            Ok(OsStr::from_bytes(link.as_bytes()).into())
        };
        let base = text(place(pid, self.directory))?;
        let top = text(format!("/proc/{pid}/root"))?;
        let inside = base.strip_prefix(&top).map_err(|_| Errno::NOENT)?;
        let path = Path::new("/").join(inside).join(OsStr::from_bytes(&self.path));
        in_root(&root(pid)?, path.as_os_str().as_bytes(), self.follow)
    }
}

/// What is known of an open file.
///
/// # Errors
/// Flags or a mask that the kernel does not know.
pub(crate) fn look(file: &OwnedFd, flags: AtFlags, mask: StatxFlags) -> Result<Statx, Errno> {
    statx(file, "", flags | AtFlags::EMPTY_PATH, mask)
}

/// Where a relative path of a process begins, as a path of ours.
fn place(pid: u32, directory: i32) -> String {
    match directory {
        libc::AT_FDCWD => format!("/proc/{pid}/cwd"),
        number => format!("/proc/{pid}/fd/{number}"),
    }
}

fn start(pid: u32, directory: i32) -> Result<OwnedFd, Errno> {
    let missing = if directory == libc::AT_FDCWD { Errno::NOENT } else { Errno::BADF };
    let opened = openat(CWD, place(pid, directory), OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    opened.map_err(|errno| if errno == Errno::NOENT { missing } else { errno })
}

/// The root of a process.
///
/// # Errors
/// It is gone.
pub(crate) fn root(pid: u32) -> Result<OwnedFd, Errno> {
    openat(CWD, format!("/proc/{pid}/root"), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

fn in_root(root: &OwnedFd, path: &[u8], follow: bool) -> Result<OwnedFd, Errno> {
    resolve(root, path, follow, ResolveFlags::IN_ROOT)
}

fn beneath(directory: &OwnedFd, path: &[u8], follow: bool) -> Result<OwnedFd, Errno> {
    resolve(directory, path, follow, ResolveFlags::BENEATH)
}

fn resolve(start: &OwnedFd, path: &[u8], follow: bool, within: ResolveFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let flags = if follow { flags } else { flags | OFlags::NOFOLLOW };
    let resolve = within | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..TRIES {
        match openat2(start, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// The descriptor of the caller that a path names by way of /proc or /dev, and what follows it.
fn own_descriptor(path: &[u8]) -> Option<(i32, &[u8])> {
    const STANDARD: [(&[u8], i32); 3] = [(b"/dev/stdin", 0), (b"/dev/stdout", 1), (b"/dev/stderr", 2)];
    const FOLDERS: [&[u8]; 3] = [b"/proc/self/fd/", b"/proc/thread-self/fd/", b"/dev/fd/"];
    if let Some((_, number)) = STANDARD.iter().find(|(name, _)| *name == path) {
        return Some((*number, b""));
    }
    let rest = FOLDERS.iter().find_map(|folder| path.strip_prefix(*folder))?;
    let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
    let number = str::from_utf8(&rest[..end]).ok()?.parse().ok().filter(|number| *number >= 0)?;
    let after = rest[end..].iter().position(|byte| *byte != b'/').map_or(rest.len(), |count| end + count);
    Some((number, &rest[after..]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rustix::fs::fstat;
    use std::{fs::File, os::fd::AsRawFd};

    #[test]
    fn own_descriptors_are_known_by_their_text() {
        for (path, expected) in [
            (&b"/proc/self/fd/7"[..], Some((7, &b""[..]))),
            (b"/proc/thread-self/fd/0/a/b", Some((0, b"a/b"))),
            (b"/dev/fd/12//x", Some((12, b"x"))),
            (b"/dev/stderr", Some((2, b""))),
            (b"/dev/stderr/", None),
            (b"/proc/self/fd/", None),
            (b"/proc/self/fd/-1", None),
            (b"/proc/self/fd/x", None),
            (b"/proc/self/exe", None),
            (b"proc/self/fd/1", None),
        ] {
            assert_eq!(own_descriptor(path), expected, "{}", String::from_utf8_lossy(path));
        }
    }

    fn inode(name: &Name) -> Result<(u64, FileType), Errno> {
        let stat = fstat(name.open(std::process::id())?)?;
        Ok((stat.st_ino, FileType::from_raw_mode(stat.st_mode)))
    }

    #[test]
    fn names_are_resolved_as_the_caller_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("sub")).unwrap();
        std::fs::write(path("sub/file"), "").unwrap();
        std::os::unix::fs::symlink(path("sub/file"), path("absolute")).unwrap();
        std::os::unix::fs::symlink("sub/file", path("relative")).unwrap();
        let wanted = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path("sub/file")).unwrap());
        let (top, sub) = (File::open(folder.path()).unwrap(), File::open(path("sub")).unwrap());
        let name = |directory: &File, path: &str| Name {
            directory: directory.as_raw_fd(),
            path: path.as_bytes().to_vec(),
            follow: true,
        };
        for good in ["absolute", "relative", "sub/file", "sub/../relative"] {
            assert_eq!(inode(&name(&top, good)).unwrap().0, wanted, "{good}");
        }
        assert_eq!(inode(&name(&sub, "../sub/./file")).unwrap().0, wanted);
        let absolute = path("relative").into_os_string().into_string().unwrap();
        assert_eq!(inode(&name(&sub, &absolute)).unwrap().0, wanted);
        let through = format!("/proc/self/fd/{}/relative", top.as_raw_fd());
        assert_eq!(inode(&name(&sub, &through)).unwrap().0, wanted);
        for (bad, errno) in [("none", Errno::NOENT), ("sub/file/x", Errno::NOTDIR)] {
            assert_eq!(inode(&name(&top, bad)), Err(errno), "{bad}");
        }
        for (path, follow, expected) in [
            ("relative", true, FileType::RegularFile),
            ("absolute", true, FileType::RegularFile),
            ("absolute", false, FileType::Symlink),
            ("sub", true, FileType::Directory),
            (".", true, FileType::Directory),
        ] {
            let name = Name { follow, ..name(&top, path) };
            let stat = name.look(std::process::id(), AtFlags::empty(), StatxFlags::TYPE).unwrap();
            assert_eq!(FileType::from_raw_mode(stat.stx_mode.into()), expected, "{path} {follow}");
        }
        for link in ["absolute", "relative"] {
            let name = Name { follow: false, ..name(&top, link) };
            assert_eq!(inode(&name).unwrap().1, FileType::Symlink);
        }
        assert_eq!(inode(&Name::descriptor(9999)), Err(Errno::BADF));
    }
}
