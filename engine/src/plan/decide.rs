//! Cached, or to be run and why.

use super::{Inputs, Why};
use crate::{
    container::{self, ContainerConfig},
    error::{Error, Result},
    key::{Ingredients, Key},
    source::HostInput,
    spec::types::{Base, Merge, Reference, Step},
    store::{Node, Record, Store},
    value::{Content, HostTree, Lineage, Value},
};
use rbuild_overlay::Trace;
use rbuild_tree::{ObjectId, Snapshot};
use std::{sync::Arc, time::Duration};

/// What is to be done for a node.
pub enum Decision {
    /// Nothing: this is what it gives.
    Cached(Cached),
    /// It must run.
    Run(Why),
}

/// A result that is known.
pub struct Cached {
    /// The tree; none for a test.
    pub content: Option<Content>,
    /// Where it is written down.
    pub record: Record,
}

/// The key of a node, what it is made of, and what it was the last time.
pub struct Question<'a> {
    /// Of the ingredients.
    pub key: Key,
    /// What goes into it.
    pub ingredients: &'a Ingredients,
    /// The node in the last build of this file.
    pub last: Option<&'a Node>,
    /// Older records are not used.
    pub rerun_after: Option<Duration>,
    /// Whether results must be whole down to the last object: asked after one turned out not to be.
    pub deep: bool,
    /// Whether steps can't be kept from the network here: then results that were not are as good as any.
    pub unfenced: &'a dyn Fn() -> bool,
}

/// Decides for a step.
///
/// # Errors
/// If this machine's files can't be looked at.
pub fn decide_step(step: &Step, inputs: &Inputs<'_>, question: &Question<'_>) -> Result<Decision> {
    let host = match &step.base {
        Base::From(reference) => match inputs.value(reference)?.content {
            Content::Host(host) => Some(host),
            Content::Snapshot(..) => None,
        },
        Base::Merge(_) => None,
    };
    match host {
        Some(host) => over_host(inputs.context.store, &host, question),
        None => Ok(exact(inputs.context.store, question)),
    }
}

/// Decides for a test over a tree of the store.
pub fn decide_test(store: &Store, question: &Question<'_>) -> Decision {
    exact(store, question)
}

fn exact(store: &Store, question: &Question<'_>) -> Decision {
    let compare = || Why::compare(store, question.ingredients, question.last);
    let Some(record) = store.records().get(&question.key) else { return Decision::Run(compare()) };
    if record.unfenced && !(question.unfenced)() {
        return Decision::Run(Why::Unfenced);
    }
    if let Some(age) = too_old(&record, question) {
        return Decision::Run(Why::TooOld(age));
    }
    match load(store, &record, question.deep) {
        Ok(content) => Decision::Cached(Cached { content, record }),
        Err(_) => {
            store.records().forget(&question.key);
            Decision::Run(Why::Lost)
        }
    }
}

/// A step over this machine's files has no exact key: a record holds where everything it read is as it was.
fn over_host(store: &Store, host: &HostTree, question: &Question<'_>) -> Result<Decision> {
    let records = store.records().traced(&question.key);
    if records.is_empty() {
        return Ok(Decision::Run(Why::compare(store, question.ingredients, question.last)));
    }
    let input = HostInput::new(store, host)?;
    // The record that was used last is the one people have in mind.
    let mut why = None;
    for (age_rank, record) in records.into_iter().enumerate() {
        if let Some(age) = too_old(&record, question) {
            why.get_or_insert(Why::TooOld(age));
            continue;
        }
        if record.trace.is_none() {
            why.get_or_insert(Why::Untraced);
            continue;
        }
        let Some(trace) = read_trace(store, &record) else { continue };
        let mismatch = trace.check(&input).map_err(|error| Error::io("check", &host.root, error))?;
        if let Some(mismatch) = mismatch {
            why.get_or_insert(Why::Read(mismatch));
            continue;
        }
        let delta = record.result.delta().and_then(|id| store.delta(&id).ok());
        if let Some(delta) = delta {
            if age_rank > 0 {
                // The one in use is the one the next miss is compared with, and the last to be forgotten.
                store.records().add_traced(&question.key, record.clone())?;
            }
            let content = Content::Host(HostTree { delta: Some(Arc::new(delta)), ..host.clone() });
            return Ok(Decision::Cached(Cached { content: Some(content), record }));
        }
    }
    Ok(Decision::Run(why.unwrap_or(Why::Lost)))
}

fn read_trace(store: &Store, record: &Record) -> Option<Trace> {
    let id: ObjectId = record.trace.as_ref()?.parse().ok()?;
    Trace::decode(&store.read_object(&id).ok()?).ok()
}

fn too_old(record: &Record, question: &Question<'_>) -> Option<Duration> {
    let age = jiff::Timestamp::now().as_second().saturating_sub(record.finished);
    let age = Duration::from_secs(age.max(0).unsigned_abs());
    question.rerun_after.filter(|most| age > *most).map(|_| age)
}

/// The tree of a record; an error if the store does not have it.
fn load(store: &Store, record: &Record, deep: bool) -> Result<Option<Content>> {
    let Some(id) = record.result.snapshot() else { return Ok(None) };
    let snapshot = store.snapshot(&id)?;
    if deep {
        store.check_whole(&snapshot)?;
    }
    Ok(Some(Content::Snapshot(id, Arc::new(snapshot))))
}

/// The config a step's command runs with and hands on: what is inherited, joined with its own.
///
/// # Errors
/// An unset variable in it; fields that the branches of a merge set differently.
pub fn step_config(step: &Step, inputs: &Inputs<'_>) -> Result<Arc<ContainerConfig>> {
    let inherited = match &step.base {
        Base::From(reference) => inputs.value(reference)?.config,
        Base::Merge(merge) => Arc::new(merged_config(step, merge, inputs)?),
    };
    if step.body.config == crate::spec::types::Config::default() {
        return Ok(inherited);
    }
    join_config(&inherited, &step.body.config, &format!("step `{}`", step.name.value)).map(Arc::new)
}

/// `inherited` with a `config` table joined to it; `what` names whose table it is.
///
/// # Errors
/// An unset variable in it.
pub fn join_config(
    inherited: &ContainerConfig,
    table: &crate::spec::types::Config,
    what: &str,
) -> Result<ContainerConfig> {
    inherited.joined(table).map_err(|name| {
        let message = format!("config of {what}: `${{env.{name}}}`: {name} is not set in what it inherits");
        Error::spec("unknown-variable", message)
    })
}

fn merged_config(step: &Step, merge: &Merge, inputs: &Inputs<'_>) -> Result<ContainerConfig> {
    let branches: Vec<Value> =
        merge.branches.iter().map(|branch| inputs.value(branch)).collect::<Result<_>>()?;
    let configs: Vec<&ContainerConfig> = branches.iter().map(|branch| &*branch.config).collect();
    let base = match &merge.base {
        Some(reference) => inputs.value(reference)?.config,
        None => common_ancestor(merge, inputs)?
            .and_then(|ancestor| inputs.values.get(&ancestor.made_by).map(|value| value.config.clone()))
            .unwrap_or_default(),
    };
    let (merged, conflicts) = container::merge(&base, &configs);
    let table = &step.body.config;
    let settled = |field: &String| match field.split_once('.') {
        Some(("env", name)) => table.env.contains_key(name),
        Some(("label", name)) => table.labels.contains_key(name),
        Some(("docker", "Shell")) => table.shell.is_some(),
        Some(("docker", _)) => table.healthcheck.is_some(),
        _ => match field.as_str() {
            "entrypoint" => table.entrypoint.is_some(),
            "cmd" => table.cmd.is_some() || table.entrypoint.is_some(),
            "user" => table.user.is_some(),
            "workdir" => table.workdir.is_some(),
            _ => table.stop_signal.is_some(),
        },
    };
    let open: Vec<&str> = conflicts.iter().filter(|field| !settled(field)).map(String::as_str).collect();
    if open.is_empty() {
        return Ok(merged);
    }
    let message =
        format!("the branches of step `{}` set config {} differently", step.name.value, open.join(", "));
    Err(Error::step("merge-conflict", message).hint("set it in the step's own `config`"))
}

/// The tree the branches of a merge are compared with: the one the file names, else the nearest ancestor they share.
///
/// # Errors
/// As [`Inputs::snapshot`].
pub fn common_base(merge: &Merge, inputs: &Inputs<'_>) -> Result<Snapshot> {
    if let Some(base) = &merge.base {
        return inputs.snapshot(base);
    }
    let ancestor = common_ancestor(merge, inputs)?;
    let snapshot = ancestor.and_then(|ancestor| ancestor.snapshot.as_deref().cloned());
    Ok(snapshot.unwrap_or_else(Snapshot::scratch))
}

/// The nearest ancestor along `from` and `merge` that all branches share; of several that are equally near, the first
/// by name. None: they share `scratch` only.
///
/// # Errors
/// As [`Inputs::value`].
pub fn common_ancestor(merge: &Merge, inputs: &Inputs<'_>) -> Result<Option<Arc<Lineage>>> {
    let mut shared: Option<Vec<Arc<Lineage>>> = None;
    for branch in &merge.branches {
        let above = ancestors(branch, inputs)?;
        shared = Some(match shared {
            None => above,
            Some(shared) => shared
                .into_iter()
                .filter(|one| above.iter().any(|other| other.made_by == one.made_by))
                .collect(),
        });
    }
    let shared = shared.unwrap_or_default();
    let is_below = |one: &Lineage| {
        let mut others = shared.iter().filter(|other| other.made_by != one.made_by);
        others.any(|other| other.ancestors().any(|ancestor| ancestor.made_by == one.made_by))
    };
    let mut nearest: Vec<_> = shared.iter().filter(|one| !is_below(one)).cloned().collect();
    nearest.sort_by(|a, b| a.made_by.cmp(&b.made_by));
    Ok(nearest.into_iter().next())
}

fn ancestors(branch: &Reference, inputs: &Inputs<'_>) -> Result<Vec<Arc<Lineage>>> {
    // A directory of a tree stands on nothing.
    if !branch.path.is_root() || branch.is_scratch() {
        return Ok(Vec::new());
    }
    Ok(inputs.value(branch)?.lineage.ancestors().collect())
}
