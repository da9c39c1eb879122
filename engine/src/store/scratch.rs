//! Scratch folders: one a process, locked while it lives, removed by the next start after it died.

use super::{Doing, Result, remove_all};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// This process's folder under `tmp/`; gone when dropped, or at the next start if the process is killed.
pub struct Scratch {
    folder: PathBuf,
    /// Holds the lock that tells others this folder is in use.
    lock: File,
    counter: AtomicU64,
}

impl Scratch {
    /// Removes folders of dead processes under `parent` and makes one for this process.
    ///
    /// # Errors
    /// If none can be made.
    pub fn open(parent: &Path) -> Result<Self> {
        remove_dead(parent);
        for attempt in 0.. {
            let folder = parent.join(format!("{}-{attempt}", std::process::id()));
            match fs::create_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made.doing("make", &folder)?,
            }
            // Before it is locked, a starting process may take it for dead.
            let lock = match File::open(&folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened.doing("open", &folder)?,
            };
            lock.lock().doing("lock", &folder)?;
            if folder.is_dir() {
                return Ok(Self { folder, lock, counter: AtomicU64::new(0) });
            }
        }
        unreachable!("the loop ends by returning")
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Folders of dead processes that could not be removed: what is in them belongs to ids of a sandbox.
    pub fn dead(&self) -> Vec<PathBuf> {
        self.folder.parent().map(dead).unwrap_or_default()
    }

    /// A path in the folder that nobody has used.
    pub fn fresh(&self) -> PathBuf {
        self.folder.join(self.counter.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// A new empty folder in it.
    ///
    /// # Errors
    /// If it can't be made.
    pub fn fresh_folder(&self) -> Result<PathBuf> {
        let path = self.fresh();
        fs::create_dir(&path).doing("make", &path)?;
        Ok(path)
    }

    /// Writes a fresh file.
    ///
    /// # Errors
    /// If it can't be written; ENOSPC above all.
    pub fn write(&self, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.fresh();
        fs::write(&path, bytes).doing("write", &path)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What can't be removed now is removed by the next start.
        let _ = remove_all(&self.folder);
        let _ = self.lock.unlock();
    }
}

fn remove_dead(parent: &Path) {
    for folder in dead(parent) {
        let _ = remove_all(&folder);
    }
}

fn dead(parent: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let is_dead = |path: &PathBuf| File::open(path).is_ok_and(|folder| folder.try_lock().is_ok());
    entries.map(|entry| entry.path()).filter(is_dead).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_dead_folder_goes_and_a_live_one_stays() {
        let parent = tempfile::tempdir().unwrap();
        fs::create_dir(parent.path().join("1-0")).unwrap();
        fs::write(parent.path().join("1-0/left"), "over").unwrap();
        let live = Scratch::open(parent.path()).unwrap();
        assert!(!parent.path().join("1-0").exists(), "nobody holds its lock");
        let other = Scratch::open(parent.path()).unwrap();
        assert!(live.folder.is_dir(), "its lock is held");
        assert_ne!(live.folder, other.folder);
    }

    #[test]
    fn processes_that_start_together_take_nothing_from_each_other() {
        let parent = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..50).for_each(|_| drop(Scratch::open(parent.path()).unwrap())));
            }
        });
    }
}
