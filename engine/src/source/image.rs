//! `image`: an image of a registry.
//!
//! A tag is looked up once; from then on the lock file says which digest is meant. With that digest, and documents and
//! layers in the store, nobody is asked for anything. Layers are fetched by several threads, and each is unpacked as
//! soon as it and all below it are there.

use super::{
    Surroundings,
    layers::{self, Layered},
};
use crate::{
    error::{Error, Result},
    parallel,
    spec::types::RegistrySource,
    value::Value,
};
use rbuild_oci::{LayerDescriptor, oci_spec::image::Digest};
use rbuild_registry::{Client, Reference, RemoteImage, RemoteLayer};
use rbuild_tree::Snapshot;
use std::{sync::mpsc, thread};

/// Layers on their way at once: more gain nothing from one registry.
const MOST_AT_ONCE: usize = 6;

pub(super) fn import(name: &str, source: &RegistrySource, surroundings: &Surroundings<'_>) -> Result<Value> {
    let client = surroundings.registries.client()?;
    let reference = client.reference(&source.reference)?;
    let pinned = pin(client, &reference, surroundings)?;
    let image = find(client, &reference, &pinned, surroundings)?;
    check_platform(name, &image, surroundings);
    let layers: Vec<LayerDescriptor> = image.layers.iter().map(|layer| layer.layer.clone()).collect();
    let snapshot = unpack_all(client, &image, surroundings)?;
    Layered { configuration: &image.configuration, parsed: &image.parsed, layers: &layers }.value(
        name,
        snapshot,
        surroundings,
    )
}

/// The reference by digest: its own, the lock's, or that of today, which then is the lock's.
fn pin(client: &Client, reference: &Reference, surroundings: &Surroundings<'_>) -> Result<Reference> {
    if reference.digest().is_some() {
        return Ok(reference.clone());
    }
    let input = reference.to_string();
    let known = surroundings.lookups.get("image", &input, "digest")?;
    let text = match known {
        Some(known) => known,
        None => {
            surroundings.lookups.check_may_add("image", &input)?;
            surroundings.registries.check_online(&format!("what {input} means"))?;
            let found = client.resolve(reference)?;
            surroundings.lookups.add("image", &input, "digest", found.digest().as_ref())?
        }
    };
    let digest: Digest =
        text.parse().map_err(|_| Error::internal(format!("{text:?} was taken for a digest")))?;
    Ok(reference.repository().with_digest(digest))
}

fn find(
    client: &Client,
    reference: &Reference,
    pinned: &Reference,
    surroundings: &Surroundings<'_>,
) -> Result<RemoteImage> {
    if !is_known(pinned, surroundings) {
        surroundings.registries.check_online(&pinned.to_string())?;
    }
    client.image(pinned, surroundings.platform).map_err(|error| {
        let gone = error.is_not_found() && reference.digest().is_none();
        let told = Error::from(error);
        if !gone {
            return told;
        }
        let today = client.resolve(reference).map(|found| found.digest().to_string());
        let today = today.map_or_else(|_| "is not there either".to_owned(), |digest| format!("is {digest} today"));
        told.hint(format!(
            "the lock file names a digest that the registry no longer has; {reference} {today}: `rbuild update` takes it"
        ))
    })
}

fn is_known(pinned: &Reference, surroundings: &Surroundings<'_>) -> bool {
    pinned.digest().is_some_and(|digest| surroundings.store.blob_path(digest.digest()).is_file())
}

/// An image that is not one of many may be for another machine.
fn check_platform(name: &str, image: &RemoteImage, surroundings: &Surroundings<'_>) {
    let (wanted, found) = (surroundings.platform, image.platform());
    if wanted.serves(&found).is_none() {
        let message = format!("source `{name}`: {} is for {found}, not for {wanted}", image.reference);
        (surroundings.warn)("foreign-platform", message);
    }
}

/// Fetches what is missing and unpacks it, the lowest first.
fn unpack_all(client: &Client, image: &RemoteImage, surroundings: &Surroundings<'_>) -> Result<Snapshot> {
    let (done, arrived) = mpsc::channel();
    thread::scope(|scope| {
        let fetching = scope.spawn(move || {
            parallel::each(&image.layers, MOST_AT_ONCE, |index, layer| {
                keep(client, image, layer, surroundings)?;
                // Nobody listens any more if unpacking failed: that is told, and this ends it.
                done.send(index).map_err(|_| Error::interrupted())
            })
        });
        let unpacked = unpack_arriving(image, arrived, surroundings);
        let fetched = fetching.join().unwrap_or_else(|_| Err(Error::internal("fetching layers panicked")));
        match unpacked? {
            Some(snapshot) => Ok(snapshot),
            None => Err(fetched.err().unwrap_or_else(|| Error::internal("a layer neither came nor failed"))),
        }
    })
}

/// None if not all layers came.
fn unpack_arriving(
    image: &RemoteImage,
    arrived: mpsc::Receiver<usize>,
    surroundings: &Surroundings<'_>,
) -> Result<Option<Snapshot>> {
    let mut here = vec![false; image.layers.len()];
    let mut below = Snapshot::scratch();
    for (index, layer) in image.layers.iter().enumerate() {
        while !here[index] {
            let Ok(other) = arrived.recv() else { return Ok(None) };
            here[other] = true;
        }
        below = layers::unpack(surroundings, &layer.layer, &below)
            .map_err(|error| error.within(&format!("{}, layer {}", image.reference, index + 1)))?;
    }
    Ok(Some(below))
}

fn keep(
    client: &Client,
    image: &RemoteImage,
    layer: &RemoteLayer,
    surroundings: &Surroundings<'_>,
) -> Result<()> {
    layers::keep_blob(surroundings, &layer.layer, |file| {
        surroundings.registries.check_online(&format!("layer {}", layer.layer.digest))?;
        Ok(client.save_blob(image.reference.repository(), &layer.descriptor, file)?)
    })
}
