//! Holding a command to its limits, and what is said of one that was beyond them.

use crate::{
    report,
    spec::{types, words},
};
use nix::sys::signal::Signal;
use rbuild_sandbox::{Exit, Limits, Result, Running};
use std::{
    fmt,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

/// The limit that ended a command, or a process of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beyond {
    /// Bytes of memory.
    Memory(u64),
    /// How long it ran.
    Time(Duration),
}

/// The sandbox's part.
pub(super) fn of_sandbox(limits: &types::Limits) -> Limits {
    Limits { memory: limits.memory, cpus: limits.cpus, ..Limits::default() }
}

/// How a command ended.
pub(super) struct Ended {
    pub(super) exit: Exit,
    /// The limit that it, or a process of it, was beyond.
    pub(super) beyond: Option<Beyond>,
    /// Bytes of memory that each process was held to by itself, so that nobody knows who was beyond.
    pub(super) memory_each: Option<u64>,
}

/// Waits for the end of a command, which is ended when its time is over.
///
/// # Errors
/// Those of the sandbox.
pub(super) fn wait(running: &mut Running, limits: &types::Limits) -> Result<Ended> {
    let (ended, is_late) = match limits.time {
        None => (running.wait(), false),
        Some(time) => wait_in_time(running, time),
    };
    let memory = limits.memory.filter(|_| running.is_out_of_memory()).map(Beyond::Memory);
    let killed = Exit::Signal(Signal::SIGKILL as i32);
    let exit = match ended {
        // What was killed is the process that watches over the others.
        Err(_) if memory.is_some() => killed.clone(),
        ended => ended?,
    };
    let time = limits.time.filter(|_| is_late && exit == killed).map(Beyond::Time);
    Ok(Ended { exit, beyond: time.or(memory), memory_each: running.left().memory })
}

fn wait_in_time(running: &mut Running, time: Duration) -> (Result<Exit>, bool) {
    let killer = running.killer();
    let (ended, end) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let alarm = scope.spawn(move || {
            let is_late = end.recv_timeout(time) == Err(RecvTimeoutError::Timeout);
            if is_late {
                killer.kill();
            }
            is_late
        });
        let exit = running.wait();
        drop(ended);
        (exit, alarm.join().unwrap_or(false))
    })
}

/// What is said where a command failed whose processes had so much memory each.
pub(super) fn memory_hint(each: u64) -> String {
    let size = words::spelled_size(each);
    format!(
        "no control group can be made here, so each of its processes had {size} of memory by itself (`limits`) and was \
         refused what is beyond: if it ran out of memory, raise `memory`"
    )
}

impl fmt::Display for Beyond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(bytes) => {
                let size = words::spelled_size(*bytes);
                write!(
                    f,
                    "a process of it was killed, since all of them may have {size} of memory (`limits`)"
                )
            }
            Self::Time(time) => {
                write!(f, "its command was killed after {} (`limits`)", report::duration(*time))
            }
        }
    }
}
