//! The typed model: what a build file says, after variables, with nothing left to look up in the text.
//!
//! One struct a table of the file, one field a key, enums where the file has exclusive keys. A value that a later
//! message may want to point at is [`Spanned`]. Defaults are filled in, except where "not said" differs from the
//! default (then it is an `Option`). The small grammars (modes, owners, references …) are in [`super::words`].
//!
//! A [`Spec`] that [`super::load`] returns holds: every reference names a source or step that is there (or is
//! `scratch`), every test and image named exists, there is no cycle, and every pattern parses.

mod config;
mod entries;
mod image;
mod source;
mod step;

pub use super::span::{Span, Spanned};
pub use super::words::{
    Capabilities, CopySource, Destination, EnvPart, EnvValue, Id, Mode, Owner, Reference, Tag,
};
pub use config::{Config, Environment, Healthcheck};
pub use entries::{Attr, Copy, Dir, FileText, Group, Link, Mount, MountKind, Sharing, User};
pub use image::{Artifact, Compress, Image, Layers, Output, Subject, Test};
pub use source::{
    ArchiveOwner, ArchiveSource, HostSource, OciSource, PathSource, RegistrySource, Source, SourceKind,
};
pub use step::{Base, Body, Conflict, Limits, Merge, Network, Resolve, Run, Step, Take};

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

/// A whole build file.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// What `apply` without a target builds; none: all images, artifacts and tests.
    pub default: Option<Vec<Spanned<String>>>,
    /// The `epoch` key: seconds since 1970. The one in force is [`super::Loaded::epoch`].
    pub epoch: Option<Spanned<i64>>,
    /// Runs every string `run` of a step that has no `shell` of its own.
    pub shell: Vec<String>,
    /// `[source.NAME]`
    pub sources: BTreeMap<String, Source>,
    /// `[step.NAME]`
    pub steps: BTreeMap<String, Step>,
    /// `[test.NAME]`
    pub tests: BTreeMap<String, Test>,
    /// `[image.NAME]`
    pub images: BTreeMap<String, Image>,
    /// `[artifact.NAME]`
    pub artifacts: BTreeMap<String, Artifact>,
}

impl Spec {
    /// The names of the tests that must pass before image `name` leaves: those it lists and those that name it.
    pub fn tests_of(&self, name: &str) -> BTreeSet<&str> {
        let listed = self.images.get(name).into_iter().flat_map(|image| &image.tests);
        let naming = self
            .tests
            .values()
            .filter(|test| matches!(&test.subject, Subject::Image(image) if image.value == name));
        listed.map(|test| test.as_str()).chain(naming.map(|test| test.name.as_str())).collect()
    }

    /// Every path this file writes (outputs and `dest` of artifacts), as written: a `path` source leaves them out.
    pub fn written_paths(&self) -> BTreeSet<PathBuf> {
        let outputs = self.images.values().flat_map(|image| &image.outputs);
        let artifacts = self.artifacts.values().map(|artifact| PathBuf::from(&artifact.dest.value));
        outputs.filter_map(|output| Some(output.path()?.value.clone())).chain(artifacts).collect()
    }
}
