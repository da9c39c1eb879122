//! An image on its way to a registry: blobs first, several at once; then the manifests, each after what it names.

use super::{Registries, remember, sources};
use crate::{
    error::{Error, Result},
    parallel,
    report::{Copied, Direction},
};
use rbuild_oci::oci_spec::image::{Descriptor, Digest};
use rbuild_registry::{BlobSource, Pushed, Reference, Repository};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Blobs on their way at once.
const MOST_AT_ONCE: usize = 4;

/// What is pushed.
pub(crate) struct Outgoing<'a> {
    /// Each after all that it names; the reference is that of the last one.
    pub(crate) manifests: &'a [(Digest, Vec<u8>)],
    /// Configurations and layers, each once.
    pub(crate) blobs: &'a [Descriptor],
    /// A repository that has the blobs.
    pub(crate) repository: Option<&'a Repository>,
}

impl Registries {
    /// Brings an image to a registry; what is there is not sent. A reference that means it already is left alone.
    ///
    /// # Errors
    /// A blob that can't be read; whatever the registry answers.
    pub(crate) fn push<S: BlobSource>(
        &self,
        image: &Outgoing<'_>,
        reference: &Reference,
        source: impl Fn(&Descriptor) -> S + Sync,
    ) -> Result<Copied> {
        let Some(((digest, root), inner)) = image.manifests.split_last() else {
            return Err(Error::internal("there is no manifest to push"));
        };
        let (client, repository) = (self.client()?, reference.repository());
        let copied = |blobs| Copied {
            place: reference.to_string(),
            digest: digest.to_string(),
            blobs,
            present: image.blobs.len() - blobs,
        };
        if client.is_pushed(reference, digest.as_ref())? {
            return Ok(copied(0));
        }
        let sent = self.push_blobs(image, reference, source)?;
        for (digest, bytes) in inner {
            client.push_manifest(&repository.with_digest(digest.clone()), bytes)?;
        }
        client.push_manifest(reference, root)?;
        if let Some(store) = &self.store {
            remember(store, repository, image.blobs.iter().map(Descriptor::digest));
        }
        Ok(copied(sent))
    }

    /// Says how many were sent.
    fn push_blobs<S: BlobSource>(
        &self,
        image: &Outgoing<'_>,
        reference: &Reference,
        source: impl Fn(&Descriptor) -> S + Sync,
    ) -> Result<usize> {
        let (client, repository) = (self.client()?, reference.repository());
        let sizes = image.blobs.iter().map(Descriptor::size);
        let transfer = self.transfer(&reference.to_string(), Direction::Push, sizes);
        let sent = AtomicUsize::new(0);
        parallel::each(image.blobs, MOST_AT_ONCE, |_, blob| {
            let _counted = self.on_the_way().enter(blob.digest().as_ref(), &transfer);
            let known = self.store.iter().flat_map(|store| sources(store, blob.digest(), repository));
            let known: Vec<Repository> = known.chain(image.repository.cloned()).collect();
            match client.push_blob(repository, blob, &source(blob), &known)? {
                Pushed::Uploaded => {
                    sent.fetch_add(1, Ordering::Relaxed);
                    transfer.blob_done();
                }
                _ => transfer.blob_skipped(blob.size()),
            }
            Ok(())
        })?;
        transfer.end();
        Ok(sent.into_inner())
    }
}
