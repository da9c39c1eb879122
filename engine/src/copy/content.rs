//! All that a name stands for: from an index down to the blobs.

use super::origin::Origin;
use crate::error::{Error, Result};
use rbuild_oci::oci_spec::image::{Descriptor, Digest, ImageIndex, ImageManifest};
use serde_json::Value;
use std::collections::HashSet;

/// An index in an index in an index is as deep as anybody goes.
const DEEPEST_INDEX: usize = 4;
/// Manifests of one name: platforms, and what goes with them.
const MOST_MANIFESTS: usize = 1000;
/// Their bytes: they are in memory.
const MOST_BYTES: usize = 64 << 20;

/// Documents and blobs of an image, or of an index of several.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// Manifests and indexes, each after all that it names; the last one is what the name stands for.
    pub(super) manifests: Vec<(Digest, Vec<u8>)>,
    /// Configurations and layers, each once.
    pub(super) blobs: Vec<Descriptor>,
}

impl Content {
    /// Reads the documents of an image.
    pub(super) fn of(origin: &Origin<'_>) -> Result<Self> {
        let mut gather = Gather {
            origin,
            content: Self::default(),
            manifests: HashSet::new(),
            blobs: HashSet::new(),
            bytes: 0,
        };
        gather.take(&origin.root, 0)?;
        Ok(gather.content)
    }

    /// The manifest, if it is one image.
    pub(super) fn only_manifest(&self) -> Option<ImageManifest> {
        match self.manifests.as_slice() {
            [(_, bytes)] => serde_json::from_slice(bytes).ok(),
            _ => None,
        }
    }
}

struct Gather<'a> {
    origin: &'a Origin<'a>,
    content: Content,
    manifests: HashSet<Digest>,
    blobs: HashSet<Digest>,
    bytes: usize,
}

impl Gather<'_> {
    fn take(&mut self, descriptor: &Descriptor, depth: usize) -> Result<()> {
        // Seen before it is read: indexes may go in a circle.
        if !self.manifests.insert(descriptor.digest().clone()) {
            return Ok(());
        }
        if depth > DEEPEST_INDEX {
            return Err(self.refuse(descriptor, format!("its indexes nest deeper than {DEEPEST_INDEX}")));
        }
        if self.manifests.len() > MOST_MANIFESTS {
            return Err(self.refuse(descriptor, format!("it names more than {MOST_MANIFESTS} manifests")));
        }
        let bytes = self.origin.document(descriptor)?;
        if bytes.len() as u64 != descriptor.size() {
            let said = descriptor.size();
            return Err(self.refuse(descriptor, format!("it has {} bytes instead of {said}", bytes.len())));
        }
        self.bytes += bytes.len();
        if self.bytes > MOST_BYTES {
            return Err(self.refuse(descriptor, "its manifests have more than 64 MiB".to_owned()));
        }
        let unreadable =
            |error: serde_json::Error| self.refuse(descriptor, format!("it can't be read: {error}"));
        let value: Value = serde_json::from_slice(&bytes).map_err(unreadable)?;
        if value["manifests"].is_array() {
            let index: ImageIndex = serde_json::from_slice(&bytes).map_err(unreadable)?;
            for entry in index.manifests() {
                self.take(entry, depth + 1)?;
            }
        } else {
            let manifest: ImageManifest = serde_json::from_slice(&bytes).map_err(unreadable)?;
            for blob in [manifest.config()].into_iter().chain(manifest.layers()) {
                if self.blobs.insert(blob.digest().clone()) {
                    self.content.blobs.push(blob.clone());
                }
            }
        }
        self.content.manifests.push((descriptor.digest().clone(), bytes));
        Ok(())
    }

    fn refuse(&self, descriptor: &Descriptor, reason: String) -> Error {
        Error::source("source-failed", format!("{} ({}): {reason}", self.origin.name, descriptor.digest()))
    }
}
