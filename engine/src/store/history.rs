//! The last build of each build file: which keys its steps had, where their logs are. For `logs`, `inspect`, `mount`,
//! and for saying why a step runs.

use super::{Doing, Result};
use crate::key::Ingredients;
use serde::{Deserialize, Serialize, Serializer};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// What was built from one file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Build {
    /// The build file, absolute. Written for people: a path need not be text.
    #[serde(serialize_with = "as_text")]
    pub file: PathBuf,
    /// By kind and name, `step.jar`.
    pub nodes: BTreeMap<String, Node>,
}

/// What one node was in the last build that reached it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Node {
    /// What its key was made of.
    pub ingredients: Ingredients,
    /// The hex of its snapshot; none if it failed, or gave none.
    pub snapshot: Option<String>,
    /// The object that holds its log, in hex.
    pub log: Option<String>,
    /// Whether its command ended well.
    pub passed: bool,
    /// Whether it was ended before its command was: by the user, or since another node failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
    /// How long it took when it last ran, in milliseconds; what the scheduler expects of it.
    pub duration: u64,
    /// For images: the digest of the manifest, and of the config.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageNode>,
}

/// What is remembered of an image.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImageNode {
    /// `sha256:…` of its manifest.
    pub manifest: String,
    /// `sha256:…` of its config.
    pub config: String,
    /// The tags it was built with.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// The folder of past builds.
pub struct History {
    folder: PathBuf,
}

impl History {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The last build of this file; an empty one if there is none.
    pub fn load(&self, file: &Path) -> Build {
        let text = fs::read_to_string(self.path(file)).unwrap_or_default();
        let known: Build = serde_json::from_str(&text).unwrap_or_default();
        Build { file: file.to_owned(), ..known }
    }

    /// Keeps a build as the last one of its file.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn save(&self, build: &Build) -> Result<()> {
        let path = self.path(&build.file);
        let fresh = path.with_extension(std::process::id().to_string());
        let json = serde_json::to_string(build).map_err(io::Error::from).doing("write", &path)?;
        let written = fs::write(&fresh, json).and_then(|()| fs::rename(&fresh, &path));
        if written.is_err() {
            let _ = fs::remove_file(&fresh); // half of it, where the disk is full
        }
        written.doing("write", &path)
    }

    fn path(&self, file: &Path) -> PathBuf {
        use std::os::unix::ffi::OsStrExt;
        let name = blake3::hash(file.as_os_str().as_bytes()).to_hex();
        self.folder.join(format!("{}.json", &name[..32]))
    }
}

fn as_text<S: Serializer>(path: &Path, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    #[test]
    fn a_path_need_not_be_text() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::new(folder.path().to_owned());
        let file = Path::new(OsStr::from_bytes(b"/caf\xe9/build.toml")).to_owned();
        let nodes = BTreeMap::from([("step.a".to_owned(), Node { passed: true, ..Node::default() })]);
        history.save(&Build { file: file.clone(), nodes }).unwrap();
        let build = history.load(&file);
        assert_eq!(build.file, file);
        assert!(build.nodes["step.a"].passed);
    }
}
