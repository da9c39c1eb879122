//! What the key of a step is made of. A field of a step that is missing here would be a wrong cache hit: [`Body`] is
//! taken apart by name, so that a new field does not compile until it is placed.
//!
//! | ingredient | of | note |
//! |---|---|---|
//! | `from`, `merge[N]` … | the input snapshots | of a `host` tree only what is changed over it: the rest is traced |
//! | `groups` … `attrs`, `remove` | the fields as written, by entry and key (`spelled.rs`) | |
//! | `copy[N] …`, `copy[N] content` | as written; the digest of what it takes | nothing else of the tree it takes from |
//! | `run`, `shell`, `user`, `workdir`, `network` | as written | `shell` only for a string |
//! | `env.NAME` | the config's and the step's | not what is passed from the caller |
//! | `mounts[N] …` | as written; for a tree its snapshot | not what a cache holds |
//! | `epoch`, `platform` | | |
//!
//! Not in it: `limits`, `config` but for its `env`, `description`, `pass-env` values, `rerun-after`, tier, ids, job count.

use super::{environment::environment, spelled};
use crate::{
    container::ContainerConfig,
    error::{Error, Result},
    key::Ingredients,
    operations::{self, Context},
    spec::{
        Files,
        types::{Base, Body, Conflict, Merge, Mount, MountKind, Reference, Run, Step, Subject, Test},
    },
    value::{Content, Value},
};
use rbuild_tree::{Snapshot, SnapshotId, subtree};
use std::collections::BTreeMap;

/// What the nodes that a node needs turned out to be, and what else its key needs.
pub struct Inputs<'a> {
    /// For the tree operations.
    pub context: Context<'a>,
    /// The build file's text, for places in it.
    pub files: &'a Files,
    /// By name of source or step.
    pub values: &'a BTreeMap<String, Value>,
    /// The file's `shell`.
    pub shell: &'a [String],
    /// The caller's environment.
    pub caller: &'a BTreeMap<String, String>,
    /// `linux/amd64`
    pub platform: String,
}

impl Inputs<'_> {
    /// What a reference names, without its path.
    ///
    /// # Errors
    /// A bug: the scheduler waits for everything a node refers to.
    pub fn value(&self, reference: &Reference) -> Result<Value> {
        if reference.is_scratch() {
            return Ok(Value::scratch());
        }
        let known = self.values.get(&reference.name).cloned();
        known.ok_or_else(|| Error::internal(format!("`{}` is not made yet", reference.name)))
    }

    /// The tree a reference names, its path applied.
    ///
    /// # Errors
    /// The path is not there, or no directory; the tree is this machine's.
    pub fn snapshot(&self, reference: &Reference) -> Result<Snapshot> {
        let whole = self.context.trees.tree(reference)?;
        if reference.path.is_root() {
            return Ok(whole);
        }
        subtree(self.context.store, &whole, &reference.path)
            .map_err(|error| Error::step("no-match", format!("`{reference}`: {error}")))
    }

    /// The identity of that, kept in the store so that a later miss can tell what differs.
    ///
    /// # Errors
    /// As [`Inputs::snapshot`].
    pub fn snapshot_id(&self, reference: &Reference) -> Result<SnapshotId> {
        match &self.value(reference)?.content {
            Content::Snapshot(id, _) if reference.path.is_root() => Ok(*id),
            _ => Ok(self.context.store.put_snapshot(&self.snapshot(reference)?)?),
        }
    }
}

/// The ingredients of a step's key.
///
/// # Errors
/// A path or pattern of it that matches nothing, an unset variable.
pub fn step_ingredients(step: &Step, inputs: &Inputs<'_>, config: &ContainerConfig) -> Result<Ingredients> {
    let mut list = Ingredients::default();
    list.add("kind", "step");
    add_circumstances(&mut list, inputs);
    match &step.base {
        Base::From(reference) => add_base(&mut list, reference, inputs)?,
        Base::Merge(merge) => add_merge(&mut list, merge, inputs)?,
    }
    add_body(&mut list, &step.body, inputs, config)?;
    Ok(list)
}

/// The ingredients of a test's key; `config` is that of the image or tree it looks at.
///
/// # Errors
/// As [`step_ingredients`].
pub fn test_ingredients(
    test: &Test,
    from: &Reference,
    inputs: &Inputs<'_>,
    config: &ContainerConfig,
) -> Result<Ingredients> {
    let mut list = Ingredients::default();
    list.add("kind", "test");
    add_circumstances(&mut list, inputs);
    add_base(&mut list, from, inputs)?;
    list.add("expect-exit", test.expect_exit.to_string());
    add_body(&mut list, &test.body, inputs, config)?;
    if let Subject::Image(_) = test.subject {
        // Where the test does not say them itself, they are the container's.
        list.add("image user", config.user.clone());
        list.add("image workdir", config.workdir.clone());
        list.add("image entrypoint", spelled::command(&config.entrypoint));
        list.add("image cmd", spelled::command(&config.cmd));
    }
    Ok(list)
}

/// First, since a change of these changes sources, too: the reason is told, not what follows from it.
fn add_circumstances(list: &mut Ingredients, inputs: &Inputs<'_>) {
    list.add("epoch", inputs.context.epoch.seconds.to_string());
    list.add("platform", inputs.platform.clone());
}

fn add_base(list: &mut Ingredients, reference: &Reference, inputs: &Inputs<'_>) -> Result<()> {
    match &inputs.value(reference)?.content {
        Content::Host(host) => {
            list.add("host", host.root.display().to_string());
            for (at, path) in host.exclude.iter().enumerate() {
                list.add(format!("host exclude[{at}]"), path.to_string());
            }
            let delta = host.delta.as_ref().map(|delta| delta.id().to_string());
            list.add("from", delta.unwrap_or_default());
        }
        Content::Snapshot(..) => list.add("from", inputs.snapshot_id(reference)?.to_string()),
    }
    Ok(())
}

fn add_merge(list: &mut Ingredients, merge: &Merge, inputs: &Inputs<'_>) -> Result<()> {
    for (at, branch) in merge.branches.iter().enumerate() {
        list.add(format!("merge[{at}]"), inputs.snapshot_id(branch)?.to_string());
    }
    if let Some(base) = &merge.base {
        list.add("base", inputs.snapshot_id(base)?.to_string());
    } else {
        // The base follows from the graph: without it in the key a graph that is cut otherwise would hit.
        list.add("base", super::decide::common_base(merge, inputs)?.id().to_string());
    }
    let conflict = match merge.conflict {
        Conflict::Error => "error",
        Conflict::First => "first",
        Conflict::Last => "last",
    };
    list.add("conflict", conflict);
    for (at, resolve) in merge.resolve.iter().enumerate() {
        spelled::add_resolve(list, &format!("resolve[{at}]"), resolve);
    }
    Ok(())
}

fn add_body(
    list: &mut Ingredients,
    body: &Body,
    inputs: &Inputs<'_>,
    config: &ContainerConfig,
) -> Result<()> {
    let Body {
        groups: _, // these are spelled
        users: _,
        dirs: _,
        files: _,
        links: _,
        attrs: _,
        remove: _,
        copy,
        run,
        env: _,      // joined with the config's by `environment`
        pass_env: _, // in no key
        user,
        workdir,
        shell,
        network,
        mounts,
        limits: _,      // a command that was beyond them leaves no record
        config: _,      // its env is in `config`
        rerun_after: _, // says which records are too old, not what a step is
    } = body;
    spelled::add_entries(list, body);
    for (at, copy) in copy.iter().enumerate() {
        let name = format!("copy[{at}]");
        spelled::add_copy(list, &name, copy);
        let content = operations::copy_digest(&inputs.context, copy)
            .map_err(|error| error.within(&name).located(inputs.files))?;
        list.add(format!("{name} content"), content);
        if let Content::Snapshot(id, _) = &inputs.value(&copy.from)?.content {
            list.note(name, id.to_string());
        }
    }
    if let Some(run) = run {
        match &run.value {
            Run::Script(script) => {
                list.add("run", script.clone());
                list.add("shell", spelled::command(shell.as_deref().unwrap_or(inputs.shell)));
            }
            Run::Command(argv) => list.add("run", spelled::command(argv)),
        }
    }
    list.add("user", user.as_ref().map(|user| user.to_string()).unwrap_or_default());
    list.add("workdir", workdir.as_ref().map(|path| path.to_string()).unwrap_or_default());
    list.add("network", spelled::network(*network));
    for (name, value) in environment(body, config, inputs.caller)?.keyed {
        list.add(format!("env.{name}"), value);
    }
    for (at, mount) in mounts.iter().enumerate() {
        add_mount(list, at, mount, inputs)?;
    }
    Ok(())
}

fn add_mount(list: &mut Ingredients, at: usize, mount: &Mount, inputs: &Inputs<'_>) -> Result<()> {
    let name = format!("mounts[{at}]");
    spelled::add_mount(list, &name, mount);
    if let MountKind::Tree { from, .. } = &mount.kind {
        let content = operations::reference_digest(&inputs.context, from)
            .map_err(|error| error.within(&name).located(inputs.files))?;
        list.add(format!("{name} content"), content);
    }
    Ok(())
}
