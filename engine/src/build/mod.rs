//! The commands that build, as the library offers them: load the file, lock it, plan or execute, remember.

mod apply;
mod metadata;
mod plan;
mod prepare;
mod push;
mod update;

pub use crate::{chroot::put_back, execute::Planned};
pub use apply::{Outcome, apply};
pub use metadata::Metadata;
pub use plan::plan;
pub use prepare::{History, load, meant_as_file, open_history, select};
pub use push::push;
pub use update::{Updated, update};

use crate::{execute::Tier, spec::Inputs, store::Folders};
use std::path::PathBuf;

/// What the caller of a command asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The build file, as the user named it.
    pub file: PathBuf,
    /// What to build; none: the file's `default`.
    pub targets: Vec<String>,
    /// Variables, environment, platform.
    pub inputs: Inputs,
    /// How many steps at once; none: what affinity and cgroup allow.
    pub jobs: Option<usize>,
    /// The only tier to be tried.
    pub tier: Option<Tier>,
    /// A failure stops only what needs the failed node.
    pub keep_going: bool,
    /// Nothing is asked for from outside.
    pub offline: bool,
    /// A missing entry of the lock file is an error, and the file is never written.
    pub locked: bool,
    /// Where outputs and artifacts go instead of the file's folder.
    pub out: Option<PathBuf>,
    /// Where to write what was made, as JSON ([`Metadata`]); an older file is removed first.
    pub metadata: Option<PathBuf>,
    /// The store, and others that are only read.
    pub store: Folders,
    /// Warnings are errors.
    pub deny_warnings: bool,
    /// Tell more.
    pub verbose: bool,
}
