//! What this machine gives to steps: the first tier that works, or the one that was asked for.

use super::{Engine, mounts::Mounts, run::Over};
use crate::{
    checkout::{Checkouts, StepFolders},
    error::{Error, Result},
    session::Session,
};
use rbuild_overlay::Changes;
use rbuild_sandbox::{Capabilities, EnvironmentError, IdMap, Setup, overlay_trial, probe, probe_with};
use rbuild_tree::{Snapshot, Timestamp};

/// How a step gets its root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// A FUSE filesystem that rbuild serves.
    Fuse,
    /// The kernel's overlay filesystem.
    Overlay,
    /// Not at all: no command can run.
    None,
}

/// What was found.
pub struct Machine {
    /// The ids that steps get.
    pub(super) ids: IdMap,
    /// On the overlay tier: what steps run over, and why there is no FUSE if that was tried.
    pub(super) overlay: Option<(Checkouts, Option<String>)>,
}

impl Machine {
    /// Refuses what can't be shown: other mounts lie on this machine's files, and nobody may change them, so the kernel's
    /// overlay filesystem is none for them.
    pub(super) fn check(&self, over: Over<'_>) -> Result<()> {
        match (over, &self.overlay) {
            (Over::Host(_), Some((_, why))) => {
                let error =
                    Error::environment("steps over this machine's files run on FUSE only").coded("no-tier");
                Err(error.hint(why.as_deref().unwrap_or("leave out --tier overlay")))
            }
            _ => Ok(()),
        }
    }

    /// Whether calls about other ids are answered by rbuild: there is one only, and owners are kept by our own filesystem.
    pub(super) fn supervises(&self) -> bool {
        self.ids.is_single() && self.overlay.is_none()
    }

    /// On the overlay tier, makes what a step's mounts show, and says so in its set-up; `seen` becomes what its root shows.
    pub(super) fn folders(
        &self,
        engine: &Engine,
        over: Over<'_>,
        mounts: &Mounts,
        setup: &mut Setup,
        seen: &mut Option<Snapshot>,
    ) -> Result<Option<StepFolders<'_>>> {
        let Some((checkouts, _)) = &self.overlay else { return Ok(None) };
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
        StepFolders::make(checkouts, &mut setup.mounts, shown).map(Some)
    }
}

/// What a command changed of its root.
pub(super) fn changes(
    folders: Option<&StepFolders<'_>>,
    mounts: &Mounts,
    epoch: Timestamp,
) -> Result<Changes> {
    match folders {
        Some(folders) => Ok(Changes { delta: folders.changes(epoch)?, trace: None, warnings: Vec::new() }),
        None => Ok(mounts.filesystems[0].overlay.commit(Some(epoch))?),
    }
}

/// Tries the tiers, or the one that is wanted.
///
/// # Errors
/// What is missing, and the cure, in one sentence.
pub(super) fn find(session: &Session, wanted: Option<Tier>) -> Result<Machine, String> {
    let (found, overlay) = match wanted {
        Some(Tier::None) => return Err("no command can run: --tier none".to_owned()),
        Some(Tier::Fuse) => (probe().map_err(|error| error.to_string())?, None),
        Some(Tier::Overlay) => {
            let (found, share) = try_overlay(session).map_err(|error| error.to_string())?;
            (found, Some((share, None)))
        }
        None => match probe() {
            Ok(found) => (found, None),
            Err(no_fuse) => {
                let (found, share) = try_overlay(session).map_err(|error| both(&no_fuse, &error))?;
                let why = no_fuse.source.to_string();
                session.warn(None, None, format!("steps run on the kernel's overlay filesystem: {why}"));
                (found, Some((share, Some(why))))
            }
        },
    };
    found.warnings.iter().for_each(|warning| session.warn(None, None, warning.clone()));
    let checkouts =
        |share| Checkouts::new(session.store.clone(), found.ids.clone(), share, session.stopped.clone());
    let overlay = overlay.map(|(share, why)| (checkouts(share), why));
    Ok(Machine { ids: found.ids, overlay })
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
