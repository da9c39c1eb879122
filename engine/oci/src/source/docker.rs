//! Images as docker saves them: `manifest.json` names the configuration and the layers of each image.

use super::{Files, ImageSource, count_matches, listed, parse_configuration};
use crate::{LayerDescriptor, Result, decompress::Format, digest, error::io_error, reference::same, sha256};
use oci_spec::image::{Digest, MediaType};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read};

pub(super) const MANIFEST: &str = "manifest.json";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

pub(super) fn open(files: Files, reference: Option<&str>) -> Result<ImageSource> {
    let images: Vec<Saved> = serde_json::from_slice(&files.read(MANIFEST)?)
        .map_err(|error| files.refuse(format!("{MANIFEST} can't be read: {error}")))?;
    let saved = choose(&files, images, reference)?;
    let names = saved.layers.unwrap_or_default();
    for name in names.iter().chain([&saved.config]) {
        files.check_inside(name)?;
    }
    let configuration = files.read(&saved.config)?;
    check_name(&files, &saved.config, &configuration)?;
    let (parsed, diff_ids) = parse_configuration(&files, &configuration)?;
    count_matches(&files, names.len(), diff_ids.len())?;
    let layers = names.iter().zip(diff_ids).map(|(name, diff_id)| describe(&files, name, diff_id));
    let layers = layers.collect::<Result<_>>()?;
    Ok(ImageSource { configuration, manifest: None, layers, parsed, files, names })
}

fn choose(files: &Files, images: Vec<Saved>, reference: Option<&str>) -> Result<Saved> {
    let tags = |saved: &Saved| saved.repo_tags.clone().unwrap_or_default();
    let all = listed(images.iter().flat_map(|saved| match tags(saved).as_slice() {
        [] => vec![saved.config.clone()],
        tags => tags.to_vec(),
    }));
    let is_alone = images.len() == 1;
    let fits = |saved: &Saved| match reference {
        Some(reference) => {
            stem(&saved.config) == reference.trim_start_matches("sha256:")
                || tags(saved).iter().any(|tag| same(tag, reference))
        }
        None => is_alone,
    };
    images.into_iter().find(fits).ok_or_else(|| match reference {
        Some(reference) => files.refuse(format!("it holds no image {reference:?}, but {all}")),
        None if all.is_empty() => files.refuse("it holds no image"),
        None => files.refuse(format!("it holds several images, say which: {all}")),
    })
}

fn stem(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or_default().trim_end_matches(".json")
}

/// The configuration's file is called after its digest.
fn check_name(files: &Files, name: &str, configuration: &[u8]) -> Result<()> {
    let stem = stem(name);
    let is_digest = stem.len() == 64 && stem.bytes().all(|byte| byte.is_ascii_hexdigit());
    let digest = sha256(configuration);
    if is_digest && digest.digest() != stem {
        return Err(files.refuse(format!("{name} is damaged: its digest is {digest}")));
    }
    Ok(())
}

/// An uncompressed layer is what its diff_id says; of a compressed one the digest must be computed.
fn describe(files: &Files, name: &str, diff_id: Digest) -> Result<LayerDescriptor> {
    let open = || files.open_file(name)?.ok_or_else(|| files.refuse(format!("layer {name} is missing")));
    let reading = || io_error(format!("reading layer {name}"));
    let (mut reader, size) = open()?;
    let mut head = Vec::new();
    reader.by_ref().take(6).read_to_end(&mut head).map_err(reading())?;
    let media_type = match Format::of(&head) {
        Format::Plain => {
            let digest = diff_id.clone();
            return Ok(LayerDescriptor { media_type: MediaType::ImageLayer, digest, size, diff_id });
        }
        Format::Gzip => MediaType::ImageLayerGzip,
        Format::Zstd => MediaType::ImageLayerZstd,
        other => {
            return Err(files.refuse(format!("layer {name} is compressed as no layer may be: {other:?}")));
        }
    };
    let mut hasher = HashWriter(Sha256::new());
    io::copy(&mut open()?.0, &mut hasher).map_err(reading())?;
    Ok(LayerDescriptor { media_type, digest: digest::finish(hasher.0), size, diff_id })
}

struct HashWriter(Sha256);

impl io::Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
