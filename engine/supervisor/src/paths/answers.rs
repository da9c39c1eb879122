//! What the calls do with a place of this machine. The thread looks as the caller meanwhile.

use super::{
    held::Held,
    mounts,
    walk::{Place, Root},
    who::Who,
};
use crate::{Caller, Outcome, owners::Shown, resolve::Name};
use rbuild_overlay::Errno;
use rbuild_sandbox::notify::{Answer, Call};
use rustix::fs::{
    Access, AtFlags, CWD, Gid, Mode, OFlags, StatFs, Timespec, Timestamps, Uid, accessat, chmodat, chownat,
    fcntl_getfl, fcntl_setfl, getxattr, lgetxattr, listxattr, llistxattr, openat, readlinkat, statfs,
    statvfs, statx, utimensat,
};
use std::{
    ffi::OsStr,
    fs, io,
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::Path,
};

/// The longest value and list of attributes, and the longest target of a link.
const LARGEST: usize = 64 << 10;

/// The path that a call names; an empty one if it is not about a path.
///
/// # Errors
/// EFAULT, ENAMETOOLONG.
pub(super) fn named(caller: &Caller<'_>) -> Result<Name, Errno> {
    let flags = |at: usize| caller.number(at);
    let follows = |at: usize| flags(at) & AtFlags::SYMLINK_NOFOLLOW.bits() == 0;
    let (at, follow) = match caller.notification.call {
        Call::Lstat | Call::Readlink | Call::Lgetxattr | Call::Llistxattr | Call::Lchown => (0, false),
        Call::Open => (0, opens_link(flags(1))),
        Call::Openat => (1, opens_link(flags(2))),
        Call::Openat2 => {
            // `struct open_how` has restrictions of its own; with any the kernel is to decide.
            let how = caller.memory()?.read(caller.address(2), 24)?;
            let is_plain = how[16..] == [0; 8];
            (1, is_plain && opens_link(u32::from_ne_bytes([how[0], how[1], how[2], how[3]])))
        }
        Call::Newfstatat => (1, follows(3)),
        Call::Statx => (1, follows(2)),
        Call::Readlinkat => (1, false),
        Call::Faccessat | Call::Fchmodat => (1, true),
        Call::Faccessat2 | Call::Utimensat => (1, follows(3)),
        Call::Fchownat => (1, follows(4)),
        _ => (0, true),
    };
    Name::at(caller, at, follow)
}

/// Whether open(2) with these flags follows a link at the end.
fn opens_link(flags: u32) -> bool {
    let flags = OFlags::from_bits_retain(flags);
    !flags.contains(OFlags::NOFOLLOW) && !flags.contains(OFlags::CREATE | OFlags::EXCL)
}

/// Answers a call about `place`, to which `path` of the command's root led.
pub(super) fn answer(
    caller: &Caller<'_>,
    root: &Root,
    who: &Who,
    path: &[u8],
    place: &Place,
) -> Result<Outcome, Errno> {
    let held = Held::open(root, place)?;
    let flags = if held.is_link { AtFlags::SYMLINK_NOFOLLOW } else { AtFlags::empty() };
    let file = &held.path;
    let value = match caller.notification.call {
        Call::Open => return open(who, place, held, caller.number(1), caller.number(2)),
        Call::Openat => return open(who, place, held, caller.number(2), caller.number(3)),
        Call::Creat => {
            let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::TRUNC;
            return open(who, place, held, flags.bits(), caller.number(1));
        }
        Call::Openat2 => {
            let how = caller.memory()?.numbers(caller.address(2), 4)?;
            return open(who, place, held, how[0], how[2]);
        }
        Call::Stat | Call::Lstat | Call::Newfstatat | Call::Statx => {
            let shown = Shown::of(caller)?;
            let stat = statx(CWD, file, flags | shown.flags, shown.mask)?;
            caller.memory()?.write(shown.buffer, &shown.layout.bytes(&stat))?;
            0
        }
        Call::Access => permitted(file, caller.number(1), flags)?,
        Call::Faccessat | Call::Faccessat2 => permitted(file, caller.number(2), flags)?,
        Call::Readlink => link(caller, root, who, (place, &held), 1)?,
        Call::Readlinkat => link(caller, root, who, (place, &held), 2)?,
        Call::Statfs => {
            let bytes = filesystem(&statfs(file)?, statvfs(file)?.f_fsid);
            caller.memory()?.write(caller.address(1), &bytes)?;
            0
        }
        Call::Getxattr | Call::Lgetxattr => {
            let name = caller.path(caller.address(1))?;
            let get = if held.is_link { lgetxattr } else { getxattr };
            let mut value = vec![0; LARGEST];
            let length = get(file, OsStr::from_bytes(&name), &mut value)?;
            put(caller, 2, &value[..length])?
        }
        Call::Listxattr | Call::Llistxattr => {
            let list = if held.is_link { llistxattr } else { listxattr };
            let mut names = vec![0; LARGEST];
            let length = list(file, &mut names)?;
            put(caller, 1, &names[..length])?
        }
        Call::Chdir => return enter(root, path, file),
        Call::Execve => return execute(caller, root, who, place),
        Call::Chmod => change_mode(file, caller.number(1))?,
        Call::Fchmodat => change_mode(file, caller.number(2))?,
        Call::Chown | Call::Lchown => change_owner(file, caller.number(1), caller.number(2), flags)?,
        Call::Fchownat => change_owner(file, caller.number(2), caller.number(3), flags)?,
        Call::Utimensat => change_times(caller, file, flags)?,
        Call::Truncate => {
            let size = caller.address(1);
            // Nobody waits here for a reader of a pipe.
            let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
            let opened = openat(CWD, file, flags, Mode::empty());
            let opened = opened.map_err(|errno| if errno == Errno::NXIO { Errno::INVAL } else { errno })?;
            rustix::fs::ftruncate(&opened, size)?;
            0
        }
        _ => return Ok(Outcome::Answer(Answer::Continue)),
    };
    Ok(Outcome::Answer(Answer::Value(value)))
}

fn open(who: &Who, place: &Place, held: Held, wanted: u32, mode: u32) -> Result<Outcome, Errno> {
    let wanted = OFlags::from_bits_retain(wanted);
    let close_on_exec = wanted.contains(OFlags::CLOEXEC);
    match held.file {
        Some(file) if held.is_link => {
            return if wanted.contains(OFlags::PATH) {
                Ok(Outcome::File { file, close_on_exec })
            } else {
                Err(Errno::LOOP)
            };
        }
        Some(_) if wanted.contains(OFlags::CREATE | OFlags::EXCL) => return Err(Errno::EXIST),
        _ => {}
    }
    if place.is_of_process(&mounts::FILES) && !wanted.contains(OFlags::PATH) {
        // The caller's own shows what lies below its root, which is nothing.
        let is_information = place.path.ends_with("mountinfo");
        let table = if is_information { "/proc/self/mountinfo" } else { "/proc/self/mounts" };
        let table = fs::read_to_string(table).map_err(errno)?;
        let file = mounts::file(&table, is_information)?;
        return Ok(Outcome::File { file, close_on_exec });
    }
    // Nobody waits here for the other end of a pipe. What is open already is reached by a link.
    let flags = (wanted | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK) - OFlags::NOFOLLOW;
    let mode = Mode::from_raw_mode(mode & 0o7777 & !who.umask);
    let file = openat(CWD, &held.path, flags, mode)?;
    if !wanted.contains(OFlags::NONBLOCK) && !wanted.contains(OFlags::PATH) {
        fcntl_setfl(&file, fcntl_getfl(&file)? & !OFlags::NONBLOCK)?;
    }
    Ok(Outcome::File { file, close_on_exec })
}

fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

fn permitted(file: &Path, wanted: u32, flags: AtFlags) -> Result<i64, Errno> {
    // Whom this thread looks as is in effect, not real.
    accessat(CWD, file, Access::from_bits_retain(wanted), flags | AtFlags::EACCESS)?;
    Ok(0)
}

/// The target of a link, with the command's root taken off.
fn link(
    caller: &Caller<'_>,
    root: &Root,
    who: &Who,
    (place, held): (&Place, &Held),
    buffer: usize,
) -> Result<i64, Errno> {
    let target = match (place.path.to_str(), &held.file) {
        (Some("/proc/self"), _) => who.process.to_string().into_bytes(),
        (Some("/proc/thread-self"), _) => format!("{}/task/{}", who.process, who.thread).into_bytes(),
        (_, Some(file)) if held.is_link => {
            let target = readlinkat(file, "", Vec::new())?.into_bytes();
            match root.inside(Path::new(OsStr::from_bytes(&target))) {
                Some(inside) => inside.into_os_string().into_encoded_bytes(),
                None => target,
            }
        }
        (_, Some(_)) => return Err(Errno::INVAL),
        (_, None) => return Err(Errno::NOENT),
    };
    let room = usize::try_from(caller.address(buffer + 1)).unwrap_or(LARGEST);
    let target = &target[..target.len().min(room)];
    caller.memory()?.write(caller.address(buffer), target)?;
    Ok(i64::try_from(target.len()).unwrap_or(0))
}

/// Writes attributes to the buffer that an argument is, whose size is the next one; 0 asks for the length.
fn put(caller: &Caller<'_>, buffer: usize, bytes: &[u8]) -> Result<i64, Errno> {
    match caller.address(buffer + 1) {
        0 => {}
        room if room < bytes.len() as u64 => return Err(Errno::RANGE),
        _ => caller.memory()?.write(caller.address(buffer), bytes)?,
    }
    Ok(i64::try_from(bytes.len()).unwrap_or(0))
}

/// `struct statfs` of 64-bit architectures (asm-generic/statfs.h).
fn filesystem(stat: &StatFs, id: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(120);
    for field in
        [stat.f_type as u64, stat.f_bsize as u64, stat.f_blocks, stat.f_bfree, stat.f_bavail, stat.f_files]
    {
        bytes.extend(field.to_ne_bytes());
    }
    for field in [stat.f_ffree, id, stat.f_namelen as u64, stat.f_frsize as u64, stat.f_flags as u64] {
        bytes.extend(field.to_ne_bytes());
    }
    bytes.resize(120, 0);
    bytes
}

/// A current directory can't be given to a process: it goes to the like of it in the stub, and from there relative paths
/// are followed by their text.
fn enter(root: &Root, path: &[u8], file: &Path) -> Result<Outcome, Errno> {
    let directory = openat(CWD, file, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    accessat(&directory, ".", Access::EXEC_OK, AtFlags::EACCESS)?;
    let _own = Who::default().looks();
    fs::create_dir_all(root.below(path)).map_err(errno)?;
    Ok(Outcome::Answer(Answer::Continue))
}

/// The kernel takes the program from the caller's own path, so that is changed to one that leads there: a link in the
/// stub.
fn execute(caller: &Caller<'_>, root: &Root, who: &Who, place: &Place) -> Result<Outcome, Errno> {
    let target = if place.follow { fs::read_link(&place.path).map_err(errno)? } else { place.path.clone() };
    let Some(program) = root.inside(&target) else { return Err(Errno::ACCESS) };
    let memory = caller.memory()?;
    let said = memory.path(caller.address(0))?;
    let name = said.rsplit(|byte| *byte == b'/').next().unwrap_or(&said);
    let folder = [b"/proc/", &short(who.thread)[..]].concat();
    // The name is what the kernel will call the process.
    let link = [&folder[..], b"/", name].concat();
    if name.is_empty() || link.len() > said.len() {
        return Ok(Outcome::Answer(Answer::Continue));
    }
    let _own = Who::default().looks();
    fs::create_dir_all(root.below(&folder)).map_err(errno)?;
    // Of an earlier program of this process.
    let _ = fs::remove_file(root.below(&link));
    symlink(program, root.below(&link)).map_err(errno)?;
    memory.write(caller.address(0), &[&link[..], b"\0"].concat())?;
    Ok(Outcome::Answer(Answer::Continue))
}

/// A name of its own for each thread, no longer than `self`, that nothing in /proc has: it begins with a capital letter.
fn short(thread: u32) -> [u8; 4] {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    // The kernel counts to 2^22, which is less than 26 * 62^3.
    let digit = |place: u32, base: usize| LETTERS[(thread / 62_u32.pow(place)) as usize % base];
    [digit(3, 26), digit(2, 62), digit(1, 62), digit(0, 62)]
}

fn change_mode(file: &Path, mode: u32) -> Result<i64, Errno> {
    chmodat(CWD, file, Mode::from_raw_mode(mode & 0o7777), AtFlags::empty())?;
    Ok(0)
}

fn change_owner(file: &Path, user: u32, group: u32, flags: AtFlags) -> Result<i64, Errno> {
    let some = |id: u32| Some(id).filter(|id| *id != u32::MAX);
    chownat(CWD, file, some(user).map(Uid::from_raw), some(group).map(Gid::from_raw), flags)?;
    Ok(0)
}

fn change_times(caller: &Caller<'_>, file: &Path, flags: AtFlags) -> Result<i64, Errno> {
    let now = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
    let mut times = Timestamps { last_access: now, last_modification: now };
    if caller.address(2) != 0 {
        let bytes = caller.memory()?.read(caller.address(2), 32)?;
        let number = |at: usize| i64::from_ne_bytes(std::array::from_fn(|index| bytes[at + index]));
        times.last_access = Timespec { tv_sec: number(0), tv_nsec: number(8) };
        times.last_modification = Timespec { tv_sec: number(16), tv_nsec: number(24) };
    }
    utimensat(CWD, file, &times, flags)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_thread_has_a_name() {
        let names: HashSet<_> = (0..1 << 22).map(short).collect();
        assert_eq!(names.len(), 1 << 22);
        assert!(names.iter().all(|name| name[0].is_ascii_uppercase()));
    }
}
