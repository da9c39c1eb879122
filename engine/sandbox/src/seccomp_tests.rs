//! The filter, interpreted.

use super::*;

const X86_64: u32 = 0xC000_003E;
const ARM: u32 = 0x4000_0028;

/// What the filter returns for a call: 0 for allow, else the errno.
fn run(architecture: u32, number: u32, argument: u32) -> i32 {
    let arguments = [argument.into(), 0, 0, 0, 0, 0];
    match interpreter::run(&program(), architecture, number, arguments) {
        ALLOW => 0,
        refused => (refused & 0xffff) as i32,
    }
}

#[test]
fn every_rule_of_the_table_applies() {
    for (number, rule) in NATIVE_RULES {
        let number = *number as u32;
        match *rule {
            Refuse(errno) => assert_eq!(run(NATIVE, number, 0), errno, "{number}"),
            RefuseFlags(flags) => {
                assert_eq!(run(NATIVE, number, flags & flags.wrapping_neg()), libc::EPERM, "{number}");
                assert_eq!(run(NATIVE, number, !flags), 0, "{number}");
            }
            Families(allowed) => {
                for family in 0..64 {
                    let expected = if allowed.contains(&family) { 0 } else { libc::EAFNOSUPPORT };
                    assert_eq!(run(NATIVE, number, family.unsigned_abs()), expected, "{number}: {family}");
                }
            }
        }
    }
}

#[test]
fn ordinary_calls_pass() {
    for number in [
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_openat,
        libc::SYS_execve,
        libc::SYS_exit_group,
        libc::SYS_ptrace,
        libc::SYS_chroot,
        libc::SYS_setresuid,
        libc::SYS_mknodat,
        libc::SYS_seccomp,
        libc::SYS_prctl,
    ] {
        assert_eq!(run(NATIVE, number as u32, 0), 0, "{number}");
    }
    let thread = (libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND) as u32;
    assert_eq!(run(NATIVE, libc::SYS_clone as u32, thread), 0);
    let fork = libc::SIGCHLD as u32;
    assert_eq!(run(NATIVE, libc::SYS_clone as u32, fork), 0);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn other_numberings_are_covered_or_live() {
    assert_eq!(NATIVE, X86_64);
    // mount by 32-bit number, and by x32 number.
    assert_eq!(run(I386, 21, 0), libc::EPERM);
    assert_eq!(run(X86_64, 0x4000_0000 | libc::SYS_mount as u32, 0), libc::EPERM);
    assert_eq!(run(X86_64, 0x4000_0000 | 528, 0), libc::EPERM);
    assert_eq!(run(I386, 310, libc::CLONE_NEWUSER as u32), libc::EPERM);
    for number in [443, 467] {
        assert_eq!((run(X86_64, number, 0), run(I386, number, 0)), (libc::EPERM, libc::EPERM), "{number}");
    }
    for (family, expected) in [(libc::AF_INET6, 0), (libc::AF_VSOCK, libc::EAFNOSUPPORT)] {
        assert_eq!(run(I386, 359, family.unsigned_abs()), expected);
    }
    // 165 is mount natively, getresuid in 32 bits.
    assert_eq!(run(I386, 165, 0), 0);
    for number in [21, 165, 357] {
        assert_eq!(run(ARM, number, 0), 0, "{number}");
    }
}

#[test]
fn the_program_fits_and_jumps_stay_inside() {
    let program = program();
    assert!(program.len() < 4096);
    for (at, instruction) in program.iter().enumerate() {
        let furthest = at + 1 + usize::from(instruction.jt.max(instruction.jf));
        assert!(furthest <= program.len(), "{at}");
    }
    assert_eq!(u32::from(program[program.len() - 1].code), RETURN);
}
