//! What names of the outside mean, by the lock file: looked up once, written down, the same from then on.

use crate::{
    error::{Error, Result},
    spec::lock::Lock,
};
use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What becomes of something that is looked up for the first time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    /// It goes into the lock file.
    Write,
    /// It is forgotten: the command only looks.
    Forget,
    /// It is an error (`--locked`).
    Refuse,
}

/// The lookups of one build file.
pub struct Lookups {
    path: PathBuf,
    policy: Policy,
    /// For the file, if there is none yet.
    epoch: i64,
    /// Read when something is looked up.
    lock: Mutex<Option<Lock>>,
}

impl Lookups {
    /// Those of the lock file at `path`; `epoch` is for the file, if there is none yet.
    pub fn new(path: PathBuf, policy: Policy, epoch: i64) -> Self {
        Self { path, policy, epoch, lock: Mutex::default() }
    }

    /// What `input` meant to `op` when it was looked up: the value of `key` in its entry.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn get(&self, op: &str, input: &str, key: &str) -> Result<Option<String>> {
        let mut lock = self.lock();
        let lock = match &mut *lock {
            Some(lock) => lock,
            unread => unread.insert(self.read()?),
        };
        Ok(lock.value(op, input, key).map(str::to_owned))
    }

    /// Fails where [`Self::add`] would; before anybody is asked.
    ///
    /// # Errors
    /// `not-locked`.
    pub fn check_may_add(&self, op: &str, input: &str) -> Result<()> {
        if self.policy != Policy::Refuse {
            return Ok(());
        }
        let message = format!("--locked: {} says nothing of {op} {input}", self.path.display());
        Err(Error::source("not-locked", message).hint("run without --locked once, and commit the file"))
    }

    /// Notes what `input` means, and writes the file if that is the policy. Of two builds that look up the same at
    /// once, the second to write takes over what the first wrote: the value that holds is returned.
    ///
    /// # Errors
    /// `not-locked`; the file can't be read or written.
    pub fn add(&self, op: &str, input: &str, key: &str, value: &str) -> Result<String> {
        self.check_may_add(op, input)?;
        let mut known = self.lock();
        let mut lock = match known.take() {
            // Another build may have written since.
            Some(lock) if self.policy == Policy::Forget => lock,
            _ => self.read()?,
        };
        let held = lock.value(op, input, key).unwrap_or(value).to_owned();
        if held == value {
            lock.set(op, input, key, value);
            if self.policy == Policy::Write {
                lock.store(&self.path)?;
            }
        }
        *known = Some(lock);
        Ok(held)
    }

    fn read(&self) -> Result<Lock> {
        Ok(Lock::load(&self.path)?.unwrap_or_else(|| Lock::new(self.epoch)))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Lock>> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
