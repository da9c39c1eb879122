//! A program that does operations by system calls.

use crate::operations::{Act, Hold, Op, SLOTS};
use rustix::{
    fs::{
        AtFlags, Dir, FallocateFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_NOW, Uid,
    },
    io::Errno,
};
use std::{
    fs,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

/// What an operation says: what it found, or why it failed.
pub type Answer = Result<String, Errno>;

/// Blocks at no pipe.
const FLAGS: OFlags = OFlags::NONBLOCK.union(OFlags::CLOEXEC);
const DONE: Answer = Ok(String::new());
const DIRECTORY_LINKS: &str = ", links of a directory: ";

/// Owns some of the files: one of `operations::owner`.
const USER: u32 = 1000;

pub struct Client {
    root: OwnedFd,
    held: [Option<OwnedFd>; SLOTS],
    is_overlayfs: bool,
}

impl Client {
    pub fn new(at: &Path) -> Self {
        let root = rustix::fs::open(at, OFlags::DIRECTORY | FLAGS, Mode::empty()).unwrap();
        Self { root, held: [const { None }; SLOTS], is_overlayfs: false }
    }

    /// One that helps overlayfs where it is known not to do what a directory does.
    pub fn of_overlayfs(at: &Path) -> Self {
        Self { is_overlayfs: true, ..Self::new(at) }
    }

    pub fn run(&mut self, op: &Op) -> Answer {
        match op {
            Op::Hold { slot, path, how } => self.hold(*slot, path, *how),
            Op::Held { slot, act: Act::Close } => {
                self.held[*slot] = None;
                DONE
            }
            Op::Held { slot, act } => match &self.held[*slot] {
                Some(file) => on(file, act),
                None => DONE,
            },
            Op::Stat { path } => told(&rustix::fs::statat(&self.root, path, AtFlags::SYMLINK_NOFOLLOW)?),
            Op::List { path } => list(&self.open(path, OFlags::DIRECTORY)?),
            Op::Read { path } => read(&self.open(path, OFlags::empty())?),
            Op::AsUser(op) => {
                become_user(USER);
                let answer = self.run(op);
                become_user(0);
                answer
            }
            _ => self.change(op).map(|()| String::new()),
        }
    }

    fn open(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        rustix::fs::openat(&self.root, path, flags | FLAGS, Mode::empty())
    }

    fn change(&self, op: &Op) -> Result<(), Errno> {
        let root = &self.root;
        match op {
            Op::Create { path, mode, exclusive } => {
                let more = if *exclusive { OFlags::EXCL } else { OFlags::empty() };
                let flags = OFlags::CREATE | OFlags::WRONLY | FLAGS | more;
                rustix::fs::openat(root, path, flags, Mode::from_raw_mode(*mode)).map(drop)
            }
            Op::Mkdir { path, mode } => rustix::fs::mkdirat(root, path, Mode::from_raw_mode(*mode)),
            Op::Fifo { path } => rustix::fs::mknodat(root, path, FileType::Fifo, Mode::RWXU, 0),
            Op::Symlink { target, path } => rustix::fs::symlinkat(target, root, path),
            Op::Unlink { path } => rustix::fs::unlinkat(root, path, AtFlags::empty()),
            Op::Rmdir { path } => rustix::fs::unlinkat(root, path, AtFlags::REMOVEDIR),
            Op::Rename { from, to, flags } => rustix::fs::renameat_with(root, from, root, to, *flags),
            Op::Link { from, to } => rustix::fs::linkat(root, from, root, to, AtFlags::empty()),
            Op::Write { path, offset, bytes } => write(&self.open(path, OFlags::WRONLY)?, *offset, bytes),
            Op::Append { path, bytes } => write(&self.open(path, OFlags::WRONLY | OFlags::APPEND)?, 0, bytes),
            Op::Truncate { path, size } => rustix::fs::ftruncate(self.open(path, OFlags::WRONLY)?, *size),
            Op::Allocate { path, flags, offset, length } => {
                allocate(&self.open(path, OFlags::WRONLY)?, *flags, *offset, *length)
            }
            Op::Copy { from, to, length } => self.copy(from, to, *length),
            _ => self.set(op),
        }
    }

    fn copy(&self, from: &(String, u64), to: &(String, u64), length: usize) -> Result<(), Errno> {
        let target = self.open(&to.0, OFlags::WRONLY)?;
        let source = self.open(&from.0, OFlags::empty())?;
        let (mut start, mut place, mut left) = (from.1, to.1, length);
        // Short answers are allowed.
        loop {
            let count =
                rustix::fs::copy_file_range(&source, Some(&mut start), &target, Some(&mut place), left)?;
            left -= count;
            if count == 0 || left == 0 {
                return Ok(());
            }
        }
    }

    /// Changes of what stat(2) and listxattr(2) show.
    fn set(&self, op: &Op) -> Result<(), Errno> {
        let root = &self.root;
        match op {
            Op::Chmod { path, mode } => {
                rustix::fs::chmodat(root, path, Mode::from_raw_mode(*mode), AtFlags::empty())
            }
            Op::Chown { path, owner, at } => {
                let (uid, gid) = (owner.0.map(Uid::from_raw), owner.1.map(Gid::from_raw));
                rustix::fs::chownat(root, path, uid, gid, *at)
            }
            Op::Date { path, time, at } => {
                let (tv_sec, tv_nsec) = time.unwrap_or((0, UTIME_NOW));
                let time = Timespec { tv_sec, tv_nsec };
                let times = Timestamps { last_access: time, last_modification: time };
                rustix::fs::utimensat(root, path, &times, *at)
            }
            Op::SetXattr { path, name, value, flags } => {
                rustix::fs::fsetxattr(self.open(path, OFlags::empty())?, *name, value, *flags)
            }
            Op::RemoveXattr { path, name } => {
                rustix::fs::fremovexattr(self.open(path, OFlags::empty())?, *name)
            }
            _ => unreachable!("{op:?}"),
        }
    }

    /// What is held already is closed even if the new can't be opened.
    fn hold(&mut self, slot: usize, path: &str, how: Hold) -> Answer {
        self.held[slot] = None;
        let flags = match how {
            Hold::Write => OFlags::RDWR,
            Hold::Read => OFlags::empty(),
            Hold::Directory => OFlags::DIRECTORY,
        };
        let mut file = self.open(path, flags)?;
        if self.is_overlayfs {
            // It can't copy up what has no name any more, and who opened a file before that reads what was there.
            become_user(0);
            let mode = rustix::fs::fstat(&file)?.st_mode;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
            file = self.open(path, flags)?;
        }
        self.held[slot] = Some(file);
        DONE
    }
}

fn on(file: &OwnedFd, act: &Act) -> Answer {
    let done = match act {
        Act::Write { offset, bytes } => write(file, *offset, bytes),
        Act::Truncate { size } => rustix::fs::ftruncate(file, *size),
        Act::Allocate { flags, offset, length } => allocate(file, *flags, *offset, *length),
        Act::Chmod { mode } => rustix::fs::fchmod(file, Mode::from_raw_mode(*mode)),
        Act::Create { name } => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | FLAGS;
            rustix::fs::openat(file, *name, flags, Mode::RWXU).map(drop)
        }
        Act::Unlink { name } => rustix::fs::unlinkat(file, *name, AtFlags::empty()),
        Act::Read => return read(file),
        Act::Stat => return told(&rustix::fs::fstat(file)?),
        Act::List => return list(file),
        Act::Close => Ok(()),
    };
    done.map(|()| String::new())
}

/// A directory's links come last: see [`without_directory_links`].
fn told(found: &Stat) -> Answer {
    let (mode, owner, links) = (found.st_mode, (found.st_uid, found.st_gid), found.st_nlink);
    Ok(if FileType::from_raw_mode(mode) == FileType::Directory {
        format!("{mode:o} {owner:?}{DIRECTORY_LINKS}{links}")
    } else {
        format!("{mode:o} {owner:?}, {} bytes, {links} links", found.st_size)
    })
}

/// An answer as overlayfs gives it: a directory that is of several layers has 1 link there.
pub fn without_directory_links(answer: Answer) -> Answer {
    answer.map(|line| line.split(DIRECTORY_LINKS).next().unwrap_or_default().to_owned())
}

/// For files, and for this thread alone. The kernel takes the capabilities about files away from whoever is not root.
fn become_user(id: u32) {
    nix::unistd::setfsgid(id.into());
    nix::unistd::setfsuid(id.into());
}

fn write(file: impl AsFd, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
    let count = rustix::io::pwrite(file, bytes, offset)?;
    assert_eq!(count, bytes.len());
    Ok(())
}

fn allocate(file: impl AsFd, flags: FallocateFlags, offset: u64, length: u64) -> Result<(), Errno> {
    rustix::fs::fallocate(file, flags, offset, length)
}

/// All of it, from the beginning.
fn read(file: impl AsFd) -> Answer {
    let mut bytes = vec![0; 64 << 10];
    let length = rustix::io::pread(file, &mut bytes, 0)?;
    Ok(format!("{length} bytes {:?}", &bytes[..length]))
}

/// Names and kinds, sorted.
fn list(directory: impl AsFd) -> Answer {
    let mut names: Vec<String> = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        names.push(format!("{:?} {:?}", entry.file_name(), entry.file_type()));
    }
    names.sort();
    Ok(names.join(", "))
}

/// Gives everything below a directory a date of its own, so that it shows what was changed since.
pub fn date_everything(at: &Path) {
    let (mut pending, mut number) = (vec![at.to_path_buf()], 0);
    while let Some(path) = pending.pop() {
        if path.symlink_metadata().unwrap().is_dir() {
            let mut names: Vec<PathBuf> =
                fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
            names.sort();
            pending.extend(names);
        }
        number += 1;
        let time = Timespec { tv_sec: 900_000_000 + number, tv_nsec: number };
        let times = Timestamps { last_access: time, last_modification: time };
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(rustix::fs::CWD, &path, &times, flags).unwrap();
    }
}
