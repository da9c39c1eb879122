//! A command without namespaces: the set-up child is its init, and the root a directory, or the one there is with other
//! entries.
//!
//! Nothing keeps the command in but its good will; who is root of a container can do no more. Leftovers of it are found
//! by their parent: this process takes over all whose own one ended, and ends them until none is left. It also puts back
//! what it moved, whoever ended meanwhile; if it is killed itself, the engine does.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, chdir, chroot, geteuid, getpid};
use rustix::process::{DumpableBehavior, set_child_subreaper, set_dumpable_behavior};

use crate::control::{FromChild, send};
use crate::error::{Named, Outcome};
use crate::exit::Exit;
use crate::processes::Process;
use crate::{Part, Setup, Swap, sys};

use super::{Pipes, execute, hear, init, leave_the_caller_behind, say};

/// Runs the command, and ends with it.
pub(super) fn set_up(control: &UnixStream, setup: &Setup, joined_output: bool) -> Outcome<()> {
    leave_the_caller_behind(control, &[])?;
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
    let exit = match setup.swap() {
        None => run(control, setup, pipes, &children)?,
        Some(swap) => in_place(swap, || run(control, setup, pipes, &children))?,
    };
    exit.map_or(Ok(()), |exit| say(control, &FromChild::Ended(exit)))
}

/// Has the root hold other entries for the time of a work.
fn in_place<T>(swap: &Swap, work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    // A directory that can't be renamed takes two for each level. The command has limits of its own.
    let _ = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    let done = swap.enter().and_then(|()| work());
    let left = swap.leave();
    let done = done?;
    left.map(|()| done)
}

/// From the command's beginning to the end of its last process; how it ended, if the engine did not before.
fn run(control: &UnixStream, setup: &Setup, pipes: Pipes, children: &SignalFd) -> Outcome<Option<Exit>> {
    let Some(command) = sys::fork().named(Part::Other, || "fork the command")? else {
        if let Err(failure) = enter(setup.chroot()) {
            // If the engine is gone there is nobody to tell.
            let _ = send(control, &FromChild::Failed(failure), &[]);
            sys::exit(1);
        }
        let _ = say(control, &FromChild::Ready { warnings: Vec::new(), devices: Vec::new() });
        execute::run(control, setup, pipes);
    };
    drop(pipes);
    let exit = init::wait(control, children, command);
    end_descendants();
    exit
}

fn enter(root: Option<&Path>) -> Outcome<()> {
    if let Some(root) = root {
        chroot(root).named(Part::Chroot, || format!("chroot to {}", root.display()))?;
    }
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
        let own = getpid().as_raw();
        for child in Process::all().into_iter().filter(|process| process.parent == own) {
            // It may have ended already.
            let _ = kill(Pid::from_raw(child.id), Signal::SIGKILL);
        }
        let _ = waitpid(Pid::from_raw(-1), None);
    }
}
