//! Records: what a key gave. One small file each, a line with the blake3 of the rest and then JSON, so that a
//! damaged one is a miss.

use super::{Result, Store, objects::fan_out};
use crate::key::Key;
use rbuild_tree::{DeltaId, ObjectId, SnapshotId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// How many results of one step over a live directory are kept; the oldest goes.
const TRACED_KEPT: usize = 8;

/// What a step left behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Yield {
    /// A root filesystem, by the hex of its snapshot.
    Snapshot(String),
    /// A change over a live directory, by the hex of its delta.
    Delta(String),
    /// Nothing: a test that passed.
    Pass,
}

impl Yield {
    /// The snapshot, if it is one.
    pub fn snapshot(&self) -> Option<SnapshotId> {
        matches!(self, Self::Snapshot(_)).then(|| self.hex()?.parse().ok()).flatten()
    }

    /// The delta, if it is one.
    pub fn delta(&self) -> Option<DeltaId> {
        matches!(self, Self::Delta(_)).then(|| self.hex()?.parse().ok()).flatten()
    }

    fn hex(&self) -> Option<&str> {
        match self {
            Self::Snapshot(hex) | Self::Delta(hex) => Some(hex),
            Self::Pass => None,
        }
    }
}

/// One result of one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Record {
    /// What it gave.
    pub result: Yield,
    /// The object that holds what the command printed, in hex; none if nothing was run.
    pub log: Option<String>,
    /// How long it took, in milliseconds.
    pub duration: u64,
    /// When it ended, in seconds since 1970; for `rerun-after`.
    pub finished: i64,
    /// For a step over a live directory: the object that holds what it read, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// What it warned of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warned>,
    /// Whether it could reach a network that it was not to have: only who can't help that uses it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unfenced: bool,
}

/// A warning that is told again whenever the result is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Warned {
    /// What `rbuild explain` knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// In one line.
    pub message: String,
}

/// A layer that was written before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LayerMemo {
    /// sha256 of the uncompressed layer, `sha256:…`; none where the difference is empty and there is no layer.
    pub diff_id: Option<String>,
    /// sha256 of the blob, `sha256:…`.
    pub digest: String,
    /// Bytes of the blob.
    pub size: u64,
    /// Bytes uncompressed.
    pub uncompressed: u64,
    /// Of the blob.
    pub media_type: String,
    /// What the writer warned of (sockets left out).
    pub warnings: Vec<String>,
}

/// An output that was written before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OutputMemo {
    /// What was written: its kind and its digest.
    pub content: String,
    /// What tells that it is still there unchanged.
    pub state: String,
    /// What the writer warned of.
    pub warnings: Vec<String>,
}

/// The records of a store.
pub struct Records<'a> {
    store: &'a Store,
}

impl<'a> Records<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store }
    }

    /// What this key gave.
    pub fn get(&self, key: &Key) -> Option<Record> {
        self.read(&self.path(&key.to_string()))
    }

    /// Whether there is anything under this key, good or not: cheaper than reading it.
    pub fn knows(&self, key: &Key) -> bool {
        let is_there = |path: &Path| path.exists() || self.others(path).any(|path| path.exists());
        is_there(&self.path(&key.to_string())) || is_there(&self.traced_path(key))
    }

    /// Keeps what a key gave.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn put(&self, key: &Key, record: &Record) -> Result<()> {
        self.write(&self.path(&key.to_string()), record)
    }

    /// Forgets what a key gave: its result turned out to be damaged.
    pub fn forget(&self, key: &Key) {
        let _ = fs::remove_file(self.path(&key.to_string()));
        let _ = fs::remove_file(self.traced_path(key));
    }

    /// What a step over a live directory gave, newest first; each is valid only where its trace still holds.
    pub fn traced(&self, operation: &Key) -> Vec<Record> {
        self.read(&self.traced_path(operation)).unwrap_or_default()
    }

    /// Adds a result of a step over a live directory.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn add_traced(&self, operation: &Key, record: Record) -> Result<()> {
        let mut known = self.traced(operation);
        known.retain(|other| other.trace != record.trace);
        known.insert(0, record);
        known.truncate(TRACED_KEPT);
        self.write(&self.traced_path(operation), &known)
    }

    /// The layer remembered under this name.
    pub fn layer(&self, name: &str) -> Option<LayerMemo> {
        self.read(&self.path(&ObjectId::of(name.as_bytes()).to_string()))
    }

    /// Remembers a layer.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn put_layer(&self, name: &str, memo: &LayerMemo) -> Result<()> {
        self.write(&self.path(&ObjectId::of(name.as_bytes()).to_string()), memo)
    }

    /// What was last written to this path, by who has this store.
    pub fn output(&self, path: &Path) -> Option<OutputMemo> {
        read(&self.output_path(path))
    }

    /// Remembers what was written to a path.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn put_output(&self, path: &Path, memo: &OutputMemo) -> Result<()> {
        self.write(&self.output_path(path), memo)
    }

    fn output_path(&self, path: &Path) -> PathBuf {
        let name = [b"output ", path.as_os_str().as_bytes()].concat();
        self.path(&ObjectId::of(&name).to_string())
    }

    fn path(&self, hex: &str) -> PathBuf {
        fan_out(&self.store.root.join("records"), hex)
    }

    fn traced_path(&self, operation: &Key) -> PathBuf {
        self.path(&operation.to_string()).with_extension("traced")
    }

    fn read<T: DeserializeOwned>(&self, path: &Path) -> Option<T> {
        read(path).or_else(|| self.others(path).find_map(|path| read(&path)))
    }

    /// Where a file of the records would be in the stores that are only read.
    fn others<'p>(&'p self, path: &'p Path) -> impl Iterator<Item = PathBuf> + 'p {
        self.store.extras.paths(&self.store.root, path)
    }

    fn write<T: Serialize>(&self, path: &Path, value: &T) -> Result<()> {
        // Serialising plain structs of strings and numbers can't fail.
        let json = serde_json::to_string(value).unwrap_or_default();
        let text = format!("{}\n{json}", blake3::hash(json.as_bytes()).to_hex());
        let fresh = self.store.scratch.write(text.as_bytes())?;
        self.store.adopt(&fresh, path)
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let text = fs::read_to_string(path).ok()?;
    let (sum, json) = text.split_once('\n')?;
    if blake3::hash(json.as_bytes()).to_hex().as_str() != sum {
        tracing::warn!(?path, "damaged record in the store");
        return None;
    }
    serde_json::from_str(json).ok()
}
