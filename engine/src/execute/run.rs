//! Runs one command over an overlay, in a sandbox.

use super::{
    Engine, cache_mount,
    mounts::{Builder, Mounts, Root},
    output,
    times::SeenTimes,
};
use crate::{
    error::{Error, Result},
    operations::accounts::Accounts,
    plan::{CONTAINER_HOST_NAME, Inputs, StepEnvironment},
    spec::types::{Body, Mount as Declared, MountKind, Network, Owner},
    value::HostTree,
};
use rbuild_overlay::{Caller, Changes, FileKind, NodeId, Overlay, Session};
use rbuild_sandbox::{Command, Exit, Limits, Output, Running, Sandbox, Setup};
use rbuild_tree::{Snapshot, TreePath, apply};
use std::{ffi::OsString, path::Path, thread};

/// A command to be run.
pub(super) struct Request<'a> {
    /// `step.jar`, for messages.
    pub(super) node: &'a str,
    /// Mounts, network, `pass-env`.
    pub(super) body: &'a Body,
    /// The command; a script that starts with `#!` is the only element of [`Argv::Script`].
    pub(super) argv: Argv,
    pub(super) environment: StepEnvironment,
    pub(super) user: Owner,
    pub(super) workdir: TreePath,
}

/// What is executed.
pub(super) enum Argv {
    Words(Vec<String>),
    /// The text of an executable file.
    Script(String),
}

/// The tree a command runs over.
#[derive(Clone, Copy)]
pub(super) enum Over<'a> {
    Snapshot(&'a Snapshot),
    Host(&'a HostTree),
}

/// How a command ended, and what it left.
pub(super) struct Ran {
    pub(super) exit: Exit,
    /// The object of the log, in hex.
    pub(super) log: String,
    pub(super) last_lines: Vec<String>,
    pub(super) changes: Changes,
    /// The tree as the command saw it; none over this machine's files.
    seen: Option<Snapshot>,
    times: SeenTimes,
}

impl Ran {
    /// The snapshot that the command left, if it ran over `base`.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) fn applied(&self, engine: &Engine, base: &Snapshot) -> Result<Snapshot> {
        let left = apply(&*engine.session.store, self.seen.as_ref().unwrap_or(base), &self.changes.delta)?;
        self.times.restore(&engine.session.store, left)
    }
}

/// Who the command is.
struct Identity {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    home: String,
}

/// Runs a command and waits for its end.
///
/// # Errors
/// The machine refuses, a mount can't be made, the build is stopped. A command that fails is no error here.
pub(super) fn run(engine: &Engine, inputs: &Inputs<'_>, over: Over<'_>, request: Request<'_>) -> Result<Ran> {
    let ids = &engine.capabilities()?.ids;
    let accounts = match over {
        Over::Snapshot(snapshot) => Accounts::read(&engine.session.store, snapshot)?,
        Over::Host(host) => Accounts::of_machine(&host.root),
    };
    let identity = identity(&accounts, &request.user)?;
    // Locks first: what other steps of a cache saw is known only when they are done.
    let caches = cache_mount::open_all(engine, request.body, ids)?;
    let mut times = SeenTimes::load(caches.values().map(|cache| cache.path.clone()), engine.session.epoch());
    let seen = match over {
        Over::Snapshot(snapshot) => {
            Some(times.apply(&engine.session.store, &TreePath::root(), snapshot.clone())?)
        }
        Over::Host(_) => None,
    };
    let root = match (&seen, over) {
        (Some(snapshot), _) | (None, Over::Snapshot(snapshot)) => Root::Snapshot(snapshot),
        (None, Over::Host(host)) => Root::Host(host),
    };
    let mut builder = Builder::new(engine, root, request.body.network)?;
    make_workdir(builder.root_overlay(), &request.workdir, &identity)?;
    let argv = match request.argv {
        Argv::Words(words) => words,
        Argv::Script(text) => vec![builder.script(&text)?],
    };
    let owner = |mount: &Declared| match &mount.kind {
        MountKind::Cache { owner: Some(owner), .. } => {
            accounts.resolve(owner).map_err(|reason| Error::step("unknown-owner", reason))
        }
        _ => Ok((identity.uid, identity.gid)),
    };
    builder.declared(request.body, inputs, &caches, &owner, &mut |mount, snapshot| {
        times.apply(&engine.session.store, &mount.target, snapshot)
    })?;
    times.save(&engine.session.store)?;
    let mounts = builder.finish();
    let text = |text: &String| OsString::from(text);
    let setup = Setup {
        ids: ids.clone(),
        hostname: CONTAINER_HOST_NAME.to_owned(),
        network: match request.body.network {
            Network::None => rbuild_sandbox::Network::None,
            Network::Host => rbuild_sandbox::Network::Host,
        },
        mounts: mounts.list.clone(),
        command: Command {
            argv: argv.iter().map(text).collect(),
            env: request
                .environment
                .with(&identity.home, engine.session.loaded.epoch)
                .iter()
                .map(|(name, value)| (text(name), text(value)))
                .collect(),
            directory: request.workdir.to_string().into(),
            uid: identity.uid,
            gid: identity.gid,
            groups: identity.groups,
            umask: 0o022,
        },
        limits: Limits::default(),
    };
    let log = engine.session.store.scratch().fresh();
    let (exit, last_lines) = carry_out(engine, &setup, &mounts, request.node, &log)?;
    // Whatever the command made of it: what it read must have been there.
    mounts.overlays.iter().try_for_each(Overlay::check)?;
    let changes = mounts.overlays[0].commit(Some(engine.session.epoch()))?;
    let (log, _) = engine.session.store.put_object_file(&log)?;
    drop(caches);
    Ok(Ran { exit, log: log.to_string(), last_lines, changes, seen, times })
}

fn carry_out(
    engine: &Engine,
    setup: &Setup,
    mounts: &Mounts,
    node: &str,
    log: &Path,
) -> Result<(Exit, Vec<String>)> {
    if engine.cancel.is_stopped() {
        return Err(Error::interrupted());
    }
    let mut started = Sandbox::spawn(setup, Output::Joined)?;
    let _watched = engine.cancel.watch(started.killer());
    let devices = std::mem::take(&mut started.fuse);
    let mut sessions: Vec<Session> = Vec::new();
    for (overlay, device) in mounts.overlays.iter().zip(devices) {
        sessions.push(overlay.serve(device, server_threads())?);
    }
    let pipe = started.stdout.take().ok_or_else(|| Error::internal("the sandbox gave no output pipe"))?;
    let reporter = engine.session.reporter.as_ref();
    let (ended, lines) = thread::scope(|scope| {
        let pump = scope.spawn(|| output::pump(pipe, log, node, reporter));
        let ended = started.proceed().and_then(|mut running| wait(engine, node, &mut running));
        let lines = pump.join().unwrap_or_else(|_| Err(std::io::Error::other("the log's thread panicked")));
        (ended, lines)
    });
    // When the last process is gone the mounts are, too: the sessions end by themselves.
    for session in sessions {
        session.join()?;
    }
    if engine.cancel.is_stopped() {
        return Err(Error::interrupted());
    }
    let lines = lines.map_err(|error| Error::io("write the log", log, error))?;
    Ok((ended?, lines))
}

fn wait(engine: &Engine, node: &str, running: &mut Running) -> rbuild_sandbox::Result<Exit> {
    for warning in running.warnings() {
        engine.session.warn(None, Some(node), warning.clone());
    }
    running.wait()
}

/// Two answer faster than one even on one processor, and more gain nothing (measured on two).
fn server_threads() -> usize {
    thread::available_parallelism().map_or(2, |count| count.get().clamp(2, 4))
}

fn identity(accounts: &Accounts, user: &Owner) -> Result<Identity> {
    let unknown = |reason| Error::step("unknown-owner", reason);
    let (uid, gid) = accounts.resolve(user).map_err(unknown)?;
    let account = accounts.user(&user.user);
    let home =
        account.as_ref().map_or_else(|| if uid == 0 { "/root" } else { "/" }.to_owned(), |a| a.home.clone());
    // A group said explicitly is the only one, as docker does.
    let groups = match (&user.group, &account) {
        (None, Some(account)) => accounts.supplementary_groups(&account.name),
        _ => Vec::new(),
    };
    Ok(Identity { uid, gid, groups, home })
}

/// A missing workdir is made, owned by the user, and stays.
fn make_workdir(overlay: &Overlay, path: &TreePath, identity: &Identity) -> Result<()> {
    let caller = Caller { uid: identity.uid, gid: identity.gid, umask: 0o022, pid: std::process::id() };
    let mut node = NodeId::ROOT;
    for name in path.names() {
        node = match overlay.lookup(node, name) {
            Ok(found) if found.kind == FileKind::Directory => found.id,
            // A link: the sandbox follows it when it enters the directory.
            Ok(found) if found.kind == FileKind::Symlink => return Ok(()),
            Ok(_) => return Err(Error::step("type-conflict", format!("workdir {path} is not a directory"))),
            Err(rbuild_overlay::Errno::NOENT) => {
                let made = overlay.mkdir(node, name, 0o755, &caller);
                made.map_err(|errno| {
                    Error::io("make workdir", std::path::Path::new(&path.to_string()), errno.into())
                })?
                .id
            }
            Err(errno) => {
                return Err(Error::io("find workdir", std::path::Path::new(&path.to_string()), errno.into()));
            }
        };
    }
    Ok(())
}
