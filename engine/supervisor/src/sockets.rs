//! Who is at the other end of a socket: databases trust a user by that.

use crate::{Caller, Supervisor};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rbuild_overlay::Errno;
use rbuild_sandbox::notify::Answer;
use rustix::{
    fs::stat,
    process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
};
use std::{fs, os::fd::OwnedFd};

impl Supervisor {
    /// getsockopt(2) with SO_PEERCRED; whatever goes wrong is left to the kernel, which says root.
    pub(crate) fn tell_peer(&self, caller: &Caller<'_>) -> Answer {
        self.told_peer(caller).map_or(Answer::Continue, |()| Answer::Value(0))
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
