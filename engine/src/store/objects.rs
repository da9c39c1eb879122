//! Objects: the bytes of regular files.
//!
//! Each has a fixed time of modification. Whoever writes into an object gives it another, and then it is checked against
//! its name before it is used again. Bytes that a disk loses silently are not noticed so.

use super::{Doing, Result, Store};
use rbuild_tree::ObjectId;
use rustix::fs::{AtFlags, Mode, OFlags, Stat, statat};
use std::{
    fs::{self, File, FileTimes},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

const CHUNK: usize = 1 << 20;
/// The time of an object as it was written.
pub(super) const WRITTEN: i64 = 1;
/// The time of one whose bytes were compared with its name since: what was read then is on the disk.
pub(super) const CHECKED: i64 = 2;

impl Store {
    /// Where the object is in this store itself, or would be.
    pub fn object_path(&self, id: &ObjectId) -> PathBuf {
        fan_out(&self.objects_path(), &id.to_string())
    }

    /// Whether the store has it.
    pub fn has_object(&self, id: &ObjectId) -> bool {
        self.open_object(id).is_ok()
    }

    /// Opens it for reading, in this store or in one that is only read. One that was written to, or that a power cut may
    /// have damaged, is checked first; a damaged one is removed, and then it is missing like any other.
    ///
    /// # Errors
    /// As from opening a file.
    pub fn open_object(&self, id: &ObjectId) -> io::Result<File> {
        self.open_own(id).or_else(|error| self.extras.open_object(id, &self.index).ok_or(error))
    }

    fn open_own(&self, id: &ObjectId) -> io::Result<File> {
        let path = self.object_path(id);
        let file = File::open(&path)?;
        let found = file.metadata()?;
        if !self.is_sound(found.mtime(), found.mtime_nsec(), found.ctime()) {
            if hash_file(&path)? != *id {
                fs::remove_file(&path)?;
                tracing::warn!(?path, "damaged object, removed");
                return Err(io::Error::new(io::ErrorKind::NotFound, "it was damaged, and is removed"));
            }
            set_modified(&file, CHECKED)?;
        }
        Ok(file)
    }

    /// Whether it has all of these itself, where the kernel looks for them, and they are sound; opens only those that have to
    /// be checked. Gives the first that is missing.
    ///
    /// # Errors
    /// The folder of objects can't be opened.
    pub fn lacks_object(&self, ids: impl IntoIterator<Item = ObjectId>) -> io::Result<Option<ObjectId>> {
        let folder = rustix::fs::open(self.objects_path(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let is_there = |id: &ObjectId| {
            let found = statat(&folder, fan_out(Path::new(""), &id.to_string()), AtFlags::empty());
            let is_sound =
                |found: &Stat| self.is_sound(found.st_mtime, found.st_mtime_nsec as i64, found.st_ctime);
            found.as_ref().is_ok_and(is_sound) || self.look_at_object(id).is_ok()
        };
        Ok(ids.into_iter().find(|id| !is_there(id)))
    }

    /// Sees to it that it is in this store itself: the store gets a copy of one that is only in another.
    ///
    /// # Errors
    /// As from opening a file; if it can't be copied.
    pub fn look_at_object(&self, id: &ObjectId) -> io::Result<()> {
        let Err(error) = self.open_own(id) else { return Ok(()) };
        let mut extra = self.extras.open_object(id, &self.index).ok_or(error)?;
        let (fresh, copied, _) = self.write_stream(&mut extra)?;
        if copied != *id {
            return Err(io::Error::new(io::ErrorKind::NotFound, "it is damaged where it was found"));
        }
        Ok(self.adopt(&fresh, &self.object_path(id))?)
    }

    fn is_sound(&self, seconds: i64, nanoseconds: i64, changed: i64) -> bool {
        match (seconds, nanoseconds) {
            (CHECKED, 0) => true,
            (WRITTEN, 0) => !self.durability.doubts(changed),
            _ => false,
        }
    }

    /// All of its bytes.
    ///
    /// # Errors
    /// As from reading a file.
    pub fn read_object(&self, id: &ObjectId) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open_object(id)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Removes an object whose bytes are not what its name says.
    pub fn drop_object(&self, id: &ObjectId) {
        if fs::remove_file(self.object_path(id)).is_err() {
            self.extras.drop_object(id);
        }
    }

    /// Keeps these bytes.
    ///
    /// # Errors
    /// If they can't be written.
    pub fn put_object(&self, bytes: &[u8]) -> Result<ObjectId> {
        let id = ObjectId::of(bytes);
        if !self.has_object(&id) {
            let fresh = self.scratch.fresh();
            let write = || -> io::Result<()> {
                let mut options = File::options();
                let mut file = options.write(true).create_new(true).mode(0o444).open(&fresh)?;
                file.write_all(bytes)?;
                set_modified(&file, WRITTEN)
            };
            write().doing("write", &fresh)?;
            self.adopt(&fresh, &self.object_path(&id))?;
        }
        Ok(id)
    }

    /// Takes a file of the scratch folder as an object; gives its identity and size.
    ///
    /// # Errors
    /// If it can't be read or moved.
    pub fn put_object_file(&self, path: &Path) -> Result<(ObjectId, u64)> {
        let id = hash_file(path).doing("read", path)?;
        Ok((id, self.put_hashed_file(path, &id)?))
    }

    /// The same of a file whose identity is known; gives its size.
    ///
    /// # Errors
    /// If it can't be moved.
    pub fn put_hashed_file(&self, path: &Path, id: &ObjectId) -> Result<u64> {
        let file = File::open(path).doing("open", path)?;
        let size = file.metadata().doing("look at", path)?.len();
        if self.has_object(id) {
            fs::remove_file(path).doing("remove", path)?;
        } else {
            file.set_permissions(fs::Permissions::from_mode(0o444)).doing("change the mode of", path)?;
            set_modified(&file, WRITTEN).doing("change the time of", path)?;
            self.adopt(path, &self.object_path(id))?;
        }
        Ok(size)
    }

    /// Keeps a stream, hashed on the way; gives its identity and size.
    ///
    /// # Errors
    /// If it can't be read or written.
    pub fn put_object_stream(&self, bytes: &mut dyn Read) -> Result<(ObjectId, u64)> {
        let (fresh, id, size) = self.write_stream(bytes)?;
        if self.has_object(&id) {
            fs::remove_file(&fresh).doing("remove", &fresh)?;
        } else {
            self.adopt(&fresh, &self.object_path(&id))?;
        }
        Ok((id, size))
    }

    /// Writes what may become an object: the file, its identity and size.
    fn write_stream(&self, bytes: &mut dyn Read) -> Result<(PathBuf, ObjectId, u64)> {
        let fresh = self.scratch.fresh();
        let mut copy = || -> io::Result<(ObjectId, u64)> {
            let mut options = File::options();
            let mut file = options.write(true).create_new(true).mode(0o444).open(&fresh)?;
            let (mut hasher, mut size, mut buffer) = (blake3::Hasher::new(), 0_u64, vec![0; CHUNK]);
            loop {
                let count = match bytes.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error),
                };
                hasher.update(&buffer[..count]);
                file.write_all(&buffer[..count])?;
                size += count as u64;
            }
            set_modified(&file, WRITTEN)?;
            Ok((hasher.finalize().into(), size))
        };
        let (id, size) = copy().doing("write", &fresh)?;
        Ok((fresh, id, size))
    }

    /// Moves a finished file to where it belongs, making the folder it lands in.
    pub(super) fn adopt(&self, fresh: &Path, path: &Path) -> Result<()> {
        self.durability.note_write();
        match fs::rename(fresh, path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let folder = path.parent().unwrap_or(path);
                fs::create_dir_all(folder).doing("make", folder)?;
                fs::rename(fresh, path).doing("write", path)
            }
            renamed => renamed.doing("write", path),
        }
    }
}

fn set_modified(file: &File, seconds: i64) -> io::Result<()> {
    let since = Duration::from_secs(seconds.unsigned_abs());
    file.set_times(FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + since))
}

/// Seconds since 1970; of a time with a fraction, which none of ours has, 0.
pub(super) fn modified(metadata: &fs::Metadata) -> i64 {
    if metadata.mtime_nsec() == 0 { metadata.mtime() } else { 0 }
}

/// The blake3 of a file of the store: its own files are only ever replaced, so mapping them is safe.
fn hash_file(path: &Path) -> io::Result<ObjectId> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_mmap(path)?;
    Ok(hasher.finalize().into())
}

/// The sha256 of any file, 64 hex digits.
///
/// # Errors
/// As from reading a file.
pub fn file_sha256(path: &Path) -> io::Result<String> {
    sha256_of(&mut File::open(path)?)
}

/// The sha256 of what is left of a stream, 64 hex digits.
///
/// # Errors
/// As from reading it.
pub fn sha256_of(bytes: &mut dyn Read) -> io::Result<String> {
    use sha2::{Digest, Sha256};
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; CHUNK]);
    loop {
        match bytes.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// `ab/cdef…`: a folder never holds all of them.
pub(super) fn fan_out(folder: &Path, hex: &str) -> PathBuf {
    folder.join(&hex[..2]).join(&hex[2..])
}

impl rbuild_overlay::Store for Store {
    fn open(&self, id: &ObjectId) -> io::Result<File> {
        self.open_object(id)
    }

    fn put_bytes(&self, bytes: &[u8]) -> io::Result<ObjectId> {
        Ok(self.put_object(bytes)?)
    }

    fn put_file(&self, path: &Path) -> io::Result<(ObjectId, u64)> {
        Ok(self.put_object_file(path)?)
    }
}

impl rbuild_oci::ObjectStore for Store {
    fn open(&self, id: &ObjectId) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(self.open_object(id)?))
    }

    fn put_stream(&self, bytes: &mut dyn Read, size_hint: u64) -> io::Result<(ObjectId, u64)> {
        if size_hint > CHUNK as u64 {
            return Ok(self.put_object_stream(bytes)?);
        }
        let mut whole = Vec::with_capacity(size_hint as usize);
        bytes.read_to_end(&mut whole)?;
        let size = whole.len() as u64;
        Ok((self.put_object(&whole)?, size))
    }
}
