//! From a path of the command to what it means, where the root is a directory and its /proc, /sys and parts of its /dev are
//! stubs.
//!
//! The kernel resolves the command's paths in the directory, and finds the stubs empty. So a path is followed here first;
//! what leads into a stub goes on in the filesystem of this machine that should be there, as the caller sees it: /proc/self
//! is the caller, and links that the kernel keeps of processes (`exe`, `fd/1`) lead back into the directory.

use super::who::Who;
use rustix::{
    fs::{Mode, OFlags, ResolveFlags, openat2, readlinkat},
    io::Errno,
};
use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

/// As the kernel's.
const MOST_LINKS: usize = 40;

/// Directories that are stubs in the command's root; and devices, which not everybody may make. A terminal's own name is
/// the caller's, so there is none for it.
const STUBS: [&[u8]; 10] = [
    b"/proc",
    b"/sys",
    b"/dev/null",
    b"/dev/zero",
    b"/dev/urandom",
    b"/dev/random",
    b"/dev/full",
    b"/dev/pts",
    b"/dev/ptmx",
    b"/dev/console",
];

/// The command's root.
#[derive(Debug)]
pub(crate) struct Root {
    path: PathBuf,
    directory: File,
    /// The directory as whoever may not go all the way to it can name it.
    handle: PathBuf,
    /// Processes that the command must not look into: of these every thread is told.
    hides: fn(u32) -> bool,
}

/// What a path means that leads into a stub.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// On this machine.
    pub(crate) path: PathBuf,
    /// Whether a link at its end is to be followed, which only the kernel can.
    pub(crate) follow: bool,
}

impl Place {
    /// Whether it is one of these files of a process.
    pub(crate) fn is_of_process(&self, names: &[&str]) -> bool {
        let parts: Vec<_> = self.path.iter().filter_map(OsStr::to_str).collect();
        matches!(parts[..], ["/", "proc", pid, name] | ["/", "proc", pid, "task", _, name]
            if is_number(pid.as_bytes()) && names.contains(&name))
    }
}

impl Root {
    /// The directory at a path without links.
    ///
    /// # Errors
    /// It can't be opened.
    pub(crate) fn open(path: &Path, hides: fn(u32) -> bool) -> io::Result<Self> {
        let directory = File::open(path)?;
        let handle = format!("/proc/self/fd/{}", directory.as_raw_fd()).into();
        Ok(Self { path: path.to_owned(), directory, handle, hides })
    }

    /// Where it is on this machine.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A path of this machine as the command sees it; nothing if it lies outside.
    pub(crate) fn inside(&self, path: &Path) -> Option<PathBuf> {
        let rest = path.strip_prefix(&self.path).or_else(|_| path.strip_prefix(&self.handle));
        Some(Path::new("/").join(rest.ok()?))
    }

    /// Whether an open file tells of this program, which no step is to see: through whatever links it was reached, and in
    /// whatever mount of /proc.
    pub(crate) fn hides_file(&self, file: &OwnedFd) -> Result<bool, Errno> {
        const PROC: u64 = 0x9fa0;
        if rustix::fs::fstatfs(file)?.f_type as u64 != PROC {
            return Ok(false);
        }
        let path = readlinkat(rustix::fs::CWD, format!("/proc/self/fd/{}", file.as_raw_fd()), Vec::new())?;
        let names: Vec<_> = path.to_bytes().split(|byte| *byte == b'/').collect();
        let is_hidden = |name: &[u8]| {
            let number = str::from_utf8(name).ok().and_then(|name| name.parse().ok());
            number.is_some_and(self.hides)
        };
        Ok(match names[..] {
            [b"", b"proc", pid, b"task", thread, ..] => is_hidden(pid) || is_hidden(thread),
            [b"", b"proc", pid, ..] => is_hidden(pid),
            [b"", b"proc"] => false,
            _ => true,
        })
    }

    /// Whether a path is one in the directory, all of whose links have been followed.
    pub(crate) fn is_below(&self, path: &Path) -> bool {
        path.starts_with(&self.handle)
    }

    /// Where a path of the command is for this program, whoever it looks as.
    pub(crate) fn below(&self, path: &[u8]) -> PathBuf {
        self.handle.join(OsStr::from_bytes(path.strip_prefix(b"/").unwrap_or(path)))
    }

    /// The absolute path in a stub that an absolute path leads to; nothing if it leads to none.
    pub(crate) fn leads_out(&self, path: &[u8], follow: bool) -> Option<Vec<u8>> {
        let mut names = path.split(|byte| *byte == b'/');
        if names.any(|name| name == b"..") {
            // Where that leads to, links before it decide.
            return self.walk_out(path, follow);
        }
        let path = squeezed(path);
        if is_own_link(&path) {
            return None;
        }
        if is_stubbed(&path) {
            return Some(path);
        }
        // Most paths have no links, and then it is one call.
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let flags = if follow { flags } else { flags | OFlags::NOFOLLOW };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        match openat2(&self.directory, &*path, flags, Mode::empty(), resolve) {
            Err(Errno::LOOP) => self.walk_out(&path, follow),
            _ => None,
        }
    }

    fn walk_out(&self, path: &[u8], follow: bool) -> Option<Vec<u8>> {
        match Walk::new(self, path, follow).go(None) {
            Ok(End::Stub(path)) => Some(path),
            _ => None,
        }
    }

    /// What a path means to a process.
    ///
    /// # Errors
    /// What the process is to be told.
    pub(crate) fn find(&self, path: &[u8], follow: bool, who: &Who) -> Result<Place, Errno> {
        match Walk::new(self, path, follow).go(Some(who))? {
            End::Place(place) => Ok(place),
            End::Stub(_) => Err(Errno::NOENT),
        }
    }
}

/// Whether a path lies in a stub, or is one.
fn is_stubbed(path: &[u8]) -> bool {
    STUBS.iter().any(|stub| path.strip_prefix(*stub).is_some_and(|rest| rest.is_empty() || rest[0] == b'/'))
}

/// Whether a path is that of a link that was made for a program which executes itself: it is in the stub for the kernel.
fn is_own_link(path: &[u8]) -> bool {
    let name = path.strip_prefix(b"/proc/").and_then(|rest| rest.split(|byte| *byte == b'/').next());
    name.is_some_and(|name| name.len() == 4 && name[0].is_ascii_uppercase())
}

/// Whether a path can only be that of a directory.
pub(super) fn is_of_directory(path: &[u8]) -> bool {
    path.ends_with(b"/") || path.ends_with(b"/.")
}

/// Without doubled slashes and `.`.
fn squeezed(path: &[u8]) -> Vec<u8> {
    let names = path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
    let path: Vec<u8> = names.flat_map(|name| [b"/", name].concat()).collect();
    if path.is_empty() { b"/".to_vec() } else { path }
}

fn is_number(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

/// How a walk ends.
enum End {
    /// At a path in a stub, which nobody was there to go on for.
    Stub(Vec<u8>),
    Place(Place),
}

/// A path being followed.
struct Walk<'a> {
    root: &'a Root,
    /// Names to come, the next last.
    names: Vec<Vec<u8>>,
    /// Where it is, as the command sees it: no links, no slash at its end.
    here: Vec<u8>,
    follow: bool,
    links: usize,
}

impl<'a> Walk<'a> {
    fn new(root: &'a Root, path: &[u8], follow: bool) -> Self {
        let mut walk = Self { root, names: Vec::new(), here: Vec::new(), follow, links: 0 };
        walk.push(path);
        walk
    }

    fn push(&mut self, path: &[u8]) {
        let names = path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
        self.names.extend(names.rev().map(<[u8]>::to_vec));
    }

    fn go(mut self, who: Option<&Who>) -> Result<End, Errno> {
        while let Some(name) = self.names.pop() {
            if name == b".." {
                let end = self.here.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                self.here.truncate(end);
                continue;
            }
            let next = [&self.here[..], b"/", &name].concat();
            if !is_stubbed(&next) {
                if let Some(end) = self.step(next, false)? {
                    return Ok(end);
                }
                continue;
            }
            let Some(who) = who else {
                let rest = self.names.iter().rev().flat_map(|name| [b"/", &name[..]].concat());
                return Ok(End::Stub(next.into_iter().chain(rest).collect()));
            };
            if let Some(end) = self.process(next, who)? {
                return Ok(end);
            }
        }
        Ok(End::Place(Place { path: self.machine(&self.here), follow: false }))
    }

    /// Where a path of the command is on this machine.
    fn machine(&self, path: &[u8]) -> PathBuf {
        let path = if path.is_empty() { b"/" } else { path };
        if is_stubbed(path) {
            return OsStr::from_bytes(path).into();
        }
        self.root.below(path)
    }

    /// A step in a stub: some names of /proc are the caller's own.
    fn process(&mut self, next: Vec<u8>, who: &Who) -> Result<Option<End>, Errno> {
        let is_last = self.names.is_empty() && !self.follow;
        match next.strip_prefix(b"/proc/") {
            Some(b"self") if !is_last => self.here = format!("/proc/{}", who.process).into_bytes(),
            Some(b"thread-self") if !is_last => {
                self.here = format!("/proc/{}/task/{}", who.process, who.thread).into_bytes();
            }
            Some(b"self" | b"thread-self") => {
                let path = OsStr::from_bytes(&next).into();
                return Ok(Some(End::Place(Place { path, follow: false })));
            }
            Some(rest) => {
                let name = rest.rsplit(|byte| *byte == b'/').next().unwrap_or(rest);
                let number = str::from_utf8(name).ok().and_then(|name| name.parse().ok());
                let is_task = !rest.contains(&b'/') || rest.ends_with(&[b"/task/", name].concat());
                if is_task && number.is_some_and(self.root.hides) {
                    return Err(Errno::NOENT);
                }
                let is_magic = is_magic(rest);
                return self.step(next, is_magic);
            }
            None => return self.step(next, false),
        }
        Ok(None)
    }

    /// Goes to `next`, or where it leads if it is a link.
    fn step(&mut self, next: Vec<u8>, is_magic: bool) -> Result<Option<End>, Errno> {
        let path = self.machine(&next);
        let is_last = self.names.is_empty();
        let target = match readlinkat(rustix::fs::CWD, &path, Vec::new()) {
            Err(Errno::INVAL) => {
                self.here = next;
                return Ok(None);
            }
            Err(Errno::NOENT) if is_last => return Ok(Some(End::Place(Place { path, follow: false }))),
            target => target?.into_bytes(),
        };
        if is_last && !self.follow {
            return Ok(Some(End::Place(Place { path, follow: false })));
        }
        if is_magic && is_last {
            return Ok(Some(End::Place(Place { path, follow: true })));
        }
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(Errno::LOOP);
        }
        if !is_magic {
            if target.starts_with(b"/") {
                self.here.clear();
            }
            self.push(&target);
            return Ok(None);
        }
        match self.root.inside(Path::new(OsStr::from_bytes(&target))) {
            Some(inside) => {
                self.here.clear();
                self.push(inside.as_os_str().as_bytes());
                Ok(None)
            }
            // Another root: its own links lead where they lead.
            None => {
                let rest = self.names.drain(..).rev().flat_map(|name| [b"/", &name[..]].concat());
                let path: Vec<u8> =
                    path.into_os_string().into_encoded_bytes().into_iter().chain(rest).collect();
                let path = PathBuf::from(OsStr::from_bytes(&path));
                Ok(Some(End::Place(Place { path, follow: self.follow })))
            }
        }
    }
}

/// Whether a path in /proc is a link of a process that leads to a file and not to a path.
fn is_magic(path: &[u8]) -> bool {
    let mut parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    if parts.get(1) == Some(&&b"task"[..]) && parts.len() > 3 {
        parts.drain(1..3);
    }
    match parts[..] {
        [pid, b"exe" | b"cwd" | b"root"] | [pid, b"fd" | b"ns" | b"map_files", _] => is_number(pid),
        _ => false,
    }
}

/// Whether a number is that of a thread of this process.
pub(crate) fn is_own(thread: u32) -> bool {
    fs::exists(format!("/proc/self/task/{thread}")).unwrap_or(false)
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
