//! Pid 1 of the sandbox: the rest of the set-up, then the parent of everything inside.
//!
//! It reaps, and ends with the command or with the engine. When it exits the kernel kills every other process of the
//! pid namespace and waits for them, so no leftover keeps a mount busy; no signal from inside can touch it.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, sethostname, setsid};

use crate::control::{FromChild, send};
use crate::error::{Named, Outcome};
use crate::exit::Exit;
use crate::{Network, Part, Setup, sys};

use super::mounts::Maker;
use super::staging::Staging;
use super::{Pipes, execute, hear, say};

/// What the init is given.
pub(crate) struct Init<'a> {
    pub(crate) control: &'a UnixStream,
    pub(crate) setup: &'a Setup,
    pub(crate) staging: Staging,
    pub(crate) binds: Vec<OwnedFd>,
    pub(crate) pipes: Pipes,
}

/// Does everything; the process ends here.
pub(crate) fn run(init: Init<'_>) -> ! {
    let control = init.control;
    if let Err(failure) = set_up_and_supervise(init) {
        // If the engine is gone there is nobody to tell.
        let _ = send(control, &FromChild::Failed(failure), &[]);
        sys::exit(1);
    }
    sys::exit(0)
}

fn set_up_and_supervise(init: Init<'_>) -> Outcome<()> {
    let Init { control, setup, staging, binds, pipes } = init;
    setsid().named(Part::Other, || "make a session")?;
    name_and_network(setup)?;
    let mut maker = Maker { setup, staging: &staging, warnings: Vec::new() };
    maker.make(binds)?;
    hear(control, "the filesystems to be served")?;
    maker.make_parts()?;
    let devices = if setup.supervised { maker.devices()? } else { Vec::new() };
    let warnings = maker.warnings;
    staging.attach(setup)?;
    drop(staging);
    let children = watch_children().named(Part::Other, || "watch for ended processes")?;
    say(control, &FromChild::Ready { warnings, devices })?;
    let Some(command) = sys::fork().named(Part::Other, || "fork the command")? else {
        execute::run(control, setup, pipes);
    };
    drop(pipes);
    supervise(control, &children, command)
}

fn name_and_network(setup: &Setup) -> Outcome<()> {
    sethostname(&setup.hostname)
        .named(Part::Other, || format!("set the host name to {:?}", setup.hostname))?;
    sys::set_domain_name("(none)").named(Part::Other, || "set the domain name")?;
    match setup.network {
        Network::None | Network::Private => {
            sys::start_loopback().named(Part::Other, || "switch the loopback device on")
        }
        Network::Host => Ok(()),
    }
}

/// Blocks SIGCHLD and makes it readable, so that one poll waits for both ends of the story.
pub(super) fn watch_children() -> nix::Result<SignalFd> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    signals.thread_block()?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// Says how the command ended.
fn supervise(control: &UnixStream, children: &SignalFd, command: Pid) -> Outcome<()> {
    match wait(control, children, command)? {
        Some(exit) => say(control, &FromChild::Ended(exit)),
        None => sys::exit(0),
    }
}

/// Waits for the command; nothing if the engine comes to its end first, by will or by death.
pub(super) fn wait(control: &UnixStream, children: &SignalFd, command: Pid) -> Outcome<Option<Exit>> {
    use std::os::fd::AsFd;
    loop {
        // Several may have ended for one signal.
        if let Some(exit) = reap(command) {
            return Ok(Some(exit));
        }
        let mut events = [
            PollFd::new(control.as_fd(), PollFlags::POLLIN),
            PollFd::new(children.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut events, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            other => other.named(Part::Other, || "wait for the command")?,
        };
        // Nothing more is ever said.
        if events[0].revents().is_some_and(|events| !events.is_empty()) {
            return Ok(None);
        }
        // Emptied before the next look at the children; what it says is not needed.
        while let Ok(Some(_)) = children.read_signal() {}
    }
}

/// Reaps whatever has ended; how the command did, if it is among them.
fn reap(command: Pid) -> Option<Exit> {
    loop {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == command => return Some(Exit::Code(code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == command => {
                return Some(Exit::Signal(signal as i32));
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return None,
            _ => {}
        }
    }
}
