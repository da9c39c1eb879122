//! Makes what the targets need: one thread owns the state (`scheduler`), a pool of workers makes nodes (`task`),
//! messages go both ways. A step's command runs in a sandbox over an overlay (`run`, `mounts`).

mod cache_mount;
mod cancel;
mod foresee;
mod lock;
mod mounts;
mod output;
mod run;
mod scheduler;
mod step;
mod task;
mod test;
mod times;

pub use cancel::Cancel;
pub use foresee::{Planned, foresee};
pub use scheduler::{Summary, execute};

use crate::{
    error::{Error, Result},
    graph::Graph,
    image::LayerQueue,
    operations::{Context, Trees},
    plan::Inputs,
    report::{Event, Reporter},
    spec::{Loaded, types::Reference},
    store::{Build, Store},
    value::{Content, Value},
};
use rbuild_sandbox::Capabilities;
use rbuild_tree::{Snapshot, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

/// All that tasks share.
pub struct Engine {
    /// The build file.
    pub loaded: Loaded,
    /// Who needs whom.
    pub graph: Graph,
    /// Where everything is kept.
    pub store: Arc<Store>,
    /// The nodes that are asked for.
    pub targets: BTreeSet<crate::graph::NodeId>,
    /// Who is told.
    pub reporter: Arc<dyn Reporter>,
    /// The last build of this file.
    pub last: Build,
    /// Stops everything.
    pub cancel: Arc<Cancel>,
    /// Writes layers while steps run.
    pub layers: LayerQueue,
    /// The caller's environment.
    pub caller: BTreeMap<String, String>,
    /// Absolute: where outputs and artifacts go.
    pub out: PathBuf,
    /// Absolute: what this file writes; no `path` source holds it.
    pub written: Vec<PathBuf>,
    /// `linux/amd64`, and what the file says of it.
    pub platform: crate::spec::Platform,
    /// How many steps run at once.
    pub jobs: usize,
    /// A failure stops only what needs the failed node.
    pub keep_going: bool,
    /// Results must be whole down to the last object.
    pub deep: bool,
    /// What was warned of already.
    pub warned: Mutex<BTreeSet<String>>,
    /// What the machine gives; found out when the first command is to run.
    pub capabilities: OnceLock<Result<Capabilities, String>>,
}

impl Engine {
    /// The epoch as a time of files.
    pub fn epoch(&self) -> Timestamp {
        Timestamp::from_seconds(self.loaded.epoch)
    }

    /// Tells a warning, once.
    pub fn warn(&self, code: Option<&str>, node: Option<&str>, message: String) {
        let fresh = self.warned.lock().unwrap_or_else(PoisonError::into_inner).insert(message.clone());
        if fresh {
            let (code, node) = (code.map(str::to_owned), node.map(str::to_owned));
            self.reporter.report(&Event::Warning { code, node, message });
        }
    }

    /// How many warnings were told.
    pub fn warnings(&self) -> usize {
        self.warned.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// What this machine gives to sandboxes.
    ///
    /// # Errors
    /// `no-tier`: what is missing, and the cure, in one sentence.
    pub fn capabilities(&self) -> Result<&Capabilities> {
        let probed = self.capabilities.get_or_init(|| {
            let found = rbuild_sandbox::probe().map_err(|error| error.to_string())?;
            found.warnings.iter().for_each(|warning| self.warn(None, None, warning.clone()));
            Ok(found)
        });
        probed.as_ref().map_err(|sentence| Error::environment(sentence.clone()).coded("no-tier"))
    }

    /// Whether an image is among what is built.
    pub fn is_wanted(&self, image: &crate::spec::types::Image) -> bool {
        self.graph.find(crate::spec::Kind::Image, &image.name).is_some_and(|id| self.targets.contains(&id))
    }

    /// `linux/amd64`
    pub fn platform_text(&self) -> String {
        let base = format!("{}/{}", self.platform.os, self.platform.architecture);
        self.platform.variant.as_ref().map_or(base.clone(), |variant| format!("{base}/{variant}"))
    }
}

/// The trees of the nodes that a node needs, for the tree operations.
pub(crate) struct NeededTrees<'a> {
    pub(crate) store: &'a Store,
    pub(crate) values: &'a BTreeMap<String, Value>,
}

impl Trees for NeededTrees<'_> {
    fn tree(&self, reference: &Reference) -> Result<Snapshot> {
        if reference.is_scratch() {
            return Ok(Snapshot::scratch());
        }
        let missing = || Error::internal(format!("`{}` is not made yet", reference.name));
        match &self.values.get(&reference.name).ok_or_else(missing)?.content {
            Content::Snapshot(_, snapshot) => Ok(snapshot.as_ref().clone()),
            Content::Host(host) => match &host.delta {
                // Of a step over this machine's files only what it changed can be taken.
                Some(delta) => crate::source::changed_tree(self.store, host, delta),
                None => {
                    let message = format!(
                        "`{}` is this machine's files: nothing can be copied from it",
                        reference.name
                    );
                    Err(Error::step("no-match", message)
                        .hint("use a `path` source for local files, or copy from a step that made them"))
                }
            },
        }
    }
}

impl Engine {
    /// What deciding and making a node start from.
    pub(crate) fn inputs<'a>(&'a self, trees: &'a NeededTrees<'a>) -> Inputs<'a> {
        Inputs {
            context: Context { store: &self.store, trees, epoch: self.epoch() },
            values: trees.values,
            files: &self.loaded.warnings.files,
            shell: &self.loaded.spec.shell,
            caller: &self.caller,
            platform: self.platform_text(),
        }
    }
}
