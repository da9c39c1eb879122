//! An image on its way to a registry: blobs first, several at once; then the manifest that names them.

use crate::{
    error::{Error, Result},
    parallel,
    registries::{self, Registries},
    report::{Direction, Written},
    session::Session,
    spec::types::Image,
    store::Store,
};
use rbuild_oci::oci_spec::image::{Descriptor, ImageManifest};
use rbuild_registry::{Pushed, Reference};
use std::{
    collections::HashSet,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Blobs on their way at once.
const MOST_AT_ONCE: usize = 4;

/// Pushes an image, whose manifest is in the store, to its tags.
pub(super) fn to_tags(session: &Session, image: &Image, digest: &str) -> Result<Vec<Written>> {
    let name = &image.name.value;
    session.registries.check_online(&format!("the registry of image `{name}`"))?;
    let client = session.registries.client()?;
    let content = Pushable::load(&session.store, digest, name)?;
    let push = |tag: String| {
        let pushed = content.push(&session.registries, &session.store, &client.reference(&tag)?)?;
        Ok(Written { kind: "push".to_owned(), path: pushed.reference, reference: None })
    };
    let sent: Result<_> = image.tags.iter().map(|tag| push(tag.to_string())).collect();
    sent.map_err(|error| error.within(&format!("image `{name}`")))
}

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
        let sha256 = digest.trim_start_matches("sha256:");
        let manifest = store.document(sha256).map_err(|error| gone("its manifest").caused_by(error))?;
        let parsed: ImageManifest = serde_json::from_slice(&manifest)
            .map_err(|error| gone("its manifest, whole,").caused_by(error))?;
        let mut seen = HashSet::new();
        let all = parsed.layers().iter().chain([parsed.config()]);
        let blobs: Vec<Descriptor> = all.filter(|blob| seen.insert(blob.digest().clone())).cloned().collect();
        match blobs.iter().find(|blob| !store.has_blob(blob.digest().digest())) {
            Some(missing) => Err(gone(missing.digest().as_ref())),
            None => Ok(Self { manifest, digest: digest.to_owned(), blobs }),
        }
    }

    /// Pushes it. A tag that means it already is left alone.
    pub(crate) fn push(
        &self,
        registries: &Registries,
        store: &Store,
        reference: &Reference,
    ) -> Result<PushedImage> {
        let client = registries.client()?;
        let done = |uploaded| PushedImage {
            reference: reference.to_string(),
            digest: self.digest.clone(),
            uploaded,
            present: self.blobs.len() - uploaded,
        };
        if client.is_pushed(reference, &self.digest)? {
            return Ok(done(0));
        }
        let sizes = self.blobs.iter().map(Descriptor::size);
        let transfer = registries.transfer(&reference.to_string(), Direction::Push, sizes);
        let uploaded = AtomicUsize::new(0);
        parallel::each(&self.blobs, MOST_AT_ONCE, |_, blob| {
            let _counted = registries.on_the_way().enter(blob.digest().as_ref(), &transfer);
            let path = store.blob_path(blob.digest().digest());
            let sources = registries::sources(store, blob.digest(), reference.repository());
            match client.push_blob(reference.repository(), blob, &path, &sources)? {
                Pushed::Uploaded => {
                    uploaded.fetch_add(1, Ordering::Relaxed);
                    transfer.blob_done();
                }
                _ => transfer.blob_skipped(blob.size()),
            }
            Ok(())
        })?;
        client.push_manifest(reference, &self.manifest)?;
        registries::remember(store, reference.repository(), self.blobs.iter().map(Descriptor::digest));
        transfer.end();
        Ok(done(uploaded.into_inner()))
    }
}
