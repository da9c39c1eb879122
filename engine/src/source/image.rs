//! `image`: an image of a registry.
//!
//! A tag is looked up once; from then on the lock file says which digest is meant. With that digest, and documents and
//! layers in the store, nobody is asked for anything. Layers are fetched by several threads and unpacked while they
//! come. Images that share their lowest layer are taken one after the other, so that nothing they share comes twice.

use super::{
    Surroundings,
    download::Download,
    layers::{self, Blobs, Layered},
};
use crate::{
    error::{Error, Kind as ErrorKind, Result},
    parallel::{self, FirstFailure},
    registries,
    report::Direction,
    spec::types::RegistrySource,
    value::Value,
};
use rbuild_oci::{LayerDescriptor, oci_spec::image::Digest};
use rbuild_registry::{Client, Reference, RemoteImage, RemoteLayer, Repository};
use rbuild_tree::Snapshot;
use std::{collections::HashSet, io::Read, thread};

/// Layers on their way at once: more gain nothing from one registry.
const MOST_AT_ONCE: usize = 6;

pub(super) fn import(name: &str, source: &RegistrySource, surroundings: &Surroundings<'_>) -> Result<Value> {
    let client = surroundings.registries.client()?;
    let reference = client.reference(&source.reference)?;
    let pinned = pin(client, &reference, surroundings)?;
    let image = find(client, &reference, &pinned, surroundings)?;
    check_platform(name, &image, surroundings);
    let layers: Vec<LayerDescriptor> = image.layers.iter().map(|layer| layer.layer.clone()).collect();
    let lowest = layers.first().map_or_else(String::new, |layer| layer.diff_id.to_string());
    let snapshot = surroundings.turns.take(&lowest, || -> Result<Snapshot> {
        loop {
            if let Some(snapshot) = fetch_and_unpack(name, client, &image, &layers, surroundings)? {
                return Ok(snapshot);
            }
        }
    })?;
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

/// An image that is not one of many may be for another machine.
fn check_platform(name: &str, image: &RemoteImage, surroundings: &Surroundings<'_>) {
    let (wanted, found) = (surroundings.platform, image.platform());
    if wanted.serves(&found).is_none() {
        let message = format!("source `{name}`: {} is for {found}, not for {wanted}", image.reference);
        (surroundings.warn)("foreign-platform", message);
    }
}

/// Fetches what is missing and unpacks it meanwhile. None if a layer came damaged, and right afterwards: what was
/// unpacked of it is void.
fn fetch_and_unpack(
    name: &str,
    client: &Client,
    image: &RemoteImage,
    layers: &[LayerDescriptor],
    surroundings: &Surroundings<'_>,
) -> Result<Option<Snapshot>> {
    let missing = missing(image, surroundings)?;
    let sizes = missing.iter().map(|layer| layer.layer.size);
    let transfer = surroundings.registries.transfer(&format!("source.{name}"), Direction::Pull, sizes);
    let downloads = missing.into_iter().map(|layer| Download::new(layer, &transfer)).collect();
    let coming = Coming { surroundings, layers, downloads, failure: FirstFailure::default() };
    let unpacked = thread::scope(|scope| {
        scope.spawn(|| {
            if coming.fetch(client, image.reference.repository()) {
                transfer.end();
            }
        });
        layers::unpack(surroundings, layers, &coming)
    });
    let within = |error: Error| error.within(&image.reference.to_string());
    // Bytes that were wrong to the end are asked for no more: then a download has failed.
    coming.failure.end().map_err(within)?;
    if coming.downloads.iter().any(Download::has_misled) {
        return Ok(None);
    }
    unpacked.map(Some).map_err(within)
}

/// The layers of an image, some of them on their way.
struct Coming<'a> {
    surroundings: &'a Surroundings<'a>,
    layers: &'a [LayerDescriptor],
    downloads: Vec<Download<'a>>,
    /// Of a download or of a layer, whichever comes first.
    failure: FirstFailure,
}

impl Coming<'_> {
    /// Fetches them all; says whether they came.
    fn fetch(&self, client: &Client, repository: &Repository) -> bool {
        let fetched = parallel::each(&self.downloads, MOST_AT_ONCE, |_, download| {
            let done = self.failure.note(download.run(client, repository, self.surroundings));
            if done.is_none() {
                self.give_up();
            }
            download.end(done.is_some());
            done.ok_or_else(Error::interrupted)
        });
        match fetched {
            Ok(()) => {
                let fetched = self.downloads.iter().map(Download::digest);
                registries::remember(self.surroundings.store, repository, fetched);
            }
            // Some may not have been begun any more.
            Err(_) => self.downloads.iter().for_each(|download| download.end(false)),
        }
        fetched.is_ok()
    }

    fn download_of(&self, index: usize) -> Option<&Download<'_>> {
        self.downloads.iter().find(|download| download.is_of(&self.layers[index]))
    }

    /// The image fails whatever else comes.
    fn give_up(&self) {
        self.downloads.iter().for_each(Download::give_up);
    }
}

impl Blobs for Coming<'_> {
    fn open(&self, index: usize) -> Result<Box<dyn Read + Send + '_>> {
        match self.download_of(index) {
            Some(download) => Ok(Box::new(download.follow())),
            None => Ok(Box::new(layers::open_blob(self.surroundings, &self.layers[index])?)),
        }
    }

    /// Bytes that made no sense may be the network's doing: only its digest tells.
    fn failed(&self, index: usize, error: Error) -> Error {
        if error.kind() == ErrorKind::Interrupted {
            return error; // a layer below it has failed
        }
        let misled = !self.surroundings.is_stopped()
            && self.download_of(index).is_some_and(|download| download.was_misleading());
        if !misled {
            self.failure.note::<()>(Err(error));
            self.give_up();
        }
        Error::interrupted()
    }
}

/// Layers whose blobs the store does not have, each once.
fn missing<'i>(image: &'i RemoteImage, surroundings: &Surroundings<'_>) -> Result<Vec<&'i RemoteLayer>> {
    let mut seen = HashSet::new();
    let layers = image.layers.iter().filter(|layer| {
        let digest = &layer.layer.digest;
        seen.insert(digest) && !surroundings.store.has_blob(digest.digest())
    });
    let missing: Vec<_> = layers.collect();
    if let Some(first) = missing.first() {
        surroundings.registries.check_online(&format!("layer {}", first.layer.digest))?;
    }
    Ok(missing)
}
