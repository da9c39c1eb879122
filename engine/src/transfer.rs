//! Blobs on their way to or from a registry: how many, how much, how fast. Told at most once a second, and at the end.

use crate::report::{Direction, Event, Reporter};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

const INTERVAL: Duration = Duration::from_secs(1);

/// Blobs that go one way for one purpose.
pub(crate) struct Transfer {
    what: String,
    direction: Direction,
    reporter: Arc<dyn Reporter>,
    start: Instant,
    state: Mutex<State>,
}

struct State {
    bytes: u64,
    /// Bytes of all of them.
    total: u64,
    done: usize,
    blobs: usize,
    told: Instant,
}

impl Transfer {
    /// Begins with blobs of these sizes; `what` they are for: a node, or an image's reference.
    pub(crate) fn new(
        what: &str,
        direction: Direction,
        sizes: impl IntoIterator<Item = u64>,
        reporter: Arc<dyn Reporter>,
    ) -> Self {
        let (mut blobs, mut total, start) = (0, 0_u64, Instant::now());
        for size in sizes {
            blobs += 1;
            total = total.saturating_add(size);
        }
        let state = Mutex::new(State { bytes: 0, total, done: 0, blobs, told: start });
        Self { what: what.to_owned(), direction, reporter, start, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many more bytes came or went.
    pub(crate) fn add(&self, bytes: u64) {
        let mut state = self.state();
        state.bytes += bytes;
        if state.told.elapsed() < INTERVAL {
            return;
        }
        state.told = Instant::now();
        let event = self.event(&state, false);
        drop(state);
        self.reporter.report(&event);
    }

    /// So many of them were for nothing.
    pub(crate) fn take_back(&self, bytes: u64) {
        let mut state = self.state();
        state.bytes = state.bytes.saturating_sub(bytes);
    }

    /// One blob is where it is to be.
    pub(crate) fn blob_done(&self) {
        self.state().done += 1;
    }

    /// One blob need not be sent.
    pub(crate) fn blob_skipped(&self, size: u64) {
        let mut state = self.state();
        state.blobs -= 1;
        state.total = state.total.saturating_sub(size);
    }

    /// All are.
    pub(crate) fn end(&self) {
        let state = self.state();
        if state.blobs > 0 {
            let event = self.event(&state, true);
            drop(state);
            self.reporter.report(&event);
        }
    }

    fn event(&self, state: &State, finished: bool) -> Event {
        let duration = self.start.elapsed();
        let rate = state.bytes as f64 / duration.as_secs_f64().max(0.001);
        Event::Transfer {
            what: self.what.clone(),
            direction: self.direction,
            bytes: state.bytes,
            total_bytes: state.total,
            blobs: state.done,
            total_blobs: state.blobs,
            rate: rate as u64,
            duration: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            finished,
        }
    }
}

/// Which transfer the bytes of a blob belong to.
#[derive(Default)]
pub(crate) struct OnTheWay(Mutex<HashMap<(Direction, String), Arc<Transfer>>>);

impl OnTheWay {
    /// The blob of this digest belongs to `transfer` until the guard goes.
    pub(crate) fn enter(&self, digest: &str, transfer: &Arc<Transfer>) -> impl Drop {
        struct Leave<'a>(&'a OnTheWay, (Direction, String));
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.table().remove(&self.1);
            }
        }
        let key = (transfer.direction, digest.to_owned());
        self.table().insert(key.clone(), transfer.clone());
        Leave(self, key)
    }

    /// Counts bytes of a blob that come or go.
    pub(crate) fn add(&self, direction: Direction, digest: &str, bytes: u64) {
        let transfer = self.table().get(&(direction, digest.to_owned())).cloned();
        if let Some(transfer) = transfer {
            transfer.add(bytes);
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<(Direction, String), Arc<Transfer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
