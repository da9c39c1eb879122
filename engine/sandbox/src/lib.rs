//! Runs one command in a user-namespace sandbox set up as data.
//!
//! A [`Setup`] says everything: the id map, the mounts in order, the command. [`Sandbox::spawn`] starts this very
//! program again as a child that interprets it; re-executing rather than forking keeps the
//! engine's threads, locks and memory out of the sandbox. An operation that fails names itself and its cause.
//!
//! ```text
//! engine                        set-up child                   init (pid 1)           the command
//!   spawn ── Setup ──────────────▶ unshare
//!   write id maps ◀── Unshared ──── wait
//!          ─── Mapped ───────────▶ become 0:0, mount FUSE
//!   Started ◀── Mounted + fds ───── fork ────────────────────▶ proc, sys, dev, binds
//!   serve FUSE, proceed ── Proceed ─────────────────────────▶ attach, pivot_root
//!   Running ◀── Ready ──────────────────────────────────────── fork ──────────────▶ confine, exec
//!   answer ◀── Listening + fd ──────────────────────────────────────────────────── (if supervised)
//!   wait ◀── Ended ──────────────── reap init, exit ◀───────── reap, exit
//! ```
//!
//! The set-up child stays in the engine's pid namespace, because the pids in FUSE requests are those of the mounter's
//! namespace; it remains only to reap the init, so that [`Running::wait`] leaves no zombie and returns when the last
//! mount is gone. Nothing depends on signals for its life: every process ends when the engine's end of the control
//! socket closes.
//!
//! A program that uses this crate calls [`enter_if_child`] first thing in `main`. Children run it from a read-only
//! mount that the first of them makes (`child/guard.rs`): a step that gets hold of its `/proc/self/exe` can't change it.
//!
//! Limits: `mknod` of devices is refused in a user namespace by every kernel, if no supervisor answers it; a bind's source
//! must be reachable by the engine's own user without capabilities over other users' files.
//!
//! | module | what |
//! |---|---|
//! | [`setup`](Setup) | the set-up as data |
//! | [`ids`](IdMap) | which ids a sandbox gets, and how they are mapped |
//! | `sandbox` | the engine's side: spawn, proceed, wait, kill |
//! | `process` | the child behind it |
//! | `swap` | a root whose entries are others while a command runs |
//! | `processes` | who else is there |
//! | `guard` | the program that children are started from |
//! | `groups` | control groups for its limits |
//! | `control` | the messages between the two sides |
//! | `worker` | this program's own work with the ids of a sandbox |
//! | `memory` | a filesystem in memory that it fills, and several sandboxes show |
//! | `child` | the other side: set-up child, init, command |
//! | `seccomp` | the system call filter |
//! | `notify` | a second one, whose calls somebody outside answers |
//! | `environment` | what a machine gives, why it refuses, and the cure |
//! | `sys` | the only unsafe code |
#![deny(unsafe_op_in_unsafe_fn)]

mod child;
mod control;
mod elf;
mod environment;
mod error;
mod exit;
mod groups;
mod guard;
mod ids;
mod memory;
pub mod notify;
mod process;
mod processes;
mod sandbox;
mod seccomp;
mod setup;
mod swap;
mod sys;
mod text;
mod worker;

pub use child::{enter_if_child, enter_if_child_with};
pub use environment::{
    Capabilities, Cgroups, EnvironmentError, Examination, Facts, Place, capabilities_cure, cure, examine,
    mount_points, one_id_cure, overlay_trial, probe, probe_chroot, probe_with, proc_cure,
};
pub use error::{Error, Failure, Part, Result};
pub use exit::{ExecFailure, Exit};
pub use groups::memory_limit;
pub use ids::{Extent, IdMap, MapMethod, OneId};
pub use memory::Memory;
pub use processes::Process;
pub use sandbox::{Killer, Output, Running, Sandbox, Started};
pub use setup::{Command, Limits, Mount, Network, Setup, Upper};
pub use swap::Swap;
pub use sys::map_large_allocations;
pub use worker::{Channel, Worker};

/// Who answers for the machine's name servers in a [`Network::Private`]: an address of the link, which is nobody's else.
pub const NAME_SERVER: &str = "169.254.1.3";
