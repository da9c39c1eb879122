//! Images: configuration, manifest and index as bytes.
//!
//! Everything is written as [canonical JSON](crate::json), so the same input gives the same digest. Documents of
//! other images are never written again: whoever reads one keeps its bytes.

use crate::{Blob, Error, Platform, Result, canonical_json, sha256};
use oci_spec::image::{
    Arch, Config, Descriptor, Digest, History, ImageConfiguration, ImageIndex, ImageManifestBuilder,
    MediaType, Os, PlatformBuilder, RootFs, SCHEMA_VERSION,
};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// A layer as a manifest and a configuration name it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LayerDescriptor {
    /// How it is compressed.
    pub media_type: MediaType,
    /// Digest of the blob.
    pub digest: Digest,
    /// Bytes of the blob.
    pub size: u64,
    /// Digest of the uncompressed tar.
    pub diff_id: Digest,
}

impl From<&Blob> for LayerDescriptor {
    fn from(blob: &Blob) -> Self {
        Self {
            media_type: blob.compression.layer_media_type(),
            digest: blob.digest.clone(),
            size: blob.size,
            diff_id: blob.diff_id.clone(),
        }
    }
}

/// One line of an image's history, and the layer it made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HistoryEntry {
    /// What is said of it; whether it made a layer is said here below.
    pub history: History,
    /// None where it changed no file.
    pub layer: Option<LayerDescriptor>,
}

impl HistoryEntry {
    /// A line that says what was done, and when (RFC 3339).
    pub fn new(
        created: Option<String>,
        created_by: impl Into<String>,
        layer: Option<LayerDescriptor>,
    ) -> Self {
        let mut history = History::default();
        history.set_created(created).set_created_by(Some(created_by.into()));
        Self { history, layer }
    }
}

/// What an image is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImageSpec {
    /// The machine it is for.
    pub platform: Platform,
    /// What a container does by default.
    pub config: Config,
    /// Members of `config` that docker knows and OCI does not: `Healthcheck`, `Shell`, `OnBuild`.
    pub docker: BTreeMap<String, Value>,
    /// Who made it.
    pub author: Option<String>,
    /// When, RFC 3339.
    pub created: Option<String>,
    /// Of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// From the lowest layer up.
    pub history: Vec<HistoryEntry>,
}

impl ImageSpec {
    /// An empty image.
    pub fn new(platform: Platform) -> Self {
        Self {
            platform,
            config: Config::default(),
            docker: BTreeMap::new(),
            author: None,
            created: None,
            annotations: BTreeMap::new(),
            history: Vec::new(),
        }
    }
}

/// An image for one platform.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image {
    /// The machine it is for.
    pub platform: Platform,
    /// The configuration's bytes.
    pub configuration: Vec<u8>,
    /// The configuration's descriptor. Its digest is the image's id for docker.
    pub configuration_descriptor: Descriptor,
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// The manifest's descriptor.
    pub descriptor: Descriptor,
    /// From the lowest up.
    pub layers: Vec<LayerDescriptor>,
}

impl Image {
    /// Writes the documents of an image.
    ///
    /// # Errors
    /// [`Error::Image`] if they can't be written as JSON.
    pub fn build(spec: &ImageSpec) -> Result<Self> {
        let layers = spec.history.iter().filter_map(|entry| entry.layer.clone()).collect();
        Self::of_configuration(spec.platform.clone(), configuration(spec)?, layers, &spec.annotations)
    }

    /// The image of a configuration that is there already, byte for byte, and its layers. `manifest_annotations` are
    /// for the manifest.
    ///
    /// # Errors
    /// [`Error::Image`] if the manifest can't be written as JSON.
    pub fn of_configuration(
        platform: Platform,
        configuration: Vec<u8>,
        layers: Vec<LayerDescriptor>,
        manifest_annotations: &BTreeMap<String, String>,
    ) -> Result<Self> {
        let configuration_descriptor = describe(MediaType::ImageConfig, &configuration);
        let mut manifest = ImageManifestBuilder::default()
            .schema_version(SCHEMA_VERSION)
            .media_type(MediaType::ImageManifest)
            .config(configuration_descriptor.clone())
            .layers(layers.iter().map(layer_descriptor).collect::<Vec<_>>())
            .build()
            .map_err(|error| Error::Image { image: "manifest".to_owned(), reason: error.to_string() })?;
        manifest.set_annotations(annotations(manifest_annotations));
        let manifest = canonical_json(&manifest)?;
        let descriptor = describe(MediaType::ImageManifest, &manifest);
        Ok(Self { platform, configuration, configuration_descriptor, manifest, descriptor, layers })
    }
}

/// An image for several platforms.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Index {
    /// The index's bytes.
    pub bytes: Vec<u8>,
    /// The index's descriptor.
    pub descriptor: Descriptor,
    /// The images it names.
    pub images: Vec<Image>,
}

impl Index {
    /// Writes the index of these images, in their order.
    ///
    /// # Errors
    /// [`Error::Image`] if it can't be written as JSON.
    pub fn build(images: Vec<Image>, index_annotations: &BTreeMap<String, String>) -> Result<Self> {
        let manifests = images.iter().map(|image| {
            let mut descriptor = image.descriptor.clone();
            descriptor.set_platform(Some(platform(&image.platform)?));
            Ok(descriptor)
        });
        let mut index = ImageIndex::default();
        index.set_schema_version(SCHEMA_VERSION).set_media_type(Some(MediaType::ImageIndex));
        index.set_manifests(manifests.collect::<Result<_>>()?);
        index.set_annotations(annotations(index_annotations));
        let bytes = canonical_json(&index)?;
        let descriptor = describe(MediaType::ImageIndex, &bytes);
        Ok(Self { bytes, descriptor, images })
    }
}

/// What is written to a layout or an archive: documents, and blobs that are elsewhere, by their digests.
#[derive(Clone, Debug)]
pub struct Exported<'a> {
    descriptor: &'a Descriptor,
    documents: BTreeMap<String, &'a [u8]>,
    blobs: BTreeMap<String, (&'a Digest, u64)>,
}

impl<'a> Exported<'a> {
    /// What a reference names (`descriptor`), and all that belongs to it: documents and blobs.
    pub fn new(
        descriptor: &'a Descriptor,
        documents: impl IntoIterator<Item = (&'a Digest, &'a [u8])>,
        blobs: impl IntoIterator<Item = (&'a Digest, u64)>,
    ) -> Self {
        let documents = documents.into_iter().map(|(digest, bytes)| (digest.to_string(), bytes));
        let blobs = blobs.into_iter().map(|(digest, size)| (digest.to_string(), (digest, size)));
        Self { descriptor, documents: documents.collect(), blobs: blobs.collect() }
    }

    fn of_images(descriptor: &'a Descriptor, images: &'a [Image]) -> Self {
        let documents = images.iter().flat_map(|image| {
            [(&image.configuration_descriptor, &image.configuration), (&image.descriptor, &image.manifest)]
        });
        let documents = documents.map(|(descriptor, bytes)| (descriptor.digest(), bytes.as_slice()));
        let layers = images.iter().flat_map(|image| &image.layers);
        Self::new(descriptor, documents, layers.map(|layer| (&layer.digest, layer.size)))
    }

    /// What a reference names.
    pub fn descriptor(&self) -> &'a Descriptor {
        self.descriptor
    }

    /// Its documents by digest.
    pub(crate) fn documents(&self) -> &BTreeMap<String, &'a [u8]> {
        &self.documents
    }

    /// Its other blobs, with their sizes, by digest.
    pub(crate) fn blobs(&self) -> &BTreeMap<String, (&'a Digest, u64)> {
        &self.blobs
    }
}

impl<'a> From<&'a Image> for Exported<'a> {
    fn from(image: &'a Image) -> Self {
        Self::of_images(&image.descriptor, std::slice::from_ref(image))
    }
}

impl<'a> From<&'a Index> for Exported<'a> {
    fn from(index: &'a Index) -> Self {
        let mut all = Self::of_images(&index.descriptor, &index.images);
        all.documents.insert(index.descriptor.digest().to_string(), &index.bytes);
        all
    }
}

fn configuration(spec: &ImageSpec) -> Result<Vec<u8>> {
    let layers = spec.history.iter().filter_map(|entry| entry.layer.as_ref());
    let mut rootfs = RootFs::default();
    rootfs.set_diff_ids(layers.map(|layer| layer.diff_id.to_string()).collect());
    let history = spec.history.iter().map(|entry| {
        let mut history = entry.history.clone();
        history.set_empty_layer(entry.layer.is_none().then_some(true));
        history
    });
    let mut configuration = ImageConfiguration::default();
    configuration.set_os(Os::from(spec.platform.os.as_str()));
    configuration.set_architecture(Arch::from(spec.platform.architecture.as_str()));
    configuration.set_variant(spec.platform.variant.clone());
    configuration.set_author(spec.author.clone()).set_created(spec.created.clone());
    configuration.set_config(Some(spec.config.clone())).set_rootfs(rootfs);
    configuration.set_history(Some(history.collect()));
    let bytes = canonical_json(&configuration)?;
    if spec.docker.is_empty() {
        return Ok(bytes);
    }
    let unreadable = |error| Error::Image { image: "configuration".to_owned(), reason: format!("{error}") };
    let mut value: Value = serde_json::from_slice(&bytes).map_err(unreadable)?;
    if let Some(Value::Object(config)) = value.get_mut("config") {
        config.extend(spec.docker.clone());
    }
    canonical_json(&value)
}

fn describe(media_type: MediaType, bytes: &[u8]) -> Descriptor {
    Descriptor::new(media_type, bytes.len() as u64, sha256(bytes))
}

fn layer_descriptor(layer: &LayerDescriptor) -> Descriptor {
    Descriptor::new(layer.media_type.clone(), layer.size, layer.digest.clone())
}

fn platform(platform: &Platform) -> Result<oci_spec::image::Platform> {
    let builder = PlatformBuilder::default()
        .os(Os::from(platform.os.as_str()))
        .architecture(Arch::from(platform.architecture.as_str()));
    let built = match &platform.variant {
        Some(variant) => builder.variant(variant.clone()).build(),
        None => builder.build(),
    };
    built.map_err(|error| Error::Image { image: format!("platform {platform}"), reason: error.to_string() })
}

fn annotations(annotations: &BTreeMap<String, String>) -> Option<HashMap<String, String>> {
    (!annotations.is_empty()).then(|| annotations.clone().into_iter().collect())
}
