//! `apply`: builds the targets.

use super::{
    Request,
    metadata::Noted,
    prepare::{self, Locking},
};
use crate::{
    convert::STORE_DAMAGED,
    error::{Error, Result},
    execute::{Cancel, Engine, Summary, execute},
    interrupts::{Interrupts, Stopping},
    paths::absolute,
    report::{Event, Reporter},
    store::Build,
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

/// How a build went. Failures of nodes were told as events.
pub struct Outcome {
    /// Every target is made.
    pub success: bool,
    /// The first failure.
    pub error: Option<Error>,
}

/// Builds the targets of a request and remembers the build.
///
/// # Errors
/// What is wrong before anything is made: the file, the command line, the store.
pub fn apply(request: &Request, reporter: Arc<dyn Reporter>) -> Result<Outcome> {
    let start = Instant::now();
    let noted = Noted::new(request, &reporter)?;
    let reporter = noted.clone().map_or(reporter, |noted| noted);
    let cancel = Arc::new(Cancel::default());
    let current = Arc::new(Mutex::new(cancel.clone()));
    let _interrupts = watch(current.clone())?;
    let (mut engine, mut summary) = once(request, &reporter, &cancel, false)?;
    let damaged = summary.error.as_ref().is_some_and(|error| error.code() == Some(STORE_DAMAGED));
    if damaged && !cancel.is_interrupted() {
        // Something the store should hold is not whole. It was dropped; what named it is found by looking at all.
        let message = "something in the store is missing or damaged: what depends on it is built again";
        reporter.report(&Event::warning(None, None, message));
        let again = Arc::new(Cancel::default());
        *current.lock().unwrap_or_else(PoisonError::into_inner) = again.clone();
        drop(engine);
        (engine, summary) = once(request, &reporter, &again, true)?;
    }
    finish(request, &engine, summary, noted.as_deref(), start)
}

/// A signal ends the build; a second one the process, whose sandboxes end with it.
fn watch(current: Arc<Mutex<Arc<Cancel>>>) -> Result<Interrupts> {
    Interrupts::watch(move || {
        let cancel = current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let stopping = if cancel.is_interrupted() { Stopping::Already } else { Stopping::Now };
        cancel.interrupt();
        stopping
    })
}

fn once(
    request: &Request,
    reporter: &Arc<dyn Reporter>,
    cancel: &Arc<Cancel>,
    deep: bool,
) -> Result<(Arc<Engine>, Summary)> {
    let engine = prepare::engine(request, Locking::Write, reporter.clone(), cancel.clone(), deep)?;
    if request.deny_warnings && engine.session.warnings() > 0 {
        return Err(Error::usage("there are warnings, and --deny-warnings is on"));
    }
    let engine = Arc::new(engine);
    prepare::announce(&engine);
    let summary = execute(&engine, &engine.session.targets)?;
    engine.clear();
    let mut build = Build { file: absolute(&request.file)?, nodes: engine.session.last.nodes.clone() };
    build.nodes.extend(summary.nodes.clone());
    let store = &engine.session.store;
    let kept = store.history().save(&build).map_err(Error::from).and_then(|()| Ok(store.settle()?));
    // Where a node failed that is what the user must know: a full disk fails both.
    match (kept, &summary.error) {
        (Err(error), None) => Err(error),
        _ => Ok((engine, summary)),
    }
}

fn finish(
    request: &Request,
    engine: &Engine,
    summary: Summary,
    noted: Option<&Noted>,
    start: Instant,
) -> Result<Outcome> {
    let mut error = summary.error;
    if error.is_none() && request.deny_warnings && engine.session.warnings() > 0 {
        error = Some(Error::step("warnings-denied", "there were warnings, and --deny-warnings is on"));
    }
    if let (None, Some(noted)) = (&error, noted) {
        error = noted.write(&engine.session, request).err();
    }
    engine.session.reporter.report(&Event::BuildFinished {
        success: error.is_none(),
        ran: summary.ran,
        cached: summary.cached,
        failed: summary.failed,
        skipped: summary.skipped,
        interrupted: summary.interrupted,
        duration: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
    });
    Ok(Outcome { success: error.is_none(), error })
}
