//! From a request to an engine that is ready: the file read, its epoch locked, the graph made, the store open.

use super::Request;
use crate::{
    error::{Error, Result},
    execute::{Cancel, Engine, Tier},
    graph::{Graph, NodeId},
    image::LayerQueue,
    lookups::{Lookups, Policy},
    parallel::Turns,
    paths::{absolute, tidy},
    registries::Registries,
    report::{Event, Reporter},
    session::Session,
    spec::{self, EpochSource, FALLBACK_EPOCH, Format, Kind, Loaded, Spec, lock},
    store::{Build, Store},
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, atomic::Ordering},
};

/// Whether the lock file may be made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Locking {
    /// `apply`: made if it is missing.
    Write,
    /// Everything that only looks.
    Look,
}

/// Reads the build file, with the lock's epoch where nobody else gives one. Does not write the lock.
///
/// # Errors
/// Every mistake of the file.
pub fn load(request: &Request) -> Result<Loaded> {
    let mut warnings = Vec::new();
    read(request, Locking::Look, &mut warnings)
}

fn read(request: &Request, locking: Locking, warnings: &mut Vec<String>) -> Result<Loaded> {
    let parsed = spec::parse(&request.file, &request.inputs)?;
    let path = lock::path_of(&request.file);
    let known = match parsed.epoch() {
        EpochSource::Caller(epoch) | EpochSource::Spec(epoch) => Some(epoch),
        EpochSource::Lock => lock::Lock::load(&path)?.map(|lock| lock.epoch),
    };
    if let Some(epoch) = known {
        return Ok(parsed.resolve(epoch)?);
    }
    if request.locked {
        let message = format!("--locked: {} is missing, and with it the epoch", path.display());
        return Err(
            Error::source("not-locked", message).hint("run without --locked once, and commit the file")
        );
    }
    let now = jiff::Timestamp::now().as_second();
    if locking == Locking::Look {
        // What `apply` would do: where it can't write the lock, it takes the fallback.
        return Ok(parsed.resolve(if lock::can_create(&path) { now } else { FALLBACK_EPOCH })?);
    }
    // A broken file must not leave a lock behind, so it is read first.
    let loaded = parsed.resolve(now)?;
    let epoch = match lock::Lock::new(now).create(&path) {
        Ok(lock) => lock.epoch,
        Err(error @ lock::LockError::Io { .. }) => {
            warnings.push(format!("{error}; the epoch is 1980-01-01"));
            FALLBACK_EPOCH
        }
        Err(error) => return Err(error.into()),
    };
    if epoch == now { Ok(loaded) } else { Ok(spec::load(&request.file, &request.inputs, epoch)?) }
}

/// Everything a build needs.
pub(super) fn engine(
    request: &Request,
    locking: Locking,
    reporter: Arc<dyn Reporter>,
    cancel: Arc<Cancel>,
    deep: bool,
) -> Result<Engine> {
    let mut warnings = Vec::new();
    let loaded = read(request, locking, &mut warnings)?;
    let graph = Graph::build(&loaded.spec)
        .map_err(|list| spec::Diagnostics::new(list, loaded.warnings.files.clone()))?;
    let targets = select(&graph, &loaded.spec, &request.targets)?;
    let wanted = graph.with_needs(targets.iter().copied());
    // With --keep-going what does not need them is built, and each is told in its turn.
    if !request.keep_going {
        tell_missing_sources(&loaded, |name| {
            graph.find(Kind::Source, name).is_some_and(|id| wanted.contains(&id))
        })?;
    }
    let store = request.store.open()?;
    let folder = absolute(&loaded.folder)?;
    let out = match &request.out {
        Some(out) => {
            if locking == Locking::Write {
                std::fs::create_dir_all(out).map_err(|error| Error::io("make", out, error))?;
            }
            absolute(out)?
        }
        None => folder.clone(),
    };
    // What an earlier build wrote to the default place is an output as well.
    let places = [&folder, &out];
    let paths = loaded.spec.written_paths();
    let mut written: Vec<PathBuf> =
        paths.iter().flat_map(|path| places.map(|place| tidy(&place.join(path)))).collect();
    written.push(tidy(&folder.join(lock::path_of(&request.file).file_name().unwrap_or_default())));
    if let Some(named) = &request.metadata {
        let path = std::path::absolute(named).map_err(|error| Error::io("find", named, error))?;
        if written.contains(&tidy(&path)) {
            let message = format!("the build writes {} itself, so metadata can't go there", named.display());
            return Err(Error::usage(message).hint("give --metadata-file another name"));
        }
        written.push(tidy(&path));
    }
    let policy = match locking {
        _ if request.locked => Policy::Refuse,
        Locking::Write => Policy::Write,
        Locking::Look => Policy::Forget,
    };
    let caller = request.inputs.environment.clone();
    let registries = Registries::new(&caller, request.offline, Some(store.clone()), reporter.clone());
    let session = Session {
        registries: Arc::new(registries),
        lookups: Lookups::new(lock::path_of(&request.file), policy, loaded.epoch),
        turns: Turns::default(),
        last: store.history().load(&absolute(&request.file)?),
        graph,
        targets,
        store,
        reporter,
        caller,
        out,
        written,
        platform: request.inputs.platform.clone(),
        deep,
        stopped: Arc::default(),
        warned: Mutex::default(),
        loaded,
    };
    let (registries, stopped) = (session.registries.clone(), session.stopped.clone());
    cancel.on_stop(move || {
        stopped.store(true, Ordering::SeqCst);
        registries.cancel();
    });
    let engine = Engine {
        layers: LayerQueue::new(session.store.clone(), session.epoch()),
        session,
        cancel,
        jobs: match request.tier {
            // What other nodes look for may be aside.
            Some(Tier::InPlace) => 1,
            _ => request.jobs.unwrap_or_else(processors).max(1),
        },
        keep_going: request.keep_going,
        tier: request.tier,
        machine: OnceLock::new(),
    };
    engine.session.store.left_out().iter().for_each(|reason| engine.session.note(None, reason.clone()));
    for warning in warnings {
        engine.session.warn(Some("no-lock"), None, warning);
    }
    tell_warnings(&engine, &wanted);
    if engine.session.targets.is_empty() {
        engine.session.note(None, nothing_wanted(&engine.session, &request.file));
    }
    Ok(engine)
}

/// The nodes of these targets; see [`Graph::select`].
///
/// # Errors
/// The first target that is none.
pub fn select(graph: &Graph, spec: &Spec, targets: &[String]) -> Result<BTreeSet<NodeId>> {
    graph.select(spec, targets).map_err(|refusal| {
        let is_file =
            |target: &&String| Path::new(target).is_dir() || Format::of(Path::new(target)).is_some();
        let strangers = targets.iter().filter(|target| spec.target(target).is_err());
        match strangers.into_iter().find(is_file) {
            Some(target) => meant_as_file(refusal.into(), target),
            None => refusal.into(),
        }
    })
}

/// An error about a target that may have been meant as the build file.
pub fn meant_as_file(error: Error, target: &str) -> Error {
    error.hint(format!("if `{target}` is the build file or its folder, say -f {target}"))
}

/// Local files of sources that are missing: all at once, before anything is made.
fn tell_missing_sources(loaded: &Loaded, is_wanted: impl Fn(&str) -> bool) -> Result<()> {
    let missing = spec::missing_sources(&loaded.spec, &loaded.folder, is_wanted);
    if missing.is_empty() {
        return Ok(());
    }
    Err(spec::Diagnostics::new(missing, loaded.warnings.files.clone()).into())
}

/// Tells the warnings of the file; that nothing in it uses a step is no news of one that is asked for.
fn tell_warnings(engine: &Engine, wanted: &BTreeSet<NodeId>) {
    let Session { loaded, graph, .. } = &engine.session;
    let asked_for: Vec<spec::Span> = wanted
        .iter()
        .filter_map(|id| {
            let target = graph.node(*id);
            match target.kind {
                Kind::Step => Some(loaded.spec.steps.get(&target.name)?.name.span),
                Kind::Source => Some(loaded.spec.sources.get(&target.name)?.name.span),
                _ => None,
            }
        })
        .collect();
    for warning in loaded.warnings.list.iter().filter(|one| one.severity == spec::Severity::Warning) {
        let span = warning.labels.first().map(|label| label.span);
        if warning.code == "unused" && span.is_some_and(|span| asked_for.contains(&span)) {
            continue;
        }
        let place = span.and_then(|span| loaded.warnings.files.place(span));
        let place = place.map_or(String::new(), |place| format!("{place}: "));
        engine.session.warn(Some(warning.code), None, format!("{place}{}", warning.message));
    }
}

/// Why nothing is built, and what to say instead.
fn nothing_wanted(session: &Session, file: &Path) -> String {
    let (spec, graph, file) = (&session.loaded.spec, &session.graph, file.display());
    let why = match &spec.default {
        Some(_) => format!("`default` of {file} is empty"),
        None => format!("{file} has no image, artifact or test"),
    };
    // One that nothing is made from has the most in it.
    let is_last = |name: &&String| {
        graph.find(Kind::Step, name).is_some_and(|id| graph.dependents(id).into_iter().next().is_none())
    };
    let step = spec.steps.keys().find(is_last);
    let instead = step.map(|name| format!("; a step is built by its name: rbuild apply {file} step.{name}"));
    format!("nothing was asked for: {why}{}", instead.unwrap_or_default())
}

/// What the last build of a file left, and the store it is in.
pub struct History {
    /// The store.
    pub store: Arc<Store>,
    /// The build.
    pub build: Build,
}

/// Opens the last build of the request's file.
///
/// # Errors
/// The store can't be opened, the file is not there.
pub fn open_history(request: &Request) -> Result<History> {
    let store = request.store.open()?;
    let build = store.history().load(&absolute(&request.file)?);
    Ok(History { store, build })
}

/// How many processors affinity and cgroup allow.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Tells that a build begins.
pub(super) fn announce(engine: &Engine) {
    engine.session.reporter.report(&Event::BuildStarted {
        file: engine.session.loaded.path.display().to_string(),
        nodes: engine.session.graph.with_needs(engine.session.targets.iter().copied()).len(),
        jobs: engine.jobs,
        store: engine.session.store.root().display().to_string(),
    });
}
