//! Blobs: compressed layers, configurations and manifests, named by their sha256.

use super::{Doing, FileStamp, Index, Result, Store, file_sha256};
use std::{
    fs,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Manifests, indexes and configurations have less: a digest may be that of a layer.
const LARGEST_DOCUMENT: u64 = 32 << 20;

impl Store {
    /// Where the blob of this sha256 (64 hex digits) is, or would be. It may be in a store that is only read.
    pub fn blob_path(&self, sha256: &str) -> PathBuf {
        let own = blob_in(&self.root, sha256);
        if self.extras.is_empty() || own.exists() {
            return own;
        }
        self.extras.blob(sha256, &self.index).unwrap_or(own)
    }

    /// Where the blob is in this store itself, which gets a copy of one that is only in another: for who makes a hard
    /// link to it.
    ///
    /// # Errors
    /// If it can't be copied.
    pub fn own_blob(&self, sha256: &str) -> Result<PathBuf> {
        let (found, own) = (self.blob_path(sha256), blob_in(&self.root, sha256));
        if found == own || !found.exists() {
            return Ok(own);
        }
        let fresh = self.scratch.fresh();
        fs::copy(&found, &fresh).doing("copy", &found)?;
        self.put_blob(sha256, &fresh)
    }

    /// Moves a finished file into the blobs under its sha256. Layouts hold hard links to it: it is made read-only, so
    /// that nobody writes into it by mistake.
    ///
    /// # Errors
    /// If it can't be renamed.
    pub fn put_blob(&self, sha256: &str, file: &Path) -> Result<PathBuf> {
        let path = blob_in(&self.root, sha256);
        fs::set_permissions(file, fs::Permissions::from_mode(0o444)).doing("change the mode of", file)?;
        self.durability.note_write();
        fs::rename(file, &path).doing("move a blob to", &path)?;
        Ok(path)
    }

    /// Keeps a document among the blobs.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn put_document(&self, sha256: &str, bytes: &[u8]) -> Result<()> {
        if !self.has_blob(sha256) {
            self.put_blob(sha256, &self.scratch.write(bytes)?)?;
        }
        Ok(())
    }

    /// A document of the blobs, as it is there: whoever takes it compares it with its digest.
    ///
    /// # Errors
    /// As from reading a file; it is larger than documents are.
    pub fn document(&self, sha256: &str) -> io::Result<Vec<u8>> {
        let file = fs::File::open(self.blob_path(sha256))?;
        if file.metadata()?.len() > LARGEST_DOCUMENT {
            return Err(io::Error::other("it is no document: it has more than 32 MiB"));
        }
        let mut bytes = Vec::new();
        file.take(LARGEST_DOCUMENT).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Whether the blob of this sha256 is there and its bytes are what its name says; a damaged one is removed. Looked
    /// into once for each state of the file.
    pub fn has_blob(&self, sha256: &str) -> bool {
        let path = blob_in(&self.root, sha256);
        if path.exists() {
            if is_whole(&path, sha256, &self.index) {
                return true;
            }
            let removed = fs::remove_file(&path);
            tracing::warn!(?path, ?removed, "damaged blob in the store");
        }
        self.extras.blob(sha256, &self.index).is_some()
    }
}

pub(super) fn blob_in(root: &Path, sha256: &str) -> PathBuf {
    root.join("blobs/sha256").join(sha256)
}

/// Whether a file has the bytes of this sha256.
pub(super) fn is_whole(path: &Path, sha256: &str, index: &Index) -> bool {
    let Ok(metadata) = fs::metadata(path) else { return false };
    let (read, stamp) = (SystemTime::now(), FileStamp::of(&metadata));
    // The stat cache holds 32 bytes a file; for a blob they are its sha256.
    if index.digest(path, &stamp).is_some_and(|known| known.to_string() == sha256) {
        return true;
    }
    let whole = file_sha256(path).is_ok_and(|found| found == sha256);
    if let (true, true, Ok(known)) = (whole, stamp.was_quiet(read), sha256.parse()) {
        index.remember([(path, stamp, known)]);
    }
    whole
}
