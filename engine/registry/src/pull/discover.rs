//! What there is: tags, and what refers to an image (distribution-spec, "Content Discovery").

use super::{Manifest, manifest};
use crate::{
    Error, Reference, Repository, Result,
    auth::Scopes,
    core::{Call, Core, Target},
    digest::check_supported,
    document::{self, Document, LARGEST_MANIFEST},
    settings::Endpoint,
    transport::Response,
    url::Url,
};
use rbuild_oci::oci_spec::image::{Descriptor, Digest, MediaType};
use serde::Deserialize;
use ureq::http::{Method, StatusCode, header};

const TAGS_ON_A_PAGE: usize = 1000;
const MOST_PAGES: usize = 1000;

#[derive(Deserialize)]
struct TagList {
    // Some registries say null where there are none.
    tags: Option<Vec<String>>,
}

/// All tags of a repository, in the registry's order.
pub(crate) fn tags(core: &Core, repository: &Repository) -> Result<Vec<String>> {
    let endpoint = core.settings().origin(repository)?;
    let what = format!("the tags of {repository}");
    let path = format!("/v2/{}/tags/list?n={TAGS_ON_A_PAGE}", endpoint.path);
    let mut tags = Vec::new();
    pages(core, &endpoint, path, &what, |bytes| {
        let list: TagList = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        tags.extend(list.tags.unwrap_or_default());
        Ok(())
    })?;
    Ok(tags)
}

/// Descriptors of what refers to a digest. A registry without that interface keeps them under a tag.
pub(crate) fn referrers(
    core: &Core,
    repository: &Repository,
    digest: &Digest,
    artifact_type: Option<&str>,
) -> Result<Vec<Descriptor>> {
    let endpoint = core.settings().origin(repository)?;
    let what = format!("the referrers of {repository}@{digest}");
    check_supported(&what, digest)?;
    let path = format!("/v2/{}/referrers/{digest}", endpoint.path);
    let mut found = Vec::new();
    let listed = pages(core, &endpoint, path, &what, |bytes| {
        found.extend(entries(&what, bytes).map_err(|error| error.to_string())?);
        Ok(())
    });
    match listed {
        Err(Error::NotFound { .. } | Error::Refused { status: 400 | 405, .. }) => {
            found = by_tag(core, &endpoint, repository, digest)?;
        }
        other => other?,
    }
    // The registry may have left the filter out, and a tag knows none.
    let is_wanted = |entry: &Descriptor| {
        artifact_type
            .is_none_or(|wanted| entry.artifact_type().as_ref().is_some_and(|own| own.as_ref() == wanted))
    };
    Ok(found.into_iter().filter(is_wanted).collect())
}

/// "Referrers Tag Schema": the digest, with a `-` for the colon.
fn by_tag(
    core: &Core,
    endpoint: &Endpoint,
    repository: &Repository,
    digest: &Digest,
) -> Result<Vec<Descriptor>> {
    let tag: String = digest.to_string().replacen(':', "-", 1).chars().take(128).collect();
    let reference: Reference = repository.with_tag(&tag)?;
    match manifest::fetch_at(core, endpoint, &reference) {
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(error),
        Ok(Manifest { bytes, .. }) => entries(&reference.to_string(), &bytes),
    }
}

fn entries(what: &str, bytes: &[u8]) -> Result<Vec<Descriptor>> {
    match document::read(what, bytes)? {
        Document::Index(entries) => Ok(entries),
        Document::Manifest(_) => {
            Err(Error::Malformed { what: what.to_owned(), reason: "it is no index".to_owned() })
        }
    }
}

/// Reads page after page, as `Link` leads.
fn pages(
    core: &Core,
    endpoint: &Endpoint,
    path: String,
    what: &str,
    mut page: impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<()> {
    let mut target = Target::Path(path);
    for _ in 0..MOST_PAGES {
        let call = Call::new(Method::GET, target, Scopes::pull(&endpoint.path), what)
            .with_header(header::ACCEPT, format!("application/json, {}", MediaType::ImageIndex));
        let (bytes, next) = core.repeat(what, || {
            let response = core.expect(endpoint, &call, &[StatusCode::OK])?;
            let (next, url) = (next_page(&response)?, response.url.clone());
            Ok(match response.into_bytes(LARGEST_MANIFEST) {
                Ok(bytes) => Ok((bytes, next)),
                Err(error) => Err(core.transport.read_failure(error, &url)),
            })
        })?;
        let refuse = |reason: String| Error::Malformed { what: what.to_owned(), reason };
        let bytes = bytes.ok_or_else(|| refuse(format!("a page has more than {LARGEST_MANIFEST} bytes")))?;
        page(&bytes).map_err(|reason| {
            refuse(format!("the answer can't be read: {}", crate::error::quoted(&reason)))
        })?;
        match next {
            Some(next) => target = Target::Url(next),
            None => return Ok(()),
        }
    }
    let reason = format!("there are more than {MOST_PAGES} pages");
    Err(Error::Malformed { what: what.to_owned(), reason })
}

/// `Link: <URL>; rel="next"` (RFC 8288).
fn next_page(response: &Response) -> Result<Option<Url>> {
    let Some(link) = response.header(header::LINK) else { return Ok(None) };
    let is_next = |part: &&str| part.contains("rel=\"next\"") || part.contains("rel=next");
    let next = link.split(", <").find(is_next).and_then(|part| {
        let part = part.trim_start().trim_start_matches('<');
        part.split_once('>').map(|(url, _)| url)
    });
    next.map(|location| response.url.join(location)).transpose()
}
