//! The filter that sends a command's calls to its supervisor.

use libc::sock_filter;

#[cfg(target_arch = "x86_64")]
use crate::seccomp::X32;
use crate::seccomp::{
    ALLOW, ERRNO, IF_BITS, IF_EQUAL, LOAD, NATIVE, NUMBER, RETURN, argument, block, jump, statement,
};

use super::calls::{Entry, Topic, When};

const NOTIFY: u32 = 0x7FC0_0000;

/// In the modes of both kinds of devices and of nothing else that can be made.
const DEVICE_BIT: u32 = libc::S_IFCHR;

/// The flags with which open(2) may make a file: O_CREAT, and O_TMPFILE without O_DIRECTORY, which is in it.
const MAKING: u32 = (libc::O_CREAT | libc::O_TMPFILE & !libc::O_DIRECTORY) as u32;

/// RLIMIT_RTTIME, whose type C libraries do not agree on.
const REAL_TIME: u32 = 15;

const OPTIONS: [u32; 2] = [libc::PR_SET_KEEPCAPS as u32, libc::PR_SET_SECUREBITS as u32];

/// The program: a block for each known architecture, allow for all others.
pub(crate) fn program(topic: Topic) -> Vec<sock_filter> {
    let mut program = Vec::new();
    for tables in topic.tables().chunk_by(|(one, ..), (other, ..)| one == other) {
        let calls = tables.iter().flat_map(|(_, _, calls)| *calls);
        block(&mut program, tables[0].0, body(tables[0].0, calls));
    }
    program.push(statement(RETURN, ALLOW));
    program
}

fn body<'a>(architecture: u32, calls: impl Iterator<Item = &'a Entry>) -> Vec<sock_filter> {
    let mut body = vec![statement(LOAD, NUMBER)];
    #[cfg(target_arch = "x86_64")]
    if architecture == NATIVE {
        // Its layouts are others, and what is not answered could set the kept number: not there, as on most kernels.
        body.extend([jump(IF_BITS, X32, 0, 1), statement(RETURN, ERRNO | libc::ENOSYS as u32)]);
    }
    for (number, _, when) in calls {
        let then = case(*when);
        // At most eight instructions.
        body.push(jump(IF_EQUAL, *number as u32, 0, then.len() as u8));
        body.extend(then);
    }
    body
}

/// What is done with a call whose number is that of a rule. Each way ends with a return.
fn case(when: When) -> Vec<sock_filter> {
    let (notify, allow) = (statement(RETURN, NOTIFY), statement(RETURN, ALLOW));
    match when {
        When::Always => vec![notify],
        When::Device(mode) => {
            vec![statement(LOAD, argument(mode)), jump(IF_BITS, DEVICE_BIT, 0, 1), notify, allow]
        }
        When::Makes(flags) => {
            vec![statement(LOAD, argument(flags)), jump(IF_BITS, MAKING, 0, 1), notify, allow]
        }
        When::Capabilities => vec![
            statement(LOAD, argument(0)),
            jump(IF_EQUAL, OPTIONS[0], 1, 0),
            jump(IF_EQUAL, OPTIONS[1], 0, 1),
            notify,
            allow,
        ],
        When::Here(directory) => vec![
            statement(LOAD, argument(directory)),
            jump(IF_EQUAL, libc::AT_FDCWD.cast_unsigned(), 0, 1),
            notify,
            allow,
        ],
        When::Peer => vec![
            statement(LOAD, argument(1)),
            jump(IF_EQUAL, libc::SOL_SOCKET as u32, 0, 3),
            statement(LOAD, argument(2)),
            jump(IF_EQUAL, libc::SO_PEERCRED as u32, 0, 1),
            notify,
            allow,
        ],
        // As if it had been done: what is kept there must not be lost.
        When::RealTime(resource) => vec![
            statement(LOAD, argument(resource)),
            jump(IF_EQUAL, REAL_TIME, 0, 5),
            statement(LOAD, argument(resource + 1)),
            jump(IF_EQUAL, 0, 0, 2),
            statement(LOAD, argument(resource + 1) + 4),
            jump(IF_EQUAL, 0, 1, 0),
            statement(RETURN, ERRNO),
            allow,
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::calls::{Call, NATIVE_CALLS, NATIVE_PATH_CALLS, find};
    use crate::seccomp::{NATIVE, interpreter::run};

    /// Of one id.
    fn program() -> Vec<sock_filter> {
        super::program(Topic::Ids)
    }

    fn check(topic: Topic, architecture: u32, number: i64, call: Call, when: When) {
        let with = |at: u8, value: u64| {
            let mut arguments = [0; 6];
            arguments[usize::from(at)] = value;
            run(&super::program(topic), architecture, number as u32, arguments)
        };
        let cases: &[(u8, u64, u32)] = match when {
            When::Always => &[(0, 0, NOTIFY), (0, u64::MAX, NOTIFY)],
            When::Device(1) => &[(1, 0o020_644, NOTIFY), (1, 0o060_000, NOTIFY), (1, 0o010_644, ALLOW)],
            When::Device(_) => {
                &[(2, 0o020_644, NOTIFY), (2, 0o100_644, ALLOW), (2, 0o140_000, ALLOW), (2, 0, ALLOW)]
            }
            When::Makes(1) => &[(1, 0o101, NOTIFY), (1, 0o20_200_002, NOTIFY), (1, 0o200_001, ALLOW)],
            When::Makes(_) => &[(2, 0o301, NOTIFY), (2, 0o20_200_002, NOTIFY), (2, 0o2_000_000, ALLOW)],
            When::Capabilities => &[(0, 8, NOTIFY), (0, 28, NOTIFY), (0, 38, ALLOW), (0, 15, ALLOW)],
            When::Here(_) => &[(0, 0xffff_ff9c, NOTIFY), (0, -100_i64 as u64, NOTIFY), (0, 3, ALLOW)],
            When::Peer => &[(1, 1, ALLOW), (2, 17, ALLOW)],
            When::RealTime(0) => &[(0, 15, ALLOW), (0, 7, ALLOW)],
            When::RealTime(_) => &[(1, 15, ALLOW), (2, 4096, ALLOW)],
        };
        for (at, value, expected) in cases {
            assert_eq!(with(*at, *value), *expected, "{call:?} {value:#o}");
        }
    }

    #[test]
    fn what_is_in_the_tables_is_notified() {
        for topic in [Topic::Ids, Topic::IdsAndMakers, Topic::Paths] {
            for (architecture, form, table) in topic.tables() {
                for (number, call, when) in *table {
                    check(topic, *architecture, *number, *call, *when);
                    assert_eq!(
                        find(*architecture, *number),
                        Some((*call, *form)),
                        "{number} stands there once"
                    );
                }
            }
        }
    }

    #[test]
    fn the_kept_number_is_not_to_be_set() {
        for (architecture, _, table) in Topic::Ids.tables() {
            for (number, _, when) in *table {
                let When::RealTime(resource) = *when else { continue };
                let resource = usize::from(resource);
                let mut arguments = [0; 6];
                arguments[resource] = 15;
                for address in [1, 1 << 40] {
                    arguments[resource + 1] = address;
                    assert_eq!(run(&program(), *architecture, *number as u32, arguments), ERRNO);
                }
                arguments[resource] = 7;
                assert_eq!(run(&program(), *architecture, *number as u32, arguments), ALLOW);
            }
        }
    }

    #[test]
    fn the_peer_of_a_socket_is_asked_for() {
        let ask =
            |level, option| run(&program(), NATIVE, libc::SYS_getsockopt as u32, [3, level, option, 0, 0, 0]);
        assert_eq!((ask(1, 17), ask(1, 16), ask(6, 17)), (NOTIFY, ALLOW, ALLOW));
    }

    #[test]
    fn everything_else_passes() {
        for number in
            [libc::SYS_read, libc::SYS_openat, libc::SYS_mkdirat, libc::SYS_execve, libc::SYS_sendmsg]
        {
            assert_eq!(run(&program(), NATIVE, number as u32, [u64::MAX; 6]), ALLOW, "{number}");
        }
        let arm = 0x4000_0028;
        for (number, ..) in NATIVE_CALLS {
            assert_eq!(run(&program(), arm, *number as u32, [u64::MAX; 6]), ALLOW);
        }
        for (number, ..) in NATIVE_PATH_CALLS {
            let program = super::program(Topic::Paths);
            assert_eq!(run(&program, arm, *number as u32, [u64::MAX; 6]), ALLOW);
        }
        #[cfg(target_arch = "x86_64")]
        {
            let x32 = 0x4000_0000 | libc::SYS_getuid as u32;
            assert_eq!(run(&program(), NATIVE, x32, [0; 6]), ERRNO | libc::ENOSYS as u32);
            let read = 3;
            assert_eq!(run(&program(), crate::seccomp::I386, read, [0; 6]), ALLOW);
        }
    }
}
