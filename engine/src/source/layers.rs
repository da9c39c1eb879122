//! From the layers of an image to a value: its tree, its config, and the layers it came with.
//!
//! Each layer is unpacked once per chain of layers below it; its blob is kept, for images built on this one.

use super::Surroundings;
use crate::{
    container::ContainerConfig,
    error::{Error, Result},
    key::Ingredients,
    value::{BaseImage, Content, Lineage, Value},
};
use rbuild_oci::{LayerDescriptor, oci_spec::image::ImageConfiguration};
use rbuild_tree::Snapshot;
use std::{fs::File, io, sync::Arc};

/// An image whose layers' blobs are in the store.
pub(super) struct Layered<'a> {
    /// Byte for byte.
    pub(super) configuration: &'a [u8],
    pub(super) parsed: &'a ImageConfiguration,
    /// From the lowest up.
    pub(super) layers: &'a [LayerDescriptor],
}

impl Layered<'_> {
    /// The value; `below` is the tree of all its layers.
    pub(super) fn value(
        &self,
        name: &str,
        below: Snapshot,
        surroundings: &Surroundings<'_>,
    ) -> Result<Value> {
        let id = surroundings.store.put_snapshot(&below)?;
        let snapshot = Arc::new(below);
        let history = rbuild_oci::source::history_of(self.parsed, self.layers);
        let base = BaseImage { history, author: self.parsed.author().clone() };
        Ok(Value {
            content: Content::Snapshot(id, snapshot.clone()),
            config: Arc::new(ContainerConfig::of_image(self.configuration, self.parsed)),
            lineage: Arc::new(Lineage {
                made_by: name.to_owned(),
                snapshot: Some(snapshot),
                parent: None,
                branches: Vec::new(),
                image: Some(Arc::new(base)),
            }),
        })
    }
}

/// Unpacks a layer, whose blob is in the store, over what is below it.
pub(super) fn unpack(
    surroundings: &Surroundings<'_>,
    layer: &LayerDescriptor,
    below: &Snapshot,
) -> Result<Snapshot> {
    let mut ingredients = Ingredients::default();
    ingredients.add("source", "layer");
    ingredients.add("below", below.id().to_string());
    ingredients.add("diff-id", layer.diff_id.to_string());
    surroundings.once(&ingredients.key(), || {
        let path = surroundings.store.blob_path(layer.digest.digest());
        let blob = File::open(&path).map_err(|error| Error::io("open", &path, error))?;
        let mut tar = rbuild_oci::source::tar_of(Box::new(blob), layer)?;
        let snapshot = rbuild_oci::apply_layer(&mut tar, below, surroundings.store)?;
        // The digest is checked at the end of the stream, which is past the end of the archive.
        io::copy(&mut tar, &mut io::sink()).map_err(|error| mismatch(layer, error))?;
        Ok(snapshot)
    })
}

/// Sees to it that the store has a layer's blob; `write` writes it into a new file, checked.
pub(super) fn keep_blob(
    surroundings: &Surroundings<'_>,
    layer: &LayerDescriptor,
    write: impl FnOnce(&mut File) -> Result<()>,
) -> Result<()> {
    let store = surroundings.store;
    let sha256 = layer.digest.digest();
    if store.has_blob(sha256) {
        return Ok(());
    }
    let fresh = store.scratch().fresh();
    let mut options = File::options();
    let file = options.read(true).write(true).create_new(true).open(&fresh);
    write(&mut file.map_err(|error| Error::io("make", &fresh, error))?)?;
    store.put_blob(sha256, &fresh)?;
    Ok(())
}

/// The error of a layer whose bytes are not what its digests say.
pub(super) fn mismatch(layer: &LayerDescriptor, error: io::Error) -> Error {
    Error::source("digest-mismatch", format!("layer {}", layer.digest)).caused_by(error)
}
