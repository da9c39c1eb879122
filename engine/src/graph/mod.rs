//! The build graph: sources, steps, tests, images and artifacts, and who needs whom.
//!
//! Edges come only from references in fields:
//!
//! | node | needs |
//! |---|---|
//! | source | nothing |
//! | step | `from` or `merge` (and its `base`), `copy.from`, `mounts.from` |
//! | test | the same; with `image = "x"` the tree that image x is made from |
//! | image | `from`, its `tests`, and every test that names it |
//! | artifact | `from` |
//!
//! So a node "image" means the image *leaving*: a test of an image needs the image's tree, not the image, and the
//! image needs the test. That is why there is no cycle but among steps, and those are told when the file is loaded.
//!
//! Nodes are numbered by kind and name, so everything that is listed here has the same order whatever the order of
//! the tables in the file.

mod draw;

use crate::spec::{Diagnostic, Kind, Spec, Target, check, types::Subject, words::Word};
use petgraph::{
    Direction::{Incoming, Outgoing},
    graph::{DiGraph, NodeIndex},
    visit::{IntoNodeReferences, Topo},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// A node of one [`Graph`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct NodeId(NodeIndex);

impl NodeId {
    /// Its number: 0 up to [`Graph::len`], for tables with a line a node.
    pub fn index(self) -> usize {
        self.0.index()
    }
}

/// Who needs whom in one file.
#[derive(Clone, Debug)]
pub struct Graph {
    /// An edge goes from what is needed to what needs it.
    nodes: DiGraph<Target, ()>,
    ids: BTreeMap<Target, NodeId>,
    order: Vec<NodeId>,
}

impl Graph {
    /// The graph of a file. References to what is not there are passed over: loading the file has told them.
    ///
    /// # Errors
    /// `cycle`, each told whole.
    pub fn build(spec: &Spec) -> Result<Self, Vec<Diagnostic>> {
        let cycles = check::cycle::cycles(spec);
        if !cycles.is_empty() {
            return Err(cycles);
        }
        let mut graph = Self { nodes: DiGraph::new(), ids: BTreeMap::new(), order: Vec::new() };
        for kind in Kind::ALL {
            for name in spec.names(kind) {
                let target = Target { kind, name: name.to_owned() };
                let id = NodeId(graph.nodes.add_node(target.clone()));
                graph.ids.insert(target, id);
            }
        }
        graph.connect(spec);
        let mut walk = Topo::new(&graph.nodes);
        while let Some(node) = walk.next(&graph.nodes) {
            graph.order.push(NodeId(node));
        }
        Ok(graph)
    }

    fn connect(&mut self, spec: &Spec) {
        for (name, step) in &spec.steps {
            for reference in step.references() {
                self.edge(Kind::Step, name, self.tree(&reference.name));
            }
        }
        for (name, test) in &spec.tests {
            let subject = match &test.subject {
                Subject::From(reference) => Some(&reference.name),
                Subject::Image(image) => spec.images.get(image.as_str()).map(|image| &image.from.name),
            };
            for tree in subject.into_iter().chain(test.body.references().into_iter().map(|from| &from.name)) {
                self.edge(Kind::Test, name, self.tree(tree));
            }
        }
        for (name, image) in &spec.images {
            self.edge(Kind::Image, name, self.tree(&image.from.name));
            for test in spec.tests_of(name) {
                self.edge(Kind::Image, name, self.find(Kind::Test, test));
            }
        }
        for (name, artifact) in &spec.artifacts {
            self.edge(Kind::Artifact, name, self.tree(&artifact.from.name));
        }
    }

    fn edge(&mut self, kind: Kind, name: &str, needed: Option<NodeId>) {
        if let (Some(needed), Some(id)) = (needed, self.find(kind, name)) {
            self.nodes.update_edge(needed.0, id.0, ());
        }
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.node_count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every node, by kind and name.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Target)> {
        self.nodes.node_references().map(|(node, target)| (NodeId(node), target))
    }

    /// What a node is.
    pub fn node(&self, id: NodeId) -> &Target {
        &self.nodes[id.0]
    }

    /// The node of a table.
    pub fn find(&self, kind: Kind, name: &str) -> Option<NodeId> {
        self.ids.get(&Target { kind, name: name.to_owned() }).copied()
    }

    /// The source or step that a reference names; none for `scratch`.
    pub fn tree(&self, name: &str) -> Option<NodeId> {
        self.find(Kind::Step, name).or_else(|| self.find(Kind::Source, name))
    }

    /// What a node needs directly, by kind and name.
    pub fn needs(&self, id: NodeId) -> Vec<NodeId> {
        self.around(id, Incoming)
    }

    /// What needs a node directly, by kind and name.
    pub fn dependents(&self, id: NodeId) -> Vec<NodeId> {
        self.around(id, Outgoing)
    }

    fn around(&self, id: NodeId, direction: petgraph::Direction) -> Vec<NodeId> {
        let mut found: Vec<NodeId> = self.nodes.neighbors_directed(id.0, direction).map(NodeId).collect();
        found.sort_unstable();
        found
    }

    /// Every node, each after all that it needs.
    pub fn order(&self) -> &[NodeId] {
        &self.order
    }

    /// These nodes and all that they need, directly or not.
    pub fn with_needs(&self, roots: impl IntoIterator<Item = NodeId>) -> BTreeSet<NodeId> {
        self.reach(roots, Incoming)
    }

    /// These nodes and all that need them, directly or not.
    pub fn with_dependents(&self, roots: impl IntoIterator<Item = NodeId>) -> BTreeSet<NodeId> {
        self.reach(roots, Outgoing)
    }

    fn reach(
        &self,
        roots: impl IntoIterator<Item = NodeId>,
        direction: petgraph::Direction,
    ) -> BTreeSet<NodeId> {
        let mut reached = BTreeSet::new();
        let mut open: Vec<NodeId> = roots.into_iter().collect();
        while let Some(id) = open.pop() {
            if reached.insert(id) {
                open.extend(self.nodes.neighbors_directed(id.0, direction).map(NodeId));
            }
        }
        reached
    }

    /// The nodes of these targets; without any, of the file's `default`, else of all images, artifacts and tests.
    ///
    /// # Errors
    /// The first target that is none, with its text.
    pub fn select<T: AsRef<str>>(&self, spec: &Spec, targets: &[T]) -> Word<BTreeSet<NodeId>> {
        let wanted: Vec<&str> = match (targets, &spec.default) {
            ([], None) => {
                let kinds = [Kind::Test, Kind::Image, Kind::Artifact];
                return Ok(self
                    .nodes()
                    .filter(|(_, node)| kinds.contains(&node.kind))
                    .map(|(id, _)| id)
                    .collect());
            }
            ([], Some(default)) => default.iter().map(|target| target.as_str()).collect(),
            (targets, _) => targets.iter().map(AsRef::as_ref).collect(),
        };
        let mut selected = BTreeSet::new();
        for text in wanted {
            let target = spec.target(text)?;
            selected.extend(self.ids.get(&target));
        }
        Ok(selected)
    }

    /// For each node of `within` (by [`NodeId::index`]; zero for the others) how long the longest chain is that
    /// starts with it and goes on with what needs it: the one with the most is to be started first.
    pub fn longest_chains(
        &self,
        within: &BTreeSet<NodeId>,
        duration: impl Fn(NodeId) -> Duration,
    ) -> Vec<Duration> {
        let mut chains = vec![Duration::ZERO; self.len()];
        for id in self.order.iter().rev().filter(|id| within.contains(id)) {
            let after = self.nodes.neighbors(id.0).map(|next| chains[next.index()]).max();
            chains[id.index()] = duration(*id).saturating_add(after.unwrap_or_default());
        }
        chains
    }
}

#[cfg(test)]
mod tests;
