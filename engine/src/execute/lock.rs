//! Locks between processes: files that are locked while something is done, and whose content means nothing.

use super::Cancel;
use crate::error::{Error, Result};
use std::{
    fs::{self, File, TryLockError},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// How often a lock that another process holds is tried again; the kernel's own waiting could not be interrupted.
const PAUSE: Duration = Duration::from_millis(20);

/// A lock that is held until it is dropped.
pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Waits for the lock.
    ///
    /// # Errors
    /// The build is stopped, or the file can't be made.
    pub(super) fn wait(path: &Path, cancel: &Cancel) -> Result<Self> {
        loop {
            if let Some(lock) = Self::attempt(path)? {
                return Ok(lock);
            }
            if cancel.is_stopped() {
                return Err(Error::interrupted());
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// The lock, if nobody holds it.
    ///
    /// # Errors
    /// The file can't be made.
    pub(super) fn attempt(path: &Path) -> Result<Option<Self>> {
        let mut options = File::options();
        let file = options.create(true).truncate(false).write(true).open(path);
        let file = file.map_err(|error| Error::io("open the lock", path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", path, error)),
        }
        // Whoever held it removes the file: a lock on a removed one keeps nobody out.
        let same = |named: fs::Metadata| file.metadata().is_ok_and(|own| own.ino() == named.ino());
        Ok(fs::metadata(path).is_ok_and(same).then(|| Self { file, path: path.to_owned() }))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        let _ = self.file.unlock();
    }
}
