//! What a power cut may have taken.
//!
//! Files are renamed into place without being synced: a sync each would cost more than the step. A crash of the
//! *process* loses nothing; a crash of the *machine* can leave files with the right name and no bytes. So the first
//! write of a build leaves a mark in `writers/` with the boot's id and the time, [`Durability::settle`] syncs the
//! filesystem and takes the mark away, and an opener that finds a mark of another boot doubts everything written
//! since: it is checked against its name at first use, once (objects.rs). The doubt is kept in `doubt`.
//!
//! A mark says when its process opened the store: bytes are written some time before their file is renamed.
//! It is of one process, which holds its lock: what another has written after a sync is not covered by that sync.
//! A mark of this boot whose process is dead goes with the next sync that began after it was found.

use super::{Doing, Result};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

pub(super) struct Durability {
    root: PathBuf,
    /// This process's: what a kill leaves there goes with it.
    scratch: PathBuf,
    boot: String,
    /// Seconds since 1970; one early, since file times come from a coarser clock.
    opened: i64,
    /// Of this process, if it has written since the last sync.
    mark: Mutex<Option<Mark>>,
    /// Spares the lock.
    marked: AtomicBool,
    /// Seconds since 1970: what was written from then on is doubted.
    doubted_since: Option<i64>,
}

struct Mark {
    path: PathBuf,
    /// Locked as long as the process lives.
    _file: File,
}

impl Durability {
    pub(super) fn open(root: &Path, scratch: &Path) -> Result<Self> {
        Self::open_in(root, scratch, &boot())
    }

    fn open_in(root: &Path, scratch: &Path, boot: &str) -> Result<Self> {
        let doubt = root.join("doubt");
        for (mark, since) in marks_of_others(root, boot) {
            let since = since.min(read_time(&doubt).unwrap_or(i64::MAX));
            fs::write(&doubt, since.to_string()).doing("write", &doubt)?;
            let _ = fs::remove_file(&mark);
        }
        Ok(Self {
            doubted_since: read_time(&doubt),
            root: root.to_owned(),
            scratch: scratch.to_owned(),
            boot: boot.to_owned(),
            opened: jiff::Timestamp::now().as_second() - 1,
            mark: Mutex::default(),
            marked: AtomicBool::new(false),
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

    /// Named when it is written and locked: nobody takes it for that of a dead process, or for damaged.
    fn leave_mark(&self) -> io::Result<Mark> {
        let mut file = tempfile::Builder::new().prefix("").tempfile_in(&self.scratch)?;
        file.as_file().lock()?;
        write!(file, "{} {}", self.boot, self.opened)?;
        let path = self.root.join("writers").join(file.path().file_name().unwrap_or_default());
        let file = file.persist_noclobber(&path)?;
        Ok(Mark { path, _file: file })
    }

    pub(super) fn settle(&self) -> Result<()> {
        if !self.marked.load(Ordering::Acquire) {
            return Ok(());
        }
        // What is written from here on has a mark of its own: this sync may not cover it.
        let own = {
            let mut mark = self.mark.lock().unwrap_or_else(PoisonError::into_inner);
            self.marked.store(false, Ordering::Release);
            mark.take()
        };
        let dead: Vec<PathBuf> = marks(&self.root).filter(|mark| is_dead(mark)).collect();
        let folder = File::open(&self.root).doing("open", &self.root)?;
        rustix::fs::syncfs(&folder).map_err(io::Error::from).doing("sync", &self.root)?;
        for path in own.iter().map(|mark| &mark.path).chain(&dead) {
            let _ = fs::remove_file(path);
        }
        Ok(())
    }

    /// Whether a power cut may have taken bytes of a file; `changed` is its ctime, in seconds since 1970.
    pub(super) fn doubts(&self, changed: i64) -> bool {
        is_since(self.doubted_since, changed)
    }
}

/// From when on a power cut may have taken what was written to a store, in seconds since 1970; only looks.
pub(super) fn doubted_since(root: &Path) -> Option<i64> {
    let boot = boot();
    let marked = marks_of_others(root, &boot).map(|(_, since)| since);
    marked.chain(read_time(&root.join("doubt"))).min()
}

/// Whether a file was written since, or had its name given then; `changed` is its ctime, in seconds since 1970.
pub(super) fn is_since(since: Option<i64>, changed: i64) -> bool {
    since.is_some_and(|since| changed >= since)
}

fn boot() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    boot.trim().to_owned()
}

/// Marks of other boots, with their times.
fn marks_of_others(root: &Path, boot: &str) -> impl Iterator<Item = (PathBuf, i64)> {
    marks(root).filter_map(move |mark| {
        let text = fs::read_to_string(&mark).ok()?;
        let (marked, since) = text.split_once(' ').unwrap_or((&text, "0"));
        (marked != boot).then(|| (mark, since.trim().parse().unwrap_or(0)))
    })
}

fn read_time(path: &Path) -> Option<i64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn marks(root: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(root.join("writers")).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn is_dead(mark: &Path) -> bool {
    File::open(mark).is_ok_and(|file| file.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn open(root: &Path, boot: &str) -> Durability {
        Durability::open_in(root, &root.join("tmp"), boot).unwrap()
    }

    fn root() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("writers")).unwrap();
        fs::create_dir(root.path().join("tmp")).unwrap();
        root
    }

    #[test]
    fn a_sync_of_one_process_leaves_the_mark_of_another() {
        let root = root();
        let (one, other) = (open(root.path(), "a"), open(root.path(), "a"));
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
            let dead = open(root.path(), "a");
            dead.note_write();
            dead
        });
        let next = open(root.path(), "a");
        assert_eq!((marks(root.path()).count(), next.doubted_since), (1, None));
        next.note_write();
        next.settle().unwrap();
        assert_eq!(marks(root.path()).count(), 0);
    }

    #[test]
    fn a_mark_of_another_boot_is_doubt_that_stays() {
        let root = root();
        let before = jiff::Timestamp::now().as_second() - 2;
        let cut = open(root.path(), "a");
        cut.note_write();
        drop(cut);
        let file = root.path().join("object");
        fs::write(&file, "").unwrap();
        for _ in 0..2 {
            let next = open(root.path(), "b");
            assert!(next.doubted_since.unwrap() >= before);
            assert!(next.doubts(fs::metadata(&file).unwrap().ctime()));
        }
        assert_eq!(marks(root.path()).count(), 0);
    }
}
