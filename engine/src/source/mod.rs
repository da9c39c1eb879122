//! Sources: bytes from outside become trees.
//!
//! Each kind is read anew at every build (`path`, `archive`, `oci`), through the stat cache, so that an unchanged one
//! costs a look at its times; an `image` of a registry is asked for once; `host` is not read at all until a step asks.

mod archive;
mod download;
mod host;
mod image;
mod input;
mod layers;
mod oci;
mod path;
mod stoppable;

pub use host::{HostInput, changed_tree, never_seen};
pub(crate) use layers::keep_blob;

use crate::{
    error::{Error, Result},
    key::Key,
    lookups::Lookups,
    parallel::Turns,
    registries::Registries,
    spec::{
        Platform,
        types::{Source, SourceKind},
    },
    store::{Record, Store, Yield},
    value::{Content, Lineage, Value},
};
use rbuild_tree::{Snapshot, Timestamp};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
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
    /// The way to registries.
    pub registries: &'a Registries,
    /// What names meant when they were looked up.
    pub lookups: &'a Lookups,
    /// Whose turn it is to be taken in, of images that share layers.
    pub(crate) turns: &'a Turns,
    /// What is remembered must be whole down to the last object.
    pub deep: bool,
    /// Whether the build is to stop.
    pub stopped: &'a (dyn Fn() -> bool + Sync),
    /// Takes warnings, with their codes.
    pub warn: &'a (dyn Fn(&'static str, String) + Sync),
}

impl Surroundings<'_> {
    /// The snapshot that is remembered under a key; else `make` makes it, and it is remembered.
    fn once(&self, key: &Key, make: impl FnOnce() -> Result<Snapshot>) -> Result<Snapshot> {
        match self.known(key) {
            Some(known) => Ok(known),
            None => self.remember(key, make()?),
        }
    }

    /// The snapshot that is remembered under a key.
    fn known(&self, key: &Key) -> Option<Snapshot> {
        let id = self.store.records().get(key)?.result.snapshot()?;
        let snapshot = self.store.snapshot(&id).ok()?;
        (!self.deep || self.store.check_whole(&snapshot).is_ok()).then_some(snapshot)
    }

    /// Remembers a snapshot under a key.
    fn remember(&self, key: &Key, snapshot: Snapshot) -> Result<Snapshot> {
        let result = Yield::Snapshot(self.store.put_snapshot(&snapshot)?.to_string());
        let finished = jiff::Timestamp::now().as_second();
        let record = Record {
            result,
            log: None,
            duration: 0,
            finished,
            trace: None,
            warnings: vec![],
            unfenced: false,
        };
        self.store.records().put(key, &record)?;
        Ok(snapshot)
    }
}

/// Makes a source's tree.
///
/// # Errors
/// `source-failed` or `digest-mismatch`, with the path and the reason.
pub fn fetch(source: &Source, surroundings: &Surroundings<'_>) -> Result<Value> {
    let name = source.name.as_str();
    let failed = |error: Error| match error.code() {
        // Whatever reading ended in.
        _ if surroundings.is_stopped() => Error::interrupted(),
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
        SourceKind::Image(image) => image::import(name, image, surroundings).map_err(failed),
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

/// A path of the build file, absolute and without symbolic links.
fn locate(folder: &Path, path: &Path) -> Result<PathBuf> {
    let path = folder.join(path);
    fs::canonicalize(&path).map_err(|error| {
        Error::io("find", &path, error).hint("paths are relative to the folder of the build file")
    })
}
