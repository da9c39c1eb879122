//! What steps need, tried in a throw-away child: namespaces, id maps, mounts, a FUSE filesystem.

use super::explain;
use crate::error::Named;
use crate::notify;
use crate::process::control_error;
use crate::{
    Command, Error, Failure, IdMap, Limits, MapMethod, Mount, Network, Output, Part, Result, Sandbox, Setup,
    Upper,
};
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

/// What this machine gives to a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The ids that really could be mapped.
    pub ids: IdMap,
    /// What is missing without being needed, with its reason.
    pub warnings: Vec<String>,
}

/// Why no sandbox can be made here: cause and cure in one sentence.
#[derive(Debug, thiserror::Error)]
#[error("no sandbox can be made here: {source}")]
pub struct EnvironmentError {
    /// The operation that failed.
    #[from]
    pub source: Error,
}

/// Tries all that a sandbox needs.
///
/// It takes a few milliseconds, so no answer is kept for later: a kept one could be wrong.
///
/// # Errors
/// The first thing that is refused, with cause and cure.
pub fn probe() -> std::result::Result<Capabilities, EnvironmentError> {
    probe_with(&[fuse()])
}

/// The same with these mounts, the first of which is the root.
///
/// # Errors
/// As of [`probe`].
pub fn probe_with(mounts: &[Mount]) -> std::result::Result<Capabilities, EnvironmentError> {
    Ok(with_ids(|ids| spawn(&over(mounts, ids, Network::Host)))?)
}

/// Tries what a command without namespaces needs ([`Mount::Chroot`]): to change the root, and to answer its calls.
///
/// # Errors
/// The first thing that is refused, with cause and cure.
pub fn probe_chroot() -> std::result::Result<Capabilities, EnvironmentError> {
    let ids = IdMap::of_machine();
    answer_one(&ids)?;
    Ok(Capabilities { ids, warnings: Vec::new() })
}

/// Looks into a command that makes its first call, and ends it.
pub(super) fn answer_one(ids: &IdMap) -> Result<()> {
    if !notify::is_possible() {
        return Err(no_listener().into());
    }
    let root = Mount::Chroot { path: "/".into() };
    let setup = Setup { supervised: true, ..over(&[root], ids, Network::Host) };
    let mut running = Sandbox::spawn(&setup, Output::Joined)?.proceed()?;
    let Some(listener) = running.listener()? else {
        // Why it came to its end is told only then.
        running.wait()?;
        return Err(no_listener().into());
    };
    let Some(call) = listener.receive().map_err(control_error)? else {
        running.wait()?;
        return Err(Error::Lost("made a call"));
    };
    let opened = OpenOptions::new().read(true).write(true).open(format!("/proc/{}/mem", call.pid));
    opened.named(Part::Listener, || "look into a command that makes a call").map(drop).map_err(explain)
}

fn no_listener() -> Failure {
    Failure { part: Part::Listener, operation: "answer a command's calls".into(), errno: libc::ENOSYS }
}

/// The best ids with which `attempt` succeeds.
pub(super) fn with_ids(attempt: impl Fn(&IdMap) -> Result<()>) -> Result<Capabilities> {
    let ids = IdMap::detect()?;
    match attempt(&ids) {
        Ok(()) => Ok(Capabilities { ids, warnings: Vec::new() }),
        // newuidmap is there but does not work here (no set-id bit, a nosuid mount, a range it does not accept).
        Err(error) if ids.method == MapMethod::Helper && is_about_ids(&error) => {
            let ids = IdMap::single(own(&ids.uids), own(&ids.gids));
            attempt(&ids)?;
            Ok(Capabilities { ids, warnings: vec![format!("steps have one id only: {error}")] })
        }
        Err(error) => Err(error),
    }
}

fn is_about_ids(error: &Error) -> bool {
    match error {
        Error::Helper { .. } => true,
        Error::Failed { failure, .. } => failure.part == Part::Ids,
        _ => false,
    }
}

fn own(extents: &[crate::Extent]) -> u32 {
    extents.first().map_or(0, |extent| extent.outside)
}

/// A FUSE filesystem as root.
pub(super) fn fuse() -> Mount {
    Mount::Fuse { target: "/".into(), source: String::new(), read_only: true }
}

/// What tries the kernel's overlay filesystem: one over directories that are made in `folder`, which is on the filesystem
/// to try; `data` is a further lower directory of file contents. What is left in `folder` is the caller's to remove.
pub fn overlay_trial(folder: &Path, data: Option<PathBuf>) -> Vec<Mount> {
    let place = |name| folder.join(name);
    let upper = Upper { changes: place("changes"), work: place("work") };
    let root = Mount::Overlay {
        target: "/".to_owned(),
        source: String::new(),
        lower: vec![place("upper"), place("lower")],
        data,
        memory: false,
        upper: Some(upper),
    };
    let own = ["upper", "lower", "changes", "work"].map(|name| Mount::Own {
        path: place(name),
        uid: 0,
        gid: 0,
        mode: 0o755,
    });
    [root].into_iter().chain(own).collect()
}

/// A sandbox with these mounts, the first of which is the root, whose command can't be started: the root itself.
pub(super) fn over(mounts: &[Mount], ids: &IdMap, network: Network) -> Setup {
    Setup {
        ids: ids.clone(),
        hostname: "rbuild".into(),
        network,
        mounts: mounts.to_vec(),
        command: Command {
            argv: vec!["/".into()],
            env: Vec::new(),
            directory: "/".into(),
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            umask: 0o022,
        },
        limits: Limits::default(),
        supervised: false,
    }
}

/// Makes a sandbox, and ends it before its command.
pub(super) fn spawn(setup: &Setup) -> Result<()> {
    Sandbox::spawn(setup, Output::Joined).map(drop)
}
