//! The system calls of a seccomp listener (seccomp_unotify(2)) and of the limit that holds a token.

use std::mem::zeroed;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_long, c_ulong, seccomp_notif, seccomp_notif_resp, sock_filter, sock_fprog};
use nix::errno::Errno;

use super::Result;

// From linux/seccomp.h, which libc leaves out: the kernel counts the sizes of the structures as of their first version.
const RECEIVE: libc::Ioctl = 0xC050_2100_u32 as libc::Ioctl;
const SEND: libc::Ioctl = 0xC018_2101_u32 as libc::Ioctl;
const IS_VALID: libc::Ioctl = 0x4008_2102;
const SET_FLAGS: libc::Ioctl = 0x4008_2104;
const HAND_OVER: libc::Ioctl = 0x4018_2103;
const SYNCHRONOUS_WAKE_UP: u64 = 1;

/// Installs a filter whose notifications arrive at the descriptor that is handed out: for this process and its children,
/// with CAP_SYS_ADMIN in its user namespace. The caller can't be interrupted while a notification is worked on, where the
/// kernel has that (5.19).
///
/// # Errors
/// EBUSY if a process above has a listener already, EINVAL before kernel 5.0.
pub(crate) fn install_listening_filter(program: &[sock_filter]) -> Result<OwnedFd> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::EINVAL)?;
    let program = sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    let listening = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    let install = |flags: c_ulong| {
        let mode = libc::SECCOMP_SET_MODE_FILTER as c_long;
        // SAFETY: the program is live and its length is given; the kernel only reads it.
        Errno::result(unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) })
    };
    let descriptor = match install(listening | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
        Err(Errno::EINVAL) => install(listening)?,
        other => other?,
    };
    // SAFETY: the descriptor is new, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor as i32) })
}

/// The next notification, which is waited for.
///
/// # Errors
/// EINTR; ENOENT if its caller was killed meanwhile, or nobody is left who could make one (kernel 6.11).
pub(crate) fn receive(listener: BorrowedFd<'_>) -> Result<seccomp_notif> {
    // SAFETY: all-zero is what the kernel demands of the structure.
    let mut notification: seccomp_notif = unsafe { zeroed() };
    // SAFETY: the kernel writes one structure of the size that is in the number of the request; it is live.
    Errno::result(unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE, &raw mut notification) })?;
    Ok(notification)
}

/// Answers a notification.
///
/// # Errors
/// ENOENT if its caller is gone.
pub(crate) fn send(listener: BorrowedFd<'_>, answer: &mut seccomp_notif_resp) -> Result<()> {
    // SAFETY: the kernel reads one structure of the size that is in the number of the request; it is live.
    Errno::result(unsafe { libc::ioctl(listener.as_raw_fd(), SEND, &raw mut *answer) }).map(drop)
}

/// Gives the caller of a notification, which goes on waiting, a copy of a descriptor; tells its number there.
///
/// # Errors
/// ENOENT if the caller is gone, EMFILE if it may open no more, EINVAL before kernel 5.9.
pub(crate) fn hand_over(
    listener: BorrowedFd<'_>,
    id: u64,
    file: BorrowedFd<'_>,
    close_on_exec: bool,
) -> Result<i32> {
    let close = if close_on_exec { libc::O_CLOEXEC as u32 } else { 0 };
    let file = file.as_raw_fd().cast_unsigned();
    let request = libc::seccomp_notif_addfd { id, flags: 0, srcfd: file, newfd: 0, newfd_flags: close };
    // SAFETY: the kernel reads one structure of the size that is in the number of the request; it is live.
    Errno::result(unsafe { libc::ioctl(listener.as_raw_fd(), HAND_OVER, &raw const request) })
}

/// Succeeds while the caller of a notification waits for its answer: its pid is not another process's then.
///
/// # Errors
/// ENOENT if it does not.
pub(crate) fn is_valid(listener: BorrowedFd<'_>, id: u64) -> Result<()> {
    // SAFETY: the kernel reads eight bytes, which are live.
    Errno::result(unsafe { libc::ioctl(listener.as_raw_fd(), IS_VALID, &raw const id) }).map(drop)
}

/// Has callers and listener wake each other on one processor, which is what each waits for anyway.
///
/// # Errors
/// EINVAL before kernel 6.6.
pub(crate) fn wake_synchronously(listener: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: the argument is a number, no address.
    let set = unsafe { libc::ioctl(listener.as_raw_fd(), SET_FLAGS, SYNCHRONOUS_WAKE_UP) };
    Errno::result(set).map(drop)
}

/// The soft RLIMIT_RTTIME of a process or thread.
///
/// # Errors
/// ESRCH if it is gone, EPERM if it is not ours.
pub(crate) fn real_time_limit(pid: i32) -> Result<u64> {
    // SAFETY: an all-zero rlimit64 is a valid one.
    let mut limit: libc::rlimit64 = unsafe { zeroed() };
    // SAFETY: nothing is set, and the kernel writes one structure, which is live.
    let read = unsafe { libc::prlimit64(pid, libc::RLIMIT_RTTIME, std::ptr::null(), &raw mut limit) };
    Errno::result(read)?;
    Ok(limit.rlim_cur)
}
