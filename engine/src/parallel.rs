//! The same for each of several things by a few threads: work that waits for others more than it computes.

use crate::error::{Error, Result};
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

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
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let worker = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return };
            if let Err(error) = work(index, item) {
                next.store(items.len(), Ordering::Relaxed);
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..at_once.min(items.len()) {
            scope.spawn(worker);
        }
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
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
}
