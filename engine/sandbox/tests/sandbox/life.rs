//! Nothing outlives a sandbox, and a sandbox does not outlive the engine.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use rbuild_sandbox::{Exit, Output, Sandbox};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, pidfd_open};

use crate::Case;
use crate::support::{need_new_kernel, run, shell, start, this_program};

pub const TESTS: &[Case] = &[
    ("life_leftovers_are_killed", leftovers_are_killed),
    ("life_orphans_are_reaped", orphans_are_reaped),
    ("life_killing_all_hurts_only_the_inside", killing_all_hurts_only_the_inside),
    ("life_kill_ends_it", kill_ends_it),
    ("life_a_killer_works_from_another_thread", a_killer_works_from_another_thread),
    ("life_dropping_ends_it", dropping_ends_it),
    ("life_wait_twice_says_the_same", wait_twice_says_the_same),
    ("life_no_pipe_of_the_caller_is_kept", no_pipe_of_the_caller_is_kept),
    ("life_no_child_is_left", no_child_is_left),
    ("life_ends_with_the_engine", ends_with_the_engine),
];

pub const INNER: &[Case] = &[("engine", engine), ("engine_before_proceed", engine_before_proceed)];

/// Pids of processes that have `marker` as an argument.
fn processes(marker: &str) -> Vec<i32> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let has_marker = |pid: &i32| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments.split(|byte| *byte == 0).any(|argument| argument == marker.as_bytes())
    };
    pids.filter(has_marker).collect()
}

fn leftovers_are_killed() {
    let ended = run(&shell("sleep 86401 & setsid sleep 86401 & trap '' TERM; echo started"));
    assert_eq!(ended.text(), "started");
    assert_eq!(processes("86401"), [] as [i32; 0]);
}

fn orphans_are_reaped() {
    // The inner shell ends before its child; the outer one waits until no zombie is left, at most 1000 looks.
    let script = "sh -c 'true & true & exit 0'; i=0
        while grep -qs '^State:.Z' /proc/[0-9]*/status; do i=$((i+1)); [ $i -lt 1000 ] || exit 1; done";
    assert_eq!(run(&shell(script)).exit, Exit::Code(0));
}

fn killing_all_hurts_only_the_inside() {
    let ended = run(&shell("sleep 86402 & kill -KILL -1; kill -KILL 1; kill -STOP 1; echo alive"));
    assert_eq!(ended.text(), "alive");
    assert_eq!(processes("86402"), [] as [i32; 0]);
}

fn kill_ends_it() {
    let (mut running, _stdout) = start(&shell("echo ready; sleep 86403; echo never"));
    running.kill();
    assert_eq!(running.wait().unwrap(), Exit::Signal(9));
    assert_eq!(processes("86403"), [] as [i32; 0]);
}

fn a_killer_works_from_another_thread() {
    let (mut running, _stdout) = start(&shell("trap '' TERM INT; echo ready; sleep 86404 & wait"));
    let killer = running.killer();
    let thread = std::thread::spawn(move || {
        killer.kill();
        killer
    });
    assert_eq!(running.wait().unwrap(), Exit::Signal(9));
    // Harmless when it is over.
    thread.join().unwrap().kill();
    assert_eq!(processes("86404"), [] as [i32; 0]);
}

fn dropping_ends_it() {
    let (running, mut stdout) = start(&shell("echo ready; sleep 86405"));
    drop(running);
    assert_eq!(processes("86405"), [] as [i32; 0]);
    assert_eq!(stdout.read(&mut [0]).unwrap(), 0);
    let started = Sandbox::spawn(&shell("sleep 86405"), Output::Joined).unwrap();
    let killer = started.killer();
    killer.kill();
    assert!(started.proceed().is_err());
}

fn wait_twice_says_the_same() {
    let (mut running, _stdout) = start(&shell("echo ready; exit 3"));
    assert_eq!(running.wait().unwrap(), Exit::Code(3));
    running.kill();
    assert_eq!(running.wait().unwrap(), Exit::Code(3));
}

/// A CI that waits for the end of a pipe must not wait for a sandbox.
fn no_pipe_of_the_caller_is_kept() {
    let (read, write) = nix::unistd::pipe().unwrap();
    let (_running, _stdout) = start(&shell("echo ready; sleep 86407"));
    drop(write);
    assert_eq!(std::fs::File::from(read).read(&mut [0]).unwrap(), 0);
}

fn no_child_is_left() {
    run(&shell("true"));
    drop(Sandbox::spawn(&shell("true"), Output::Separate).unwrap());
    assert_eq!(waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)), Err(Errno::ECHILD));
}

fn engine() {
    let (mut running, _stdout) = start(&shell("trap '' HUP TERM; echo ready; sleep 86406"));
    tell_and_stay();
    running.wait().unwrap();
}

fn engine_before_proceed() {
    let _started = Sandbox::spawn(&shell("sleep 86406"), Output::Joined).unwrap();
    tell_and_stay();
}

fn tell_and_stay() {
    std::io::stdout().write_all(b"ready\n").unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

fn ends_with_the_engine() {
    need_new_kernel();
    for part in ["engine", "engine_before_proceed"] {
        let mut engine = Command::new(this_program())
            .args(["--inner", part])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut word = [0; 6];
        engine.stdout.as_mut().unwrap().read_exact(&mut word).unwrap();
        let inside = family(engine.id());
        assert!(inside.len() >= 2, "{part}: the set-up child and the init at least");
        engine.kill().unwrap();
        engine.wait().unwrap();
        for process in inside {
            assert!(ended(&process), "{part}");
        }
        assert_eq!(processes("86406"), [] as [i32; 0], "{part}");
    }
}

/// All descendants of a process.
fn family(pid: u32) -> Vec<OwnedFd> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let mut found = Vec::new();
    for child in children.split_whitespace().map(|child| child.parse().unwrap()) {
        let pid = rustix::process::Pid::from_raw(child).unwrap();
        found.extend(pidfd_open(pid, PidfdFlags::empty()));
        found.extend(family(child.unsigned_abs()));
    }
    found
}

/// Whether the process ends, at the latest in a minute.
fn ended(process: &OwnedFd) -> bool {
    let limit = Timespec { tv_sec: 60, tv_nsec: 0 };
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&limit)) == Ok(1)
}
