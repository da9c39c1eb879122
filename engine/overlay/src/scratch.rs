//! Where written bytes are while a step runs: small files in memory, within a budget, the others in scratch files.

use crate::{Error, cache::Cache};
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

/// The folder of scratch files, named by number.
pub(crate) struct ScratchFolder {
    path: PathBuf,
    next: AtomicU64,
    open: Cache<u64, File>,
}

impl ScratchFolder {
    /// An existing folder that belongs to one overlay.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let metadata = std::fs::metadata(path).map_err(Error::io("open the scratch folder", path))?;
        if !metadata.is_dir() {
            let source = io::ErrorKind::NotADirectory.into();
            return Err(Error::io("open the scratch folder", path)(source));
        }
        Ok(Self { path: path.into(), next: AtomicU64::new(0), open: Cache::new(crate::cache::descriptors()) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A new empty file.
    pub fn create(self: &Arc<Self>) -> io::Result<ScratchFile> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let file = ScratchFile { folder: Arc::clone(self), number };
        // create_new: two overlays over one folder would be a bug, and must not share bytes.
        let create = || File::options().read(true).write(true).create_new(true).open(file.path());
        self.open.get(&number, create)?;
        Ok(file)
    }
}

/// One scratch file, removed when nothing refers to it any more.
pub(crate) struct ScratchFile {
    folder: Arc<ScratchFolder>,
    number: u64,
}

impl ScratchFile {
    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.folder.path.join(format!("{:x}", self.number))
    }

    /// It, open for reading and writing.
    pub fn open(&self) -> io::Result<Arc<File>> {
        self.folder.open.get(&self.number, || File::options().read(true).write(true).open(self.path()))
    }

    /// Closes it unless somebody reads it at this moment.
    pub fn close(&self) {
        self.folder.open.remove(&self.number);
    }
}

impl Drop for ScratchFile {
    fn drop(&mut self) {
        self.close();
        // It may have moved into the store; and the whole folder is removed after the step.
        let _ = std::fs::remove_file(self.path());
    }
}

/// How many bytes all of one kind, inline files or attributes, may take together.
pub(crate) struct Budget {
    used: AtomicUsize,
    limit: usize,
}

impl Budget {
    /// An unused one.
    pub fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit }
    }

    fn take(&self, bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    fn give(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A part of a budget, given back when it is dropped.
pub(crate) struct Reserved {
    bytes: usize,
    budget: Arc<Budget>,
}

impl Reserved {
    /// Nothing yet.
    pub fn new(budget: &Arc<Budget>) -> Self {
        Self { bytes: 0, budget: Arc::clone(budget) }
    }

    /// Makes it so many bytes; false, and nothing is done, if the budget does not allow it.
    pub fn resize(&mut self, bytes: usize) -> bool {
        if bytes > self.bytes && !self.budget.take(bytes - self.bytes) {
            return false;
        }
        self.budget.give(self.bytes.saturating_sub(bytes));
        self.bytes = bytes;
        true
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
}

/// Steps in which the memory of a file grows.
const SMALL: usize = 4096;

/// The bytes of a small file.
pub(crate) struct Inline {
    bytes: Vec<u8>,
    reserved: Reserved,
}

impl Inline {
    /// No bytes yet.
    pub fn new(budget: &Arc<Budget>) -> Self {
        Self { bytes: Vec::new(), reserved: Reserved::new(budget) }
    }

    /// All of them.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// To change them in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Cuts them off or adds zeroes; false, and nothing is done, if the budget does not allow it.
    pub fn resize(&mut self, length: usize) -> bool {
        let fits = self.reserved.resize(length);
        if fits {
            // Not twice as much as needed, as a vector would by itself.
            let room = if length > SMALL { length.next_multiple_of(SMALL) } else { length };
            self.bytes.reserve_exact(room.saturating_sub(self.bytes.len()));
            self.bytes.resize(length, 0);
            self.bytes.shrink_to(room);
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn inline_bytes_are_counted_and_given_back() {
        let budget = Arc::new(Budget::new(100));
        let (mut a, mut b) = (Inline::new(&budget), Inline::new(&budget));
        assert!(a.resize(60) && !b.resize(41) && b.resize(40));
        assert!(a.resize(10) && b.resize(90) && !b.resize(91));
        assert!(a.resize(0) && a.bytes.capacity() == 0, "what is given back is not kept");
        drop(a);
        assert!(b.resize(100));
        assert_eq!(b.bytes().len(), 100);
    }

    #[test]
    fn a_scratch_file_vanishes_with_its_last_user() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Arc::new(ScratchFolder::open(folder.path()).unwrap());
        let file = scratch.create().unwrap();
        file.open().unwrap().write_all_at(b"bytes", 3).unwrap();
        file.close();
        assert_eq!(std::fs::read(file.path()).unwrap(), b"\0\0\0bytes");
        drop(file);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(ScratchFolder::open(&folder.path().join("missing")).is_err());
    }
}
