//! The file itself: nobody else's is removed or written over, and no link of the workspace is followed to it.

use super::Metadata;
use crate::{
    build::Request,
    error::{Error, Result},
    image::replace,
    operations,
    paths::{absolute, tidy},
};
use serde_json::Value;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A place for metadata, where there is no file yet.
pub(in crate::build) struct MetadataFile {
    path: PathBuf,
}

impl MetadataFile {
    /// Takes the place that a request names, if it names one; metadata that is there is removed.
    ///
    /// # Errors
    /// It is no place for a file, or there is a file of something else; a link of the workspace is on the way.
    pub(in crate::build) fn claim(request: &Request) -> Result<Option<Self>> {
        let Some(path) = request.metadata.as_deref() else { return Ok(None) };
        if path == Path::new("-") {
            let error = Error::usage("`-` is no file: metadata is not written to the standard output");
            return Err(error.hint("that belongs to --progress json; a file of this name is ./-"));
        }
        let found = std::path::absolute(path).map_err(|error| Error::io("find", path, error))?;
        let mut found = tidy(&found);
        let folder = request.file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let workspace = absolute(folder.unwrap_or(Path::new(".")))?;
        if let Ok(inside) = found.strip_prefix(&workspace)
            && workspace.is_dir()
        {
            found = operations::output_path(&workspace, inside)?;
        }
        check(&found, path)?;
        match fs::remove_file(&found) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path, error)),
            _ => Ok(Some(Self { path: found })),
        }
    }

    pub(in crate::build) fn write(&self, metadata: &Metadata) -> Result<()> {
        // A struct of strings, numbers and lists can always be written.
        let mut text = serde_json::to_vec_pretty(metadata).unwrap_or_default();
        text.push(b'\n');
        let written = replace(&self.path, |out| {
            out.write_all(&text).map_err(|error| Error::io("write", &self.path, error))
        });
        written.map(|_| ())
    }
}

/// What is there must be metadata, or an empty file.
fn check(path: &Path, named: &Path) -> Result<()> {
    let named = named.display();
    let there = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        there => there.map_err(|error| Error::io("look at", path, error))?,
    };
    if !there.is_file() {
        let message = format!("{named} is a folder, link or device, so metadata can't be written there");
        return Err(Error::usage(message).hint("--metadata-file wants the name of a file"));
    }
    let text = fs::read(path).map_err(|error| Error::io("read", path, error))?;
    if text.is_empty() || is_metadata(&text) {
        return Ok(());
    }
    let message = format!("{named} is there and holds no metadata of rbuild, so it is not written over");
    Err(Error::usage(message).hint("remove it, or give --metadata-file another name"))
}

/// Whether it was written here, by this version or another one.
fn is_metadata(text: &[u8]) -> bool {
    let value: Value = serde_json::from_slice(text).unwrap_or_default();
    value.get("version").is_some_and(Value::is_number) && value.get("images").is_some_and(Value::is_object)
}
