//! What a power cut may have taken.
//!
//! Files are renamed into place without being synced: a sync each would cost more than the step. A crash of the
//! *process* loses nothing; a crash of the *machine* can leave files with the right name and no bytes. So the first
//! write of a build leaves a mark in `unsynced/` with the boot's id and the time, [`Durability::settle`] syncs the
//! filesystem and takes the mark away, and an opener that finds a mark of another boot doubts everything written
//! since: it is checked against its name at first use. The doubt is kept in `doubt` until `fsck` settles it.
//!
//! A mark says when its process opened the store: bytes are written some time before their file is renamed.
//! It is of one process, which holds its lock: what another has written after a sync is not covered by that sync.
//! A mark of this boot whose process is dead goes with the next sync that began after it was found.

use super::{Doing, Result};
use std::{
    fs::{self, File, Metadata},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

pub(super) struct Durability {
    root: PathBuf,
    boot: String,
    /// Seconds since 1970; one early, since file times come from a coarser clock.
    opened: i64,
    /// Of this process, if it has written since the last sync.
    mark: Mutex<Option<Mark>>,
    /// Spares the lock.
    marked: AtomicBool,
    /// Seconds since 1970: what was written from then on is doubted.
    doubted_since: Option<i64>,
    checked: Mutex<std::collections::HashSet<PathBuf>>,
}

struct Mark {
    path: PathBuf,
    /// Locked as long as the process lives.
    _file: File,
}

impl Durability {
    pub(super) fn open(root: &Path) -> Result<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self::open_in(root, boot.trim())
    }

    fn open_in(root: &Path, boot: &str) -> Result<Self> {
        let doubt = root.join("doubt");
        for mark in marks(root) {
            let Ok(text) = fs::read_to_string(&mark) else { continue };
            let (marked, since) = text.split_once(' ').unwrap_or((&text, "0"));
            if marked != boot {
                let since = since.trim().parse().unwrap_or(0).min(read_time(&doubt).unwrap_or(i64::MAX));
                fs::write(&doubt, since.to_string()).doing("write", &doubt)?;
                let _ = fs::remove_file(&mark);
            }
        }
        Ok(Self {
            doubted_since: read_time(&doubt),
            root: root.to_owned(),
            boot: boot.to_owned(),
            opened: jiff::Timestamp::now().as_second() - 1,
            mark: Mutex::default(),
            marked: AtomicBool::new(false),
            checked: Mutex::default(),
        })
    }

    /// To be called before a file is renamed into the store.
    pub(super) fn note_write(&self) {
        if self.marked.load(Ordering::Acquire) {
            return;
        }
        let mut mark = self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        if mark.is_none() {
            // Without the mark a power cut would go unnoticed; the digest of a tree and of a layer still would not.
            *mark = self.leave_mark().ok();
            self.marked.store(true, Ordering::Release);
        }
    }

    fn leave_mark(&self) -> io::Result<Mark> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let name = format!("{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let path = self.root.join("unsynced").join(name);
        let mut file = File::create(&path)?;
        file.lock()?;
        write!(file, "{} {}", self.boot, self.opened)?;
        Ok(Mark { path, _file: file })
    }

    pub(super) fn settle(&self) -> Result<()> {
        if !self.marked.load(Ordering::Acquire) {
            return Ok(());
        }
        // What is written from here on has a mark of its own: this sync may not cover it.
        let own = self.mark.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.marked.store(false, Ordering::Release);
        let dead: Vec<PathBuf> = marks(&self.root).filter(|mark| is_dead(mark)).collect();
        let folder = File::open(&self.root).doing("open", &self.root)?;
        rustix::fs::syncfs(&folder).map_err(io::Error::from).doing("sync", &self.root)?;
        for path in own.iter().map(|mark| &mark.path).chain(&dead) {
            let _ = fs::remove_file(path);
        }
        Ok(())
    }

    /// Whether the bytes must be checked before they are believed.
    pub(super) fn doubts(&self, metadata: &Metadata, path: &Path) -> bool {
        self.doubted_since.is_some_and(|since| metadata.ctime() >= since)
            && !self.checked.lock().unwrap_or_else(PoisonError::into_inner).contains(path)
    }

    pub(super) fn trust(&self, path: &Path) {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
    }
}

fn read_time(path: &Path) -> Option<i64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn marks(root: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(root.join("unsynced")).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn is_dead(mark: &Path) -> bool {
    File::open(mark).is_ok_and(|file| file.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn root() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("unsynced")).unwrap();
        root
    }

    #[test]
    fn a_sync_of_one_process_leaves_the_mark_of_another() {
        let root = root();
        let (one, other) = (Durability::open_in(root.path(), "a"), Durability::open_in(root.path(), "a"));
        let (one, other) = (one.unwrap(), other.unwrap());
        one.note_write();
        other.note_write();
        one.settle().unwrap();
        assert_eq!(marks(root.path()).count(), 1);
        other.settle().unwrap();
        assert_eq!(marks(root.path()).count(), 0);
    }

    #[test]
    fn marks_of_the_dead_go_with_the_next_sync() {
        let root = root();
        drop({
            let dead = Durability::open_in(root.path(), "a").unwrap();
            dead.note_write();
            dead
        });
        let next = Durability::open_in(root.path(), "a").unwrap();
        assert_eq!((marks(root.path()).count(), next.doubted_since), (1, None));
        next.note_write();
        next.settle().unwrap();
        assert_eq!(marks(root.path()).count(), 0);
    }

    #[test]
    fn a_mark_of_another_boot_is_doubt_that_stays() {
        let root = root();
        let before = jiff::Timestamp::now().as_second() - 2;
        let cut = Durability::open_in(root.path(), "a").unwrap();
        cut.note_write();
        drop(cut);
        let file = root.path().join("object");
        fs::write(&file, "").unwrap();
        for _ in 0..2 {
            let next = Durability::open_in(root.path(), "b").unwrap();
            assert!(next.doubted_since.unwrap() >= before);
            assert!(next.doubts(&fs::metadata(&file).unwrap(), &file));
            next.trust(&file);
            assert!(!next.doubts(&fs::metadata(&file).unwrap(), &file));
        }
        assert_eq!(marks(root.path()).count(), 0);
    }
}
