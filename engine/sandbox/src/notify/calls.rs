//! The calls that a supervisor answers, by their numbers.

#[cfg(target_arch = "x86_64")]
mod i386;

#[cfg(target_arch = "x86_64")]
use crate::seccomp::I386;
use crate::seccomp::NATIVE;
#[cfg(target_arch = "x86_64")]
use i386::{I386_CALLS, I386_DEVICE_CALLS, I386_MAKERS, I386_PATH_CALLS, I386_SHORT_CALLS};

/// A call, whatever its number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Call {
    Chown,
    Lchown,
    Fchown,
    Fchownat,
    Mknod,
    Mknodat,
    Setuid,
    Setgid,
    Setreuid,
    Setregid,
    Setresuid,
    Setresgid,
    Setfsuid,
    Setfsgid,
    Setgroups,
    Getuid,
    Geteuid,
    Getgid,
    Getegid,
    Getresuid,
    Getresgid,
    Getgroups,
    Stat,
    Lstat,
    Fstat,
    Newfstatat,
    Statx,
    Prctl,
    Capset,
    Getsockopt,
    Setxattr,
    Lsetxattr,
    Fsetxattr,
    Getxattr,
    Lgetxattr,
    Fgetxattr,
    Open,
    Openat,
    Openat2,
    Creat,
    Access,
    Faccessat,
    Faccessat2,
    Readlink,
    Readlinkat,
    Statfs,
    Chdir,
    Chroot,
    Execve,
    Listxattr,
    Llistxattr,
    Chmod,
    Fchmodat,
    Utime,
    Utimes,
    Futimesat,
    Utimensat,
    Truncate,
    Mkdir,
    Mkdirat,
    Symlink,
    Symlinkat,
    Bind,
    Removexattr,
    Lremovexattr,
    Fremovexattr,
    /// Only as an attempt at RLIMIT_RTTIME, which the filter answers by itself.
    Setrlimit,
    /// The like.
    Prlimit,
}

/// How a call passes its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As the architecture of this program does.
    Native,
    /// As 32-bit x86 does.
    Compatible,
    /// The same with ids of 16 bits.
    Short,
}

/// What a supervisor answers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    /// Ids and owners.
    Ids,
    /// The same where nobody else sees who makes a file.
    IdsAndMakers,
    /// Paths.
    Paths,
}

/// Which calls of a number are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// All.
    Always,
    /// Those whose argument of this number is the mode of a device.
    Device(u8),
    /// Those that set what changes of ids do to capabilities.
    Capabilities,
    /// Those whose path begins in no directory that is open: that argument is AT_FDCWD.
    Here(u8),
    /// Those that may make a file: the flags of open(2) are this argument.
    Makes(u8),
    /// Those that ask a socket for its peer.
    Peer,
    /// Those that set RLIMIT_RTTIME: the resource is this argument, the new value is at the next one.
    RealTime(u8),
}

/// What a number means.
pub(super) type Entry = (i64, Call, When);

use Call::*;
use When::{Always, Capabilities, Device, Here, Makes, Peer, RealTime};

/// The frequent ones first: the filter looks at one after the other.
pub(super) const NATIVE_CALLS: &[Entry] = &[
    (libc::SYS_newfstatat, Newfstatat, Always),
    (libc::SYS_fstat, Fstat, Always),
    (libc::SYS_statx, Statx, Always),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_stat, Stat, Always),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_lstat, Lstat, Always),
    (libc::SYS_getuid, Getuid, Always),
    (libc::SYS_geteuid, Geteuid, Always),
    (libc::SYS_getgid, Getgid, Always),
    (libc::SYS_getegid, Getegid, Always),
    (libc::SYS_fchown, Fchown, Always),
    (libc::SYS_fchownat, Fchownat, Always),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chown, Chown, Always),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_lchown, Lchown, Always),
    (libc::SYS_setuid, Setuid, Always),
    (libc::SYS_setgid, Setgid, Always),
    (libc::SYS_setreuid, Setreuid, Always),
    (libc::SYS_setregid, Setregid, Always),
    (libc::SYS_setresuid, Setresuid, Always),
    (libc::SYS_setresgid, Setresgid, Always),
    (libc::SYS_setfsuid, Setfsuid, Always),
    (libc::SYS_setfsgid, Setfsgid, Always),
    (libc::SYS_setgroups, Setgroups, Always),
    (libc::SYS_getresuid, Getresuid, Always),
    (libc::SYS_getresgid, Getresgid, Always),
    (libc::SYS_getgroups, Getgroups, Always),
    (libc::SYS_prctl, Prctl, Capabilities),
    (libc::SYS_capset, Capset, Always),
    (libc::SYS_getsockopt, Getsockopt, Peer),
    (libc::SYS_setxattr, Setxattr, Always),
    (libc::SYS_lsetxattr, Lsetxattr, Always),
    (libc::SYS_fsetxattr, Fsetxattr, Always),
    (libc::SYS_getxattr, Getxattr, Always),
    (libc::SYS_lgetxattr, Lgetxattr, Always),
    (libc::SYS_fgetxattr, Fgetxattr, Always),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_setrlimit, Setrlimit, RealTime(0)),
    (libc::SYS_prlimit64, Prlimit, RealTime(1)),
];

/// Those that make devices.
const NATIVE_DEVICE_CALLS: &[Entry] = &[
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mknod, Mknod, Device(1)),
    (libc::SYS_mknodat, Mknodat, Device(2)),
];

/// Those that make anything, take an ACL away, or the time by which a file is known.
const NATIVE_MAKERS: &[Entry] = &[
    (libc::SYS_openat, Openat, Makes(2)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, Open, Makes(1)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_creat, Creat, Always),
    (libc::SYS_openat2, Openat2, Always),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mkdir, Mkdir, Always),
    (libc::SYS_mkdirat, Mkdirat, Always),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_symlink, Symlink, Always),
    (libc::SYS_symlinkat, Symlinkat, Always),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mknod, Mknod, Always),
    (libc::SYS_mknodat, Mknodat, Always),
    (libc::SYS_bind, Bind, Always),
    (libc::SYS_removexattr, Removexattr, Always),
    (libc::SYS_lremovexattr, Lremovexattr, Always),
    (libc::SYS_fremovexattr, Fremovexattr, Always),
    (libc::SYS_utimensat, Utimensat, Always),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_utime, Utime, Always),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_utimes, Utimes, Always),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_futimesat, Futimesat, Always),
];

/// Calls that name a file by its path alone, native. What names it from an open directory is the kernel's: such a directory
/// is the real one.
pub(super) const NATIVE_PATH_CALLS: &[Entry] = &[
    (libc::SYS_openat, Openat, Here(0)),
    (libc::SYS_newfstatat, Newfstatat, Here(0)),
    (libc::SYS_statx, Statx, Here(0)),
    (libc::SYS_readlinkat, Readlinkat, Here(0)),
    (libc::SYS_faccessat, Faccessat, Here(0)),
    (libc::SYS_faccessat2, Faccessat2, Here(0)),
    (libc::SYS_execve, Execve, Always),
    (libc::SYS_statfs, Statfs, Always),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, Open, Always),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_stat, Stat, Always),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_lstat, Lstat, Always),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_access, Access, Always),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_readlink, Readlink, Always),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_creat, Creat, Always),
    (libc::SYS_openat2, Openat2, Here(0)),
    (libc::SYS_chdir, Chdir, Always),
    (libc::SYS_chroot, Chroot, Always),
    (libc::SYS_truncate, Truncate, Always),
    (libc::SYS_getxattr, Getxattr, Always),
    (libc::SYS_lgetxattr, Lgetxattr, Always),
    (libc::SYS_listxattr, Listxattr, Always),
    (libc::SYS_llistxattr, Llistxattr, Always),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chmod, Chmod, Always),
    (libc::SYS_fchmodat, Fchmodat, Here(0)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chown, Chown, Always),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_lchown, Lchown, Always),
    (libc::SYS_fchownat, Fchownat, Here(0)),
    (libc::SYS_utimensat, Utimensat, Here(0)),
];

/// Calls of an architecture.
pub(super) type Table = (u32, Form, &'static [Entry]);

const ID_TABLES: &[Table] = &[
    (NATIVE, Form::Native, NATIVE_CALLS),
    (NATIVE, Form::Native, NATIVE_DEVICE_CALLS),
    #[cfg(target_arch = "x86_64")]
    (I386, Form::Compatible, I386_CALLS),
    #[cfg(target_arch = "x86_64")]
    (I386, Form::Compatible, I386_DEVICE_CALLS),
    #[cfg(target_arch = "x86_64")]
    (I386, Form::Short, I386_SHORT_CALLS),
];

const MAKER_TABLES: &[Table] = &[
    (NATIVE, Form::Native, NATIVE_CALLS),
    (NATIVE, Form::Native, NATIVE_MAKERS),
    #[cfg(target_arch = "x86_64")]
    (I386, Form::Compatible, I386_CALLS),
    #[cfg(target_arch = "x86_64")]
    (I386, Form::Compatible, I386_MAKERS),
    #[cfg(target_arch = "x86_64")]
    (I386, Form::Short, I386_SHORT_CALLS),
];

const PATH_TABLES: &[Table] = &[
    (NATIVE, Form::Native, NATIVE_PATH_CALLS),
    #[cfg(target_arch = "x86_64")]
    (I386, Form::Compatible, I386_PATH_CALLS),
];

impl Topic {
    /// The known calls of each architecture.
    pub(super) fn tables(self) -> &'static [Table] {
        match self {
            Self::Ids => ID_TABLES,
            Self::IdsAndMakers => MAKER_TABLES,
            Self::Paths => PATH_TABLES,
        }
    }
}

/// What a number of an architecture means; nothing if no filter knows it.
pub(super) fn find(architecture: u32, number: i64) -> Option<(Call, Form)> {
    let tables = MAKER_TABLES.iter().chain(PATH_TABLES).filter(|(known, ..)| *known == architecture);
    let mut entries = tables.flat_map(|(_, form, table)| table.iter().map(move |entry| (entry, *form)));
    entries.find(|((known, ..), _)| *known == number).map(|((_, call, _), form)| (*call, form))
}
