//! The same for each of several things by a few threads: work that waits for others more than it computes.

use crate::error::{Error, Result};
use std::{
    collections::HashMap,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// The failure that came first, of several threads that work on one thing: the others are but its consequences.
#[derive(Default)]
pub(crate) struct FirstFailure(Mutex<Option<Error>>);

impl FirstFailure {
    /// Takes a result apart; a failure is kept if it is the first.
    pub(crate) fn note<T>(&self, result: Result<T>) -> Option<T> {
        let error = match result {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        None
    }

    /// Ends in the failure, if there was one.
    ///
    /// # Errors
    /// The first failure.
    pub(crate) fn end(self) -> Result<()> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }
}

/// Works on every item, in their order, on at most so many at once. After a failure no further one is begun.
///
/// # Errors
/// The first failure.
pub(crate) fn each<T: Sync>(
    items: &[T],
    at_once: usize,
    work: impl Fn(usize, &T) -> Result<()> + Sync,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let failure = FirstFailure::default();
    let worker = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return };
            if failure.note(work(index, item)).is_none() {
                next.store(items.len(), Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..at_once.min(items.len()) {
            scope.spawn(worker);
        }
    });
    failure.end()
}

/// Lets work of one key run one after the other, and of different keys at once.
#[derive(Default)]
pub(crate) struct Turns(Mutex<HashMap<String, Arc<Mutex<()>>>>);

impl Turns {
    /// Works when it is its turn.
    pub(crate) fn take<T>(&self, key: &str, work: impl FnOnce() -> T) -> T {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = keys.entry(key.to_owned()).or_default().clone();
        drop(keys);
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        work()
    }
}

/// A value that one thread makes and others wait for.
pub(crate) struct Promise<T> {
    state: Mutex<State<T>>,
    settled: Condvar,
}

enum State<T> {
    Open,
    Kept(T),
    Broken,
}

impl<T: Clone> Promise<T> {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::new(State::Open), settled: Condvar::new() }
    }

    /// Makes the value; those who wait get it, or learn that there is none.
    ///
    /// # Errors
    /// Those of `make`.
    pub(crate) fn keep(&self, make: impl FnOnce() -> Result<T>) -> Result<()> {
        // Also if `make` panics.
        struct Settle<'a, T: Clone>(&'a Promise<T>);
        impl<T: Clone> Drop for Settle<'_, T> {
            fn drop(&mut self) {
                self.0.settle(State::Broken);
            }
        }
        let _settle = Settle(self);
        self.settle(State::Kept(make()?));
        Ok(())
    }

    fn settle(&self, with: State<T>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Open) {
            *state = with;
            self.settled.notify_all();
        }
    }

    /// Waits for the value; none if there will be none.
    pub(crate) fn wait(&self) -> Option<T> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_open = |state: &mut State<T>| matches!(state, State::Open);
        match &*self.settled.wait_while(state, is_open).unwrap_or_else(PoisonError::into_inner) {
            State::Kept(value) => Some(value.clone()),
            State::Open | State::Broken => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_done_and_the_first_failure_ends_it() {
        let done = Mutex::new(Vec::new());
        let note = |index: usize, item: &i32| {
            done.lock().unwrap_or_else(PoisonError::into_inner).push((index, *item));
            if *item < 0 { Err(Error::usage("below zero")) } else { Ok(()) }
        };
        assert!(each(&[5, 6, 7], 2, note).is_ok());
        let mut all = std::mem::take(&mut *done.lock().unwrap_or_else(PoisonError::into_inner));
        all.sort_unstable();
        assert_eq!(all, [(0, 5), (1, 6), (2, 7)]);
        let failed = each(&[1, -1, 2, 3], 1, note);
        assert_eq!(failed.map_err(|error| error.message().to_owned()), Err("below zero".to_owned()));
        assert_eq!(done.into_inner().unwrap_or_else(PoisonError::into_inner), [(0, 1), (1, -1)]);
    }

    #[test]
    fn who_waits_for_a_value_gets_it_or_learns_that_there_is_none() {
        let (kept, broken) = (Promise::new(), Promise::<i32>::new());
        thread::scope(|scope| {
            let waiting = scope.spawn(|| (kept.wait(), broken.wait()));
            assert!(kept.keep(|| Ok(1)).is_ok());
            assert!(broken.keep(|| Err(Error::usage("no"))).is_err());
            assert_eq!(waiting.join().ok(), Some((Some(1), None)));
        });
        assert_eq!(kept.wait(), Some(1));
    }
}
