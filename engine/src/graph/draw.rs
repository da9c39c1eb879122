//! Pictures of the graph, for Graphviz and Mermaid. Edges that follow from others are left out.

use super::{Graph, NodeId};
use crate::spec::{Kind, Spec};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

impl Graph {
    /// `within` as a Graphviz digraph, from what is needed to what needs it; descriptions are tooltips.
    pub fn dot(&self, spec: &Spec, within: &BTreeSet<NodeId>) -> String {
        let mut text =
            String::from("digraph build {\n  rankdir = LR;\n  node [fontname = \"sans-serif\"];\n");
        for id in within {
            let node = self.node(*id);
            let name = escape_dot(&node.to_string());
            let tooltip = description(spec, self, *id)
                .map_or(String::new(), |description| format!(", tooltip = \"{}\"", escape_dot(description)));
            let shape = dot_shape(node.kind);
            let label = escape_dot(&node.name);
            // Writing to a string can't fail.
            let _ = writeln!(text, "  \"{name}\" [label = \"{label}\", shape = {shape}{tooltip}];");
        }
        for (from, to) in self.drawn_edges(within) {
            let (from, to) =
                (escape_dot(&self.node(from).to_string()), escape_dot(&self.node(to).to_string()));
            let _ = writeln!(text, "  \"{from}\" -> \"{to}\";");
        }
        text + "}\n"
    }

    /// `within` as a Mermaid flowchart, from what is needed to what needs it; descriptions are second lines.
    pub fn mermaid(&self, spec: &Spec, within: &BTreeSet<NodeId>) -> String {
        let mut text = String::from("flowchart LR\n");
        for id in within {
            let node = self.node(*id);
            let (open, close) = mermaid_brackets(node.kind);
            let mut label = escape_mermaid(&node.name);
            if let Some(description) = description(spec, self, *id) {
                label = format!("{label}<br/>{}", escape_mermaid(description));
            }
            let _ = writeln!(text, "  {}{open}\"{label}\"{close}", mermaid_id(*id));
        }
        for (from, to) in self.drawn_edges(within) {
            let _ = writeln!(text, "  {} --> {}", mermaid_id(from), mermaid_id(to));
        }
        text
    }

    /// The edges between nodes of `within` that no longer way stands for.
    fn drawn_edges(&self, within: &BTreeSet<NodeId>) -> Vec<(NodeId, NodeId)> {
        // All that each node leads to by way of others.
        let mut beyond: BTreeMap<NodeId, BTreeSet<NodeId>> = BTreeMap::new();
        for id in self.order().iter().rev().filter(|id| within.contains(id)) {
            let next: Vec<NodeId> =
                self.dependents(*id).into_iter().filter(|next| within.contains(next)).collect();
            let reached = next.iter().flat_map(|next| {
                let further = beyond.get(next).into_iter().flatten().copied();
                further.chain(self.dependents(*next).into_iter().filter(|next| within.contains(next)))
            });
            let reached: BTreeSet<NodeId> = reached.collect();
            beyond.insert(*id, reached);
        }
        let edges = within.iter().flat_map(|from| {
            let next = self.dependents(*from).into_iter().filter(|to| within.contains(to));
            next.map(move |to| (*from, to))
        });
        edges.filter(|(from, to)| !beyond.get(from).is_some_and(|beyond| beyond.contains(to))).collect()
    }
}

fn description<'a>(spec: &'a Spec, graph: &Graph, id: NodeId) -> Option<&'a str> {
    let node = graph.node(id);
    let name = node.name.as_str();
    let description = match node.kind {
        Kind::Source => &spec.sources.get(name)?.description,
        Kind::Step => &spec.steps.get(name)?.description,
        Kind::Test => &spec.tests.get(name)?.description,
        Kind::Image => &spec.images.get(name)?.description,
        Kind::Artifact => &spec.artifacts.get(name)?.description,
    };
    description.as_deref()
}

fn dot_shape(kind: Kind) -> &'static str {
    match kind {
        Kind::Source => "cylinder",
        Kind::Step => "box",
        Kind::Test => "diamond",
        Kind::Image => "box3d",
        Kind::Artifact => "note",
    }
}

fn mermaid_brackets(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Source => ("[(", ")]"),
        Kind::Step => ("[", "]"),
        Kind::Test => ("{{", "}}"),
        Kind::Image => ("[[", "]]"),
        Kind::Artifact => ("([", "])"),
    }
}

/// Names hold `-`, which ids of Mermaid don't take everywhere.
fn mermaid_id(id: NodeId) -> String {
    format!("n{}", id.index())
}

fn escape_dot(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn escape_mermaid(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '"' => escaped.push_str("#quot;"),
            '#' => escaped.push_str("#35;"),
            '<' => escaped.push_str("#lt;"),
            '>' => escaped.push_str("#gt;"),
            '\n' => escaped.push_str("<br/>"),
            other => escaped.push(other),
        }
    }
    escaped
}
