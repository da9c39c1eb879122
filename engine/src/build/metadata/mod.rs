//! What a build made, as a JSON file for pipelines.
//!
//! The file is there if, and only if, the command that names it has succeeded: it is removed before anything is made
//! and written whole at the end. So a pipeline that overlooks a failure, or whose build was killed, finds no file
//! instead of that of an earlier build.

mod file;

use super::Request;
use crate::{
    error::{Error, Result},
    report::{Copied, Event, Reporter, Written},
    session::Session,
    store::Store,
};
pub(super) use file::MetadataFile;
use rbuild_oci::oci_spec::image::{ImageConfiguration, ImageManifest};
use rbuild_registry::Reference;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

/// The format of the file.
const VERSION: u32 = 1;

/// What a build made; sizes are in bytes, digests `sha256:…`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Metadata {
    /// Format of this file.
    #[schemars(extend("const" = VERSION))]
    pub version: u32,
    /// By the names of the build file.
    pub images: BTreeMap<String, Image>,
    /// By the names of the build file.
    pub artifacts: BTreeMap<String, Artifact>,
}

/// An image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Image {
    /// Of its manifest: what registries know it by.
    pub digest: String,
    /// Of its config: the id it has in docker and podman.
    pub config_digest: String,
    /// Manifest, config and layers as they are sent.
    pub size: u64,
    /// `name:tag`
    pub tags: Vec<String>,
    /// `linux/amd64`
    pub platform: String,
    /// From the base up.
    pub layers: Vec<Layer>,
    /// Where it is, in the order of the build file.
    pub outputs: Vec<Output>,
}

/// A layer of an image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Layer {
    /// Of the blob, compressed as it is.
    pub digest: String,
    /// Of the tar in it.
    pub diff_id: String,
    /// Of the blob.
    pub size: u64,
    /// Of the blob.
    pub media_type: String,
}

/// One place where an image is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Output {
    /// `oci`, `oci-archive`, `docker-archive`, `tar`, `dir`, `push`; the engine it was loaded into: `docker`, `podman`.
    pub kind: String,
    /// The file or folder, from the folder the command ran in if the build file or --out was named from there; the
    /// reference in a registry, by tag; the tag in an engine.
    pub place: String,
    /// The name in a layout's index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The reference in a registry, by digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_digest: Option<String>,
}

/// An artifact.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Artifact {
    /// Its destination, named as the `place` of an output.
    pub place: String,
    /// How many files were written.
    pub files: u64,
}

/// Takes note, on their way to a reporter, of what is made.
pub(super) struct Noted {
    file: MetadataFile,
    reporter: Arc<dyn Reporter>,
    made: Mutex<BTreeMap<(&'static str, String), Event>>,
}

impl Noted {
    /// For the file of a request, if it wants one; an older file is removed.
    pub(super) fn new(request: &Request, reporter: &Arc<dyn Reporter>) -> Result<Option<Arc<Self>>> {
        let Some(file) = MetadataFile::claim(request)? else { return Ok(None) };
        Ok(Some(Arc::new(Self { file, reporter: reporter.clone(), made: Mutex::default() })))
    }

    /// Writes the file.
    pub(super) fn write(&self, session: &Session, request: &Request) -> Result<()> {
        let (store, places) = (&session.store, Places::new(request, &session.out));
        let mut metadata = Metadata::new();
        for event in self.made.lock().unwrap_or_else(PoisonError::into_inner).values() {
            match event {
                Event::Image { name, digest, tags, outputs, .. } => {
                    let image =
                        Image::of(store, name, digest, tags.clone(), places.outputs(outputs, digest))?;
                    metadata.images.insert(name.clone(), image);
                }
                Event::Artifact { name, path, files } => {
                    let artifact = Artifact { place: places.of(path), files: *files };
                    metadata.artifacts.insert(name.clone(), artifact);
                }
                _ => {}
            }
        }
        self.file.write(&metadata)
    }
}

impl Reporter for Noted {
    fn report(&self, event: &Event) {
        let key = match event {
            Event::Image { name, .. } => Some(("image", name)),
            Event::Artifact { name, .. } => Some(("artifact", name)),
            _ => None,
        };
        if let Some((kind, name)) = key {
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            made.insert((kind, name.clone()), event.clone());
        }
        self.reporter.report(event);
    }
}

impl Metadata {
    fn new() -> Self {
        Self { version: VERSION, images: BTreeMap::new(), artifacts: BTreeMap::new() }
    }

    /// Of an image that was pushed to these references.
    ///
    /// # Errors
    /// The store has lost a document of the image.
    pub(super) fn of_push(store: &Store, name: &str, digest: &str, pushed: &[Copied]) -> Result<Self> {
        let references: Vec<String> = pushed.iter().map(|pushed| pushed.place.clone()).collect();
        let output = |place: &String| Output {
            kind: "push".to_owned(),
            place: place.clone(),
            reference: None,
            by_digest: by_digest(place, digest),
        };
        let outputs = references.iter().map(output).collect();
        let image = Image::of(store, name, digest, references, outputs)?;
        Ok(Self { images: BTreeMap::from([(name.to_owned(), image)]), ..Self::new() })
    }

    /// The JSON Schema of the file.
    pub fn schema() -> serde_json::Value {
        let mut schema = schemars::schema_for!(Self).to_value();
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("title".to_owned(), "rbuild metadata".into());
        }
        schema
    }
}

impl Image {
    /// What the store knows of the image of this manifest.
    fn of(store: &Store, name: &str, digest: &str, tags: Vec<String>, outputs: Vec<Output>) -> Result<Self> {
        let (manifest, length): (ImageManifest, u64) = document(store, name, digest)?;
        let config = manifest.config();
        let (configuration, _): (ImageConfiguration, u64) = document(store, name, config.digest().as_ref())?;
        let platform = rbuild_oci::Platform {
            os: configuration.os().to_string(),
            architecture: configuration.architecture().to_string(),
            variant: configuration.variant().clone(),
        };
        let layers = manifest.layers().iter().zip(configuration.rootfs().diff_ids());
        Ok(Self {
            digest: digest.to_owned(),
            config_digest: config.digest().to_string(),
            size: length + config.size() + manifest.layers().iter().map(|layer| layer.size()).sum::<u64>(),
            tags,
            platform: platform.to_string(),
            layers: layers
                .map(|(layer, diff_id)| Layer {
                    digest: layer.digest().to_string(),
                    diff_id: diff_id.clone(),
                    size: layer.size(),
                    media_type: layer.media_type().to_string(),
                })
                .collect(),
            outputs,
        })
    }
}

/// A document of the store, and its length.
fn document<T: DeserializeOwned>(store: &Store, name: &str, digest: &str) -> Result<(T, u64)> {
    let lost = || Error::environment(format!("image `{name}`: the store has lost {digest}"));
    let bytes =
        store.document(digest.trim_start_matches("sha256:")).map_err(|error| lost().caused_by(error))?;
    let parsed = serde_json::from_slice(&bytes).map_err(|error| lost().caused_by(error))?;
    Ok((parsed, bytes.len() as u64))
}

/// How paths are named to the caller.
struct Places<'a> {
    /// Absolute: where outputs and artifacts go.
    out: &'a Path,
    /// The same as the caller named it; empty for the current folder.
    named: &'a Path,
}

impl<'a> Places<'a> {
    fn new(request: &'a Request, out: &'a Path) -> Self {
        let folder = request.file.parent().unwrap_or(Path::new(""));
        Self { out, named: request.out.as_deref().unwrap_or(folder) }
    }

    fn of(&self, path: &str) -> String {
        match Path::new(path).strip_prefix(self.out) {
            Ok(inside) if inside.as_os_str().is_empty() && self.named.as_os_str().is_empty() => {
                ".".to_owned()
            }
            Ok(inside) => self.named.join(inside).display().to_string(),
            Err(_) => path.to_owned(),
        }
    }

    fn outputs(&self, written: &[Written], digest: &str) -> Vec<Output> {
        let output = |Written { kind, path, reference }: &Written| Output {
            kind: kind.clone(),
            place: self.of(path),
            reference: reference.clone(),
            by_digest: if kind == "push" { by_digest(path, digest) } else { None },
        };
        written.iter().map(output).collect()
    }
}

/// A reference of a registry by digest instead of by tag.
fn by_digest(reference: &str, digest: &str) -> Option<String> {
    let reference: Reference = reference.parse().ok()?;
    Some(format!("{}@{digest}", reference.repository()))
}
