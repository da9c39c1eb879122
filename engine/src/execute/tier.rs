//! What this machine gives to steps: the first tier that works, or the one that was asked for.

use super::{Engine, mounts::Mounts, run::Over};
use crate::{
    checkout::{Checkouts, EarlyWorker, StepFolders},
    chroot::{self, FOLDER, StepRoot, Wanted},
    error::{Error, Result},
    session::Session,
    spec::types::Network,
};
use rbuild_overlay::Changes;
use rbuild_sandbox::{
    Capabilities, EnvironmentError, Facts, IdMap, Memory, Mount, Part, Setup, capabilities_cure,
    overlay_trial, probe, probe_chroot, probe_with,
};
use rbuild_supervisor::OwnerTable;
use rbuild_tree::{Snapshot, Timestamp};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use std::sync::Arc;

/// How a step gets its root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// A FUSE filesystem that rbuild serves.
    Fuse,
    /// The kernel's overlay filesystem.
    Overlay,
    /// A directory, without namespaces: nothing keeps the step in.
    Chroot,
    /// The container's own root, whose files are aside meanwhile, one step at a time. Only if it is asked for.
    InPlace,
    /// Not at all: no command can run.
    None,
}

/// What was found.
pub struct Machine {
    /// The ids that steps get.
    pub(super) ids: IdMap,
    pub(super) roots: Roots,
    /// Why it is not the first tier, if that was tried.
    why: Option<String>,
    /// What steps make may be something else elsewhere: root lacks capabilities.
    lacks_capabilities: bool,
}

/// What steps run over.
pub(super) enum Roots {
    /// Filesystems that are served.
    Served,
    /// Folders for the kernel's overlay filesystem.
    Checkouts(Box<Checkouts>),
    /// Directories.
    Directories(chroot::Roots),
}

/// What one step runs over.
pub(super) enum Ground<'a> {
    Served,
    Folders(StepFolders<'a>),
    Directory(Box<StepRoot<'a>>),
}

impl Machine {
    /// Refuses what can't be shown: other mounts lie on this machine's files, and nobody may change them, so the kernel's
    /// overlay filesystem is none for them.
    pub(super) fn check(&self, over: Over<'_>) -> Result<()> {
        match (over, &self.roots) {
            (Over::Snapshot { .. }, _) | (_, Roots::Served) => Ok(()),
            (Over::Host(_), _) => {
                let error =
                    Error::environment("steps over this machine's files run on FUSE only").coded("no-tier");
                let leave_out =
                    if self.runs_in_place() { "leave out --in-place" } else { "leave out --tier" };
                Err(error.hint(self.why.as_deref().unwrap_or(leave_out)))
            }
        }
    }

    /// Whether calls are answered by rbuild: there is one id only, or there are no mounts.
    pub(super) fn supervises(&self) -> bool {
        match self.roots {
            Roots::Served | Roots::Checkouts(_) => self.ids.is_single(),
            Roots::Directories(_) => !self.runs_in_place(),
        }
    }

    fn runs_in_place(&self) -> bool {
        matches!(&self.roots, Roots::Directories(roots) if roots.volumes().is_some())
    }

    /// Whether nothing keeps a step from this machine and its network.
    pub(super) fn is_unfenced(&self) -> bool {
        matches!(self.roots, Roots::Directories(_))
    }

    /// What of the network a step gets that is to have `wanted`: without a fence there is only the machine's.
    pub(super) fn network(&self, wanted: Network) -> Network {
        match wanted {
            Network::Private if self.is_unfenced() => Network::Host,
            wanted => wanted,
        }
    }

    /// Whether what steps make should not be used again.
    pub(super) fn lacks_capabilities(&self) -> bool {
        self.lacks_capabilities
    }

    /// Whether a cache is one step's at a time, since it is moved there.
    pub(super) fn moves_caches(&self) -> bool {
        self.is_unfenced()
    }

    /// Where nothing is served, makes what a step's mounts show, and says so in its set-up; `seen` becomes what its root
    /// shows.
    pub(super) fn ground(
        &self,
        engine: &Engine,
        over: Over<'_>,
        mounts: &Mounts,
        setup: &mut Setup,
        seen: &mut Option<Snapshot>,
    ) -> Result<Ground<'_>> {
        if matches!(self.roots, Roots::Served) {
            return Ok(Ground::Served);
        }
        let (store, epoch) = (&engine.session.store, engine.session.epoch());
        let shown = mounts.filesystems.iter().map(|filesystem| filesystem.shown(store, epoch));
        let shown = shown.collect::<Result<Vec<_>>>()?;
        let root = &shown[0].tree;
        if let (Over::Snapshot { base, lineage, .. }, Some(seen)) = (over, &seen) {
            if let Some(lineage) = lineage {
                engine.derive_all(lineage);
                lineage.snapshot.iter().for_each(|origin| engine.derive(base, origin));
            }
            engine.derive(seen, base);
            engine.derive(root, seen);
        }
        *seen = Some(root.clone());
        match &self.roots {
            Roots::Served => Ok(Ground::Served),
            Roots::Checkouts(checkouts) => {
                StepFolders::make(checkouts, &mut setup.mounts, shown).map(Ground::Folders)
            }
            Roots::Directories(roots) => {
                let parts = setup.mounts.iter().filter_map(|mount| match mount {
                    Mount::Fuse { source, .. } => Some(source.clone()),
                    _ => None,
                });
                let wanted =
                    shown.into_iter().zip(parts).map(|(shown, part)| Wanted { tree: shown.tree, part });
                let root = StepRoot::make(roots, &setup.mounts, wanted.collect(), epoch)?;
                setup.mounts = vec![root.mount()];
                for path in root.covered() {
                    engine.session.note(
                        None,
                        format!("{path} stays the container's: what steps make there is not kept"),
                    );
                }
                Ok(Ground::Directory(Box::new(root)))
            }
        }
    }
}

impl Ground<'_> {
    /// Where the owners are kept that the filesystems can't keep.
    pub(super) fn tables(&self) -> &[Arc<OwnerTable>] {
        match self {
            Self::Folders(folders) => folders.tables(),
            Self::Served | Self::Directory(_) => &[],
        }
    }

    /// What the sandbox is to have of it in memory.
    pub(super) fn memories(&self) -> &[Memory] {
        match self {
            Self::Folders(folders) => folders.memories(),
            Self::Served | Self::Directory(_) => &[],
        }
    }

    /// To be called when the command has ended: caches go back to where they live.
    pub(super) fn leave(&mut self, epoch: Timestamp) -> Result<()> {
        match self {
            Self::Directory(root) => root.leave(epoch),
            Self::Served | Self::Folders(_) => Ok(()),
        }
    }

    /// The same if what it changed is not wanted.
    pub(super) fn abandon(&mut self) -> Result<()> {
        match self {
            Self::Directory(root) => root.abandon(),
            Self::Served | Self::Folders(_) => Ok(()),
        }
    }

    /// What a command changed of its root.
    pub(super) fn changes(&mut self, mounts: &Mounts, epoch: Timestamp) -> Result<Changes> {
        let delta = match self {
            Self::Served => return Ok(mounts.filesystems[0].overlay.commit(Some(epoch))?),
            Self::Folders(folders) => folders.changes(epoch)?,
            Self::Directory(root) => root.changes()?,
        };
        Ok(Changes { delta, trace: None, warnings: Vec::new() })
    }
}

/// Told once a build on tiers that do not isolate.
const NOT_ISOLATED: &str = "steps run as root of this container, not isolated from it: they can read its files, volumes \
                            and the environment of its processes (CI secrets included), signal them, and use its \
                            network; build only what you trust here";

/// Tries the tiers, or the one that is wanted.
///
/// # Errors
/// What is missing, and the cure, in one sentence.
pub(super) fn find(session: &Session, wanted: Option<Tier>) -> Result<Machine, String> {
    let say = |error: EnvironmentError| error.to_string();
    match wanted {
        Some(Tier::None) => Err("no command can run: --tier none".to_owned()),
        Some(Tier::Fuse) => Ok(served(session, probe().map_err(say)?)),
        Some(Tier::Overlay) => over_checkouts(session, None).map_err(say),
        Some(Tier::Chroot) => in_directories(session, None).map_err(say),
        Some(Tier::InPlace) => in_place(session),
        None => find_any(session),
    }
}

fn find_any(session: &Session) -> Result<Machine, String> {
    let no_fuse = match probe() {
        Ok(found) => return Ok(served(session, found)),
        Err(error) => error,
    };
    let why = no_fuse.source.to_string();
    let no_overlay = match over_checkouts(session, Some(why.clone())) {
        Ok(found) => {
            session.note(None, format!("steps run on the kernel's overlay filesystem: {why}"));
            return Ok(found);
        }
        Err(error) => error,
    };
    let sentence = both(&no_fuse, &no_overlay);
    in_directories(session, Some(why)).map_err(|error| match &error.source {
        rbuild_sandbox::Error::Failed { failure, cure: Some(cure) }
            if match failure.part {
                Part::Listener => cure.contains("--in-place"),
                _ => rustix::process::geteuid().is_root(),
            } =>
        {
            format!("{sentence}; nor can a chroot: {cure}")
        }
        _ => sentence,
    })
}

fn served(session: &Session, found: Capabilities) -> Machine {
    machine(session, found, Roots::Served, None)
}

fn over_checkouts(session: &Session, why: Option<String>) -> Result<Machine, EnvironmentError> {
    let worker = EarlyWorker::start();
    let (found, share) = try_overlay(session)?;
    let (store, stopped) = (session.store.clone(), session.stopped.clone());
    let checkouts = Checkouts::new(store, found.ids.clone(), share, stopped, worker);
    Ok(machine(session, found, Roots::Checkouts(Box::new(checkouts)), why))
}

fn in_directories(session: &Session, why: Option<String>) -> Result<Machine, EnvironmentError> {
    let found = probe_chroot()?;
    // From here on a step, which has the same user, can't look into this process.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let cure = why.as_ref().map(|why| format!("; isolated steps need more: {why}")).unwrap_or_default();
    session.note(None, format!("{NOT_ISOLATED}{cure}"));
    let lacks_capabilities = lacks_capabilities(session);
    let roots = chroot::Roots::new(session.store.clone(), session.stopped.clone());
    Ok(Machine { lacks_capabilities, ..machine(session, found, Roots::Directories(roots), why) })
}

/// Whether capabilities are missing: then the kernel drops set-id bits and the like, and leaves what other users run.
fn lacks_capabilities(session: &Session) -> bool {
    let Some(cure) = capabilities_cure(&Facts::load()) else { return false };
    let cost = "images may be others than elsewhere, so their steps run each time, and what other users run outlives its \
                step and `limits`";
    session.note(None, format!("{cost}: {cure}"));
    true
}

fn in_place(session: &Session) -> Result<Machine, String> {
    let roots = chroot::Roots::in_place(session.store.clone(), session.stopped.clone())?;
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let volumes = roots.volumes().unwrap_or_default().join(", ");
    session.note(
        None,
        format!("{NOT_ISOLATED}. Its own files are aside while a step runs, which may find them below {FOLDER}, but for {volumes}"),
    );
    let lacks_capabilities = lacks_capabilities(session);
    let found = Capabilities { ids: IdMap::of_machine(), warnings: Vec::new() };
    Ok(Machine { lacks_capabilities, ..machine(session, found, Roots::Directories(roots), None) })
}

fn machine(session: &Session, found: Capabilities, roots: Roots, why: Option<String>) -> Machine {
    found.warnings.iter().for_each(|warning| session.note(None, warning.clone()));
    Machine { ids: found.ids, roots, why, lacks_capabilities: false }
}

/// In the store, whose filesystem decides; says too whether files can name objects.
fn try_overlay(session: &Session) -> Result<(Capabilities, bool), EnvironmentError> {
    match try_mount(session, true) {
        Ok(found) => Ok((found, true)),
        Err(_) => Ok((try_mount(session, false)?, false)),
    }
}

fn try_mount(session: &Session, share: bool) -> Result<Capabilities, EnvironmentError> {
    let folder = session.store.scratch().fresh();
    let data = share.then(|| session.store.objects_path());
    probe_with(&overlay_trial(&folder, data))
}

/// What to tell if nothing works: FUSE is the better one to mend.
fn both(no_fuse: &EnvironmentError, no_overlay: &EnvironmentError) -> String {
    let (fuse, overlay) = (no_fuse.to_string(), no_overlay.source.to_string());
    if fuse.ends_with(&overlay) {
        return fuse;
    }
    format!("{fuse}; nor can the kernel's overlay filesystem take its place: {overlay}")
}
