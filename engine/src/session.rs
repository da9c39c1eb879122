//! What all stages of one build share: the file, the store, who is told, where things go.

use crate::{
    error::{Error, Result},
    graph::{Graph, NodeId},
    lookups::Lookups,
    operations::{Context, OperationError, Trees, Warning},
    parallel::Turns,
    plan::Inputs,
    registries::Registries,
    report::{Event, Reporter},
    spec::{
        Kind, Loaded, Platform,
        types::{Image, Reference},
    },
    store::{Build, Store},
    value::{Content, Value},
};
use rbuild_tree::{Snapshot, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
};

/// One build of one file.
pub struct Session {
    /// The build file.
    pub loaded: Loaded,
    /// Who needs whom.
    pub graph: Graph,
    /// Where everything is kept.
    pub store: Arc<Store>,
    /// The nodes that are asked for.
    pub targets: BTreeSet<NodeId>,
    /// Who is told.
    pub reporter: Arc<dyn Reporter>,
    /// The last build of this file.
    pub last: Build,
    /// The caller's environment.
    pub caller: BTreeMap<String, String>,
    /// Absolute: where outputs and artifacts go.
    pub out: PathBuf,
    /// Absolute: what this file writes; no `path` source holds it.
    pub written: Vec<PathBuf>,
    /// `linux/amd64`, and what the file says of it.
    pub platform: Platform,
    /// The way to registries.
    pub registries: Arc<Registries>,
    /// What names meant when they were looked up.
    pub lookups: Lookups,
    /// Whose turn it is to be taken in, of images that share layers.
    pub(crate) turns: Turns,
    /// Results must be whole down to the last object.
    pub deep: bool,
    /// Everything is to stop.
    pub stopped: Arc<AtomicBool>,
    /// What was warned of already, and whether `--deny-warnings` is about it.
    pub warned: Mutex<BTreeMap<String, bool>>,
}

impl Session {
    /// The epoch as a time of files.
    pub fn epoch(&self) -> Timestamp {
        Timestamp::from_seconds(self.loaded.epoch)
    }

    /// Tells a warning, once.
    pub fn warn(&self, code: Option<&str>, node: Option<&str>, message: String) {
        self.tell(code, node, message, true);
    }

    /// Tells, once, how this machine carries something out. That changes no result and the file can't mend it, so
    /// `--deny-warnings` lets it pass.
    pub fn note(&self, node: Option<&str>, message: String) {
        self.tell(None, node, message, false);
    }

    fn tell(&self, code: Option<&str>, node: Option<&str>, message: String, is_denied: bool) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.insert(message.clone(), is_denied).is_none() {
            self.reporter.report(&Event::warning(code, node, &message));
        }
    }

    /// Tells the warnings of tree operations.
    pub fn warn_all(&self, node: &str, warnings: Vec<Warning>) {
        for warning in warnings {
            self.warn(Some(warning.code), Some(node), warning.message);
        }
    }

    /// How many warnings were told, without notes.
    pub fn warnings(&self) -> usize {
        let warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        warned.values().filter(|is_denied| **is_denied).count()
    }

    /// An error of a tree operation, with its place in the file.
    pub fn located(&self, error: OperationError) -> Error {
        error.located(&self.loaded.warnings.files)
    }

    /// Whether an image is among what is built.
    pub fn is_wanted(&self, image: &Image) -> bool {
        self.graph.find(Kind::Image, &image.name).is_some_and(|id| self.targets.contains(&id))
    }

    /// What deciding and making a node start from.
    pub(crate) fn inputs<'a>(&'a self, trees: &'a NeededTrees<'a>) -> Inputs<'a> {
        Inputs {
            context: Context { store: &self.store, trees, epoch: self.epoch() },
            values: trees.values,
            files: &self.loaded.warnings.files,
            shell: &self.loaded.spec.shell,
            caller: &self.caller,
            platform: self.platform.to_string(),
        }
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
                None => Err(Error::internal(format!("`{}` has no tree to copy from", reference.name))),
            },
        }
    }
}
