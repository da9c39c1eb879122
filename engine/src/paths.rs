//! Paths of this machine, as the user wrote them, made comparable.

use crate::error::{Error, Result};
use std::path::{Component, Path, PathBuf};

/// Absolute, without symbolic links as far as it exists.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    if let Ok(real) = std::fs::canonicalize(path) {
        return Ok(real);
    }
    std::path::absolute(path).map(|path| tidy(&path)).map_err(|error| Error::io("find", path, error))
}

/// Without `.` and `..`, by text alone.
pub(crate) fn tidy(path: &Path) -> PathBuf {
    let mut tidied = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(tidied.pop()),
            other => tidied.push(other),
        }
    }
    tidied
}
