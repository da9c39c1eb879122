//! Makes a step: its base, the tree operations, the command, what is removed after it.

use super::{
    Engine,
    failure::{end_text, failure, refused},
    run::{self, Argv, Over, Ran},
    task::Failure,
};
use crate::{
    container::ContainerConfig,
    error::{Error, Result},
    operations::{self, Warning},
    plan::{self, Inputs},
    spec::{
        Spanned,
        types::{Base, Conflict, Merge, Owner, Run, Step, Take},
    },
    store::{Record, Warned, Yield},
    value::{Content, HostTree, Lineage},
};
use rbuild_overlay::Trace;
use rbuild_tree::{Branch, Merged, Pattern, Policy, Snapshot};
use std::sync::Arc;

/// What a step gave.
pub(super) struct Made {
    pub(super) content: Content,
    pub(super) record: Record,
}

/// Makes a step.
///
/// # Errors
/// Whatever fails, with the step's last lines if its command did.
pub(super) fn make(
    engine: &Engine,
    step: &Step,
    inputs: &Inputs<'_>,
    config: &ContainerConfig,
) -> std::result::Result<Made, Failure> {
    if let Base::From(reference) = &step.base
        && let Content::Host(host) = inputs.value(reference)?.content
    {
        return over_host(engine, step, &host, inputs, config);
    }
    let base = base(engine, step, inputs)?;
    let applied = operations::apply(&inputs.context, &step.body, &base)
        .map_err(|error| engine.session.located(error))?;
    let mut warnings = warned(engine, &step.name, applied.warnings);
    let (mut tree, mut log) = (applied.snapshot, None);
    if let Some(command) = &step.body.run {
        let lineage = lineage(step, inputs)?;
        let over = Over::Snapshot { tree: &tree, base: &base, lineage: lineage.as_ref() };
        let ran = passed(engine, step, command_of(engine, step, command, inputs, config, over)?)?;
        tree = ran.applied(engine, &tree)?;
        log = Some(ran.log);
        warnings.extend(ran.changes.warnings.into_iter().map(uncoded));
    }
    let removed = operations::remove(&inputs.context, &step.body.remove, &tree)
        .map_err(|error| engine.session.located(error))?;
    warnings.extend(warned(engine, &step.name, removed.warnings));
    engine.derive(&removed.snapshot, if step.body.run.is_some() { &tree } else { &base });
    let id = engine.session.store.put_snapshot(&removed.snapshot)?;
    let content = Content::Snapshot(id, Arc::new(removed.snapshot));
    Ok(Made { content, record: record(Yield::Snapshot(id.to_string()), log, warnings) })
}

/// Tells warnings now, since what follows may fail, and gives them for the record.
pub(super) fn warned(engine: &Engine, name: &str, warnings: Vec<Warning>) -> Vec<Warned> {
    let of =
        |warning: &Warning| Warned { code: Some(warning.code.to_owned()), message: warning.message.clone() };
    let kept = warnings.iter().map(of).collect();
    engine.session.warn_all(name, warnings);
    kept
}

fn uncoded(message: String) -> Warned {
    Warned { code: None, message }
}

fn record(result: Yield, log: Option<String>, warnings: Vec<Warned>) -> Record {
    let finished = jiff::Timestamp::now().as_second();
    Record { result, log, duration: 0, finished, trace: None, warnings, unfenced: false }
}

/// A step over this machine's files: only a command can change them.
fn over_host(
    engine: &Engine,
    step: &Step,
    host: &HostTree,
    inputs: &Inputs<'_>,
    config: &ContainerConfig,
) -> std::result::Result<Made, Failure> {
    let store = &engine.session.store;
    let (delta, trace, log, warnings) = match &step.body.run {
        Some(command) => {
            let over = Over::Host(host);
            let ran = passed(engine, step, command_of(engine, step, command, inputs, config, over)?)?;
            (ran.changes.delta, ran.changes.trace, Some(ran.log), ran.changes.warnings)
        }
        // Nothing was looked at, so that nothing can change it.
        None => {
            (host.delta.as_deref().cloned().unwrap_or_default(), Some(Trace::default()), None, Vec::new())
        }
    };
    let id = store.put_delta(&delta)?;
    let warnings = warnings.into_iter().map(uncoded).collect();
    let mut record = record(Yield::Delta(id.to_string()), log, warnings);
    if let Some(trace) = trace {
        record.trace = Some(store.put_object(&trace.encode())?.to_string());
    }
    Ok(Made { content: Content::Host(HostTree { delta: Some(Arc::new(delta)), ..host.clone() }), record })
}

/// What the tree a step starts from comes from, or is; none for a directory of another.
fn lineage(step: &Step, inputs: &Inputs<'_>) -> Result<Option<Arc<Lineage>>> {
    match &step.base {
        Base::From(reference) if reference.path.is_root() => Ok(Some(inputs.value(reference)?.lineage)),
        Base::From(_) => Ok(None),
        Base::Merge(merge) => match &merge.base {
            Some(base) => Ok(Some(inputs.value(base)?.lineage)),
            None => plan::common_ancestor(merge, inputs),
        },
    }
}

/// The tree a step starts from.
fn base(engine: &Engine, step: &Step, inputs: &Inputs<'_>) -> Result<Snapshot> {
    match &step.base {
        Base::From(reference) => inputs.snapshot(reference),
        Base::Merge(merge) => merged(engine, step, merge, inputs),
    }
}

fn merged(engine: &Engine, step: &Step, merge: &Merge, inputs: &Inputs<'_>) -> Result<Snapshot> {
    let base = plan::common_base(merge, inputs)?;
    let names: Vec<String> = merge.branches.iter().map(|branch| branch.to_string()).collect();
    let trees: Vec<Snapshot> =
        merge.branches.iter().map(|branch| inputs.snapshot(branch)).collect::<Result<_>>()?;
    let branches: Vec<Branch<'_>> =
        names.iter().zip(&trees).map(|(name, snapshot)| Branch { name, snapshot }).collect();
    let policy = match merge.conflict {
        Conflict::Error => Policy::Error,
        Conflict::First => Policy::First,
        Conflict::Last => Policy::Last,
    };
    let mut lines = Vec::new();
    for line in &merge.resolve {
        let pattern = Pattern::parse(&line.path)
            .map_err(|reason| Error::spec("bad-value", format!("resolve {:?}: {reason}", line.path.value)))?;
        lines.push((pattern, line.take));
    }
    let mut resolve = |path: &rbuild_tree::TreePath| {
        let found = lines.iter().find(|(pattern, _)| pattern.matches(path));
        found.map(|(_, take)| match take {
            Take::Branch(index) => rbuild_tree::Take::Branch(*index),
            Take::Absent => rbuild_tree::Take::Absent,
        })
    };
    match rbuild_tree::merge(&*engine.session.store, &base, &branches, policy, &mut resolve)? {
        Merged::Snapshot(snapshot) => Ok(snapshot),
        Merged::Conflicts(conflicts) => Err(conflict_error(step, &names, &conflicts)),
    }
}

/// The paths, what each branch did to them, and the line that settles it.
fn conflict_error(step: &Step, names: &[String], conflicts: &[rbuild_tree::Conflict]) -> Error {
    const SHOWN: usize = 20;
    let mut text = format!("step `{}`: its branches disagree on {} path", step.name.value, conflicts.len());
    text.push_str(if conflicts.len() == 1 { "" } else { "s" });
    for conflict in conflicts.iter().take(SHOWN) {
        let changes = conflict.changes.iter().map(|(branch, what)| format!("`{}` {what}", names[*branch]));
        text.push_str(&format!("\n  {}: {}", conflict.path, changes.collect::<Vec<_>>().join(", ")));
    }
    if conflicts.len() > SHOWN {
        text.push_str(&format!("\n  … and {} more", conflicts.len() - SHOWN));
    }
    let mut error = Error::step("merge-conflict", text);
    let database = |path: &str| path.starts_with("/var/lib/dpkg/") || path.starts_with("/var/lib/rpm/");
    if conflicts.iter().any(|conflict| database(&conflict.path.to_string())) {
        error = error.hint("package databases can't be merged: install in one step");
    } else if let Some(first) = conflicts.first() {
        let taker = first.changes.first().map_or("none", |(branch, _)| names[*branch].as_str());
        let path = first.path.to_string();
        error =
            error.hint(format!("settle it in the step: resolve = [{{ path = {path:?}, take = {taker:?} }}]"));
    }
    error
}

fn command_of(
    engine: &Engine,
    step: &Step,
    command: &Spanned<Run>,
    inputs: &Inputs<'_>,
    config: &ContainerConfig,
    over: Over<'_>,
) -> std::result::Result<Ran, Failure> {
    let body = &step.body;
    let request = run::Request {
        node: &format!("step.{}", step.name.value),
        body,
        argv: argv(command, body.shell.as_deref().unwrap_or(&engine.session.loaded.spec.shell)),
        environment: plan::environment(body, config, &engine.session.caller)?,
        user: body.user.as_ref().map_or_else(root, |user| user.value.clone()),
        workdir: body.workdir.as_ref().map(|path| path.value.clone()).unwrap_or_default(),
    };
    run::run(engine, inputs, over, request).map_err(|failed| refused(engine, command.span, failed))
}

/// Nobody said who: root by number, since a tree may not know the name.
pub(super) fn root() -> Owner {
    Owner { user: crate::spec::types::Id::Number(0), group: None }
}

/// What is executed for a `run`.
pub(super) fn argv(command: &Run, shell: &[String]) -> Argv {
    match command {
        Run::Command(words) => Argv::Words(words.clone()),
        Run::Script(script) if script.starts_with("#!") => Argv::Script(script.clone()),
        Run::Script(script) => Argv::Words(shell.iter().chain([script]).cloned().collect()),
    }
}

/// Fails unless the command ended with 0.
fn passed(engine: &Engine, step: &Step, ran: Ran) -> std::result::Result<Ran, Failure> {
    if ran.ended_with(0) {
        return Ok(ran);
    }
    let message = format!("step `{}` failed: {}", step.name.value, end_text(&ran.ended));
    let span = step.body.run.as_ref().map_or(step.name.span, |run| run.span);
    Err(failure(engine, "step-failed", &message, span, &step.body, ran))
}
