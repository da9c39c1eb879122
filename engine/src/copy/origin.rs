//! Where an image comes from: its documents, and files for its blobs.

use super::{FileKind, Place};
use crate::{
    error::{Error, Result},
    registries::Registries,
    source::keep_blob,
    store::Store,
    transfer::Transfer,
};
use rbuild_oci::{
    Platform, StoredImage,
    oci_spec::image::{Descriptor, Digest},
};
use rbuild_registry::{Client, Reference, Repository};
use std::{io, path::PathBuf, sync::Arc};

/// An image that is to be copied.
pub(super) struct Origin<'a> {
    /// As it was named.
    pub(super) name: String,
    /// What the name stands for.
    pub(super) root: Descriptor,
    /// The machine it is for, where that was looked at.
    platform: Option<Platform>,
    kind: Kind<'a>,
    store: &'a Store,
}

enum Kind<'a> {
    Registry { client: &'a Client, registries: &'a Registries, repository: Repository },
    Stored(Box<StoredImage>),
}

impl<'a> Origin<'a> {
    /// With a platform, the one image for it; without, all that the name stands for.
    pub(super) fn open(
        place: &Place,
        platform: Option<&Platform>,
        registries: &'a Registries,
        store: &'a Store,
    ) -> Result<Self> {
        match place {
            Place::Registry(text) => {
                let client = registries.client()?;
                let reference = client.reference(text)?;
                let (root, platform) = root_in_registry(client, &reference, platform)?;
                let repository = reference.repository().clone();
                let kind = Kind::Registry { client, registries, repository };
                Ok(Self { name: reference.to_string(), root, platform, kind, store })
            }
            Place::File { path, reference, kind } => {
                let image = StoredImage::open(path, reference.as_deref(), platform)?;
                let name = path.display().to_string();
                if *kind == FileKind::Oci && !path.is_dir() {
                    return Err(Error::usage(format!("{name} is a file, and oci: is for folders"))
                        .hint("say oci-archive: or docker-archive:"));
                }
                let (root, kind) = (image.descriptor.clone(), Kind::Stored(Box::new(image)));
                Ok(Self { name, root, platform: None, kind, store })
            }
        }
    }

    /// Looks whether it is for this platform: an image that is not one of many may be for another.
    pub(super) fn check_platform(&self, wanted: &Platform, is_said: bool) -> Result<()> {
        let Some(found) = self.platform.as_ref().filter(|found| wanted.serves(found).is_none()) else {
            return Ok(());
        };
        let message = format!("{} is for {found}, not for {wanted}", self.name);
        if is_said {
            return Err(Error::environment(message).hint("leave --platform out to take it as it is"));
        }
        if let Kind::Registry { registries, .. } = &self.kind {
            registries.warn("foreign-platform", message);
        }
        Ok(())
    }

    /// The repository it is in, if it is in one.
    pub(super) fn repository(&self) -> Option<&Repository> {
        match &self.kind {
            Kind::Registry { repository, .. } => Some(repository),
            Kind::Stored(_) => None,
        }
    }

    /// A manifest or index, whole.
    pub(super) fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        match &self.kind {
            Kind::Registry { client, repository, .. } => {
                let reference = repository.with_digest(descriptor.digest().clone());
                Ok(client.manifest(&reference)?.bytes)
            }
            Kind::Stored(image) => Ok(image.document(descriptor)?),
        }
    }

    /// Whether the file of a blob is yet to be fetched from a registry.
    pub(super) fn is_far(&self, blob: &Descriptor) -> bool {
        matches!(self.kind, Kind::Registry { .. }) && !self.store.has_blob(blob.digest().digest())
    }

    /// Checks the bytes of a blob whose file is not the store's: that one checks its own.
    pub(super) fn check(&self, blob: &Descriptor) -> Result<()> {
        let Kind::Stored(image) = &self.kind else { return Ok(()) };
        let read = io::copy(&mut image.blob(blob.digest(), blob.size())?, &mut io::sink());
        read.map(|_| ()).map_err(|error| self.damaged(blob, error))
    }

    fn damaged(&self, blob: &Descriptor, error: io::Error) -> Error {
        Error::source("digest-mismatch", format!("{}: blob {}", self.name, blob.digest())).caused_by(error)
    }

    /// A file with a blob's bytes: the one that is there, or one of the store. Bytes of files that are there are not
    /// checked.
    pub(super) fn file(&self, blob: &Descriptor, transfer: &Arc<Transfer>) -> Result<PathBuf> {
        let digest = blob.digest();
        match &self.kind {
            Kind::Registry { client, registries, repository } => {
                let _counted = registries.on_the_way().enter(digest.as_ref(), transfer);
                keep_blob(self.store, digest, |file| Ok(client.save_blob(repository, blob, file)?))?;
            }
            Kind::Stored(image) => {
                if let Some(path) = image.blob_path(digest) {
                    return Ok(path);
                }
                keep_blob(self.store, digest, |file| {
                    let copied = io::copy(&mut image.blob(digest, blob.size())?, file);
                    copied.map(|_| ()).map_err(|error| self.damaged(blob, error))
                })?;
            }
        }
        Ok(self.store.blob_path(digest.digest()))
    }

    /// The same file for who makes a hard link to it: one of a store that is only read stays without.
    pub(super) fn to_link(&self, digest: &Digest, file: PathBuf) -> io::Result<PathBuf> {
        if file != self.store.blob_path(digest.digest()) {
            return Ok(file);
        }
        Ok(self.store.own_blob(digest.digest())?)
    }
}

/// With a platform, the image for it; what it is for, if it is not one of many.
fn root_in_registry(
    client: &Client,
    reference: &Reference,
    platform: Option<&Platform>,
) -> Result<(Descriptor, Option<Platform>)> {
    let Some(platform) = platform else { return Ok((client.manifest(reference)?.descriptor, None)) };
    let image = client.image(reference, platform)?;
    // What an index says decides; of one image only its configuration says it.
    let is_alone = image.root.digest() == image.manifest.descriptor.digest();
    let found = is_alone.then(|| image.platform());
    Ok((image.manifest.descriptor, found))
}
