//! Manifests, indexes and configurations as registries give them: read, checked, bounded.
//!
//! Nothing is trusted beyond its digest, and a digest says nothing of sense: each entry is looked at by itself, so
//! that an error can name it. Sources: OCI image-spec (manifest.md, image-index.md, config.md, descriptor.md), docker's
//! image manifest version 2, schema 2.

use crate::{Error, Result, digest};
use rbuild_oci::{
    LayerDescriptor,
    oci_spec::image::{Descriptor, Digest, ImageConfiguration, MediaType},
};
use serde_json::Value;
use std::collections::BTreeMap;

/// Registries refuse larger manifests (distribution-spec), and so do docker and containerd.
pub const LARGEST_MANIFEST: u64 = 4 << 20;
/// Of a configuration.
pub const LARGEST_CONFIGURATION: u64 = 16 << 20;
/// No layer is larger than 1 TiB.
pub const LARGEST_LAYER: u64 = 1 << 40;
/// docker stops at 127; nobody needs a thousand.
pub const MOST_LAYERS: usize = 1024;
/// Entries of one index.
pub const MOST_ENTRIES: usize = 4096;

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_CONFIGURATION: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.";

/// What a document is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Document {
    /// An image for one platform.
    Manifest(Box<ManifestDocument>),
    /// Images to choose from.
    Index(Vec<Descriptor>),
}

/// An image for one platform.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManifestDocument {
    /// The configuration's descriptor.
    pub config: Descriptor,
    /// From the lowest layer up.
    pub layers: Vec<Descriptor>,
}

/// What a document is, told by itself and by the registry's `Content-Type`.
///
/// # Errors
/// [`Error::Malformed`], also for docker's schema 1 and for what contradicts itself: a document that is manifest and
/// index at once would be another image for another reader (CVE-2021-41190).
pub fn media_type_of(image: &str, bytes: &[u8], content_type: Option<&str>) -> Result<MediaType> {
    let value = parse(image, bytes)?;
    media_type(image, &value, content_type)
}

/// Reads a manifest or an index of this media type.
///
/// # Errors
/// [`Error::Malformed`] that names the entry.
pub fn read(image: &str, bytes: &[u8]) -> Result<Document> {
    let value = parse(image, bytes)?;
    let refuse = |reason: String| Err(Error::Malformed { what: image.to_owned(), reason });
    if is_index(&media_type(image, &value, None)?) {
        let entries = descriptors(image, &value, "manifests", "entry", MOST_ENTRIES)?;
        if let Some((at, entry)) =
            entries.iter().enumerate().find(|(_, entry)| entry.size() > LARGEST_MANIFEST)
        {
            return refuse(format!(
                "entry {at} of its index has {} bytes, too many for a manifest",
                entry.size()
            ));
        }
        return Ok(Document::Index(entries));
    }
    let config = descriptor(image, &value["config"], "config")?;
    let kind = config.media_type().to_string();
    if kind != MediaType::ImageConfig.to_string() && kind != DOCKER_CONFIGURATION {
        return refuse(format!("it is no image: its config is of type {kind:?}"));
    }
    if config.size() > LARGEST_CONFIGURATION {
        return refuse(format!("its config has {} bytes, too many", config.size()));
    }
    let layers = descriptors(image, &value, "layers", "layer", MOST_LAYERS)?;
    let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
    for (at, layer) in layers.iter().enumerate() {
        if layer.size() > LARGEST_LAYER {
            return refuse(format!("layer {at} has {} bytes, too many", layer.size()));
        }
        // One blob may be several layers, but it has one size.
        if *sizes.entry(layer.digest().as_ref()).or_insert(layer.size()) != layer.size() {
            return refuse(format!("layer {at} ({}) is there twice, with two sizes", layer.digest()));
        }
        layer_media_type(image, at, layer)?;
    }
    Ok(Document::Manifest(Box::new(ManifestDocument { config, layers })))
}

/// Reads a configuration and joins its diff_ids with the layers of its manifest.
///
/// # Errors
/// [`Error::Malformed`].
pub fn read_configuration(
    image: &str,
    bytes: &[u8],
    layers: &[Descriptor],
) -> Result<(ImageConfiguration, Vec<LayerDescriptor>)> {
    let refuse = |reason: String| Error::Malformed { what: image.to_owned(), reason };
    let parsed: ImageConfiguration = serde_json::from_slice(bytes).map_err(|error| {
        refuse(format!("its config can't be read: {}", crate::error::quoted(&error.to_string())))
    })?;
    let diff_ids = parsed.rootfs().diff_ids();
    if diff_ids.len() != layers.len() {
        let (layers, diff_ids) = (layers.len(), diff_ids.len());
        return Err(refuse(format!("its manifest has {layers} layers, but its config {diff_ids} diff_ids")));
    }
    let mut joined = Vec::with_capacity(layers.len());
    for (at, (layer, text)) in layers.iter().zip(diff_ids).enumerate() {
        let diff_id = checked_digest(text).map_err(|reason| {
            refuse(format!("diff_id {at} of its config ({:?}) {reason}", crate::error::quoted(text)))
        })?;
        let media_type = layer_media_type(image, at, layer)?;
        let (digest, size) = (layer.digest().clone(), layer.size());
        joined.push(LayerDescriptor { media_type, digest, size, diff_id });
    }
    Ok((parsed, joined))
}

/// Whether a media type is that of an index.
pub(crate) fn is_index(media_type: &MediaType) -> bool {
    *media_type == MediaType::ImageIndex || media_type.to_string() == DOCKER_INDEX
}

/// Whether a media type is that of one image.
pub(crate) fn is_manifest(media_type: &MediaType) -> bool {
    *media_type == MediaType::ImageManifest || media_type.to_string() == DOCKER_MANIFEST
}

/// Whether an entry of an index holds what was said about an image (in-toto) and not an image.
pub(crate) fn is_attestation(entry: &Descriptor) -> bool {
    let annotated = |name: &str| entry.annotations().as_ref().is_some_and(|all| all.contains_key(name));
    let is_unknown = entry.platform().as_ref().is_some_and(|platform| {
        platform.os().to_string() == "unknown" && platform.architecture().to_string() == "unknown"
    });
    is_unknown || annotated("vnd.docker.reference.type")
}

fn parse(image: &str, bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes).map_err(|error| Error::Malformed {
        what: image.to_owned(),
        reason: format!("its manifest is no JSON: {error}"),
    })
}

fn media_type(image: &str, value: &Value, content_type: Option<&str>) -> Result<MediaType> {
    let refuse = |reason: String| Err(Error::Malformed { what: image.to_owned(), reason });
    let header =
        content_type.map(|text| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    let header = header.filter(|text| !is_vague(text));
    let own = match &value["mediaType"] {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.as_str()),
        _ => return refuse("its mediaType is no string".to_owned()),
    };
    if value["schemaVersion"] == 1 || header.as_deref().is_some_and(|text| text.starts_with(DOCKER_SCHEMA_1))
    {
        let reason =
            "it is in docker's schema 1, which docker itself gave up: push it again with a docker of today";
        return refuse(reason.to_owned());
    }
    if value["schemaVersion"] != 2 {
        return refuse("its manifest is not of schemaVersion 2".to_owned());
    }
    if let (Some(header), Some(own)) = (&header, own)
        && header != own
    {
        let (header, own) = (crate::error::quoted(header), crate::error::quoted(own));
        return refuse(format!("the registry says it is {header:?}, itself it says {own:?}"));
    }
    let (has_entries, has_layers) = (!value["manifests"].is_null(), !value["layers"].is_null());
    let has_config = !value["config"].is_null();
    let guessed = match (has_entries, has_layers || has_config) {
        (true, false) => MediaType::ImageIndex,
        (false, true) => MediaType::ImageManifest,
        (true, true) => return refuse("it is manifest and index at once".to_owned()),
        (false, false) => return refuse("it is neither a manifest nor an index".to_owned()),
    };
    let Some(said) = own.map(str::to_owned).or(header) else { return Ok(guessed) };
    let said = MediaType::from(said.as_str());
    let is_image = is_manifest(&said);
    match (is_index(&said), is_image) {
        (true, _) if is_index(&guessed) => Ok(said),
        (_, true) if !is_index(&guessed) => Ok(said),
        (false, false) => refuse(format!("it is no image but {:?}", crate::error::quoted(said.as_ref()))),
        _ => refuse(format!("it says that it is {said}, but has not its members")),
    }
}

/// Types that servers give to what they do not know.
fn is_vague(text: &str) -> bool {
    matches!(
        text,
        "" | "application/json" | "application/octet-stream" | "text/plain" | "binary/octet-stream"
    )
}

fn descriptors(
    image: &str,
    value: &Value,
    member: &str,
    entry: &str,
    most: usize,
) -> Result<Vec<Descriptor>> {
    let refuse = |reason: String| Err(Error::Malformed { what: image.to_owned(), reason });
    let Some(values) = value[member].as_array() else { return refuse(format!("its {member} are no array")) };
    if values.len() > most {
        return refuse(format!("it has {} {member}, more than {most}", values.len()));
    }
    values.iter().enumerate().map(|(at, value)| descriptor(image, value, &format!("{entry} {at}"))).collect()
}

fn descriptor(image: &str, value: &Value, entry: &str) -> Result<Descriptor> {
    let refuse =
        |reason: String| Error::Malformed { what: image.to_owned(), reason: format!("{entry} {reason}") };
    if !value.is_object() {
        return Err(refuse("is no descriptor".to_owned()));
    }
    let size = &value["size"];
    if size.as_u64().is_none_or(|size| i64::try_from(size).is_err()) {
        return Err(refuse(format!(
            "has the size {}, which is none",
            crate::error::quoted(&size.to_string())
        )));
    }
    let text = value["digest"].as_str().unwrap_or_default();
    checked_digest(text)
        .map_err(|reason| refuse(format!("has a digest that {reason}: {:?}", crate::error::quoted(text))))?;
    serde_json::from_value(value.clone())
        .map_err(|error| refuse(format!("is malformed: {}", crate::error::quoted(&error.to_string()))))
}

/// A digest that can be checked here.
pub(crate) fn checked_digest(text: &str) -> Result<Digest, &'static str> {
    let digest: Digest = text.parse().map_err(|_| "is no digest")?;
    if digest::is_supported(&digest) { Ok(digest) } else { Err("is not of sha256, which alone is supported") }
}

/// Whether it is of a layer that registries need not have: its `urls` say where it is.
pub(crate) fn is_foreign(media_type: &MediaType) -> bool {
    use MediaType::{
        ImageLayerNonDistributable, ImageLayerNonDistributableGzip, ImageLayerNonDistributableZstd,
    };
    let text = media_type.to_string();
    let docker = text.strip_prefix(DOCKER_LAYER).is_some_and(|rest| rest.starts_with("foreign."));
    docker
        || matches!(
            media_type,
            ImageLayerNonDistributable | ImageLayerNonDistributableGzip | ImageLayerNonDistributableZstd
        )
}

/// docker's names of layers are those of OCI's; foreign ones differ only in where they may be fetched.
fn layer_media_type(image: &str, at: usize, layer: &Descriptor) -> Result<MediaType> {
    let media_type = layer.media_type();
    let text = media_type.to_string();
    let docker = text.strip_prefix(DOCKER_LAYER).map(|rest| rest.strip_prefix("foreign.").unwrap_or(rest));
    Ok(match (docker, media_type) {
        (Some("diff.tar"), _) | (_, MediaType::ImageLayer | MediaType::ImageLayerNonDistributable) => {
            MediaType::ImageLayer
        }
        (Some("diff.tar.gzip"), _)
        | (_, MediaType::ImageLayerGzip | MediaType::ImageLayerNonDistributableGzip) => {
            MediaType::ImageLayerGzip
        }
        (Some("diff.tar.zstd"), _)
        | (_, MediaType::ImageLayerZstd | MediaType::ImageLayerNonDistributableZstd) => {
            MediaType::ImageLayerZstd
        }
        _ => {
            let reason =
                format!("layer {at} is of a type that is not supported: {:?}", crate::error::quoted(&text));
            return Err(Error::Malformed { what: image.to_owned(), reason });
        }
    })
}
