//! Runs one command over an overlay, in a sandbox.

use super::{
    Engine, cache_mount,
    limits::{self, Ended},
    look,
    mounts::{Builder, Mounts, Root},
    output,
    supervision::Supervision,
    task::Failure,
    times::SeenTimes,
};
use crate::{
    error::{Error, Result},
    operations::accounts::Accounts,
    plan::{CONTAINER_HOST_NAME, Inputs, StepEnvironment},
    spec::types::{Body, Limits, Mount as Declared, MountKind, Network, Owner},
    value::{HostTree, Lineage},
};
use rbuild_overlay::{Caller, Changes, Error as Overlay, FileKind, Session};
use rbuild_sandbox::{Command, Exit, Memory, Output, Running, Sandbox, Setup};
use rbuild_tree::{Snapshot, TreePath, apply};
use std::{
    ffi::OsString,
    io,
    path::Path,
    sync::Arc,
    thread::{self, ScopedJoinHandle},
};

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
    /// One of the store: as the step's tree operations left it, as they found it, and what that comes from, or is.
    Snapshot {
        tree: &'a Snapshot,
        base: &'a Snapshot,
        lineage: Option<&'a Arc<Lineage>>,
    },
    Host(&'a HostTree),
}

/// How a command ended, and what it left.
pub(super) struct Ran {
    pub(super) ended: Ended,
    /// The object of the log, in hex.
    pub(super) log: String,
    pub(super) last_lines: Vec<String>,
    pub(super) changes: Changes,
    /// The tree as the command saw it; none over this machine's files.
    seen: Option<Snapshot>,
    times: SeenTimes,
}

impl Ran {
    /// Whether it ended by itself, with this status.
    pub(super) fn ended_with(&self, code: u8) -> bool {
        self.ended.beyond.is_none() && self.ended.exit == Exit::Code(code.into())
    }

    /// The snapshot that the command left, if it ran over `tree`.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) fn applied(&self, engine: &Engine, tree: &Snapshot) -> Result<Snapshot> {
        let seen = self.seen.as_ref().unwrap_or(tree);
        let left = apply(&*engine.session.store, seen, &self.changes.delta)?;
        let left = self.times.restore(&engine.session.store, left)?;
        engine.derive(&left, seen);
        Ok(left)
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
/// The machine refuses, a mount can't be made, the build is stopped: then with the log so far. A command that fails is
/// no error here.
pub(super) fn run(
    engine: &Engine,
    inputs: &Inputs<'_>,
    over: Over<'_>,
    request: Request<'_>,
) -> Result<Ran, Failure> {
    let store = &engine.session.store;
    let machine = engine.machine()?;
    machine.check(over)?;
    // Locks first: what other steps of a cache saw is known only when they are done.
    let caches = cache_mount::open_all(engine, request.body, machine)?;
    let mut times = SeenTimes::new(&caches, engine.session.epoch());
    let mut seen = match over {
        Over::Snapshot { tree, base, .. } => Some(times.root(store, base, tree)?),
        Over::Host(_) => None,
    };
    let root = match (&seen, over) {
        (_, Over::Host(host)) => Root::Host(host),
        (Some(tree), _) | (None, Over::Snapshot { tree, .. }) => Root::Snapshot(tree),
    };
    let (node, limits) = (request.node, request.body.limits);
    let mut builder = Builder::new(engine, root, machine.network(request.body.network))?;
    let mut setup = set_up(&mut builder, engine, inputs, request, &caches, &mut times).or_else(|error| {
        // Perhaps only because the store has lost what was looked at.
        builder.check()?;
        Err(error)
    })?;
    let mounts = builder.finish();
    let mut ground = machine.ground(engine, over, &mounts, &mut setup, &mut seen)?;
    let log = store.scratch().fresh();
    let supervision = Supervision::of(&setup, ground.tables());
    let ended = carry_out(engine, (&setup, ground.memories(), supervision), &mounts, (node, &limits), &log);
    let left = match ended {
        Ok(_) => ground.leave(engine.session.epoch()),
        Err(_) => ground.abandon(),
    };
    // Caches are where they live again.
    let settled = times.settle(store);
    let (ended, last_lines) = match ended {
        Ok(ended) => ended,
        Err(error) => return Err(Failure { log: kept(engine, &log), ..Failure::from(error) }),
    };
    // Whatever the command made of it: what it read must have been there, and what it wrote must be.
    let commit = |()| ground.changes(&mounts, engine.session.epoch());
    let changes = match left.and(settled).and_then(|()| mounts.check()).and_then(commit) {
        Ok(changes) => changes,
        Err(error) => return Err(Failure { last_lines, log: kept(engine, &log), ..Failure::from(error) }),
    };
    let (log, _) = store.put_object_file(&log)?;
    drop(caches);
    Ok(Ran { ended, log: log.to_string(), last_lines, changes, seen, times })
}

/// The log of a command that did not end by itself; none if there was none yet.
fn kept(engine: &Engine, log: &Path) -> Option<String> {
    let written = log.exists().then(|| engine.session.store.put_object_file(log))?;
    Some(written.ok()?.0.to_string())
}

/// What the sandbox is to be; what stands behind its mounts is the builder's.
fn set_up(
    builder: &mut Builder<'_>,
    engine: &Engine,
    inputs: &Inputs<'_>,
    request: Request<'_>,
    caches: &cache_mount::Caches,
    times: &mut SeenTimes,
) -> Result<Setup> {
    let store = &engine.session.store;
    let accounts = look::accounts(builder.root_overlay())?;
    let identity = identity(&accounts, &request.user)?;
    let targets = builder.targets(request.body)?;
    make_workdir(builder, &targets, &request.workdir, &identity)?;
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
    builder.declared(targets, inputs, caches, &owner, &mut |mount, tree| {
        times.mount(store, &mount.target, tree)
    })?;
    let environment = request.environment.with(&identity.home, engine.session.loaded.epoch);
    Ok(Setup {
        ids: engine.machine()?.ids.clone(),
        hostname: CONTAINER_HOST_NAME.to_owned(),
        network: match engine.machine()?.network(request.body.network) {
            Network::None => rbuild_sandbox::Network::None,
            Network::Private => rbuild_sandbox::Network::Private,
            Network::Host => rbuild_sandbox::Network::Host,
        },
        mounts: builder.list().to_vec(),
        command: command(argv, environment, &request.workdir, identity),
        limits: limits::of_sandbox(&request.body.limits),
        supervised: engine.machine()?.supervises(),
    })
}

fn command(
    argv: Vec<String>,
    environment: Vec<(String, String)>,
    directory: &TreePath,
    identity: Identity,
) -> Command {
    let Identity { uid, gid, groups, .. } = identity;
    Command {
        argv: argv.into_iter().map(OsString::from).collect(),
        env: environment.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        directory: directory.to_string().into(),
        uid,
        gid,
        groups,
        umask: 0o022,
    }
}

fn carry_out(
    engine: &Engine,
    (setup, memories, mut supervision): (&Setup, &[Memory], Supervision),
    mounts: &Mounts,
    (node, limits): (&str, &Limits),
    log: &Path,
) -> Result<(Ended, Vec<String>)> {
    if engine.cancel.is_stopped() {
        return Err(Error::interrupted());
    }
    let mut started = Sandbox::spawn_with(setup, Output::Joined, memories)?;
    let _watched = engine.cancel.watch(started.killer());
    let devices = std::mem::take(&mut started.fuse);
    let mut sessions: Vec<Session> = Vec::new();
    for (filesystem, device) in mounts.filesystems.iter().zip(devices) {
        let overlay = &filesystem.overlay;
        sessions.push(supervision.serve(overlay, device, server_threads())?);
    }
    let pipe = started.stdout.take().ok_or_else(|| Error::internal("the sandbox gave no output pipe"))?;
    let reporter = engine.session.reporter.as_ref();
    let (ended, answered, lines, served) = thread::scope(|scope| {
        let serve = |session: Session| {
            let killer = started.killer();
            // A command whose filesystem is cut off may go on for ever.
            scope.spawn(move || session.join().inspect_err(|_| killer.kill()))
        };
        let servers: Vec<_> = sessions.into_iter().map(serve).collect();
        let pump = scope.spawn(|| output::pump(pipe, log, node, reporter));
        let (killer, mut answering) = (started.killer(), None);
        let ended = started.proceed().and_then(|mut running| {
            answering = supervision.answer(scope, &mut running, killer)?;
            wait(engine, node, limits, &mut running)
        });
        let answered = answering.map_or(Ok(()), |thread: ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
        });
        let lines = pump.join().unwrap_or_else(|_| Err(io::Error::other("the log's thread panicked")));
        // When the last process is gone the mounts are, too: the sessions end by themselves.
        let served = servers.into_iter().map(|server| server.join().unwrap_or(Err(Overlay::Panicked)));
        (ended, answered, lines, served.collect::<Result<(), _>>())
    });
    served?;
    answered.map_err(|error| Error::internal(format!("the command's calls can't be answered: {error}")))?;
    if engine.cancel.is_stopped() {
        return Err(Error::interrupted());
    }
    let lines = lines.map_err(|error| Error::io("write the log", log, error))?;
    Ok((ended?, lines))
}

fn wait(
    engine: &Engine,
    node: &str,
    limits: &Limits,
    running: &mut Running,
) -> rbuild_sandbox::Result<Ended> {
    for warning in running.warnings() {
        engine.session.note(Some(node), warning.clone());
    }
    limits::wait(running, limits)
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

/// A missing workdir is made, owned by the user, and stays; but not where a mount will hide it.
fn make_workdir(
    builder: &Builder<'_>,
    targets: &[(TreePath, &Declared)],
    path: &TreePath,
    identity: &Identity,
) -> Result<()> {
    let look::Place { path: real, found } = builder.follow(path)?;
    if builder.is_hidden(&real) || targets.iter().any(|(target, _)| real.starts_with(target)) {
        return Ok(());
    }
    match found {
        Some(found) if found.kind == FileKind::Directory => Ok(()),
        Some(_) => Err(Error::step("type-conflict", format!("workdir {path} is not a directory"))),
        None => {
            let (uid, gid) = (identity.uid, identity.gid);
            let caller = Caller { uid, gid, umask: 0o022, pid: std::process::id() };
            look::make_directories(builder.root_overlay(), &real, &caller)
                .map_err(|errno| Error::io("make workdir", Path::new(&path.to_string()), errno.into()))
        }
    }
}
