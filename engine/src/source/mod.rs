//! Sources: bytes from outside become trees.
//!
//! Each kind is read anew at every build (`path`, `archive`, `oci`), through the stat cache, so that an unchanged one
//! costs a look at its times; `host` is not read at all until a step asks.

mod archive;
mod host;
mod oci;
mod path;

pub use host::{HostInput, changed_tree, never_seen};

use crate::{
    error::{Error, Result},
    spec::{
        Platform,
        types::{Source, SourceKind},
    },
    store::{FileStamp, Store},
    value::{Content, Lineage, Value},
};
use rbuild_tree::{ObjectId, Snapshot, Timestamp};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

/// What every source needs to know.
pub struct Surroundings<'a> {
    /// Where the bytes go.
    pub store: &'a Store,
    /// The folder that paths of the build file are relative to.
    pub folder: &'a Path,
    /// Absolute paths that a `path` source leaves out: what the build writes itself.
    pub written: &'a [PathBuf],
    /// The time of normalised entries.
    pub epoch: Timestamp,
    /// The platform that is wanted.
    pub platform: &'a Platform,
    /// Takes warnings, with their codes.
    pub warn: &'a (dyn Fn(&'static str, String) + Sync),
}

/// Makes a source's tree.
///
/// # Errors
/// `source-failed` or `digest-mismatch`, with the path and the reason.
pub fn fetch(source: &Source, surroundings: &Surroundings<'_>) -> Result<Value> {
    let name = source.name.as_str();
    let failed = |error: Error| match error.code() {
        None => error.coded("source-failed"),
        Some(_) => error,
    };
    match &source.kind {
        SourceKind::Path(path) => {
            plain(name, surroundings, path::import(path, surroundings).map_err(failed)?)
        }
        SourceKind::Archive(archive) => {
            plain(name, surroundings, archive::import(archive, surroundings).map_err(failed)?)
        }
        SourceKind::Oci(image) => oci::import(name, image, surroundings).map_err(failed),
        SourceKind::Host(host) => host::open(name, host, surroundings).map_err(failed),
    }
}

/// A tree without config and layers.
fn plain(name: &str, surroundings: &Surroundings<'_>, snapshot: Snapshot) -> Result<Value> {
    let id = surroundings.store.put_snapshot(&snapshot)?;
    let snapshot = Arc::new(snapshot);
    Ok(Value {
        content: Content::Snapshot(id, snapshot.clone()),
        config: Arc::default(),
        lineage: Lineage::bottom(name, Some(snapshot)),
    })
}

/// The blake3 of a file of the machine, by its times if those are known.
fn file_digest(store: &Store, path: &Path) -> Result<ObjectId> {
    let read = SystemTime::now();
    let mut file = File::open(path).map_err(|error| Error::io("open", path, error))?;
    let look = |file: &File| file.metadata().map_err(|error| Error::io("look at", path, error));
    let metadata = look(&file)?;
    if !metadata.is_file() {
        return Err(Error::environment(format!("{} is not a file", path.display())));
    }
    let stamp = FileStamp::of(&metadata);
    if let Some(known) = store.index().digest(path, &stamp) {
        return Ok(known);
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(&mut file).map_err(|error| Error::io("read", path, error))?;
    let digest = hasher.finalize().into();
    if FileStamp::of(&look(&file)?) == stamp && stamp.was_quiet(read) {
        store.index().remember([(path, stamp, digest)]);
    }
    Ok(digest)
}

/// A path of the build file, absolute and without symbolic links.
fn locate(folder: &Path, path: &Path) -> Result<PathBuf> {
    let path = folder.join(path);
    fs::canonicalize(&path).map_err(|error| {
        Error::io("find", &path, error).hint("paths are relative to the folder of the build file")
    })
}
