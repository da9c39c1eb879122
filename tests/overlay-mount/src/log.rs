//! What the process in the background says.

use crate::error::{Error, Result};
use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// The file it says it in, from where it is now on. It is never emptied: an earlier mount may still write.
pub struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// Makes it, with its folder.
    pub fn open(work: &Path) -> Result<Self> {
        fs::create_dir_all(work).map_err(Error::io("make", &work.display()))?;
        let path = work.join("log");
        let file = File::options().read(true).append(true).create(true).open(&path).and_then(|mut file| {
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        });
        Ok(Self { file: file.map_err(Error::io("open", &path.display()))?, path })
    }

    /// For the process that writes.
    pub fn writer(&self) -> Result<File> {
        let opened = File::options().append(true).open(&self.path);
        opened.map_err(Error::io("open", &self.path.display()))
    }

    /// What was written since.
    pub fn news(&mut self) -> String {
        let mut text = Vec::new();
        let _ = self.file.read_to_end(&mut text);
        String::from_utf8_lossy(&text).trim_end().to_owned()
    }
}
