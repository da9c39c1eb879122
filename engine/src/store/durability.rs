//! What a power cut may have taken.
//!
//! Files are renamed into place without being synced: a sync each would cost more than the step. A crash of the
//! *process* loses nothing; a crash of the *machine* can leave files with the right name and no bytes. So the first
//! write of a build leaves the mark `unsynced` with the boot's id and the time, [`Durability::settle`] syncs the
//! filesystem and takes the mark away, and an opener that finds a mark of another boot doubts everything written
//! since: it is checked against its name at first use. The doubt is kept in `doubt` until `fsck` settles it.

use super::{Doing, Result};
use std::{
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

pub(super) struct Durability {
    root: PathBuf,
    boot: String,
    written: AtomicBool,
    /// Seconds since 1970: what was written from then on is doubted.
    doubted_since: Option<i64>,
    checked: Mutex<std::collections::HashSet<PathBuf>>,
}

impl Durability {
    pub(super) fn open(root: &Path) -> Result<Self> {
        let boot =
            fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
        let (mark, doubt) = (root.join("unsynced"), root.join("doubt"));
        if let Ok(text) = fs::read_to_string(&mark) {
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
            boot,
            written: AtomicBool::new(false),
            checked: Mutex::default(),
        })
    }

    /// To be called before a file is renamed into the store.
    pub(super) fn note_write(&self) {
        if self.written.swap(true, Ordering::Relaxed) {
            return;
        }
        let mark = self.root.join("unsynced");
        if !mark.exists() {
            // A second early: file times come from a coarser clock than this one.
            let now = jiff::Timestamp::now().as_second() - 1;
            // Without the mark a power cut would go unnoticed; the digest of a tree and of a layer still would not.
            let _ = fs::write(mark, format!("{} {now}", self.boot));
        }
    }

    pub(super) fn settle(&self) -> Result<()> {
        if !self.written.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let folder = File::open(&self.root).doing("open", &self.root)?;
        rustix::fs::syncfs(&folder).map_err(io::Error::from).doing("sync", &self.root)?;
        let _ = fs::remove_file(self.root.join("unsynced"));
        Ok(())
    }

    /// Whether the bytes must be checked before they are believed.
    pub(super) fn doubts(&self, metadata: &Metadata, path: &Path) -> bool {
        self.doubted_since.is_some_and(|since| metadata.mtime() >= since)
            && !self.checked.lock().unwrap_or_else(PoisonError::into_inner).contains(path)
    }

    pub(super) fn trust(&self, path: &Path) {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
    }
}

fn read_time(path: &Path) -> Option<i64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
