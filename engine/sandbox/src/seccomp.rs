//! The system call filter of the command: allow all but a list.
//!
//! The user namespace and the cut capabilities are the fence; the filter keeps a step away from parts of the kernel
//! that a build never needs and that have a history (bpf, io_uring, keyrings, userfaultfd, nested user namespaces),
//! as the default profile of the container engines does. It is written by hand because it must let programs of other
//! architectures live and must not set no_new_privs, which would disarm set-id programs.
//!
//! `clone3` answers ENOSYS, since its flags are behind a pointer that a filter cannot read: C libraries then use
//! `clone`, whose flags are checked. io_uring answers ENOSYS as on a kernel without it.
//!
//! Limits: the 32-bit table of x86 is filtered too, other foreign architectures are not; the family of a socket made
//! through 32-bit x86's `socketcall` is not seen.

use libc::sock_filter;

/// New namespaces of all kinds, as flags of clone and unshare.
const NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;

#[cfg(target_arch = "x86_64")]
pub(crate) const NATIVE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
pub(crate) const NATIVE: u32 = 0xC000_00B7;
#[cfg(target_arch = "riscv64")]
pub(crate) const NATIVE: u32 = 0xC000_00F3;

/// AUDIT_ARCH_I386.
#[cfg(target_arch = "x86_64")]
pub(crate) const I386: u32 = 0x4000_0003;

/// Marks the x32 numbers of x86_64, which else are the 64-bit ones.
#[cfg(target_arch = "x86_64")]
pub(crate) const X32: u32 = 0x4000_0000;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Always this errno.
    Refuse(i32),
    /// EPERM if the first argument has one of these bits.
    RefuseFlags(u32),
    /// EAFNOSUPPORT unless the first argument is one of these.
    Families(&'static [i32]),
}

use Rule::{Families, Refuse, RefuseFlags};

/// The sockets of ordinary programs. Others are a way around the network namespace (vsock leads to the hypervisor), or
/// parts of the kernel that hardly anybody uses and that have a history.
const FAMILIES: Rule = Families(&[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK]);

const EPERM: Rule = Refuse(libc::EPERM);
const ENOSYS: Rule = Refuse(libc::ENOSYS);

/// Of Linux 6.15, younger than the libc crate; one number on all architectures.
const OPEN_TREE_ATTR: i64 = 467;

/// Calls of the native architecture.
const NATIVE_RULES: &[(i64, Rule)] = &[
    // Mounts and namespaces.
    (libc::SYS_mount, EPERM),
    (libc::SYS_umount2, EPERM),
    (libc::SYS_pivot_root, EPERM),
    (libc::SYS_fsopen, EPERM),
    (libc::SYS_fsconfig, EPERM),
    (libc::SYS_fsmount, EPERM),
    (libc::SYS_fspick, EPERM),
    (libc::SYS_open_tree, EPERM),
    (OPEN_TREE_ATTR, EPERM),
    (libc::SYS_move_mount, EPERM),
    (libc::SYS_mount_setattr, EPERM),
    (libc::SYS_setns, EPERM),
    (libc::SYS_unshare, RefuseFlags(NAMESPACES)),
    (libc::SYS_clone, RefuseFlags(NAMESPACES)),
    (libc::SYS_clone3, ENOSYS),
    // Large attack surfaces.
    (libc::SYS_bpf, EPERM),
    (libc::SYS_perf_event_open, EPERM),
    (libc::SYS_userfaultfd, EPERM),
    (libc::SYS_io_uring_setup, ENOSYS),
    (libc::SYS_io_uring_enter, ENOSYS),
    (libc::SYS_io_uring_register, ENOSYS),
    (libc::SYS_add_key, EPERM),
    (libc::SYS_request_key, EPERM),
    (libc::SYS_keyctl, EPERM),
    (libc::SYS_open_by_handle_at, EPERM),
    (libc::SYS_fanotify_init, EPERM),
    (libc::SYS_socket, FAMILIES),
    // The machine itself.
    (libc::SYS_kexec_load, EPERM),
    (libc::SYS_init_module, EPERM),
    (libc::SYS_finit_module, EPERM),
    (libc::SYS_delete_module, EPERM),
    (libc::SYS_reboot, EPERM),
    (libc::SYS_swapon, EPERM),
    (libc::SYS_swapoff, EPERM),
    (libc::SYS_acct, EPERM),
    (libc::SYS_quotactl, EPERM),
    (libc::SYS_quotactl_fd, EPERM),
    (libc::SYS_syslog, EPERM),
    (libc::SYS_vhangup, EPERM),
    (libc::SYS_settimeofday, EPERM),
    (libc::SYS_clock_settime, EPERM),
    (libc::SYS_sethostname, EPERM),
    (libc::SYS_setdomainname, EPERM),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_kexec_file_load, EPERM),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_iopl, EPERM),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_ioperm, EPERM),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_uselib, EPERM),
];

/// The same calls by their 32-bit x86 numbers (`arch/x86/entry/syscalls/syscall_32.tbl`).
#[cfg(target_arch = "x86_64")]
const I386_RULES: &[(i64, Rule)] = &[
    (21, EPERM),  // mount
    (22, EPERM),  // umount
    (52, EPERM),  // umount2
    (217, EPERM), // pivot_root
    (430, EPERM), // fsopen
    (431, EPERM), // fsconfig
    (432, EPERM), // fsmount
    (433, EPERM), // fspick
    (428, EPERM), // open_tree
    (OPEN_TREE_ATTR, EPERM),
    (429, EPERM),                   // move_mount
    (442, EPERM),                   // mount_setattr
    (346, EPERM),                   // setns
    (310, RefuseFlags(NAMESPACES)), // unshare
    (120, RefuseFlags(NAMESPACES)), // clone
    (435, ENOSYS),                  // clone3
    (357, EPERM),                   // bpf
    (336, EPERM),                   // perf_event_open
    (374, EPERM),                   // userfaultfd
    (425, ENOSYS),                  // io_uring_setup
    (426, ENOSYS),                  // io_uring_enter
    (427, ENOSYS),                  // io_uring_register
    (286, EPERM),                   // add_key
    (287, EPERM),                   // request_key
    (288, EPERM),                   // keyctl
    (342, EPERM),                   // open_by_handle_at
    (338, EPERM),                   // fanotify_init
    (359, FAMILIES),                // socket
    (283, EPERM),                   // kexec_load
    (128, EPERM),                   // init_module
    (350, EPERM),                   // finit_module
    (129, EPERM),                   // delete_module
    (88, EPERM),                    // reboot
    (87, EPERM),                    // swapon
    (115, EPERM),                   // swapoff
    (51, EPERM),                    // acct
    (131, EPERM),                   // quotactl
    (443, EPERM),                   // quotactl_fd
    (103, EPERM),                   // syslog
    (111, EPERM),                   // vhangup
    (79, EPERM),                    // settimeofday
    (25, EPERM),                    // stime
    (264, EPERM),                   // clock_settime
    (404, EPERM),                   // clock_settime64
    (74, EPERM),                    // sethostname
    (121, EPERM),                   // setdomainname
    (110, EPERM),                   // iopl
    (101, EPERM),                   // ioperm
    (86, EPERM),                    // uselib
    (113, EPERM),                   // vm86old
    (166, EPERM),                   // vm86
];

// Offsets in struct seccomp_data. The low half of an argument comes first: all supported machines are little-endian.
pub(crate) const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

pub(crate) const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
pub(crate) const IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
pub(crate) const IF_BITS: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
pub(crate) const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

pub(crate) const ALLOW: u32 = 0x7FFF_0000;
pub(crate) const ERRNO: u32 = 0x0005_0000;

pub(crate) fn statement(code: u32, operand: u32) -> sock_filter {
    jump(code, operand, 0, 0)
}

/// `yes` and `no` count the instructions to skip.
pub(crate) fn jump(code: u32, operand: u32, yes: u8, no: u8) -> sock_filter {
    sock_filter { code: code as u16, jt: yes, jf: no, k: operand }
}

/// Where the low half of an argument is.
pub(crate) fn argument(number: u8) -> u32 {
    FIRST_ARGUMENT + 8 * u32::from(number)
}

fn refuse(errno: i32) -> sock_filter {
    statement(RETURN, ERRNO | errno.unsigned_abs())
}

/// The program: one block for each known architecture, allow for all others.
///
/// Rules are tried one after the other: kernels since 5.11 remember calls that are always allowed and do not run the
/// filter for them.
pub(crate) fn program() -> Vec<sock_filter> {
    let mut program = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        let mut native = vec![statement(LOAD, NUMBER), statement(AND, !X32)];
        native.extend(rules(NATIVE_RULES));
        // kexec_load has an x32 number of its own.
        native.splice(2..2, rules(&[(528, EPERM)]));
        block(&mut program, NATIVE, native);
        let mut compatible = vec![statement(LOAD, NUMBER)];
        compatible.extend(rules(I386_RULES));
        block(&mut program, I386, compatible);
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let mut native = vec![statement(LOAD, NUMBER)];
        native.extend(rules(NATIVE_RULES));
        block(&mut program, NATIVE, native);
    }
    program.push(statement(RETURN, ALLOW));
    program
}

/// `body` for calls of one architecture. A block is longer than a conditional jump reaches, so the condition skips
/// an unconditional one.
pub(crate) fn block(program: &mut Vec<sock_filter>, architecture: u32, body: Vec<sock_filter>) {
    program.push(statement(LOAD, ARCHITECTURE));
    program.push(jump(IF_EQUAL, architecture, 1, 0));
    program.push(statement(libc::BPF_JMP | libc::BPF_JA, body.len() as u32 + 1));
    program.extend(body);
    program.push(statement(RETURN, ALLOW));
}

/// The rules, with the call's number in the accumulator; it is still there when none of them applied.
fn rules(rules: &[(i64, Rule)]) -> Vec<sock_filter> {
    let mut program = Vec::with_capacity(rules.len() * 2);
    for (number, rule) in rules {
        let number = *number as u32;
        match *rule {
            Refuse(errno) => program.extend([jump(IF_EQUAL, number, 0, 1), refuse(errno)]),
            RefuseFlags(flags) => program.extend([
                jump(IF_EQUAL, number, 0, 4),
                statement(LOAD, FIRST_ARGUMENT),
                jump(IF_BITS, flags, 0, 1),
                refuse(libc::EPERM),
                statement(RETURN, ALLOW),
            ]),
            Families(allowed) => {
                let count = allowed.len() as u8;
                program.extend([jump(IF_EQUAL, number, 0, count + 3), statement(LOAD, FIRST_ARGUMENT)]);
                let tests = allowed.iter().zip((1..=count).rev());
                program.extend(tests.map(|(family, left)| jump(IF_EQUAL, family.unsigned_abs(), left, 0)));
                program.extend([refuse(libc::EAFNOSUPPORT), statement(RETURN, ALLOW)]);
            }
        }
    }
    program
}

#[cfg(test)]
#[path = "seccomp_interpreter.rs"]
pub(crate) mod interpreter;

#[cfg(test)]
#[path = "seccomp_tests.rs"]
mod tests;
