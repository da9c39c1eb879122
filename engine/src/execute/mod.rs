//! Makes what the targets need: one thread owns the state (`scheduler`), a pool of workers makes nodes (`task`),
//! messages go both ways. A step's command runs in a sandbox over an overlay (`run`, `mounts`).

mod cache_mount;
mod cancel;
mod failure;
mod filesystem;
mod foresee;
mod limits;
mod lock;
mod look;
mod mounts;
mod names;
mod output;
mod run;
mod scheduler;
mod step;
mod supervision;
mod task;
mod test;
mod tier;
mod times;

pub use cancel::Cancel;
pub use foresee::{Planned, foresee};
pub use scheduler::{Summary, execute};
pub use tier::{Machine, Tier};

use crate::{
    checkout::Checkouts,
    error::{Error, Result},
    image::LayerQueue,
    session::Session,
    value::Lineage,
};
use rbuild_sandbox::{Facts, IdMap, capabilities_cure};
use rbuild_tree::Snapshot;
use std::sync::{Arc, OnceLock};

/// What makes nodes, shared by all tasks.
pub struct Engine {
    /// The build.
    pub session: Session,
    /// Stops everything.
    pub cancel: Arc<Cancel>,
    /// Writes layers while steps run.
    pub layers: LayerQueue,
    /// How many steps run at once.
    pub jobs: usize,
    /// A failure stops only what needs the failed node.
    pub keep_going: bool,
    /// The only tier to be tried.
    pub tier: Option<Tier>,
    /// What the machine gives; found out when the first command is to run.
    pub machine: OnceLock<Result<Machine, String>>,
}

impl Engine {
    /// What this machine gives to sandboxes.
    ///
    /// # Errors
    /// `no-tier`: what is missing, and the cure, in one sentence.
    pub fn machine(&self) -> Result<&Machine> {
        let found = self.machine.get_or_init(|| tier::find(&self.session, self.tier));
        found.as_ref().map_err(|sentence| Error::environment(sentence.clone()).coded("no-tier"))
    }

    /// Says what a step's tree was made from, for steps that run over it.
    fn derive(&self, tree: &Snapshot, origin: &Snapshot) {
        if let Some(checkouts) = self.checkouts() {
            checkouts.derive(tree, origin);
        }
    }

    /// Says what a tree comes from over all steps before, for one that runs over it.
    fn derive_all(&self, lineage: &Arc<Lineage>) {
        if let Some(checkouts) = self.checkouts() {
            checkouts.derive_all(lineage);
        }
    }

    /// Removes what only steps needed, before the disk is made to keep it.
    pub fn clear(&self) {
        if let Some(checkouts) = self.checkouts() {
            checkouts.clear();
        }
    }

    fn checkouts(&self) -> Option<&Checkouts> {
        match &self.machine.get()?.as_ref().ok()?.roots {
            tier::Roots::Checkouts(checkouts) => Some(checkouts),
            _ => None,
        }
    }

    /// Whether steps have ids of a range, and no others.
    fn has_range(&self) -> bool {
        matches!(self.machine.get(), Some(Ok(machine)) if !machine.is_unfenced() && !machine.ids.is_single())
    }

    /// What to try where commands may less than root: not all that a range of ids does is imitated for one.
    fn ids_hint(&self) -> Option<String> {
        let machine = self.machine.get()?.as_ref().ok()?;
        if machine.is_unfenced() {
            return capabilities_cure(&Facts::load());
        }
        machine.ids.is_single().then(|| {
            let cure = IdMap::one_id_cure();
            format!(
                "steps have one id only here: they see others, but permissions between users are not checked and set-id \
                 programs change nothing{cure}"
            )
        })
    }
}
