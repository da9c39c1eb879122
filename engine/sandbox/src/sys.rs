//! The only unsafe code: system calls that neither nix nor rustix offers safely.
//!
//! All of it runs in the single-threaded child, never in the engine, but for [`map_large_allocations`] and the listener's
//! side of [`notify`].
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_long, c_void};
use std::mem::zeroed;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use libc::{sock_filter, sock_fprog};
use nix::errno::Errno;
use nix::unistd::{ForkResult, Pid};

pub(crate) mod notify;

type Result<T> = nix::Result<T>;

// From linux/sockios.h, which libc leaves out.
const SIOCGIFFLAGS: libc::Ioctl = 0x8913;
const SIOCSIFFLAGS: libc::Ioctl = 0x8914;

/// The kernel's own count, on the machines that are supported.
const LAST_SIGNAL: c_int = 64;

/// Has allocations of a mebibyte and more come from the kernel each time, as zeroes that cost nothing until touched.
///
/// glibc raises that limit whenever such an allocation is freed; later ones then come from its heap and must be zeroed
/// by hand, which for the 16 MiB request buffers of a FUSE server was a third of the time of a short step.
pub fn map_large_allocations() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt takes any values; called before other threads are started.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20);
    }
}

/// Forks. `None` in the new process.
pub(crate) fn fork() -> Result<Option<Pid>> {
    // SAFETY: the child has one thread, so no lock can be left held by another one.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Some(child)),
        ForkResult::Child => Ok(None),
    }
}

/// Ends this process at once: no exit handlers, no buffers written twice after a fork.
pub(crate) fn exit(status: i32) -> ! {
    // SAFETY: _exit takes any status and does not return.
    unsafe { libc::_exit(status) }
}

/// Takes over a descriptor that this process was started with.
///
/// # Errors
/// EBADF if it is not open.
pub(crate) fn take_descriptor(descriptor: RawFd) -> Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC touches no memory; the number may be closed, then it fails.
    let copy = Errno::result(unsafe { libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 3) })?;
    // SAFETY: the copy is new, so nobody else owns it. The original is overwritten by `replace_descriptor`.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Makes number `target` (0, 1 or 2) mean what `source` means; it survives exec.
pub(crate) fn replace_descriptor(source: &OwnedFd, target: RawFd) -> Result<()> {
    // SAFETY: dup2 touches no memory; the standard descriptors are owned by nobody in this process.
    Errno::result(unsafe { libc::dup2(source.as_raw_fd(), target) }).map(drop)
}

/// Closes a descriptor that this process was started with; one that is not open is ignored.
pub(crate) fn close_inherited(descriptor: RawFd) {
    // SAFETY: called before this process opens anything but the control socket and what came along over it, which the
    // caller leaves out, so nobody owns the number.
    unsafe { libc::close(descriptor) };
}

/// All signals to their default, none blocked.
///
/// By the bare call: glibc's own refuses the two signals it keeps for itself, and its `posix_spawn` starts every
/// program with those ignored.
pub(crate) fn reset_signals() -> Result<()> {
    // The kernel's `struct sigaction`: handler SIG_DFL, no flags, no restorer, an empty mask, on every machine.
    let default = [0_u64; 4];
    let nothing: *const c_void = std::ptr::null();
    for signal in (1..=LAST_SIGNAL).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal)) {
        // SAFETY: the kernel reads a whole live structure and writes nothing; no code of this process runs.
        let result = unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal as c_long,
                default.as_ptr(),
                nothing,
                size_of::<u64>(),
            )
        };
        Errno::result(result)?;
    }
    nix::sys::signal::SigSet::empty().thread_set_mask()
}

/// Linux's own execution domain with nothing special, whatever the caller's was.
pub(crate) fn reset_personality() {
    // SAFETY: personality touches no memory; 0 is always accepted.
    unsafe { libc::personality(0) };
}

/// A new anonymous session keyring, so that the caller's keys are out of reach. Where that is refused (no keyrings, a
/// filter of the container) there are none to reach either.
pub(crate) fn new_session_keyring() {
    const JOIN_SESSION_KEYRING: c_long = 1;
    let anonymous: *const c_void = std::ptr::null();
    // SAFETY: a null name is allowed and means an anonymous keyring.
    unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, anonymous) };
}

/// Sets the NIS domain name of this UTS namespace.
pub(crate) fn set_domain_name(name: &str) -> Result<()> {
    // SAFETY: pointer and length are those of a live string.
    Errno::result(unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) }).map(drop)
}

/// Makes the mount at `path`, and with `recursive` all below it, read-only, keeping every other flag.
///
/// # Errors
/// ENOSYS before kernel 5.12; EPERM where an older container filter does not know the call.
pub(crate) fn set_mount_read_only(path: &CStr, recursive: bool) -> Result<()> {
    let attributes =
        libc::mount_attr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is NUL-terminated, the attributes are live and their size is given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD as c_long,
            path.as_ptr(),
            flags as c_long,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    Errno::result(result).map(drop)
}

/// Switches the loopback device of this network namespace on.
pub(crate) fn start_loopback() -> Result<()> {
    // SAFETY: socket touches no memory.
    let socket =
        Errno::result(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: an all-zero ifreq is a valid one.
    let mut request: libc::ifreq = unsafe { zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *place = *byte as libc::c_char;
    }
    // SAFETY: both calls read and write one ifreq, which is live; flags are its active field after the first.
    unsafe {
        Errno::result(libc::ioctl(socket.as_raw_fd(), SIOCGIFFLAGS, &raw mut request))?;
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
        Errno::result(libc::ioctl(socket.as_raw_fd(), SIOCSIFFLAGS, &raw const request)).map(drop)
    }
}

/// Installs a system call filter for this process and its children, without setting no_new_privs: needs
/// CAP_SYS_ADMIN in its user namespace.
pub(crate) fn install_filter(program: &[sock_filter]) -> Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::EINVAL)?;
    let program = sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    let (mode, allow_speculation) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW);
    // SAFETY: the program is live and its length is given; the kernel only reads it.
    let modern =
        unsafe { libc::syscall(libc::SYS_seccomp, mode as c_long, allow_speculation, &raw const program) };
    if modern == 0 {
        return Ok(());
    }
    // Before kernel 4.17 there is no such flag, before 3.17 no such call.
    // SAFETY: as above.
    let old: c_int =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    Errno::result(old).map(drop)
}
