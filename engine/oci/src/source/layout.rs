//! Images in an OCI layout: from the index through manifests to a configuration.

use super::{Files, ImageSource, Manifest, count_matches, listed, parse_configuration, supported};
use crate::{
    LayerDescriptor, Platform, Result,
    layout::{INDEX_FILE, blob_name},
    reference::same,
    sha256,
};
use oci_spec::image::{ANNOTATION_REF_NAME, Descriptor, Digest, ImageIndex, ImageManifest, MediaType};

/// What containerd and docker call an image; the annotation of OCI then holds the tag alone.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
const DOCKER_CONFIGURATION: &str = "application/vnd.docker.container.image.v1+json";
/// An index in an index in an index is as deep as anybody goes.
const DEEPEST_INDEX: usize = 4;

pub(super) fn open(files: Files, reference: Option<&str>, platform: &Platform) -> Result<ImageSource> {
    let index = parse_index(&files, &files.read(INDEX_FILE)?, INDEX_FILE)?;
    let candidates = named(&files, index.manifests(), reference)?;
    let manifest = resolve(&files, &candidates, platform, 0)?;
    let unreadable = |error| files.refuse(format!("manifest {} can't be read: {error}", manifest.digest));
    let parsed: ImageManifest = serde_json::from_slice(&manifest.bytes).map_err(unreadable)?;
    let media_type = parsed.config().media_type();
    if *media_type != MediaType::ImageConfig && media_type.as_ref() != DOCKER_CONFIGURATION {
        return Err(files.refuse(format!("manifest {} is no image but a {media_type}", manifest.digest)));
    }
    let configuration = read_blob(&files, parsed.config())?;
    let (parsed_configuration, diff_ids) = parse_configuration(&files, &configuration)?;
    count_matches(&files, parsed.layers().len(), diff_ids.len())?;
    let mut layers = Vec::new();
    for (descriptor, diff_id) in parsed.layers().iter().zip(diff_ids) {
        supported(&files, descriptor.digest())?;
        layers.push(LayerDescriptor {
            media_type: layer_media_type(&files, descriptor)?,
            digest: descriptor.digest().clone(),
            size: descriptor.size(),
            diff_id,
        });
    }
    let names = layers.iter().map(|layer| blob_name(&layer.digest)).collect();
    let manifest = Some(manifest);
    Ok(ImageSource { configuration, manifest, layers, parsed: parsed_configuration, files, names })
}

/// The one entry that a reference names; none if it names several, of one image for different platforms.
pub(super) fn root(files: &Files, reference: Option<&str>) -> Result<Option<Descriptor>> {
    let index = parse_index(files, &files.read(INDEX_FILE)?, INDEX_FILE)?;
    let candidates = named(files, index.manifests(), reference)?;
    let [only] = candidates.as_slice() else { return Ok(None) };
    // What else the entry says of it belongs to this layout: its name, for instance.
    Ok(Some(Descriptor::new(only.media_type().clone(), only.size(), only.digest().clone())))
}

/// The entries that a reference names; all if there is none and they are one image.
fn named<'d>(
    files: &Files,
    manifests: &'d [Descriptor],
    reference: Option<&str>,
) -> Result<Vec<&'d Descriptor>> {
    let name = |descriptor: &'d Descriptor| {
        annotation(descriptor, CONTAINERD_NAME).or_else(|| annotation(descriptor, ANNOTATION_REF_NAME))
    };
    let all = || {
        listed(manifests.iter().map(|descriptor| {
            name(descriptor).map_or_else(|| descriptor.digest().to_string(), str::to_owned)
        }))
    };
    let Some(reference) = reference else {
        let first = manifests.first().ok_or_else(|| files.refuse("it holds no image"))?;
        if manifests.iter().all(|other| name(other) == name(first))
            && (name(first).is_some() || one_each(manifests))
        {
            return Ok(manifests.iter().collect());
        }
        return Err(files.refuse(format!("it holds several images, say which: {}", all())));
    };
    let fits = |descriptor: &&'d Descriptor| {
        descriptor.digest().as_ref() == reference
            || annotation(descriptor, ANNOTATION_REF_NAME) == Some(reference)
            || annotation(descriptor, CONTAINERD_NAME).is_some_and(|name| same(name, reference))
    };
    let found: Vec<&Descriptor> = manifests.iter().filter(fits).collect();
    if found.is_empty() {
        return Err(files.refuse(format!("it holds no image {reference:?}, but {}", all())));
    }
    Ok(found)
}

fn annotation<'d>(descriptor: &'d Descriptor, key: &str) -> Option<&'d str> {
    descriptor.annotations().as_ref().and_then(|annotations| annotations.get(key)).map(String::as_str)
}

/// Whether entries without a name can be one image: there is one only, or each says its platform.
fn one_each(manifests: &[Descriptor]) -> bool {
    manifests.len() == 1 || manifests.iter().all(|descriptor| descriptor.platform().is_some())
}

/// Follows indexes to the manifest that serves a platform best.
fn resolve(files: &Files, candidates: &[&Descriptor], platform: &Platform, depth: usize) -> Result<Manifest> {
    if depth > DEEPEST_INDEX {
        return Err(files.refuse("its indexes nest too deep"));
    }
    let descriptor = best(files, candidates, platform)?;
    let bytes = read_blob(files, descriptor)?;
    let media_type = document_media_type(files, descriptor, &bytes)?;
    if media_type == MediaType::ImageIndex {
        let index = parse_index(files, &bytes, descriptor.digest().as_ref())?;
        let inner: Vec<&Descriptor> = index.manifests().iter().collect();
        return resolve(files, &inner, platform, depth + 1);
    }
    let digest = descriptor.digest().clone();
    Ok(Manifest { bytes, digest, media_type })
}

fn best<'d>(files: &Files, candidates: &[&'d Descriptor], platform: &Platform) -> Result<&'d Descriptor> {
    if let [only] = candidates
        && only.platform().is_none()
    {
        return Ok(only);
    }
    let offered = |descriptor: &Descriptor| {
        descriptor.platform().as_ref().map(|platform| Platform {
            os: platform.os().to_string(),
            architecture: platform.architecture().to_string(),
            variant: platform.variant().clone(),
        })
    };
    let mut best = None;
    for descriptor in candidates {
        let rank = offered(descriptor).and_then(|offered| platform.serves(&offered));
        // The first of equals: an index is in order of preference.
        if let Some(rank) = rank
            && best.is_none_or(|(best, _)| rank > best)
        {
            best = Some((rank, *descriptor));
        }
    }
    let platforms = || {
        listed(candidates.iter().map(|descriptor| match offered(descriptor) {
            Some(platform) => platform.to_string(),
            None => "an image without a platform".to_owned(),
        }))
    };
    best.map(|(_, descriptor)| descriptor)
        .ok_or_else(|| files.refuse(format!("it holds no image for {platform}, but for {}", platforms())))
}

pub(super) fn read_blob(files: &Files, descriptor: &Descriptor) -> Result<Vec<u8>> {
    let digest: &Digest = descriptor.digest();
    supported(files, digest)?;
    let bytes = files.read(&blob_name(digest))?;
    if bytes.len() as u64 != descriptor.size() {
        let (found, expected) = (bytes.len(), descriptor.size());
        return Err(files.refuse(format!("blob {digest} has {found} bytes instead of {expected}")));
    }
    let found = sha256(&bytes);
    if found != *digest {
        return Err(files.refuse(format!("blob {digest} is damaged: its digest is {found}")));
    }
    Ok(bytes)
}

fn parse_index(files: &Files, bytes: &[u8], name: &str) -> Result<ImageIndex> {
    serde_json::from_slice(bytes)
        .map_err(|error| files.refuse(format!("index {name} can't be read: {error}")))
}

/// What a document is, told by its members: some say nothing of it themselves. A manifest list of docker is an index.
fn document_media_type(files: &Files, descriptor: &Descriptor, bytes: &[u8]) -> Result<MediaType> {
    let value: serde_json::Value = serde_json::from_slice(bytes)
        .map_err(|error| files.refuse(format!("manifest {} can't be read: {error}", descriptor.digest())))?;
    let is_known = value["schemaVersion"] == 2;
    let (is_index, is_manifest) = (value["manifests"].is_array(), value["layers"].is_array());
    match (is_known, is_index, is_manifest) {
        (true, true, false) => Ok(MediaType::ImageIndex),
        (true, false, true) => Ok(descriptor.media_type().clone()),
        _ => {
            let digest = descriptor.digest();
            Err(files
                .refuse(format!("{digest} is neither an image manifest nor an index (of schema version 2)")))
        }
    }
}

/// docker's names of layers are those of OCI's.
fn layer_media_type(files: &Files, descriptor: &Descriptor) -> Result<MediaType> {
    let media_type = descriptor.media_type();
    Ok(match media_type.as_ref() {
        "application/vnd.docker.image.rootfs.diff.tar" => MediaType::ImageLayer,
        "application/vnd.docker.image.rootfs.diff.tar.gzip"
        | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => MediaType::ImageLayerGzip,
        "application/vnd.docker.image.rootfs.diff.tar.zstd" => MediaType::ImageLayerZstd,
        _ => match media_type {
            MediaType::ImageLayer | MediaType::ImageLayerGzip | MediaType::ImageLayerZstd => {
                media_type.clone()
            }
            MediaType::ImageLayerNonDistributable => MediaType::ImageLayer,
            MediaType::ImageLayerNonDistributableGzip => MediaType::ImageLayerGzip,
            MediaType::ImageLayerNonDistributableZstd => MediaType::ImageLayerZstd,
            other => {
                let digest = descriptor.digest();
                return Err(
                    files.refuse(format!("layer {digest} is of a type that is not supported: {other}"))
                );
            }
        },
    })
}
