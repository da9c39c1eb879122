//! Stopping a build: a flag, and the sandboxes to be ended when it is set.

use rbuild_sandbox::Killer;
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// Whether to stop, and why.
#[derive(Default)]
pub struct Cancel {
    stopped: AtomicBool,
    interrupted: AtomicBool,
    next: AtomicU64,
    running: Mutex<BTreeMap<u64, Killer>>,
    actions: Mutex<Vec<Box<dyn Fn() + Send + Sync>>>,
}

impl Cancel {
    /// Does this too when everything is to stop; at once if that was so already.
    pub fn on_stop(&self, action: impl Fn() + Send + Sync + 'static) {
        let mut actions = self.actions.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_stopped() {
            action();
        }
        actions.push(Box::new(action));
    }

    /// The user wants it to stop.
    pub fn interrupt(&self) {
        self.interrupted.store(true, Ordering::SeqCst);
        self.stop();
    }

    /// Ends every sandbox, now and from now on.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.running.lock().unwrap_or_else(PoisonError::into_inner).values().for_each(Killer::kill);
        self.actions.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|action| action());
    }

    /// Whether everything is to stop.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Whether the user said so.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::SeqCst)
    }

    /// Ends this sandbox too when the build stops, until the guard is dropped.
    pub fn watch(&self, killer: Killer) -> Watched<'_> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: either it is in the map when `stop` walks it, or the flag is seen here.
        if self.is_stopped() {
            killer.kill();
        }
        running.insert(number, killer);
        Watched { cancel: self, number }
    }
}

/// A sandbox that ends when the build stops.
pub struct Watched<'a> {
    cancel: &'a Cancel,
    number: u64,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.cancel.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}
