//! Who is at the other end of a socket: databases trust a user by that. And whose the file is that bind(2) makes of its
//! name: the kernel does it, as the address is the caller's word, and the table is told when it has.

use crate::{
    Caller, Files, Supervisor,
    devices::split,
    make::owner,
    resolve::{Name, look},
    table::Owned,
};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rbuild_overlay::Errno;
use rbuild_sandbox::notify::Answer;
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, StatxFlags, fstat, openat, stat, statx},
    process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
};
use std::{fs, os::fd::OwnedFd};

/// `sun_family` and the longest `sun_path` (unix(7)).
const ADDRESS: std::ops::RangeInclusive<usize> = 3..=110;

/// Names that may wait to be made. Who makes no further call and is not looked at has no need of more.
const MOST_NAMES: usize = 64;

/// Names of sockets that the kernel is making.
pub(crate) type Names = Vec<NewName>;

/// One of them.
#[derive(Debug)]
pub(crate) struct NewName {
    maker: u32,
    device: u64,
    directory: OwnedFd,
    name: Vec<u8>,
    owned: Owned,
}

impl Supervisor {
    /// getsockopt(2) with SO_PEERCRED; whatever goes wrong is left to the kernel, which says root.
    pub(crate) fn tell_peer(&self, caller: &Caller<'_>) -> Answer {
        self.told_peer(caller).map_or(Answer::Continue, |()| Answer::Value(0))
    }

    /// bind(2), which is the kernel's.
    pub(crate) fn name_socket(&self, caller: &Caller<'_>) -> Answer {
        if let Ok(Some(name)) = self.new_name(caller) {
            let mut names = self.names.borrow_mut();
            if names.len() >= MOST_NAMES {
                names.remove(0);
            }
            names.push(name);
        }
        Answer::Continue
    }

    fn new_name(&self, caller: &Caller<'_>) -> Result<Option<NewName>, Errno> {
        let length = caller.number(2) as usize;
        if !ADDRESS.contains(&length) {
            return Ok(None);
        }
        let address = caller.memory()?.read(caller.address(1), length)?;
        let (family, path) = address.split_at(2);
        let path = path.split(|byte| *byte == 0).next().unwrap_or(path);
        if *family != (libc::AF_UNIX as u16).to_ne_bytes() || path.is_empty() {
            return Ok(None);
        }
        let (above, name) = split(path)?;
        let above = Name { directory: libc::AT_FDCWD, path: above.to_vec(), follow: true };
        let directory = above.open(caller.pid())?;
        let stat = look(&directory, AtFlags::empty(), self.needed)?;
        let Some(mounted) = self.mount(&stat) else { return Ok(None) };
        let Files::Kernel(table) = &mounted.files else { return Ok(None) };
        // What is there already is nobody's doing.
        if statx(&directory, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE).is_ok() {
            return Ok(None);
        }
        let owned = owner(&self.credentials(caller), &stat, table)?;
        let (maker, device, name) = (caller.pid(), mounted.device, name.to_vec());
        Ok(Some(NewName { maker, device, directory, name, owned }))
    }

    /// Says whose the names are that were made meanwhile; `caller` makes a further call, so its own are done with, and
    /// with none all are.
    pub(crate) fn settle_names(&self, caller: Option<u32>) {
        self.names.borrow_mut().retain(|name| {
            let is_made = self.settle(name);
            !is_made && caller.is_some_and(|caller| caller != name.maker)
        });
    }

    /// Whether a name has been made.
    fn settle(&self, NewName { device, directory, name, owned, .. }: &NewName) -> bool {
        let Some(Files::Kernel(table)) = self.mounts.get(device).map(|mounted| &mounted.files) else {
            return true;
        };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(file) = openat(directory, &name[..], flags, Mode::empty()) else { return false };
        let is_socket =
            fstat(&file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket);
        if is_socket {
            // If it is gone nobody needs to know.
            let _ = table.set_new(file, owned);
        }
        true
    }

    fn told_peer(&self, caller: &Caller<'_>) -> Result<(), Errno> {
        let socket = socket(caller.pid(), caller.number(0).cast_signed())?;
        let peer = getsockopt(&socket, PeerCredentials).map_err(|_| Errno::NOTSOCK)?;
        let pid = u32::try_from(peer.pid()).map_err(|_| Errno::SRCH)?;
        if user_namespace(pid)? != user_namespace(caller.pid())? {
            return Err(Errno::SRCH);
        }
        let who = self.tokens.of(pid);
        let inside = last_number(pid, "NSpid:").ok_or(Errno::SRCH)?;
        let (value, length) = (caller.address(3), caller.address(4));
        let memory = caller.memory()?;
        let room = usize::try_from(memory.numbers(length, 1)?[0].cast_signed()).map_err(|_| Errno::INVAL)?;
        let ids = [inside, who.user.effective, who.group.effective];
        let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_ne_bytes()).take(room).collect();
        memory.write(value, &bytes)?;
        memory.write(length, &(bytes.len() as u32).to_ne_bytes())
    }
}

/// Which user namespace a process is in. One of another has no credentials here, as with the network of the machine.
fn user_namespace(pid: u32) -> Result<(u64, u64), Errno> {
    let found = stat(format!("/proc/{pid}/ns/user"))?;
    Ok((found.st_dev, found.st_ino))
}

/// The caller's socket.
fn socket(thread: u32, number: i32) -> Result<OwnedFd, Errno> {
    let process = last_number(thread, "Tgid:").ok_or(Errno::SRCH)?;
    let process = Pid::from_raw(process.cast_signed()).ok_or(Errno::SRCH)?;
    pidfd_getfd(pidfd_open(process, PidfdFlags::empty())?, number, PidfdGetfdFlags::empty())
}

/// The last number of a line of /proc/PID/status (proc(5)).
fn last_number(pid: u32, line: &str) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|text| text.strip_prefix(line))?.split_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_its_numbers() {
        let own = std::process::id();
        assert_eq!(last_number(own, "Tgid:"), Some(own));
        assert_eq!(last_number(own, "No such line:"), None);
        assert_eq!(last_number(0, "Tgid:"), None);
    }
}
