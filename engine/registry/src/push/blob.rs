//! A blob on its way to a repository: left where it is if it is there, mounted from another repository of the same
//! registry, or else uploaded.

use super::upload::{Start, Upload};
use crate::{
    BlobSource, Error, Repository, Result,
    auth::Scopes,
    core::{Call, Core, Target},
    digest::check_supported,
    settings::Endpoint,
};
use rbuild_oci::oci_spec::image::{Descriptor, Digest};
use std::cell::Cell;
use ureq::http::{Method, StatusCode};

/// What became of a blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pushed {
    /// It was there.
    Existing,
    /// The registry took it from another repository.
    Mounted,
    /// Its bytes were sent.
    Uploaded,
}

/// How a blob is sent where one request with all of it is refused as too large (413): in parts, each half as large as
/// what was refused last. What a host takes is remembered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UploadSizes {
    /// No part has more bytes than this.
    pub part: u64,
    /// Nothing smaller than this is tried.
    pub least_part: u64,
}

impl Default for UploadSizes {
    fn default() -> Self {
        // The smaller one is what nginx takes unless it is told otherwise (client_max_body_size).
        Self { part: 64 << 20, least_part: 1 << 20 }
    }
}

/// Whether a repository has a blob.
pub(crate) fn has_blob(core: &Core, repository: &Repository, digest: &Digest) -> Result<bool> {
    let (endpoint, what) = (core.settings().origin(repository)?, what(repository, digest));
    check_supported(&what, digest)?;
    has_blob_at(core, &endpoint, digest, &Scopes::pull(&endpoint.path), &what)
}

pub(super) fn has_blob_at(
    core: &Core,
    endpoint: &Endpoint,
    digest: &Digest,
    scopes: &Scopes,
    what: &str,
) -> Result<bool> {
    let path = format!("/v2/{}/blobs/{digest}", endpoint.path);
    let call = Call::new(Method::HEAD, Target::Path(path), scopes.clone(), what);
    match core.expect(endpoint, &call, &[StatusCode::OK]) {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

fn what(repository: &Repository, digest: &Digest) -> String {
    format!("blob {digest} of {repository}")
}

/// Sees to it that a repository has a blob. `sources` are repositories that may have it already; only those of the
/// same registry are of use.
pub(crate) fn push_blob(
    core: &Core,
    sizes: &UploadSizes,
    repository: &Repository,
    descriptor: &Descriptor,
    source: &dyn BlobSource,
    sources: &[Repository],
) -> Result<Pushed> {
    let endpoint = core.settings().origin(repository)?;
    let digest = descriptor.digest();
    let what = what(repository, digest);
    check_supported(&what, digest)?;
    // The scope of the push at once: one token for all that follows.
    if has_blob_at(core, &endpoint, digest, &Scopes::push(&endpoint.path), &what)? {
        return Ok(Pushed::Existing);
    }
    let upload =
        Upload { core, endpoint: &endpoint, descriptor, source, sizes, what: &what, told: Cell::default() };
    for other in sources.iter().filter(|other| *other != repository) {
        // One that has no place (it is blocked) is of no use either.
        let place = core.settings().origin(other).ok().filter(|place| place.host == endpoint.host);
        let Some(other) = place else { continue };
        match upload.mount(&other.path) {
            Ok(Start::Mounted) => return Ok(Pushed::Mounted),
            // It refuses and has opened a session instead: that one is as good as any.
            Ok(Start::Session(session)) => return upload.run(Some(session)).map(|()| Pushed::Uploaded),
            Err(error @ (Error::Cancelled | Error::Io { .. })) => return Err(error),
            // No right to the other repository, no such interface, or one that fails: then it is sent.
            Err(error) => {
                tracing::debug!(what, %error, "not mounted");
                if error.is_transient() {
                    break; // as often as it is tried, for each of the others
                }
            }
        }
    }
    upload.run(None).map(|()| Pushed::Uploaded)
}
