//! Calls that somebody outside answers.

use std::fs::File;
use std::io::read_to_string;

use rbuild_sandbox::notify::{Answer, Call, Notification, keep_number, kept_number, largest_number};
use rbuild_sandbox::{Exit, Output, Sandbox, Setup};

use crate::Case;
use crate::support::{OLD_KERNEL, need_new_kernel, setup, shell, with};

pub const TESTS: &[Case] = &[
    ("notify_calls_are_answered", calls_are_answered),
    ("notify_a_number_is_kept_and_inherited", a_number_is_kept_and_inherited),
    ("notify_a_command_that_does_not_start_is_told", a_command_that_does_not_start_is_told),
    ("notify_a_kernel_without_is_told", a_kernel_without_is_told),
    ("notify_devices_are_those_of_fuse", devices_are_those_of_fuse),
];

/// Runs a set-up, answering its calls until there is nobody left to make one.
fn answered(setup: &Setup, mut answer: impl FnMut(&Notification) -> Answer + Send) -> (Exit, String) {
    // Those have no listeners.
    need_new_kernel();
    let setup = with(setup.clone(), |s| s.supervised = true);
    let mut started = Sandbox::spawn(&setup, Output::Joined).unwrap();
    let pipe = started.stdout.take().unwrap();
    let mut running = started.proceed().unwrap();
    let listener = running.listener().unwrap().unwrap();
    std::thread::scope(|scope| {
        let answering = scope.spawn(move || {
            while let Some(notification) = listener.receive().unwrap() {
                let answer = answer(&notification);
                assert!(listener.is_waiting(&notification));
                listener.answer(&notification, answer).unwrap();
                assert!(!listener.is_waiting(&notification));
            }
        });
        let exit = running.wait().unwrap();
        answering.join().unwrap();
        (exit, read_to_string(File::from(pipe)).unwrap())
    })
}

fn calls_are_answered() {
    let script = "id -u; id -g; touch /tmp/f; mknod /tmp/p p; chown 5:6 /tmp/f; exit 3";
    let mut chowned = Vec::new();
    let (exit, printed) = answered(&shell(script), |call| match call.call {
        Call::Getuid | Call::Geteuid => Answer::Value(42),
        Call::Getgid | Call::Getegid => Answer::Value(43),
        Call::Fchownat => {
            chowned.push(call.arguments[2..4].to_vec());
            Answer::Error(libc::EDOM)
        }
        Call::Mknod | Call::Mknodat => panic!("a pipe is no device"),
        _ => Answer::Continue,
    });
    assert_eq!(exit, Exit::Code(3));
    assert!(printed.starts_with("42\n43\n"), "{printed}");
    assert!(printed.contains("Numerical argument out of domain"), "{printed}");
    assert_eq!(chowned, [[5, 6]]);
}

fn a_number_is_kept_and_inherited() {
    let script = "id -u; prlimit --rttime=5:5 true; sh -c 'ulimit -R 7; id -u'";
    let mut seen = Vec::new();
    let (exit, printed) = answered(&setup(&["bash", "-c", script]), |call| {
        seen.push(kept_number(call.pid).unwrap());
        keep_number(call.pid, 4711).unwrap();
        if call.call == Call::Geteuid { Answer::Value(0) } else { Answer::Continue }
    });
    assert_eq!(exit, Exit::Code(0), "{printed}");
    assert_eq!(seen[0], largest_number().unwrap_or(u64::MAX));
    assert!(seen.len() > 3 && seen[1..].iter().all(|number| *number == 4711), "{seen:?}");
}

fn a_command_that_does_not_start_is_told() {
    let (exit, _) = answered(&setup(&["no-such-program"]), |_| Answer::Continue);
    assert!(matches!(exit, Exit::ExecFailed { .. }), "{exit:?}");
}

/// The command goes on as it would have without a supervisor.
fn a_kernel_without_is_told() {
    if std::env::var_os(OLD_KERNEL).is_none() {
        return; // seen in the run as on an old kernel
    }
    let setup = with(shell("id -u > /tmp/id"), |s| s.supervised = true);
    let mut running = Sandbox::spawn(&setup, Output::Joined).unwrap().proceed().unwrap();
    assert!(running.listener().unwrap().is_none());
    assert!(running.warnings().iter().any(|warning| warning.contains("Linux 5.9")));
    assert_eq!(running.wait().unwrap(), Exit::Code(0));
}

fn devices_are_those_of_fuse() {
    let setup = with(setup(&["true"]), |s| s.supervised = true);
    let running = Sandbox::spawn(&setup, Output::Joined).unwrap().proceed().unwrap();
    assert_eq!(running.devices(), [0; 0], "there is none");
}
