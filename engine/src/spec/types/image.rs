//! `[test.NAME]`, `[image.NAME]` and `[artifact.NAME]`: what leaves.

use super::{Body, Config, CopySource, Reference, Spanned, Tag};
use std::{collections::BTreeMap, path::PathBuf};

/// A command that must pass before an image leaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    /// Its name.
    pub name: Spanned<String>,
    /// For people; in no key.
    pub description: Option<String>,
    /// What it looks at.
    pub subject: Subject,
    /// As of a step. Of an image without `run`: its entrypoint and cmd run.
    pub body: Body,
    /// The exit code that passes.
    pub expect_exit: u8,
}

/// What a test looks at.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    /// A tree, as a step.
    From(Spanned<Reference>),
    /// An image of this file: tree, environment, user and working directory are the container's.
    Image(Spanned<String>),
}

/// An image to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// Its name.
    pub name: Spanned<String>,
    /// For people; in no key.
    pub description: Option<String>,
    /// Its tree.
    pub from: Spanned<Reference>,
    /// `name:tag`
    pub tags: Vec<Spanned<Tag>>,
    /// Where layers are cut.
    pub layers: Layers,
    /// Of new layers.
    pub compress: Compress,
    /// Joined to the inherited config.
    pub config: Config,
    /// On the manifest.
    pub annotations: BTreeMap<String, String>,
    /// Tests that must pass first. Every test that names the image must, too: see [`Spec::tests_of`](super::Spec::tests_of).
    pub tests: Vec<Spanned<String>>,
    /// Where it goes; none: it stays in the store.
    pub outputs: Vec<Output>,
}

/// Where the layers of an image are cut.
#[derive(Clone, Debug, PartialEq)]
pub enum Layers {
    /// One a step, none for an empty change.
    Steps,
    /// One in all.
    Squash,
    /// The base's, and one for everything over it.
    BasePlusOne,
    /// After these steps, and one for the rest.
    After(Vec<Spanned<String>>),
}

/// Compression of new layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Compress {
    /// gzip
    #[default]
    Gzip,
    /// zstd
    Zstd,
    /// Plain tar.
    None,
}

/// One place an image goes to. Paths are as written: relative to the folder of the file, and inside it.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// An image layout, maybe an existing one.
    Oci {
        /// Its folder.
        path: Spanned<PathBuf>,
        /// The name in its index; none: the part of each tag after `:`, else `latest`.
        reference: Option<Spanned<String>>,
    },
    /// A tar of an image layout.
    OciArchive(Spanned<PathBuf>),
    /// What `docker load` reads.
    DockerArchive(Spanned<PathBuf>),
    /// The tree alone, as a tar.
    Tar(Spanned<PathBuf>),
    /// The tree alone, as files of the caller.
    Dir(Spanned<PathBuf>),
    /// The registries of its tags, if true.
    Push(Spanned<bool>),
    /// A container engine of this machine, docker or podman, if true: under all tags. Which one, `DOCKER_HOST` or else
    /// `CONTAINER_HOST` says (`unix:///PATH`). If neither is set it is the first that answers of /var/run/docker.sock,
    /// /run/podman/podman.sock and $XDG_RUNTIME_DIR/podman/podman.sock. Contexts of docker are not read.
    Docker(Spanned<bool>),
}

impl Output {
    /// The path it writes, as in the file; none if it goes elsewhere.
    pub fn path(&self) -> Option<&Spanned<PathBuf>> {
        match self {
            Self::Oci { path, .. }
            | Self::OciArchive(path)
            | Self::DockerArchive(path)
            | Self::Tar(path)
            | Self::Dir(path) => Some(path),
            Self::Push(_) | Self::Docker(_) => None,
        }
    }

    /// Its key in the file.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Oci { .. } => "oci",
            Self::OciArchive(_) => "oci-archive",
            Self::DockerArchive(_) => "docker-archive",
            Self::Tar(_) => "tar",
            Self::Dir(_) => "dir",
            Self::Push(_) => "push",
            Self::Docker(_) => "docker",
        }
    }
}

/// Files that go back to the workspace.
#[derive(Clone, Debug, PartialEq)]
pub struct Artifact {
    /// Its name.
    pub name: Spanned<String>,
    /// For people; in no key.
    pub description: Option<String>,
    /// The tree they are in.
    pub from: Spanned<Reference>,
    /// What is taken, as `src` of `copy`. Never empty.
    pub path: Vec<Spanned<CopySource>>,
    /// As written: relative to the folder of the file, and inside it; a directory if it ends in `/`.
    pub dest: Spanned<String>,
    /// No match is no error.
    pub optional: bool,
    /// What else is in `dest` goes.
    pub mirror: bool,
}

impl Artifact {
    /// Whether `dest` is a directory that the entries go into.
    pub fn into_directory(&self) -> bool {
        self.dest.ends_with('/')
    }
}
