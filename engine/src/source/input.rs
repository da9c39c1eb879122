//! A file that is read as a whole: opened once, so that what is hashed and what is unpacked are the same bytes even if
//! its name is given to another file meanwhile.

use super::Surroundings;
use crate::{
    error::{Error, Result},
    store::FileStamp,
};
use rbuild_tree::ObjectId;
use std::{
    fs::File,
    io::{Seek, SeekFrom},
    path::{Path, PathBuf},
    time::SystemTime,
};

pub(super) struct Input {
    path: PathBuf,
    file: File,
    stamp: FileStamp,
    /// The blake3 of its bytes.
    pub(super) digest: ObjectId,
}

impl Input {
    /// Opens it and finds its digest, through the stat cache.
    pub(super) fn open(surroundings: &Surroundings<'_>, path: &Path) -> Result<Self> {
        let store = surroundings.store;
        let read = SystemTime::now();
        let mut file = File::open(path).map_err(|error| Error::io("open", path, error))?;
        let metadata = file.metadata().map_err(|error| Error::io("look at", path, error))?;
        if !metadata.is_file() {
            return Err(Error::environment(format!("{} is not a file", path.display())));
        }
        let stamp = FileStamp::of(&metadata);
        let known = store.index().digest(path, &stamp);
        let mut hash = || -> Result<ObjectId> {
            let mut hasher = blake3::Hasher::new();
            hasher
                .update_reader(surroundings.stoppable(&mut file))
                .map_err(|error| Error::io("read", path, error))?;
            Ok(hasher.finalize().into())
        };
        let digest = known.map_or_else(&mut hash, Ok)?;
        let input = Self { path: path.to_owned(), file, stamp, digest };
        if known.is_none() {
            input.check_unchanged()?;
            if stamp.was_quiet(read) {
                store.index().remember([(path, stamp, digest)]);
            }
        }
        Ok(input)
    }

    /// Its bytes from the start.
    pub(super) fn bytes(&mut self) -> Result<&mut File> {
        self.file.seek(SeekFrom::Start(0)).map_err(|error| Error::io("read", &self.path, error))?;
        Ok(&mut self.file)
    }

    /// To be called after it was read.
    pub(super) fn check_unchanged(&self) -> Result<()> {
        let metadata = self.file.metadata().map_err(|error| Error::io("look at", &self.path, error))?;
        if FileStamp::of(&metadata) == self.stamp {
            return Ok(());
        }
        Err(Error::environment(format!("{} was written to while it was read", self.path.display()))
            .hint("wait until what makes it has finished, then build again"))
    }
}
