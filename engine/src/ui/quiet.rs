//! Says nothing but what failed.

use super::{progress::Options, shell::Shell, summary::Summary};
use rbuild::report::{Event, Reporter};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The reporter of `--progress quiet`.
pub struct Quiet {
    shell: Shell,
    summary: Mutex<Summary>,
}

impl Quiet {
    /// For one build.
    pub fn new(shell: Shell, options: Options) -> Self {
        Self { shell, summary: Mutex::new(Summary::new(shell, options)) }
    }

    /// Tells what failed; gives whether that has told this error.
    pub fn has_told(&self, message: &str) -> bool {
        let mut summary = self.lock();
        self.shell.tell(summary.failures().trim_start_matches('\n'));
        summary.has_failure(message)
    }

    fn lock(&self) -> MutexGuard<'_, Summary> {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reporter for Quiet {
    fn report(&self, event: &Event) {
        self.lock().keep(event);
    }
}
