//! `oci`: an image of a layout, or of a tar of a layout or docker-archive.
//!
//! Each layer is unpacked once per chain of layers below it; its blob is kept, for images built on this one.

use super::{Surroundings, locate};
use crate::{
    container::ContainerConfig,
    error::{Error, Result},
    key::Ingredients,
    spec::types::OciSource,
    store::Store,
    value::{BaseImage, Content, Lineage, Value},
};
use rbuild_oci::{ImageSource, LayerDescriptor, Platform};
use rbuild_tree::Snapshot;
use std::{fs, io, sync::Arc};

pub(super) fn import(name: &str, image: &OciSource, surroundings: &Surroundings<'_>) -> Result<Value> {
    let path = locate(surroundings.folder, &image.path)?;
    let wanted = Platform {
        os: surroundings.platform.os.clone(),
        architecture: surroundings.platform.architecture.clone(),
        variant: surroundings.platform.variant.clone(),
    };
    let reference = image.reference.as_ref().map(|reference| reference.as_str());
    let opened = ImageSource::open(&path, reference, &wanted)?;
    let store = surroundings.store;
    let mut below = Snapshot::scratch();
    for (index, layer) in opened.layers.iter().enumerate() {
        keep_blob(store, &opened, index, layer)?;
        below = unpack(surroundings, &opened, index, layer, &below)?;
    }
    let id = store.put_snapshot(&below)?;
    let snapshot = Arc::new(below);
    let parsed = opened.parsed();
    let base = BaseImage { history: opened.history(), author: parsed.author().clone() };
    Ok(Value {
        content: Content::Snapshot(id, snapshot.clone()),
        config: Arc::new(ContainerConfig::of_image(&opened.configuration, parsed)),
        lineage: Arc::new(Lineage {
            made_by: name.to_owned(),
            snapshot: Some(snapshot),
            parent: None,
            branches: Vec::new(),
            image: Some(Arc::new(base)),
        }),
    })
}

fn unpack(
    surroundings: &Surroundings<'_>,
    image: &ImageSource,
    index: usize,
    layer: &LayerDescriptor,
    below: &Snapshot,
) -> Result<Snapshot> {
    let mut ingredients = Ingredients::default();
    ingredients.add("source", "layer");
    ingredients.add("below", below.id().to_string());
    ingredients.add("diff-id", layer.diff_id.to_string());
    surroundings.once(&ingredients.key(), || {
        let mut tar = image.open_tar(index)?;
        let snapshot = rbuild_oci::apply_layer(&mut tar, below, surroundings.store)?;
        // The digests are checked at the end of the stream, which is past the end of the archive.
        io::copy(&mut tar, &mut io::sink()).map_err(|error| {
            Error::source("digest-mismatch", format!("layer {}", layer.digest)).caused_by(error)
        })?;
        Ok(snapshot)
    })
}

fn keep_blob(store: &Store, image: &ImageSource, index: usize, layer: &LayerDescriptor) -> Result<()> {
    let sha256 = layer.digest.digest();
    if store.has_blob(sha256) {
        return Ok(());
    }
    let fresh = store.scratch().fresh();
    let mut blob = image.open_layer(index)?;
    let mut file = fs::File::create(&fresh).map_err(|error| Error::io("create", &fresh, error))?;
    io::copy(&mut blob, &mut file).map_err(|error| {
        Error::source("digest-mismatch", format!("layer {}", layer.digest)).caused_by(error)
    })?;
    store.put_blob(sha256, &fresh)?;
    Ok(())
}
