//! What a build would do: every decision that can be taken without making anything but sources.

use super::{
    Engine,
    task::{self, Decided, Known},
};
use crate::{
    error::Result,
    graph::NodeId,
    spec::{Kind, Target},
};
use std::collections::BTreeMap;

/// What would become of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// `step.jar`
    pub node: String,
    /// What is written about it in the file.
    pub description: Option<String>,
    /// `cached`, `run`, `waiting` (what it needs must run first), or `look` (sources, images and artifacts).
    pub decision: &'static str,
    /// Why it would run; what it waits for.
    pub why: String,
}

/// Decides for every node that the targets need, in order.
///
/// # Errors
/// A source that can't be read, a copy that takes nothing.
pub fn foresee(engine: &Engine) -> Result<Vec<Planned>> {
    let wanted = engine.session.graph.with_needs(engine.session.targets.iter().copied());
    let mut known = Known::default();
    // What is not known yet, and the first node that must run for it.
    let mut open: BTreeMap<NodeId, String> = BTreeMap::new();
    let mut planned = Vec::new();
    for id in engine.session.graph.order().iter().filter(|id| wanted.contains(id)) {
        let target = engine.session.graph.node(*id);
        let waits = engine.session.graph.needs(*id).into_iter().find_map(|need| open.get(&need).cloned());
        let (decision, why) = match waits {
            Some(first) => {
                open.insert(*id, first.clone());
                ("waiting", format!("{first} must run first"))
            }
            None => decide(engine, *id, target, &mut known, &mut open)?,
        };
        planned.push(Planned {
            node: target.to_string(),
            description: description(engine, target),
            decision,
            why,
        });
    }
    Ok(planned)
}

fn decide(
    engine: &Engine,
    id: NodeId,
    target: &Target,
    known: &mut Known,
    open: &mut BTreeMap<NodeId, String>,
) -> Result<(&'static str, String)> {
    match target.kind {
        Kind::Image | Kind::Artifact => return Ok(("look", String::new())),
        Kind::Source => {
            let value = task::fetch(engine, &target.name)?;
            known.values.insert(target.name.clone(), value);
            return Ok(("look", String::new()));
        }
        Kind::Step | Kind::Test => {}
    }
    match task::decide(engine, target, known)? {
        Decided::Done(done) => {
            if let Some(value) = done.value {
                known.values.insert(target.name.clone(), value);
            }
            Ok(("cached", String::new()))
        }
        Decided::Make(job) => {
            open.insert(id, target.to_string());
            Ok(("run", job.why))
        }
    }
}

fn description(engine: &Engine, target: &Target) -> Option<String> {
    let spec = &engine.session.loaded.spec;
    match target.kind {
        Kind::Source => spec.sources.get(&target.name)?.description.clone(),
        Kind::Step => spec.steps.get(&target.name)?.description.clone(),
        Kind::Test => spec.tests.get(&target.name)?.description.clone(),
        Kind::Image => spec.images.get(&target.name)?.description.clone(),
        Kind::Artifact => spec.artifacts.get(&target.name)?.description.clone(),
    }
}
