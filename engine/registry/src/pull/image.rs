//! From a name and a platform to one image: its manifest, its configuration, its layers.

use super::{Manifest, again_if_damaged, blob::Blob, manifest};
use crate::{
    Error, Reference, Result,
    core::Core,
    document::{self, Document, ManifestDocument},
};
use rbuild_oci::{
    LayerDescriptor, Platform,
    oci_spec::image::{Descriptor, Digest, ImageConfiguration},
};
use std::{io::Read, sync::Arc};

/// An index in an index in an index is as deep as anybody goes.
const DEEPEST_INDEX: usize = 4;
const MOST_LISTED: usize = 20;

/// An image for one platform. Its layers are yet to be fetched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RemoteImage {
    /// As it was asked for.
    pub reference: Reference,
    /// What the reference names: the manifest, or the index it was chosen from. Its digest belongs into a lock.
    pub root: Descriptor,
    /// The image's manifest.
    pub manifest: Manifest,
    /// The configuration's descriptor.
    pub configuration_descriptor: Descriptor,
    /// The configuration, byte for byte.
    pub configuration: Vec<u8>,
    /// The same, read.
    pub parsed: ImageConfiguration,
    /// From the lowest up.
    pub layers: Vec<RemoteLayer>,
}

/// A layer of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RemoteLayer {
    /// With the media type of OCI that says the same, and its diff_id.
    pub layer: LayerDescriptor,
    /// As the manifest has it: its media type may be docker's, and it may have `urls`.
    pub descriptor: Descriptor,
}

impl RemoteImage {
    /// The machine that the configuration says it is for. Where no index was chosen from, it need not be the one that
    /// was asked for.
    pub fn platform(&self) -> Platform {
        Platform {
            os: self.parsed.os().to_string(),
            architecture: self.parsed.architecture().to_string(),
            variant: self.parsed.variant().clone(),
        }
    }
}

pub(crate) fn fetch(core: &Arc<Core>, reference: &Reference, platform: &Platform) -> Result<RemoteImage> {
    let root = manifest::fetch(core, reference)?;
    let descriptor = root.descriptor.clone();
    let mut path = vec![descriptor.digest().clone()];
    let resolver = Resolver { core, reference, platform };
    let (manifest, document) = resolver.resolve(root, &mut path)?;
    let image = resolver.name(manifest.descriptor.digest());
    let configuration = resolver.configuration(&image, &document.config)?;
    let (parsed, joined) = document::read_configuration(&image, &configuration, &document.layers)?;
    let layers = joined.into_iter().zip(document.layers);
    Ok(RemoteImage {
        reference: reference.clone(),
        root: descriptor,
        manifest,
        configuration_descriptor: document.config,
        configuration,
        parsed,
        layers: layers.map(|(layer, descriptor)| RemoteLayer { layer, descriptor }).collect(),
    })
}

struct Resolver<'a> {
    core: &'a Arc<Core>,
    reference: &'a Reference,
    platform: &'a Platform,
}

impl Resolver<'_> {
    /// The reference, with the digest of what is meant where that is something inside.
    fn name(&self, digest: &Digest) -> String {
        match self.reference.digest() == Some(digest) {
            true => self.reference.to_string(),
            false => format!("{} ({digest})", self.reference),
        }
    }

    /// Follows indexes. `path` holds the digests from the root to this document.
    fn resolve(&self, manifest: Manifest, path: &mut Vec<Digest>) -> Result<(Manifest, ManifestDocument)> {
        let image = self.name(manifest.descriptor.digest());
        let entries = match document::read(&image, &manifest.bytes)? {
            Document::Manifest(document) => return Ok((manifest, *document)),
            Document::Index(entries) => entries,
        };
        let refuse = |reason: String| Error::Malformed { what: image.clone(), reason };
        let entry = choose(&image, &entries, self.platform)?;
        if path.contains(entry.digest()) {
            return Err(refuse(format!("its indexes go in a circle: {} is in itself", entry.digest())));
        }
        if path.len() > DEEPEST_INDEX {
            return Err(refuse(format!("its indexes nest deeper than {DEEPEST_INDEX}")));
        }
        path.push(entry.digest().clone());
        let inner = self.reference.repository().with_digest(entry.digest().clone());
        let found = manifest::fetch(self.core, &inner)?;
        if found.bytes.len() as u64 != entry.size() {
            let (size, said) = (found.bytes.len(), entry.size());
            return Err(refuse(format!(
                "its entry {} has {size} bytes, not {said} as it says",
                entry.digest()
            )));
        }
        self.resolve(found, path)
    }

    fn configuration(&self, image: &str, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let digest = descriptor.digest();
        let known = self.core.documents.get(digest);
        if let Some(known) = known.filter(|bytes| crate::digest::verify(digest, bytes).is_ok()) {
            return Ok(known);
        }
        let bytes = again_if_damaged(|| self.fetched_configuration(image, descriptor))?;
        self.core.documents.keep(digest, &bytes);
        Ok(bytes)
    }

    fn fetched_configuration(&self, image: &str, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut blob = Blob::open(self.core, self.reference.repository(), descriptor)?;
        blob.read_to_end(&mut bytes)
            .map_err(|error| Error::from_io(format!("the config of {image}"), error))?;
        Ok(bytes)
    }
}

/// The entry that serves best, the first of equals; a nested index without a platform only if nothing else does.
pub fn choose<'e>(image: &str, entries: &'e [Descriptor], platform: &Platform) -> Result<&'e Descriptor> {
    let images: Vec<&Descriptor> = entries.iter().filter(|entry| !document::is_attestation(entry)).collect();
    let mut best: Option<(u8, &Descriptor)> = None;
    for entry in &images {
        let rank = platform_of(entry).and_then(|offered| platform.serves(&offered));
        if let Some(rank) = rank
            && best.is_none_or(|(best, _)| rank > best)
        {
            best = Some((rank, entry));
        }
    }
    let unsaid = || match images.as_slice() {
        [only] => Some(*only).filter(|only| only.platform().is_none()),
        _ => images
            .iter()
            .copied()
            .find(|entry| entry.platform().is_none() && document::is_index(entry.media_type())),
    };
    best.map(|(_, entry)| entry).or_else(unsaid).ok_or_else(|| Error::NoPlatform {
        image: image.to_owned(),
        wanted: platform.to_string(),
        offered: listed(&images),
    })
}

fn platform_of(entry: &Descriptor) -> Option<Platform> {
    entry.platform().as_ref().map(|platform| Platform {
        os: platform.os().to_string(),
        architecture: platform.architecture().to_string(),
        variant: platform.variant().clone().filter(|variant| !variant.is_empty()),
    })
}

fn listed(entries: &[&Descriptor]) -> String {
    if entries.is_empty() {
        return "no platform at all".to_owned();
    }
    let name = |entry: &&Descriptor| match platform_of(entry) {
        Some(platform) => crate::error::quoted(&platform.to_string()),
        None => "one that is not named".to_owned(),
    };
    let mut names: Vec<String> = entries.iter().take(MOST_LISTED).map(name).collect();
    if entries.len() > MOST_LISTED {
        names.push(format!("{} more", entries.len() - MOST_LISTED));
    }
    names.join(", ")
}
