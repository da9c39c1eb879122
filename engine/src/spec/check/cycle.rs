//! Cycles, printed whole.
//!
//! Only steps can form one: sources need nothing, and nothing that a step is made from needs a test, an image or an
//! artifact. petgraph finds the knots (strongly connected components); in each a shortest way round is searched, so
//! that a big knot is told by a cycle that a person can read.

use crate::spec::{Diagnostic, Span, Spec};
use petgraph::{
    algo::tarjan_scc,
    graph::{DiGraph, NodeIndex},
};
use std::collections::{BTreeMap, VecDeque, btree_map::Entry};

/// Steps, and for each reference an edge from the one who refers, with the place of the reference.
type Steps<'a> = DiGraph<&'a str, Span>;

/// One diagnostic for each knot of steps that need one another.
pub fn cycles(spec: &Spec) -> Vec<Diagnostic> {
    let mut steps = Steps::new();
    let index: BTreeMap<&str, NodeIndex> =
        spec.steps.keys().map(|name| (name.as_str(), steps.add_node(name.as_str()))).collect();
    for (name, step) in &spec.steps {
        for reference in step.references().into_iter().filter(|reference| !reference.is_scratch()) {
            if let Some(needed) = index.get(reference.name.as_str()) {
                steps.update_edge(index[name.as_str()], *needed, reference.span);
            }
        }
    }
    let mut found: Vec<Diagnostic> =
        tarjan_scc(&steps).iter().filter_map(|knot| shortest_way_round(&steps, knot)).collect();
    found.sort_by_key(|diagnostic| diagnostic.labels.first().map(|label| label.span));
    found
}

/// The shortest cycle through the first step (by name) of a knot; none if the knot is a single step without a loop.
fn shortest_way_round(steps: &Steps<'_>, knot: &[NodeIndex]) -> Option<Diagnostic> {
    let start = *knot.iter().min()?;
    let mut reached_from: BTreeMap<NodeIndex, NodeIndex> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        let mut needed: Vec<NodeIndex> = steps.neighbors(at).filter(|next| knot.contains(next)).collect();
        needed.sort_unstable();
        for next in needed {
            if next == start {
                return Some(tell(steps, &way_back(&reached_from, start, at)));
            }
            if let Entry::Vacant(entry) = reached_from.entry(next) {
                entry.insert(at);
                queue.push_back(next);
            }
        }
    }
    None
}

/// The steps from `start` to `last`, by who reached whom.
fn way_back(
    reached_from: &BTreeMap<NodeIndex, NodeIndex>,
    start: NodeIndex,
    last: NodeIndex,
) -> Vec<NodeIndex> {
    let mut way = vec![last];
    let mut at = last;
    while at != start {
        let Some(before) = reached_from.get(&at) else { break };
        at = *before;
        way.push(at);
    }
    way.reverse();
    way
}

fn tell(steps: &Steps<'_>, way: &[NodeIndex]) -> Diagnostic {
    let names: Vec<&str> = way.iter().chain(way.first()).map(|step| steps[*step]).collect();
    let mut diagnostic = match names.as_slice() {
        [one, _] => Diagnostic::error("cycle", format!("step `{one}` needs itself")),
        names => Diagnostic::error("cycle", format!("steps need one another: {}", names.join(" → "))),
    };
    for (from, to) in way.iter().zip(way.iter().cycle().skip(1)) {
        if let Some(edge) = steps.find_edge(*from, *to) {
            let text = format!("`{}` needs `{}`", steps[*from], steps[*to]);
            diagnostic = diagnostic.at(steps[edge], text);
        }
    }
    diagnostic
}
