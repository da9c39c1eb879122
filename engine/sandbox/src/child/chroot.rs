//! A command without namespaces: the set-up child is its init, and the root a directory.
//!
//! Nothing keeps the command in but its good will; who is root of a container can do no more. Leftovers of it are found
//! by their parent: this process takes over all whose own one ended, and ends them until none is left.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, chdir, chroot, geteuid, getpid};
use rustix::process::{DumpableBehavior, set_child_subreaper, set_dumpable_behavior};

use crate::control::{FromChild, send};
use crate::error::{Named, Outcome};
use crate::{Part, Setup, sys};

use super::{Pipes, execute, hear, init, leave_the_caller_behind, say};

/// Runs the command, and ends with it.
pub(super) fn set_up(control: &UnixStream, setup: &Setup, joined_output: bool) -> Outcome<()> {
    leave_the_caller_behind(control)?;
    say(control, &FromChild::Unshared)?;
    hear(control, "id maps")?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).named(Part::Other, || "become non-dumpable")?;
    set_child_subreaper(rustix::process::Pid::from_raw(getpid().as_raw()))
        .named(Part::Other, || "become the parent of orphans")?;
    if !geteuid().is_root() {
        let name = || format!("chroot to {}", setup.chroot().unwrap_or(Path::new("/")).display());
        return Err(Errno::EPERM).named(Part::Chroot, name);
    }
    let (pipes, read_ends) = Pipes::make(setup, joined_output)?;
    // Without a pidfd: who killed this process would leave the others alive.
    let descriptors: Vec<_> = read_ends.iter().map(AsFd::as_fd).collect();
    send(control, &FromChild::Mounted { pidfd: false }, &descriptors)
        .named(Part::Other, || "hand the descriptors over")?;
    drop(read_ends);
    hear(control, "the command to be wanted")?;
    let children = init::watch_children().named(Part::Other, || "watch for ended processes")?;
    let Some(command) = sys::fork().named(Part::Other, || "fork the command")? else {
        if let Err(failure) = enter(setup.chroot().unwrap_or(Path::new("/"))) {
            // If the engine is gone there is nobody to tell.
            let _ = send(control, &FromChild::Failed(failure), &[]);
            sys::exit(1);
        }
        let _ = say(control, &FromChild::Ready { warnings: Vec::new(), devices: Vec::new() });
        execute::run(control, setup, pipes);
    };
    drop(pipes);
    let exit = init::wait(control, &children, command)?;
    end_descendants();
    exit.map_or(Ok(()), |exit| say(control, &FromChild::Ended(exit)))
}

fn enter(root: &Path) -> Outcome<()> {
    chroot(root).named(Part::Chroot, || format!("chroot to {}", root.display()))?;
    chdir("/").named(Part::Other, || "change directory to /")
}

/// Kills children until there are none: those of a killed one become ours.
fn end_descendants() {
    loop {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return,
            Ok(status) if status.pid().is_some() => continue,
            _ => {}
        }
        for child in children() {
            // It may have ended already.
            let _ = kill(child, Signal::SIGKILL);
        }
        let _ = waitpid(Pid::from_raw(-1), None);
    }
}

/// Processes whose parent this one is.
fn children() -> Vec<Pid> {
    let own = getpid().as_raw().to_string();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_child = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // `pid (name) state parent`, where the name may hold anything.
        stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)) == Some(&own)
    };
    numbers.filter(is_child).map(Pid::from_raw).collect()
}
