//! Ctrl-C, SIGTERM and SIGHUP, while something goes on that should end in its own way.

use crate::error::{Error, Result};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::{Handle, Signals},
};
use std::thread;

/// Watches until it is dropped.
pub(crate) struct Interrupts {
    handle: Handle,
    thread: Option<thread::JoinHandle<()>>,
}

impl Interrupts {
    /// Calls `stop` at each signal; where it says that it was told before, the process ends as if nobody watched.
    ///
    /// # Errors
    /// Signals can't be watched.
    pub(crate) fn watch(stop: impl Fn() -> Stopping + Send + 'static) -> Result<Self> {
        let failed = |error: std::io::Error| Error::environment("signals can't be watched").caused_by(error);
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(failed)?;
        let handle = signals.handle();
        let work = move || {
            for signal in signals.forever() {
                if stop() == Stopping::Already {
                    let _ = signal_hook::low_level::emulate_default_handler(signal);
                }
            }
        };
        let thread = thread::Builder::new().name("signals".to_owned()).spawn(work).map_err(failed)?;
        Ok(Self { handle, thread: Some(thread) })
    }
}

/// Whether this signal is the first.
#[derive(PartialEq, Eq)]
pub(crate) enum Stopping {
    /// It is.
    Now,
    /// There was one before.
    Already,
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
