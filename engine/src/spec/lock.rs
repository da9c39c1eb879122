//! `rbuild.lock`: what names meant when they were looked up, and the epoch.
//!
//! ```toml
//! version = 1
//! epoch   = 1764000000        # when the file was made or last updated in whole
//! [[lookup]]                  # one per name, sorted
//! op     = "image"
//! input  = "docker.io/library/debian:12"
//! digest = "sha256:…"
//! ```
//!
//! Beside the top file, written by rbuild, committed by the user. It is never made over another: of two builds that start
//! without one, the first to write it wins and the other takes over what it wrote, so that both have one epoch. It is
//! replaced by rename. What each lookup says is the affair of the source that made it.

use super::lower::MAX_EPOCH;
use rbuild_oci::oci_spec::image::Digest;
use serde::{Deserialize, Serialize};
use std::{
    fs::{File, Permissions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;
use thiserror::Error;

/// The only version of the format.
const VERSION: i64 = 1;
/// Longer than any lock of a real build.
const MAX_BYTES: u64 = 64 << 20;
const HEADER: &str = "# Written by rbuild. Commit it: it is what makes a build repeatable.\n";

/// What a lock file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Lock {
    /// Seconds since 1970.
    pub epoch: i64,
    /// One table a lookup, as in the file.
    pub lookups: Vec<toml::Table>,
}

/// Why a lock file can't be used.
#[derive(Debug, Error)]
pub enum LockError {
    /// The file system refused.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// `read`, `write` …
        operation: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no lock file of this version.
    #[error("{}:{line}: this is not a lock file that rbuild can read: {reason}", path.display())]
    Format {
        /// Which file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// The file itself.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: i64,
    epoch: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lookup: Vec<toml::Table>,
}

/// The lock of a build file: `rbuild.lock` beside build.toml and build.yaml, `STEM.lock` beside another.
pub fn path_of(file: &Path) -> PathBuf {
    match file.file_stem().and_then(|stem| stem.to_str()) {
        None | Some("build") => file.with_file_name("rbuild.lock"),
        Some(_) => file.with_extension("lock"),
    }
}

impl Lock {
    /// A lock without lookups.
    pub fn new(epoch: i64) -> Self {
        Self { epoch, lookups: Vec::new() }
    }

    /// Reads `path`; none if there is no such file.
    ///
    /// # Errors
    /// It can't be read, or is no lock of this version.
    pub fn load(path: &Path) -> Result<Option<Self>, LockError> {
        let mut text = String::new();
        match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", path, error)),
            Ok(file) => {
                file.take(MAX_BYTES)
                    .read_to_string(&mut text)
                    .map_err(|error| failed("read", path, error))?;
            }
        }
        let refused = |(line, reason)| LockError::Format { path: path.to_owned(), line, reason };
        Self::parse(&text).map(Some).map_err(refused)
    }

    /// One value of a lookup's entry.
    pub fn value(&self, op: &str, input: &str, key: &str) -> Option<&str> {
        self.lookups.iter().find(|entry| is_of(entry, op, input))?.get(key)?.as_str()
    }

    /// Sets one value of a lookup's entry, which is made if it is missing; entries stay sorted.
    pub fn set(&mut self, op: &str, input: &str, key: &str, value: &str) {
        self.lookups.retain(|entry| !is_of(entry, op, input));
        let pairs = [("op", op), ("input", input), (key, value)];
        let text = |(key, value): (&str, &str)| (key.to_owned(), toml::Value::from(value));
        self.lookups.push(pairs.into_iter().map(text).collect());
        let name = |entry: &toml::Table| {
            ["op", "input"]
                .map(|key| entry.get(key).and_then(toml::Value::as_str).unwrap_or_default().to_owned())
        };
        self.lookups.sort_by_key(name);
    }

    /// Makes `path`. If another has made it meanwhile, this is what that one wrote.
    ///
    /// # Errors
    /// It can't be made, or what is there can't be read.
    pub fn create(self, path: &Path) -> Result<Self, LockError> {
        let written = self.write_beside(path).and_then(|own| Ok(own.persist_noclobber(path)?));
        match written {
            Ok(_) => Ok(self),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Self::load(path)?.unwrap_or(self)),
            // Some file systems can neither link nor rename without replacing.
            Err(_) => self.create_in_place(path),
        }
    }

    fn create_in_place(self, path: &Path) -> Result<Self, LockError> {
        let mut file = match File::create_new(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Ok(Self::load(path)?.unwrap_or(self));
            }
            Err(error) => return Err(failed("write", path, error)),
        };
        let written = file.write_all(self.render().as_bytes()).and_then(|()| file.sync_all());
        written.map_err(|error| {
            // Half of one would be a broken lock to the next build.
            let _ = std::fs::remove_file(path);
            failed("write", path, error)
        })?;
        Ok(self)
    }

    /// Replaces `path`.
    ///
    /// # Errors
    /// It can't be written.
    pub fn store(&self, path: &Path) -> Result<(), LockError> {
        let written = self.write_beside(path).and_then(|own| Ok(own.persist(path)?));
        written.map(|_| ()).map_err(|error| failed("write", path, error))
    }

    /// A file of a name of its own, so that nobody ever reads one that is written half. `path` sources leave out what
    /// begins like this: a killed build may leave it.
    fn write_beside(&self, path: &Path) -> std::io::Result<NamedTempFile> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut own = tempfile::Builder::new()
            .prefix(".rbuild-lock.")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder.unwrap_or(Path::new(".")))?;
        own.write_all(self.render().as_bytes())?;
        own.as_file().sync_all()?;
        Ok(own)
    }

    /// The lock, or the line that is wrong and why.
    fn parse(text: &str) -> Result<Self, (usize, String)> {
        if let Some(line) = text.lines().position(|line| line.starts_with("<<<<<<< ")) {
            return Err((line + 1, "it has the marks of a merge conflict".to_owned()));
        }
        let line_of = |start: usize| text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
        let told = |error: toml::de::Error| {
            (
                error.span().map_or(1, |span| line_of(span.start)),
                error.message().trim_end().replace('\n', ", "),
            )
        };
        let read: Text = toml::from_str(text).map_err(told)?;
        let key =
            |key: &str| text.lines().position(|line| line.trim_start().starts_with(key)).unwrap_or(0) + 1;
        if read.version != VERSION {
            return Err((key("version"), format!("its version is {}, not {VERSION}", read.version)));
        }
        if !(0..=MAX_EPOCH).contains(&read.epoch) {
            return Err((key("epoch"), format!("its epoch is {}", read.epoch)));
        }
        for digest in read.lookup.iter().filter_map(|entry| entry.get("digest")?.as_str()) {
            if digest.parse::<Digest>().is_err() {
                let line = text.lines().position(|line| line.contains(digest)).unwrap_or(0) + 1;
                return Err((
                    line,
                    format!("{digest:?} is no digest: remove this [[lookup]], and it is made anew"),
                ));
            }
        }
        Ok(Self { epoch: read.epoch, lookups: read.lookup })
    }

    fn render(&self) -> String {
        let text = Text { version: VERSION, epoch: self.epoch, lookup: self.lookups.clone() };
        // A table of plain values can always be written.
        format!("{HEADER}{}", toml::to_string(&text).unwrap_or_default())
    }
}

fn is_of(entry: &toml::Table, op: &str, input: &str) -> bool {
    let says = |key: &str, value: &str| entry.get(key).and_then(toml::Value::as_str) == Some(value);
    says("op", op) && says("input", input)
}

/// Whether [`Lock::create`] would succeed, as far as can be told without writing.
pub fn can_create(path: &Path) -> bool {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

fn failed(operation: &'static str, path: &Path, source: std::io::Error) -> LockError {
    LockError::Io { operation, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_beside_the_file() {
        for (file, lock) in [
            ("build.toml", "rbuild.lock"),
            ("a/build.yaml", "a/rbuild.lock"),
            ("a/ci.toml", "a/ci.lock"),
            ("x.y.yml", "x.y.lock"),
        ] {
            assert_eq!(path_of(Path::new(file)), Path::new(lock));
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rbuild.lock");
        assert_eq!(Lock::load(&path).unwrap(), None);
        let mut lock = Lock::new(1_764_000_000).create(&path).unwrap();
        assert_eq!(Lock::load(&path).unwrap(), Some(lock.clone()));
        let lookup =
            "op = \"http\"\ninput = \"https://example.org/x\"\npackages = [{ name = \"a\", size = 3 }]\n";
        lock.lookups.push(toml::from_str(lookup).unwrap());
        lock.store(&path).unwrap();
        assert_eq!(Lock::load(&path).unwrap(), Some(lock));
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn the_loser_of_a_race_adopts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rbuild.lock");
        assert_eq!(Lock::new(1).create(&path).unwrap().epoch, 1);
        assert_eq!(Lock::new(2).create(&path).unwrap().epoch, 1);
        assert_eq!(Lock::load(&path).unwrap().unwrap().epoch, 1);
    }

    #[test]
    fn wrong_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rbuild.lock");
        for text in [
            "",
            "version = 1",
            "version = 2\nepoch = 1",
            "version = 1\nepoch = -1",
            "version = 1\nepoch = 1\nx = 1",
            "x",
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Lock::load(&path).unwrap_err().to_string();
            assert!(error.contains("rbuild.lock:"), "{text}: {error}");
        }
        for (text, line, reason) in [
            (
                "version = 1\nepoch = 1\n[[lookup]]\nop = \"image\"\ndigest = \"sha256:x\"\n",
                5,
                "is no digest",
            ),
            ("version = 1\n<<<<<<< HEAD\nepoch = 1\n=======\nepoch = 2\n>>>>>>> x\n", 2, "merge conflict"),
            ("version = 1\nepoch = \"x\"\n", 2, "expected i64"),
            ("version = 1\n\nepoch = -1\n", 3, "its epoch is -1"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Lock::load(&path).unwrap_err().to_string();
            assert!(error.contains(&format!("rbuild.lock:{line}: ")) && error.contains(reason), "{error}");
        }
        assert!(matches!(Lock::new(1).create(&folder.path().join("no/x")), Err(LockError::Io { .. })));
    }
}
