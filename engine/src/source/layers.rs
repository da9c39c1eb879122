//! From the layers of an image to a value: its tree, its config, and the layers it came with.
//!
//! Each chain of layers is unpacked once; a layer's blob is kept, for images built on this one. Several layers are
//! unpacked at once: their files are stored as they come, and put into the tree when what lies below is there.

use super::Surroundings;
use crate::{
    container::ContainerConfig,
    error::{Error, Result},
    key::{Ingredients, Key},
    parallel::{self, FirstFailure, Promise},
    store::Store,
    value::{BaseImage, Content, Lineage, Value},
};
use rbuild_oci::{
    LayerDescriptor, Limits,
    oci_spec::image::{Digest, ImageConfiguration},
};
use rbuild_tree::Snapshot;
use std::{
    fs::File,
    io::{self, Read},
    sync::Arc,
    thread,
};

/// Layers that are unpacked at once: each takes memory for what is on its way.
const MOST_AT_ONCE: usize = 6;

/// The blobs of an image's layers, from the lowest up.
pub(super) trait Blobs: Sync {
    /// Opens the blob of the layer with this index.
    ///
    /// # Errors
    /// It is not there.
    fn open(&self, index: usize) -> Result<Box<dyn Read + Send + '_>>;

    /// Unpacking the layer with this index ended in an error; says in what the image ends.
    fn failed(&self, _index: usize, error: Error) -> Error {
        error
    }
}

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

/// The tree of these layers, from the lowest up. What is remembered is not unpacked again, and its blobs not opened.
pub(super) fn unpack(
    surroundings: &Surroundings<'_>,
    layers: &[LayerDescriptor],
    blobs: &dyn Blobs,
) -> Result<Snapshot> {
    let keys = chain_keys(layers);
    let known =
        keys.iter().enumerate().rev().find_map(|(index, key)| Some((index + 1, surroundings.known(key)?)));
    let (first, lowest) = known.unwrap_or((0, Snapshot::scratch()));
    let promises: Vec<Promise<Snapshot>> = keys[first..].iter().map(|_| Promise::new()).collect();
    let failure = FirstFailure::default();
    let below = |at: usize| match at.checked_sub(1) {
        None => Ok(lowest.clone()),
        Some(below) => promises[below].wait().ok_or_else(Error::interrupted),
    };
    let at_once = thread::available_parallelism().map_or(1, usize::from).min(MOST_AT_ONCE);
    let unpacked = parallel::each(&promises, at_once, |at, promise| {
        let index = first + at;
        promise.keep(|| {
            let made = blobs
                .open(index)
                .and_then(|blob| unpack_one(surroundings, &layers[index], blob, || below(at)))
                .and_then(|snapshot| surroundings.remember(&keys[index], snapshot))
                .map_err(|error| blobs.failed(index, error.within(&format!("layer {}", index + 1))));
            failure.note(made).ok_or_else(Error::interrupted)
        })
    });
    failure.end()?;
    unpacked?;
    below(promises.len())
}

/// What the tree of the layers up to each is remembered by: the specification's ChainID (image-spec, config.md), in
/// shorter words.
fn chain_keys(layers: &[LayerDescriptor]) -> Vec<Key> {
    let mut ingredients = Ingredients::default();
    ingredients.add("source", "layers");
    let with = layers.iter().map(|layer| {
        ingredients.add("diff-id", layer.diff_id.to_string());
        ingredients.key()
    });
    with.collect()
}

fn unpack_one(
    surroundings: &Surroundings<'_>,
    layer: &LayerDescriptor,
    blob: Box<dyn Read + Send + '_>,
    below: impl FnOnce() -> Result<Snapshot>,
) -> Result<Snapshot> {
    let blob = Box::new(surroundings.stoppable(blob));
    let mut tar = rbuild_oci::source::tar_of(blob, layer)?;
    let limits = Limits::of_layer(layer.size);
    let snapshot = rbuild_oci::apply_layer_to(&mut tar, below, surroundings.store, limits)?;
    // The digest is checked at the end of the stream, which is past the end of the archive.
    io::copy(&mut tar, &mut io::sink()).map_err(|error| mismatch(layer, error))?;
    Ok(snapshot)
}

/// Opens the blob of a layer in the store.
pub(super) fn open_blob(surroundings: &Surroundings<'_>, layer: &LayerDescriptor) -> Result<File> {
    let path = surroundings.store.blob_path(layer.digest.digest());
    File::open(&path).map_err(|error| Error::io("open", &path, error))
}

/// Sees to it that a store has a blob; `write` writes it into a new file, checked.
///
/// # Errors
/// Those of `write`; a file that can't be made.
pub fn keep_blob(store: &Store, digest: &Digest, write: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
    let sha256 = digest.digest();
    if store.has_blob(sha256) {
        return Ok(());
    }
    let fresh = store.scratch().fresh();
    let mut options = File::options();
    let file = options.read(true).write(true).create_new(true).open(&fresh);
    let written = write(&mut file.map_err(|error| Error::io("make", &fresh, error))?)
        .and_then(|()| Ok(store.put_blob(sha256, &fresh).map(|_| ())?));
    if written.is_err() {
        let _ = std::fs::remove_file(&fresh); // the scratch folder goes at the end anyway
    }
    written
}

/// The error of a layer whose bytes are not what its digests say.
pub(super) fn mismatch(layer: &LayerDescriptor, error: io::Error) -> Error {
    Error::source("digest-mismatch", format!("layer {}", layer.digest)).caused_by(error)
}
