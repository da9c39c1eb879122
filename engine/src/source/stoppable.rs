//! Reading that ends when the build does: a base image of gigabytes must not keep Ctrl-C waiting.

use super::Surroundings;
use crate::error::{Error, Result};
use std::io::{self, Read};

/// A reader that fails once the build is to stop.
pub(super) struct Stoppable<'a, R> {
    inner: R,
    stopped: &'a (dyn Fn() -> bool + Sync),
}

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if (self.stopped)() {
            return Err(io::Error::other("interrupted"));
        }
        self.inner.read(buffer)
    }
}

impl<'a> Surroundings<'a> {
    /// The same bytes, until the build is to stop.
    pub(super) fn stoppable<R: Read>(&self, inner: R) -> Stoppable<'a, R> {
        Stoppable { inner, stopped: self.stopped }
    }

    /// Whether the build is to stop.
    pub(super) fn is_stopped(&self) -> bool {
        (self.stopped)()
    }

    /// Fails if it is.
    pub(super) fn check_stopped(&self) -> Result<()> {
        if self.is_stopped() { Err(Error::interrupted()) } else { Ok(()) }
    }
}
