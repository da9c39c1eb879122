//! Work of this program with the ids of a sandbox.
//!
//! Files that belong to a sandbox can be made, read and removed only with its ids, by a process in a user namespace of
//! the same map. What such a process does is the program's: it hands a function to
//! [`enter_if_child_with`](crate::enter_if_child_with), which talks with a [`Worker`] over a [`Channel`]. Descriptors
//! go along, so neither side needs to reach what the other one can open.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use crate::control::{FromChild, ToChild, receive_bytes, send_bytes};
use crate::guard::guarded_program;
use crate::process::{Process, control_error};
use crate::{Error, IdMap, Result};

/// The worker's side.
#[derive(Debug)]
pub struct Channel(pub(crate) UnixStream);

impl Channel {
    /// The next question and its descriptors; none when nobody asks any more.
    ///
    /// # Errors
    /// What the socket says.
    pub fn receive(&self) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
        receive_bytes(&self.0)
    }

    /// Answers it: 64 MiB and 253 descriptors at most.
    ///
    /// # Errors
    /// What the socket says, or the answer is too large.
    pub fn send(&self, answer: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        send_bytes(&self.0, answer, descriptors)
    }
}

/// A process that does this program's work with the ids of a sandbox. Dropping it ends it.
#[derive(Debug)]
pub struct Worker(Process);

impl Worker {
    /// Starts one.
    ///
    /// # Errors
    /// The operation that failed, with its cause and, where it is known, the cure.
    pub fn start(ids: &IdMap) -> Result<Self> {
        let guarded = guarded_program(ids)?;
        let process = Process::start(guarded.as_deref())?;
        process.send(&ToChild::Work { single: ids.is_single() })?;
        process.map(ids)?;
        let doing = "took its ids";
        match process.next(doing)?.0 {
            FromChild::Ready { .. } => Ok(Self(process)),
            _ => Err(Error::Lost(doing)),
        }
    }

    /// Asks it something.
    ///
    /// # Errors
    /// It is gone, or the question is too large: 64 MiB and 253 descriptors are allowed.
    pub fn say(&self, question: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        send_bytes(self.0.control(), question, descriptors).map_err(control_error)
    }

    /// Gives the next answer and its descriptors: one a question, in order.
    ///
    /// # Errors
    /// It is gone.
    pub fn hear(&self) -> Result<(Vec<u8>, Vec<OwnedFd>)> {
        let answer = receive_bytes(self.0.control()).map_err(control_error)?;
        answer.ok_or(Error::Lost("worked with its files"))
    }
}
