//! A command's calls, answered by somebody outside (seccomp_unotify(2)).
//!
//! Where a sandbox has one id, the kernel can't keep owners and changes of ids. The calls about them stop in the command
//! and are answered by a supervisor, which gets them here. What it answers is its own affair.
//!
//! Of a process the kernel can keep one number for the supervisor: the soft limit RLIMIT_RTTIME, which acts on real-time
//! tasks only and which children inherit. The filter keeps the command from setting it.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::sys::notify as sys;

mod calls;
pub(crate) mod filter;

pub(crate) use calls::Topic;
pub use calls::{Call, Form};

/// Where the calls of a supervised command arrive. When it is dropped, each further one is ENOSYS.
#[derive(Debug)]
pub struct Listener {
    descriptor: OwnedFd,
    /// Whether waiting for a call has no end by itself when there is nobody left to make one.
    is_old: bool,
}

/// A call that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub struct Notification {
    id: u64,
    /// The thread that makes it, as the engine's pid namespace counts.
    pub pid: u32,
    /// Which call it is.
    pub call: Call,
    /// How its arguments are to be read.
    pub form: Form,
    /// Its arguments as they are in registers.
    pub arguments: [u64; 6],
}

/// What a call comes back with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The kernel carries it out as if nobody had been asked.
    Continue,
    /// A result.
    Value(i64),
    /// An errno.
    Error(i32),
}

impl Listener {
    pub(crate) fn new(descriptor: OwnedFd) -> Self {
        // Older kernels are slower.
        let _ = sys::wake_synchronously(descriptor.as_fd());
        Self { descriptor, is_old: !waiting_ends() }
    }

    /// The next call; nothing when every process of the command has ended. Several threads may wait.
    ///
    /// # Errors
    /// What the kernel says that nobody foresaw.
    pub fn receive(&self) -> io::Result<Option<Notification>> {
        loop {
            if self.is_old && self.is_over(None)? {
                return Ok(None);
            }
            match sys::receive(self.descriptor.as_fd()) {
                Ok(found) => {
                    if let Some(notification) = known(&found) {
                        return Ok(Some(notification));
                    }
                    self.send(found.id, Answer::Continue)?;
                }
                Err(Errno::EINTR) => {}
                Err(Errno::ENOENT) if !self.is_over(Some(Timespec { tv_sec: 0, tv_nsec: 0 }))? => {}
                Err(Errno::ENOENT) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Whether the caller still waits: then what was found out by its number was about it.
    pub fn is_waiting(&self, notification: &Notification) -> bool {
        loop {
            match sys::is_valid(self.descriptor.as_fd(), notification.id) {
                Err(Errno::EINTR) => {}
                found => return found.is_ok(),
            }
        }
    }

    /// Lets the caller go on.
    ///
    /// # Errors
    /// What the kernel says that nobody foresaw; a caller that is gone is none.
    pub fn answer(&self, notification: &Notification, answer: Answer) -> io::Result<()> {
        self.send(notification.id, answer)
    }

    /// Lets the caller go on with a copy of `file` as the descriptor that its call gives. By then it is the only one: a
    /// file that is open for writing can't be executed.
    ///
    /// # Errors
    /// The caller may open no more; it is gone.
    pub fn answer_with(
        &self,
        notification: &Notification,
        file: OwnedFd,
        close_on_exec: bool,
    ) -> io::Result<()> {
        let number = loop {
            match sys::hand_over(self.descriptor.as_fd(), notification.id, file.as_fd(), close_on_exec) {
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
                Ok(number) => break number,
            }
        };
        drop(file);
        self.send(notification.id, Answer::Value(number.into()))
    }

    fn send(&self, id: u64, answer: Answer) -> io::Result<()> {
        let (val, error, flags) = match answer {
            Answer::Continue => (0, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
            Answer::Value(value) => (value, 0, 0),
            Answer::Error(errno) => (0, -errno, 0),
        };
        let mut answer = libc::seccomp_notif_resp { id, val, error, flags };
        loop {
            match sys::send(self.descriptor.as_fd(), &mut answer) {
                // The kernel waits for a lock, and a signal ends that.
                Err(Errno::EINTR) => {}
                Err(errno) if errno != Errno::ENOENT => return Err(errno.into()),
                _ => return Ok(()),
            }
        }
    }

    /// Waits for a call, or until there is nobody left to make one, which is what it says.
    fn is_over(&self, patience: Option<Timespec>) -> io::Result<bool> {
        let mut wanted = [PollFd::new(&self.descriptor, PollFlags::IN)];
        match poll(&mut wanted, patience.as_ref()) {
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(errno) => Err(errno.into()),
            Ok(_) => Ok(wanted[0].revents().contains(PollFlags::HUP)),
        }
    }
}

fn known(found: &libc::seccomp_notif) -> Option<Notification> {
    let (call, form) = calls::find(found.data.arch, found.data.nr.into())?;
    Some(Notification { id: found.id, pid: found.pid, call, form, arguments: found.data.args })
}

/// Whether this kernel has all that is needed: Linux 5.9, which says when nobody is left who could call; carrying out a
/// call after all, and openat2(2), are older. Half of it would be worse than none.
pub(crate) fn is_possible() -> bool {
    is_at_least((5, 9))
}

/// Whether waiting for a call ends with the last process that could make one: since Linux 6.11. There is no way to try.
fn waiting_ends() -> bool {
    is_at_least((6, 11))
}

fn is_at_least(wanted: (u32, u32)) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    version(&release).is_some_and(|version| version >= wanted)
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some((next()?, next()?))
}

/// The number that is kept of a process or thread.
///
/// # Errors
/// It is gone, or not of a sandbox.
pub fn kept_number(pid: u32) -> io::Result<u64> {
    Ok(sys::real_time_limit(pid.cast_signed())?)
}

/// The largest number that can be kept, which is also that of a command that begins; `None`: [`u64::MAX`].
pub fn largest_number() -> Option<u64> {
    rustix::process::getrlimit(Resource::Rttime).maximum
}

/// Keeps a number of a process, which its children inherit.
///
/// # Errors
/// It is gone, or not of a sandbox.
pub fn keep_number(pid: u32, number: u64) -> io::Result<()> {
    let limit = Rlimit { current: Some(number), maximum: largest_number() };
    let pid = Pid::from_raw(pid.cast_signed()).ok_or(rustix::io::Errno::SRCH)?;
    prlimit(Some(pid), Resource::Rttime, limit)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        for (release, expected) in [
            ("6.18.44-fc-v595\n", Some((6, 18))),
            ("5.10.0-30-amd64", Some((5, 10))),
            ("6.1", Some((6, 1))),
            ("", None),
        ] {
            assert_eq!(version(release), expected, "{release}");
        }
    }
}
