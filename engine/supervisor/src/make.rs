//! Calls that make files on the kernel's overlay filesystem, which sees only one maker.
//!
//! What another one makes than root is made here, as the kernel would, with the caller's mask, and belongs to it in the
//! table. So are links, pipes and sockets of all: what of these is not known was there before, and was only copied up.
//! Whatever can't be made here is left to the kernel, which says why, or does it as root.

use crate::{
    Caller, Credentials, Files, Outcome, Supervisor,
    devices::{decode, split, umask},
    resolve::{Name, look},
    table::{Owned, OwnerTable},
    upper::own,
};
use rbuild_overlay::Errno;
use rbuild_sandbox::notify::{Answer, Call};
use rbuild_tree::Kind;
use rustix::{
    fs::{
        AtFlags, CWD, FileType, Mode, OFlags, Statx, StatxFlags, chmod, mkdirat, mknodat, openat, readlinkat,
        statx, symlinkat,
    },
    process::umask as set_umask,
};
use std::os::fd::OwnedFd;

/// As many as the kernel follows.
const MOST_LINKS: usize = 40;

/// What a call makes.
#[derive(Debug)]
struct Wanted {
    directory: i32,
    path: Vec<u8>,
    what: What,
}

#[derive(Debug)]
enum What {
    File {
        flags: OFlags,
        mode: Mode,
    },
    Directory(Mode),
    Link(Vec<u8>),
    /// A file, a pipe or a socket without anything at its ends.
    Special(FileType, Mode),
    /// A socket stands for it: it can't be opened.
    Device(Kind, Mode),
}

/// Whether a call may make a file.
pub(crate) fn makes(call: Call) -> bool {
    use Call::{Creat, Mkdir, Mkdirat, Mknod, Mknodat, Open, Openat, Openat2, Symlink, Symlinkat};
    matches!(call, Creat | Mkdir | Mkdirat | Mknod | Mknodat | Open | Openat | Openat2 | Symlink | Symlinkat)
}

impl Supervisor {
    /// Makes what a call wants, or leaves it to the kernel.
    pub(crate) fn make(&self, caller: &Caller<'_>) -> Outcome {
        match self.made(caller) {
            Ok(Some(outcome)) => outcome,
            Ok(None) | Err(_) => Outcome::CONTINUE,
        }
    }

    /// What was made; nothing if that is the kernel's.
    fn made(&self, caller: &Caller<'_>) -> Result<Option<Outcome>, Errno> {
        let Some(Wanted { directory, mut path, what }) = Wanted::of(caller)? else { return Ok(None) };
        let who = self.credentials(caller);
        if matches!(what, What::Device(..)) && !who.is_privileged() {
            return Ok(None);
        }
        let name = |path: &[u8]| Name { directory, path: path.to_vec(), follow: true };
        for _ in 0..MOST_LINKS {
            let (above, last) = match &what {
                What::File { flags, .. } if flags.contains(OFlags::TMPFILE) => (&path[..], &b"."[..]),
                What::Directory(_) => split(without_slashes(&path))?,
                _ => split(&path)?,
            };
            let parent = name(above).open(caller.pid())?;
            let stat = look(&parent, AtFlags::empty(), self.needed)?;
            let Some(Files::Kernel(table)) = self.mount(&stat).map(|mounted| &mounted.files) else {
                return Ok(None);
            };
            let mut owned = owner(&who, &stat, table)?;
            match &what {
                What::File { .. } | What::Directory(_) if owned == Owned::default() => return Ok(None),
                What::File { flags, .. } if !flags.contains(OFlags::TMPFILE) => {
                    if let Some(target) = leads_on(&parent, last, *flags)? {
                        path = if target.starts_with(b"/") { target } else { [above, &target].concat() };
                        continue;
                    }
                }
                What::Device(kind, _) => owned.device = Some(kind.clone()),
                _ => {}
            }
            caller.still_waits()?;
            let create = || self.create(caller, table, (&parent, last), &what, &owned);
            return match create() {
                Err(Errno::ACCESS) => while_writable(&parent, create),
                other => other,
            }
            .map(Some);
        }
        Ok(None)
    }

    fn create(
        &self,
        caller: &Caller<'_>,
        table: &OwnerTable,
        (parent, name): (&OwnedFd, &[u8]),
        what: &What,
        owned: &Owned,
    ) -> Result<Outcome, Errno> {
        set_umask(Mode::from_raw_mode(umask(caller.pid())?));
        match what {
            What::File { flags, mode } => {
                let exclusive = if flags.contains(OFlags::TMPFILE) { OFlags::empty() } else { OFlags::EXCL };
                let file =
                    openat(parent, name, *flags | exclusive | OFlags::CLOEXEC | OFlags::NOCTTY, *mode)?;
                table.set_new(
                    openat(CWD, own(&file), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?,
                    owned,
                )?;
                return Ok(Outcome::File { file, close_on_exec: flags.contains(OFlags::CLOEXEC) });
            }
            What::Directory(mode) => mkdirat(parent, name, *mode)?,
            What::Link(target) => symlinkat(&target[..], parent, name)?,
            What::Special(kind, mode) => mknodat(parent, name, *kind, *mode, 0)?,
            What::Device(_, mode) => mknodat(parent, name, FileType::Socket, *mode, 0)?,
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Who removes it at once has nothing of it.
        if let Ok(made) = openat(parent, name, flags, Mode::empty()) {
            table.set_new(made, owned)?;
        }
        Ok(Outcome::Answer(Answer::Value(0)))
    }
}

/// Does something in a directory that its owner may not write to, as root may.
fn while_writable<T>(directory: &OwnedFd, make: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let stat = look(directory, AtFlags::empty(), StatxFlags::MODE)?;
    let mode = Mode::from_raw_mode(u32::from(stat.stx_mode) & 0o7777);
    chmod(own(directory), mode | Mode::WUSR | Mode::XUSR)?;
    let made = make();
    chmod(own(directory), mode)?;
    made
}

/// Whose something new in a directory is.
pub(crate) fn owner(who: &Credentials, above: &Statx, table: &OwnerTable) -> Result<Owned, Errno> {
    let has_group = u32::from(above.stx_mode) & libc::S_ISGID != 0;
    let gid = match has_group {
        true => table.find(above, || Err(Errno::OPNOTSUPP))?.map_or(0, |above| above.gid),
        false => who.group.filesystem,
    };
    Ok(Owned { uid: who.user.filesystem, gid, ..Owned::default() })
}

/// Where a link leads at whose end a file is to be made; nothing if there is nothing.
///
/// # Errors
/// There is something: it is the kernel's to open it or to refuse.
fn leads_on(parent: &OwnedFd, name: &[u8], flags: OFlags) -> Result<Option<Vec<u8>>, Errno> {
    match statx(parent, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE) {
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
        Ok(stat) => {
            let is_link = FileType::from_raw_mode(stat.stx_mode.into()) == FileType::Symlink;
            if !is_link || flags.intersects(OFlags::EXCL | OFlags::NOFOLLOW) {
                return Err(Errno::EXIST);
            }
            Ok(Some(readlinkat(parent, name, Vec::new())?.into_bytes()))
        }
    }
}

impl Wanted {
    /// What a call makes; nothing if it makes nothing.
    fn of(caller: &Caller<'_>) -> Result<Option<Self>, Errno> {
        let number = |at| caller.number(at);
        let mode = |at| Mode::from_raw_mode(number(at) & 0o7777);
        let text = |at| caller.path(caller.address(at));
        let at = |directory: usize| number(directory).cast_signed();
        let file = |flags: u32, mode| {
            let flags = OFlags::from_bits_retain(flags);
            let is_making = flags.contains(OFlags::CREATE) && !flags.contains(OFlags::DIRECTORY)
                || flags.contains(OFlags::TMPFILE);
            (is_making && !flags.contains(OFlags::PATH)).then_some(What::File { flags, mode })
        };
        let (directory, path, what) = match caller.notification.call {
            Call::Open => (libc::AT_FDCWD, text(0)?, file(number(1), mode(2))),
            Call::Openat => (at(0), text(1)?, file(number(2), mode(3))),
            Call::Creat => {
                let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::TRUNC;
                (libc::AT_FDCWD, text(0)?, file(flags.bits(), mode(1)))
            }
            Call::Openat2 => {
                // `struct open_how`: flags, mode, and restrictions, with which it is the kernel's.
                let how = caller.memory()?.numbers(caller.address(2), 6)?;
                let is_plain = how[1] == 0 && how[4..] == [0; 2];
                let mode = Mode::from_raw_mode(how[2] & 0o7777);
                (at(0), text(1)?, file(how[0], mode).filter(|_| is_plain))
            }
            Call::Mkdir => (libc::AT_FDCWD, text(0)?, Some(What::Directory(mode(1)))),
            Call::Mkdirat => (at(0), text(1)?, Some(What::Directory(mode(2)))),
            Call::Symlink => (libc::AT_FDCWD, text(1)?, Some(What::Link(text(0)?))),
            Call::Symlinkat => (at(1), text(2)?, Some(What::Link(text(0)?))),
            Call::Mknod => (libc::AT_FDCWD, text(0)?, special(number(1), number(2))),
            _ => (at(0), text(1)?, special(number(2), number(3))),
        };
        Ok(what.map(|what| Self { directory, path, what }))
    }
}

/// What mknod(2) makes of this mode and device.
fn special(mode: u32, device: u32) -> Option<What> {
    let permissions = Mode::from_raw_mode(mode & 0o7777);
    Some(match mode & libc::S_IFMT {
        0 | libc::S_IFREG => What::Special(FileType::RegularFile, permissions),
        libc::S_IFIFO => What::Special(FileType::Fifo, permissions),
        libc::S_IFSOCK => What::Special(FileType::Socket, permissions),
        libc::S_IFCHR => What::Device(Kind::CharDevice(decode(device)), permissions),
        libc::S_IFBLK => What::Device(Kind::BlockDevice(decode(device)), permissions),
        _ => return None,
    })
}

/// mkdir(2) takes a path with slashes behind it.
fn without_slashes(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    &path[..end]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn modes_say_what_is_made() {
        for (mode, expected) in [
            (0o644, "Special(RegularFile, 0o644)"),
            (0o010_600, "Special(Fifo, 0o600)"),
            (0o140_755, "Special(Socket, 0o755)"),
        ] {
            let made = special(mode, 0).unwrap();
            let What::Special(kind, mode) = made else { panic!("{made:?}") };
            assert_eq!(format!("Special({kind:?}, {:#o})", mode.bits()), expected);
        }
        let made = special(0o020_666, 0x0103).unwrap();
        assert!(
            matches!(made, What::Device(Kind::CharDevice(device), _) if (device.major, device.minor) == (1, 3))
        );
        assert!(special(0o040_755, 0).is_none());
    }

    #[test]
    fn slashes_behind_a_path_are_left_out() {
        for (path, expected) in [("a/b//", "a/b"), ("a", "a"), ("/", ""), ("", "")] {
            assert_eq!(without_slashes(path.as_bytes()), expected.as_bytes());
        }
    }
}
