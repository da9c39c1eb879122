//! What goes to a registry.
//!
//! | module | what |
//! |---|---|
//! | `blob` | one blob: already there, mounted, or uploaded |
//! | `upload` | bytes on their way, taken up again where they broke off |
//! | `session` | where they go, and how far they got |

mod blob;
mod session;
mod upload;

pub use blob::{Pushed, UploadSizes};

pub(crate) use blob::{has_blob, push_blob};

use crate::{
    Error, Reference, Result,
    auth::Scopes,
    core::{Call, Core, Target},
    document::{self, LARGEST_MANIFEST},
    transport::{Failure, Payload, Transience},
};
use rbuild_oci::{oci_spec::image::Descriptor, sha256};
use ureq::http::{Method, StatusCode, header};

/// Puts a manifest or index under a tag, or under its digest where there is none.
pub(crate) fn push_manifest(core: &Core, reference: &Reference, bytes: &[u8]) -> Result<Descriptor> {
    let what = format!("the manifest of {reference}");
    let media_type = document::media_type_of(&what, bytes, None)?;
    if bytes.len() as u64 > LARGEST_MANIFEST {
        let reason = format!("it has {} bytes, more than registries take ({LARGEST_MANIFEST})", bytes.len());
        return Err(Error::Malformed { what, reason });
    }
    let digest = match reference.digest() {
        Some(wanted) => {
            crate::digest::check_supported(&what, wanted)?;
            crate::digest::verify(wanted, bytes)
                .map_err(|reason| Error::Damaged { what: what.clone(), reason })?;
            wanted.clone()
        }
        None => sha256(bytes),
    };
    let endpoint = core.settings().origin(reference.repository())?;
    let key = reference.tag().unwrap_or(reference.key());
    let path = format!("/v2/{}/manifests/{key}", endpoint.path);
    let call = Call::new(Method::PUT, Target::Path(path), Scopes::push(&endpoint.path), &what)
        .with_header(header::CONTENT_TYPE, media_type.to_string())
        .with_payload(Payload::Bytes(bytes));
    let statuses = [StatusCode::CREATED, StatusCode::OK, StatusCode::ACCEPTED];
    // What arrived as something else has the tag now: it is replaced, and told only if that does not help.
    core.repeat(&what, || {
        let response = core.expect(&endpoint, &call, &statuses)?;
        let said = response.header(crate::digest::HEADER).map(str::trim).unwrap_or_default();
        let is_comparable = said.split(':').next() == digest.as_ref().split(':').next();
        if !is_comparable || said == digest.as_ref() {
            return Ok(Ok(()));
        }
        let reason = format!("it is {digest}, but the registry made {:?} of it", crate::error::quoted(said));
        Ok(Err(Failure::own(Transience::Brief, Error::Damaged { what: what.clone(), reason })))
    })?;
    Ok(Descriptor::new(media_type, bytes.len() as u64, digest))
}
