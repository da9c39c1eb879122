//! What the worker's operations give, or why they could not be done.

use std::{io, path::Path};

/// What one operation gave, or why it could not be done, as a sentence.
pub(super) type Outcome<T> = Result<T, String>;

/// Names the operation that failed.
pub(super) trait Doing<T>: Sized {
    fn doing(self, what: &str, path: &Path) -> Outcome<T>;

    /// At a name in a directory.
    fn doing_in(self, what: &str, directory: &Path, name: impl AsRef<Path>) -> Outcome<T>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: &str, path: &Path) -> Outcome<T> {
        self.map_err(|error| format!("{what} /{}: {}", start(path).display(), error.into()))
    }

    fn doing_in(self, what: &str, directory: &Path, name: impl AsRef<Path>) -> Outcome<T> {
        match self {
            Ok(done) => Ok(done),
            error => error.doing(what, &directory.join(name)),
        }
    }
}

/// As much of a path as a message has room for.
fn start(path: &Path) -> &Path {
    path.ancestors().find(|path| path.as_os_str().len() < 1000).unwrap_or(path)
}
