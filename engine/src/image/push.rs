//! An image on its way to a registry: blobs first, several at once; then the manifest that names them.

use crate::{
    error::{Error, Result},
    store::Store,
};
use rbuild_oci::oci_spec::image::{Descriptor, ImageManifest};
use rbuild_registry::{Client, Pushed, Reference, Repository};
use std::{
    fs,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// Blobs on their way at once.
const MOST_AT_ONCE: usize = 4;

/// An image that is in a registry now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PushedImage {
    /// `registry.example/shop:1.0`
    pub reference: String,
    /// `sha256:…` of its manifest.
    pub digest: String,
    /// Blobs that were sent.
    pub uploaded: usize,
    /// Blobs that the registry had, there or in another repository.
    pub present: usize,
}

/// What an image is made of: its manifest, and the blobs that names.
pub(crate) struct Pushable {
    manifest: Vec<u8>,
    digest: String,
    blobs: Vec<Descriptor>,
}

impl Pushable {
    /// The image of this manifest (`sha256:…`), whole in the store; `name` is for errors.
    pub(crate) fn load(store: &Store, digest: &str, name: &str) -> Result<Self> {
        let gone = |what: &str| {
            Error::environment(format!("image `{name}`: {what} is not in the store any more"))
                .hint(format!("`rbuild apply image.{name}` makes it again"))
        };
        let hex = |digest: &str| digest.rsplit(':').next().unwrap_or_default().to_owned();
        let sha256 = hex(digest);
        if !store.has_blob(&sha256) {
            return Err(gone("its manifest"));
        }
        let path = store.blob_path(&sha256);
        let manifest = fs::read(&path).map_err(|error| Error::io("read", &path, error))?;
        let parsed: ImageManifest = serde_json::from_slice(&manifest)
            .map_err(|error| Error::internal(format!("the manifest of image `{name}`: {error}")))?;
        let mut blobs: Vec<Descriptor> = parsed.layers().clone();
        blobs.push(parsed.config().clone());
        blobs.dedup_by(|one, other| one.digest() == other.digest());
        match blobs.iter().find(|blob| !store.has_blob(blob.digest().digest())) {
            Some(missing) => Err(gone(missing.digest().as_ref())),
            None => Ok(Self { manifest, digest: digest.to_owned(), blobs }),
        }
    }

    /// Pushes it. A tag that means it already is left alone.
    pub(crate) fn push(&self, client: &Client, store: &Store, reference: &Reference) -> Result<PushedImage> {
        let done = |uploaded| PushedImage {
            reference: reference.to_string(),
            digest: self.digest.clone(),
            uploaded,
            present: self.blobs.len() - uploaded,
        };
        if client.resolve(reference).is_ok_and(|there| there.digest().as_ref() == self.digest) {
            return Ok(done(0));
        }
        let (next, uploaded) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let failure: Mutex<Option<Error>> = Mutex::new(None);
        let work = || {
            while let Some(blob) = self.blobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                match push_blob(client, store, reference.repository(), blob) {
                    Ok(Pushed::Uploaded) => drop(uploaded.fetch_add(1, Ordering::Relaxed)),
                    Ok(_) => {}
                    Err(error) => {
                        next.store(self.blobs.len(), Ordering::Relaxed);
                        failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    }
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..MOST_AT_ONCE.min(self.blobs.len()) {
                scope.spawn(work);
            }
        });
        if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        client.push_manifest(reference, &self.manifest)?;
        Ok(done(uploaded.into_inner()))
    }
}

fn push_blob(client: &Client, store: &Store, repository: &Repository, blob: &Descriptor) -> Result<Pushed> {
    let path = store.blob_path(blob.digest().digest());
    Ok(client.push_blob(repository, blob, &path, &[])?)
}
