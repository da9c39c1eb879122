//! Manifests and indexes, as bytes and their descriptor.

use super::first_of;
use crate::{
    Error, Reference, Result,
    auth::Scopes,
    core::{Call, Core, Target},
    digest::{self, check_supported, verify},
    document::{self, LARGEST_MANIFEST},
    error::{is_transient_status, quoted},
    settings::{By, Endpoint},
    transport::{Failure, Response, Transience},
};
use rbuild_oci::{
    oci_spec::image::{Descriptor, Digest, MediaType},
    sha256,
};
use ureq::http::{Method, StatusCode, header};

/// What is understood, the better known first.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// A document as the registry has it. Its bytes are those of its digest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// Media type, digest, size.
    pub descriptor: Descriptor,
    /// Byte for byte.
    pub bytes: Vec<u8>,
}

/// The descriptor of what a reference names today.
pub(crate) fn resolve(core: &Core, reference: &Reference) -> Result<Descriptor> {
    first_of(core, reference.repository(), by(reference), |endpoint| resolve_at(core, endpoint, reference))
}

/// The same by the registry alone: what was pushed is not at its mirrors.
pub(crate) fn resolve_at_origin(core: &Core, reference: &Reference) -> Result<Descriptor> {
    resolve_at(core, &core.settings().origin(reference.repository())?, reference)
}

/// The document that a reference names.
pub(crate) fn fetch(core: &Core, reference: &Reference) -> Result<Manifest> {
    if let Some(known) = reference.digest().and_then(|digest| known(core, reference, digest)) {
        return Ok(known);
    }
    let found = first_of(core, reference.repository(), by(reference), |endpoint| {
        fetch_at(core, endpoint, reference)
    })?;
    core.documents.keep(found.descriptor.digest(), &found.bytes);
    Ok(found)
}

/// What is kept on this side, unless it is damaged.
fn known(core: &Core, reference: &Reference, digest: &Digest) -> Option<Manifest> {
    let bytes = core.documents.get(digest).filter(|bytes| verify(digest, bytes).is_ok())?;
    let media_type = document::media_type_of(&reference.to_string(), &bytes, None).ok()?;
    Some(Manifest { descriptor: Descriptor::new(media_type, bytes.len() as u64, digest.clone()), bytes })
}

fn by(reference: &Reference) -> By {
    if reference.digest().is_some() { By::Digest } else { By::Tag }
}

fn call(method: Method, endpoint: &Endpoint, reference: &Reference) -> Result<Call<'static>> {
    let what = what(endpoint, reference);
    reference.digest().map_or(Ok(()), |digest| check_supported(&what, digest))?;
    let path = format!("/v2/{}/manifests/{}", endpoint.path, reference.key());
    let call = Call::new(method, Target::Path(path), Scopes::pull(&endpoint.path), what);
    Ok(call.with_header(header::ACCEPT, ACCEPT))
}

fn what(endpoint: &Endpoint, reference: &Reference) -> String {
    let at = if endpoint.is_origin { String::new() } else { format!(" (at {})", endpoint.host) };
    format!("{reference}{at}")
}

/// HEAD tells enough, where a registry answers it in full.
fn resolve_at(core: &Core, endpoint: &Endpoint, reference: &Reference) -> Result<Descriptor> {
    let head = call(Method::HEAD, endpoint, reference)?;
    let response = core.send(endpoint, &head)?;
    let status = response.status;
    match described(&response, reference) {
        Some(descriptor) if status == StatusCode::OK => Ok(descriptor),
        // Who is busy or lets nobody in would say the same to GET.
        _ if is_transient_status(status.as_u16()) || matches!(status.as_u16(), 401 | 403) => {
            Err(core.refusal(endpoint, response, &head.what))
        }
        // An answer to HEAD has no words, and some registries answer only GET right.
        _ => fetch_at(core, endpoint, reference).map(|manifest| manifest.descriptor),
    }
}

fn described(response: &Response, reference: &Reference) -> Option<Descriptor> {
    let digest = document::checked_digest(response.header(digest::HEADER)?.trim()).ok()?;
    if reference.digest().is_some_and(|wanted| *wanted != digest) {
        return None;
    }
    let media_type = MediaType::from(response.header(header::CONTENT_TYPE)?.split(';').next()?.trim());
    let is_known = document::is_index(&media_type) || document::is_manifest(&media_type);
    let size = response.content_length().filter(|size| is_known && (1..=LARGEST_MANIFEST).contains(size))?;
    Some(Descriptor::new(media_type, size, digest))
}

pub(super) fn fetch_at(core: &Core, endpoint: &Endpoint, reference: &Reference) -> Result<Manifest> {
    let get = call(Method::GET, endpoint, reference)?;
    core.repeat(&get.what, || {
        let response = core.expect(endpoint, &get, &[StatusCode::OK])?;
        let said = response.header(digest::HEADER).map(|text| text.trim().to_owned());
        let url = response.url.clone();
        let content_type = response.header(header::CONTENT_TYPE).map(str::to_owned);
        let bytes = match response.into_bytes(LARGEST_MANIFEST) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                let reason = format!("its manifest has more than {LARGEST_MANIFEST} bytes");
                return Err(Error::Malformed { what: get.what.clone(), reason });
            }
            Err(error) => return Ok(Err(core.transport.read_failure(error, &url))),
        };
        let digest = match digest_of(&get.what, &bytes, reference.digest(), said.as_deref())? {
            Ok(digest) => digest,
            Err(reason) => return Ok(Err(damaged(&get.what, reason))),
        };
        let media_type = document::media_type_of(&get.what, &bytes, content_type.as_deref())?;
        Ok(Ok(Manifest { descriptor: Descriptor::new(media_type, bytes.len() as u64, digest), bytes }))
    })
}

/// The digest that was asked for, or that the registry says; the bytes must be theirs.
fn digest_of(
    what: &str,
    bytes: &[u8],
    wanted: Option<&Digest>,
    said: Option<&str>,
) -> Result<Result<Digest, String>> {
    if let Some(wanted) = wanted {
        return Ok(verify(wanted, bytes).map(|()| wanted.clone()));
    }
    let Some(said) = said else { return Ok(Ok(sha256(bytes))) };
    let Ok(digest) = said.parse() else {
        return Ok(Err(format!("the registry's digest is none: {:?}", quoted(said))));
    };
    check_supported(what, &digest)?;
    let verified = verify(&digest, bytes);
    Ok(verified.map(|()| digest).map_err(|found| format!("the registry says that it is {said}, but {found}")))
}

/// What the network garbled may come right the next time.
pub(super) fn damaged(what: &str, reason: String) -> Failure {
    Failure::own(Transience::Brief, Error::Damaged { what: what.to_owned(), reason })
}
