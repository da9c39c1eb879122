//! Documents that are kept on this side.

use rbuild_oci::oci_spec::image::Digest;

/// Keeps manifests, indexes and configurations by digest, so that what is known is not asked for again. Bytes it gives
/// are checked against their digest before they are used.
pub trait Documents: Send + Sync {
    /// The bytes of a digest, if they are here.
    fn get(&self, digest: &Digest) -> Option<Vec<u8>>;
    /// Keeps bytes, whose digest was checked.
    fn keep(&self, digest: &Digest, bytes: &[u8]);
}

/// Keeps none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDocuments;

impl Documents for NoDocuments {
    fn get(&self, _: &Digest) -> Option<Vec<u8>> {
        None
    }

    fn keep(&self, _: &Digest, _: &[u8]) {}
}
