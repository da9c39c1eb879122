//! [`Plain`] on the standard error, with a thread that speaks when steps run long.
//!
//! The lock is held while a line is written: lines never mix, and stand in the order of their events.

use super::{plain::Plain, shell::Shell};
use rbuild::report::{Event, Reporter};
use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// The running reporter; dropping it ends its thread.
pub struct Live {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    shell: Shell,
    began: Instant,
    state: Mutex<State>,
    /// The time of the next sign, or `over`, may have changed.
    changed: Condvar,
}

struct State {
    plain: Plain,
    over: bool,
}

impl Live {
    /// Starts it. Without a thread (the machine has no more) there are no signs of life, and nothing else is missing.
    pub fn new(shell: Shell, plain: Plain) -> Self {
        let state = Mutex::new(State { plain, over: false });
        let shared = Arc::new(Shared { shell, began: Instant::now(), state, changed: Condvar::new() });
        let watched = shared.clone();
        let thread = std::thread::Builder::new().name("progress".into()).spawn(move || watched.watch()).ok();
        Self { shared, thread }
    }

    /// Whether the build has told this error; what failed and was not told whole yet is told now.
    pub fn has_told(&self, message: &str) -> bool {
        let mut state = self.shared.lock();
        self.shared.shell.tell(&state.plain.untold_failures());
        state.plain.has_failure(message)
    }
}

impl Reporter for Live {
    fn report(&self, event: &Event) {
        let mut state = self.shared.lock();
        let lines = state.plain.event(self.shared.began.elapsed(), event);
        if !lines.is_empty() {
            self.shared.shell.tell(&lines);
        }
        // The others never make a sign due earlier; waking the thread for each line would cost more than the line.
        if matches!(event, Event::Started { .. }) {
            self.shared.changed.notify_one();
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) {
        let mut state = self.lock();
        while !state.over {
            let now = self.began.elapsed();
            let lines = state.plain.signs(now);
            if !lines.is_empty() {
                self.shell.tell(&lines);
            }
            // Without a step there is nothing to wait for but a change; a very long wait is as good.
            let next = state.plain.next_sign().map_or(Duration::MAX, |next| next.saturating_sub(now));
            let wait = next.min(Duration::from_secs(3600));
            state = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
