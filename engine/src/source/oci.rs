//! `oci`: an image of a layout, or of a tar of a layout or docker-archive.

use super::{
    Surroundings,
    layers::{self, Blobs, Layered},
    locate,
};
use crate::{error::Result, spec::types::OciSource, value::Value};
use rbuild_oci::{ImageSource, LayerDescriptor};
use std::io::{self, Read};

pub(super) fn import(name: &str, image: &OciSource, surroundings: &Surroundings<'_>) -> Result<Value> {
    let path = locate(surroundings.folder, &image.path)?;
    let reference = image.reference.as_ref().map(|reference| reference.as_str());
    let opened = ImageSource::open(&path, reference, surroundings.platform)?;
    for (index, layer) in opened.layers.iter().enumerate() {
        layers::keep_blob(surroundings.store, &layer.digest, |file| {
            let copied = io::copy(&mut surroundings.stoppable(opened.open_layer(index)?), file);
            copied.map(|_| ()).map_err(|error| layers::mismatch(layer, error))
        })?;
    }
    let blobs = InStore { surroundings, layers: &opened.layers };
    let snapshot = layers::unpack(surroundings, &opened.layers, &blobs);
    let snapshot = snapshot.map_err(|error| error.within(&image.path.display().to_string()))?;
    let (configuration, parsed) = (&opened.configuration, opened.parsed());
    Layered { configuration, parsed, layers: &opened.layers }.value(name, snapshot, surroundings)
}

/// Blobs that are in the store.
struct InStore<'a> {
    surroundings: &'a Surroundings<'a>,
    layers: &'a [LayerDescriptor],
}

impl Blobs for InStore<'_> {
    fn open(&self, index: usize) -> Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(layers::open_blob(self.surroundings, &self.layers[index])?))
    }
}
