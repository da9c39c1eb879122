//! What a node of the graph turns out to be: a tree, the config that goes along, and how its layers come about.

use crate::container::ContainerConfig;
use rbuild_oci::{HistoryEntry, LayerDescriptor};
use rbuild_tree::{Delta, Snapshot, SnapshotId, TreePath};
use std::{path::PathBuf, sync::Arc};

/// The result of a source or step. Cheap to clone.
#[derive(Clone)]
pub struct Value {
    /// The tree.
    pub content: Content,
    /// Computed from the graph, never from a record.
    pub config: Arc<ContainerConfig>,
    /// Where layers may be cut.
    pub lineage: Arc<Lineage>,
}

/// A tree, or a change over this machine's files.
#[derive(Clone)]
pub enum Content {
    /// A root filesystem of the store.
    Snapshot(SnapshotId, Arc<Snapshot>),
    /// This machine's files, with what steps changed over them.
    Host(HostTree),
}

/// This machine's files as a tree.
#[derive(Clone)]
pub struct HostTree {
    /// The directory that is the root.
    pub root: PathBuf,
    /// What a step does not see of it.
    pub exclude: Vec<TreePath>,
    /// What steps changed; none for the source itself.
    pub delta: Option<Arc<Delta>>,
}

/// A snapshot an image may have a layer for, and the one below it.
pub struct Lineage {
    /// The source or step that made it.
    pub made_by: String,
    /// The snapshot; none over this machine's files.
    pub snapshot: Option<Arc<Snapshot>>,
    /// What it was made from; none at the bottom.
    pub parent: Option<Arc<Lineage>>,
    /// For a merge: its branches.
    pub branches: Vec<Arc<Lineage>>,
    /// For a source that is an image: the layers it came with.
    pub image: Option<Arc<BaseImage>>,
}

/// The layers an image came with. They go into images built on it byte for byte.
pub struct BaseImage {
    /// From the lowest up, with what they say of themselves.
    pub history: Vec<HistoryEntry>,
    /// Who made it.
    pub author: Option<String>,
}

impl BaseImage {
    /// Its layers, from the lowest up.
    pub fn layers(&self) -> impl Iterator<Item = &LayerDescriptor> {
        self.history.iter().filter_map(|entry| entry.layer.as_ref())
    }
}

impl Lineage {
    /// A bottom: nothing is below.
    pub fn bottom(made_by: &str, snapshot: Option<Arc<Snapshot>>) -> Arc<Self> {
        Arc::new(Self {
            made_by: made_by.to_owned(),
            snapshot,
            parent: None,
            branches: Vec::new(),
            image: None,
        })
    }

    /// This one and everything it stands on, along `from` and `merge`, each once.
    pub fn ancestors(self: &Arc<Self>) -> impl Iterator<Item = Arc<Self>> + use<> {
        let (mut open, mut seen) = (vec![self.clone()], std::collections::BTreeSet::new());
        std::iter::from_fn(move || {
            while let Some(next) = open.pop() {
                open.extend(next.parent.iter().chain(&next.branches).cloned());
                if seen.insert(next.made_by.clone()) {
                    return Some(next);
                }
            }
            None
        })
    }

    /// From the bottom up to this one.
    pub fn chain(self: &Arc<Self>) -> Vec<Arc<Self>> {
        let mut chain: Vec<Arc<Self>> =
            std::iter::successors(Some(self.clone()), |lineage| lineage.parent.clone()).collect();
        chain.reverse();
        chain
    }
}

impl Value {
    /// `scratch`: nothing.
    pub fn scratch() -> Self {
        let snapshot = Arc::new(Snapshot::scratch());
        Self {
            content: Content::Snapshot(snapshot.id(), snapshot.clone()),
            config: Arc::default(),
            lineage: Lineage::bottom("scratch", Some(snapshot)),
        }
    }

    /// The tree, if it is one of the store.
    pub fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        match &self.content {
            Content::Snapshot(_, snapshot) => Some(snapshot),
            Content::Host(_) => None,
        }
    }
}
