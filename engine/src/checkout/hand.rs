//! The engine's side of the worker.

use super::{
    locked, open_folder,
    wire::{self, MOST_BYTES, TOO_LARGE},
};
use crate::error::{Error, Result};
use rbuild_sandbox::{IdMap, Worker};
use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

/// Questions that may wait for their answers: one is worked on while the next is made.
const AHEAD: usize = 3;

/// A worker; it ends with this value.
pub(super) struct Hand {
    worker: Worker,
    /// It did not answer: nobody should ask it again.
    is_lost: AtomicBool,
    /// How many answers are to come.
    ahead: Mutex<usize>,
}

/// An answer, and the descriptors that came along.
type Answer = (Vec<u8>, Vec<OwnedFd>);

impl Hand {
    /// Starts one with these ids.
    ///
    /// # Errors
    /// The machine refuses: `no-tier`.
    pub(super) fn start(ids: &IdMap) -> Result<Self> {
        Ok(Self { worker: Worker::start(ids)?, is_lost: AtomicBool::new(false), ahead: Mutex::default() })
    }

    /// Whether it answers.
    pub(super) fn is_well(&self) -> bool {
        !self.is_lost.load(Ordering::Relaxed)
    }

    /// Asks it for something; gives the answer and the descriptors that came along.
    ///
    /// # Errors
    /// What it could not do, now or of what it was told before, or it is gone.
    pub(super) fn ask(&self, question: &[&[u8]], descriptors: &[BorrowedFd<'_>]) -> Result<Answer> {
        self.settle()?;
        self.say(question, descriptors)?;
        self.hear()
    }

    /// Tells it to do something, whose answer says no more than whether it could; does not wait for that.
    ///
    /// # Errors
    /// What it could not do of what it was told before, or it is gone.
    pub(super) fn tell(&self, question: &[&[u8]], descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        let mut ahead = locked(&self.ahead);
        if *ahead == AHEAD {
            *ahead -= 1;
            self.hear()?;
        }
        self.say(question, descriptors)?;
        *ahead += 1;
        Ok(())
    }

    /// Waits until it has done what it was told.
    ///
    /// # Errors
    /// The first thing that it could not do, or it is gone.
    pub(super) fn settle(&self) -> Result<()> {
        let ahead = std::mem::take(&mut *locked(&self.ahead));
        let mut first = Ok(());
        for _ in 0..ahead {
            let next = self.hear().map(drop);
            first = first.and(next);
        }
        first
    }

    fn say(&self, question: &[&[u8]], descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        let question = wire::join(question);
        if question.len() > MOST_BYTES {
            return Err(refused(TOO_LARGE));
        }
        Ok(self.worker.say(&question, descriptors).inspect_err(|_| self.lose())?)
    }

    fn hear(&self) -> Result<Answer> {
        let (answer, descriptors) = self.worker.hear().inspect_err(|_| self.lose())?;
        match wire::split(&answer).as_deref() {
            Some([b"done", answer]) => Ok((answer.to_vec(), descriptors)),
            Some([b"failed", reason]) => Err(refused(&String::from_utf8_lossy(reason))),
            _ => Err(Error::internal("the worker's answer is malformed")),
        }
    }

    fn lose(&self) {
        self.is_lost.store(true, Ordering::Relaxed);
    }

    /// Removes all that is in a folder.
    ///
    /// # Errors
    /// Something can't be removed.
    pub(super) fn empty(&self, folder: &Path) -> Result<()> {
        self.ask(&[b"empty"], &[open_folder(folder)?.as_fd()]).map(drop)
    }
}

/// A worker that is started while it is found out whether one is needed: it takes as long as that.
pub struct EarlyWorker(JoinHandle<Option<(IdMap, Hand)>>);

impl EarlyWorker {
    /// Begins to start one.
    pub fn start() -> Self {
        Self(thread::spawn(|| {
            let ids = IdMap::detect().ok()?;
            let hand = Hand::start(&ids).ok()?;
            Some((ids, hand))
        }))
    }

    /// The worker, if it has these ids.
    pub(super) fn with(self, wanted: &IdMap) -> Option<Arc<Hand>> {
        let (ids, hand) = self.0.join().ok()??;
        (ids == *wanted).then(|| Arc::new(hand))
    }
}

fn refused(reason: &str) -> Error {
    Error::environment(format!("a folder of a step: can't {reason}"))
}
