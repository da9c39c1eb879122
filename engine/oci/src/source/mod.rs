//! Reading images: an OCI layout directory, an `oci-archive`, a `docker-archive` (each archive plain or compressed).
//!
//! Documents are kept as the bytes they are; a manifest is never written again to know its digest. Every blob is
//! checked against its digest and size when it is read. Manifests of OCI and of docker (schema 2) are understood,
//! indexes may nest and are resolved by platform.
//!
//! | module | what |
//! |---|---|
//! | `files` | names to bytes: a directory or a tar |
//! | `layout` | index, manifest, configuration of a layout |
//! | `docker` | the same of a `docker-archive` |
//! | `bounded` | what a layer may expand to |
//! | `stored` | what a name stands for as it is, to be copied |

mod bounded;
mod docker;
mod files;
mod layout;
mod stored;

use crate::{HistoryEntry, LayerDescriptor, Platform, Result, decompress, digest::Verified, error::io_error};
use bounded::Bounded;
use files::Files;
use oci_spec::image::{Digest, ImageConfiguration, MediaType};
use std::{io::Read, path::Path};
pub use stored::StoredImage;

/// Documents are smaller than this; a digest does not make a giant one harmless.
const LARGEST_DOCUMENT: u64 = 32 << 20;

/// A manifest as it was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Their digest.
    pub digest: Digest,
    /// What it says it is.
    pub media_type: MediaType,
}

/// An image to be read.
#[derive(Debug)]
pub struct ImageSource {
    /// The configuration's bytes.
    pub configuration: Vec<u8>,
    /// The manifest; a `docker-archive` has none.
    pub manifest: Option<Manifest>,
    /// From the lowest up.
    pub layers: Vec<LayerDescriptor>,
    parsed: ImageConfiguration,
    files: Files,
    /// Names of the layers' files.
    names: Vec<String>,
}

impl ImageSource {
    /// Opens the image of this reference in a layout or archive: a reference of the layout, a name, or a digest.
    /// Without one there must be one image only. Where an index offers several platforms, the one that serves
    /// `platform` best is taken.
    ///
    /// # Errors
    /// [`Error::Image`](crate::Error::Image) that lists what there is if nothing or too much fits, or says what is malformed;
    /// [`Error::Io`](crate::Error::Io).
    pub fn open(path: &Path, reference: Option<&str>, platform: &Platform) -> Result<Self> {
        let files = Files::open(path)?;
        if files.has(crate::layout::INDEX_FILE) {
            layout::open(files, reference, platform)
        } else if files.has(docker::MANIFEST) {
            docker::open(files, reference)
        } else {
            Err(files
                .refuse("it holds neither index.json (an OCI layout) nor manifest.json (what docker saves)"))
        }
    }

    /// The configuration, read.
    pub fn parsed(&self) -> &ImageConfiguration {
        &self.parsed
    }

    /// The machine the configuration says it is for.
    pub fn platform(&self) -> Platform {
        Platform {
            os: self.parsed.os().to_string(),
            architecture: self.parsed.architecture().to_string(),
            variant: self.parsed.variant().clone(),
        }
    }

    /// What happened, from the lowest layer up.
    pub fn history(&self) -> Vec<HistoryEntry> {
        history_of(&self.parsed, &self.layers)
    }

    /// The blob of a layer. Reading it to its end fails if it is not what the manifest says.
    ///
    /// # Errors
    /// [`Error::Image`](crate::Error::Image) if it is not there; [`Error::Io`](crate::Error::Io).
    pub fn open_layer(&self, index: usize) -> Result<Box<dyn Read + Send>> {
        let (Some(layer), Some(name)) = (self.layers.get(index), self.names.get(index)) else {
            return Err(self.files.refuse(format!("it has no layer {index}")));
        };
        let missing = || self.files.refuse(format!("layer {} is missing", layer.digest));
        let (reader, size) = self.files.open_file(name)?.ok_or_else(missing)?;
        if size != layer.size {
            let reason = format!("layer {} has {size} bytes instead of {}", layer.digest, layer.size);
            return Err(self.files.refuse(reason));
        }
        Ok(Box::new(Verified::new(reader, "layer", layer.digest.clone(), Some(layer.size))))
    }

    /// The tar of a layer. Reading it to its end fails if it is not what the configuration says.
    ///
    /// # Errors
    /// As [`Self::open_layer`].
    pub fn open_tar(&self, index: usize) -> Result<Box<dyn Read + Send>> {
        let blob = self.open_layer(index)?;
        tar_of(blob, &self.layers[index])
    }
}

/// The tar of a layer's blob. Reading it to its end fails if it is not what the configuration says, or larger than
/// [`Limits::of_layer`](crate::Limits::of_layer).
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) if not even the first bytes can be read.
pub fn tar_of<'a>(
    blob: Box<dyn Read + Send + 'a>,
    layer: &LayerDescriptor,
) -> Result<Box<dyn Read + Send + 'a>> {
    let tar = decompress(blob).map_err(io_error(format!("reading layer {}", layer.digest)))?;
    let tar = Bounded::new(tar, layer.size);
    Ok(Box::new(Verified::new(tar, "uncompressed layer", layer.diff_id.clone(), None)))
}

/// What happened to an image, from the lowest layer up. A history that does not fit the layers is dropped: each layer
/// then has a line that says nothing.
pub fn history_of(configuration: &ImageConfiguration, layers: &[LayerDescriptor]) -> Vec<HistoryEntry> {
    let lines = configuration.history().clone().unwrap_or_default();
    let with_layer = lines.iter().filter(|line| line.empty_layer() != Some(true)).count();
    if with_layer != layers.len() {
        let unknown = |layer: &LayerDescriptor| HistoryEntry {
            history: Default::default(),
            layer: Some(layer.clone()),
        };
        return layers.iter().map(unknown).collect();
    }
    let mut layers = layers.iter().cloned();
    let pair = |history: oci_spec::image::History| {
        let layer = if history.empty_layer() == Some(true) { None } else { layers.next() };
        HistoryEntry { history, layer }
    };
    lines.into_iter().map(pair).collect()
}

fn parse_configuration(files: &Files, bytes: &[u8]) -> Result<(ImageConfiguration, Vec<Digest>)> {
    let parsed: ImageConfiguration = serde_json::from_slice(bytes)
        .map_err(|error| files.refuse(format!("its configuration can't be read: {error}")))?;
    let diff_ids = parsed.rootfs().diff_ids().iter().map(|text| {
        let bad = |error| files.refuse(format!("its configuration names diff_id {text:?}: {error}"));
        let digest = text.parse::<Digest>().map_err(|error| bad(error.to_string()))?;
        supported(files, &digest)?;
        Ok(digest)
    });
    let diff_ids = diff_ids.collect::<Result<_>>()?;
    Ok((parsed, diff_ids))
}

/// sha256 is what everybody uses, and what is checked here.
fn supported(files: &Files, digest: &Digest) -> Result<()> {
    if *digest.algorithm() == oci_spec::image::DigestAlgorithm::Sha256 {
        return Ok(());
    }
    Err(files.refuse(format!("digest {digest} is not supported: only sha256 is")))
}

fn count_matches(files: &Files, layers: usize, diff_ids: usize) -> Result<()> {
    if layers == diff_ids {
        return Ok(());
    }
    Err(files.refuse(format!("its manifest has {layers} layers but its configuration has {diff_ids}")))
}

/// One image among several, in the list of an error.
fn listed(names: impl IntoIterator<Item = String>) -> String {
    const MOST: usize = 20;
    let names: Vec<String> = names.into_iter().collect();
    let rest = names.len().saturating_sub(MOST);
    let list = names.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(", ");
    if rest > 0 { format!("{list} and {rest} more") } else { list }
}
