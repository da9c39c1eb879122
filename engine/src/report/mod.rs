//! What a build tells while it goes on: typed events. The library never prints; a [`Reporter`] does, or not.
//!
//! The JSON reporter writes one event a line; `schemas/events.schema.json` is generated from these types.

use crate::spec::without_errno;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Takes events, from any thread, in the order they happen.
pub trait Reporter: Send + Sync {
    /// Tells one.
    fn report(&self, event: &Event);
}

/// Says nothing.
pub struct Silent;

impl Reporter for Silent {
    fn report(&self, _: &Event) {}
}

/// Something happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Event {
    /// The build file is read, the build begins.
    BuildStarted {
        /// The build file.
        file: String,
        /// How many sources, steps, tests, images and artifacts the targets need.
        nodes: usize,
        /// How many steps run at once.
        jobs: usize,
        /// Where the store is.
        store: String,
    },
    /// A node is being made; a node that is cached only finishes.
    Started {
        /// `step.jar`
        node: String,
        /// Why it is not cached, in one line.
        why: String,
    },
    /// A step or test printed a line.
    Output {
        /// `step.jar`
        node: String,
        /// Without the line end; bytes that are not UTF-8 replaced, terminal escapes kept out.
        line: String,
    },
    /// A node is made.
    Finished {
        /// `step.jar`
        node: String,
        /// How.
        outcome: Outcome,
        /// Milliseconds it took.
        duration: u64,
    },
    /// A node failed.
    Failed {
        /// `step.jar`
        node: String,
        /// What can be explained by `rbuild explain`.
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<String>,
        /// In one line.
        message: String,
        /// What it was caused by, the nearest first.
        causes: Vec<String>,
        /// What to try.
        hints: Vec<String>,
        /// The last lines it printed.
        last_lines: Vec<String>,
        /// Milliseconds it took.
        duration: u64,
    },
    /// A node was not made, since something it needs failed or the build was stopped.
    Skipped {
        /// `image.shop`
        node: String,
        /// It was being made when the build was stopped.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        interrupted: bool,
    },
    /// Something to be looked at that ends nothing; each is told once.
    Warning {
        /// What can be explained by `rbuild explain`.
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<String>,
        /// The node it is about.
        #[serde(skip_serializing_if = "Option::is_none")]
        node: Option<String>,
        /// In one line.
        message: String,
    },
    /// Blobs come from a registry or go to one: told once a second, and at the end.
    Transfer {
        /// `source.base`, or an image's reference.
        what: String,
        /// Which way.
        direction: Direction,
        /// Bytes so far.
        bytes: u64,
        /// Bytes of all blobs; what turns out to be there already is taken off.
        total_bytes: u64,
        /// Blobs that are there.
        blobs: usize,
        /// All blobs.
        total_blobs: usize,
        /// Bytes a second since the beginning.
        rate: u64,
        /// Milliseconds since the beginning.
        duration: u64,
        /// All of them are there.
        finished: bool,
    },
    /// An image is where `push`, `pull` or `copy` was to bring it.
    Copied(Copied),
    /// An image is complete.
    Image {
        /// Its name in the file.
        name: String,
        /// `sha256:…` of the manifest.
        digest: String,
        /// `name:tag`
        tags: Vec<String>,
        /// From the base up.
        layers: Vec<Layer>,
        /// Where it was written.
        outputs: Vec<Written>,
    },
    /// An artifact is in the workspace.
    Artifact {
        /// Its name in the file.
        name: String,
        /// Where.
        path: String,
        /// How many files were written.
        files: u64,
    },
    /// The build is over.
    BuildFinished {
        /// Whether every target is made.
        success: bool,
        /// Steps and tests that ran.
        ran: usize,
        /// Steps and tests that were cached.
        cached: usize,
        /// Nodes that failed.
        failed: usize,
        /// Nodes that were not reached.
        skipped: usize,
        /// Steps and tests that were ended while they ran.
        interrupted: usize,
        /// Milliseconds.
        duration: u64,
    },
}

impl Event {
    /// A warning, in words.
    pub fn warning(code: Option<&str>, node: Option<&str>, message: &str) -> Self {
        let (code, node) = (code.map(str::to_owned), node.map(str::to_owned));
        Self::Warning { code, node, message: without_errno(message) }
    }
}

/// Which way blobs go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From a registry.
    Pull,
    /// To a registry.
    Push,
}

/// How a node came to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was known already.
    Cached,
    /// It was made now.
    Ran,
}

/// A layer of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Layer {
    /// `sha256:…` of the blob.
    pub digest: String,
    /// Bytes of the blob.
    pub size: u64,
    /// What made it: a step's name, or `base`.
    pub made_by: String,
}

/// An image that is where it was to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Copied {
    /// The image's reference, or the file or folder.
    pub place: String,
    /// `sha256:…` of the manifest or index.
    pub digest: String,
    /// Blobs that were copied.
    pub blobs: usize,
    /// Blobs that were there, in another repository of the same registry perhaps.
    pub present: usize,
}

/// A place an image was written to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Written {
    /// `oci`, `oci-archive`, `docker-archive`, `tar`, `dir`; `push`; the engine it was loaded into: `docker`, `podman`.
    pub kind: String,
    /// The file or folder, absolute; the reference in a registry; the tag in an engine.
    pub path: String,
    /// The name in a layout's index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

/// A duration as people say it: `0.2s`, `12s`, `3m 20s`, `2h 5m`, `3d 4h`.
pub fn duration(time: std::time::Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1}s", time.as_secs_f64()),
        seconds @ 10..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        seconds @ 3600..86_400 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        seconds => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}
