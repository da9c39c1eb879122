//! A built image on its way to registries.

use crate::{
    error::{Error, Result},
    registries::{Outgoing, Registries},
    report::{Copied, Written},
    session::Session,
    spec::types::Image,
    store::Store,
};
use rbuild_oci::oci_spec::image::{Descriptor, Digest, ImageManifest};
use rbuild_registry::Reference;
use std::collections::HashSet;

/// Pushes an image, whose manifest is in the store, to its tags.
pub(super) fn to_tags(session: &Session, image: &Image, digest: &str) -> Result<Vec<Written>> {
    let name = &image.name.value;
    session.registries.check_online_to(&format!("image `{name}` is pushed"))?;
    let client = session.registries.client()?;
    let content = Pushable::load(&session.store, digest, name)?;
    let push = |tag: String| {
        let pushed = content.push(&session.registries, &session.store, &client.reference(&tag)?)?;
        Ok(Written { kind: "push".to_owned(), path: pushed.place, reference: None })
    };
    let sent: Result<_> = image.tags.iter().map(|tag| push(tag.to_string())).collect();
    sent.map_err(|error| error.within(&format!("image `{name}`")))
}

/// What an image is made of: its manifest, and the blobs that names.
pub(crate) struct Pushable {
    manifests: Vec<(Digest, Vec<u8>)>,
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
            None => Ok(Self { manifests: vec![(rbuild_oci::sha256(&manifest), manifest)], blobs }),
        }
    }

    /// Pushes it. A tag that means it already is left alone.
    pub(crate) fn push(
        &self,
        registries: &Registries,
        store: &Store,
        reference: &Reference,
    ) -> Result<Copied> {
        let image = Outgoing { manifests: &self.manifests, blobs: &self.blobs, repository: None };
        registries.push(&image, reference, |blob| store.blob_path(blob.digest().digest()))
    }
}
