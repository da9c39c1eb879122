//! The bytes of a blob, from wherever they can be had.
//!
//! A connection that breaks is made again, and the rest asked for from there (`Range`); a place that fails for good
//! is left for the next. What comes out is never more than the descriptor says, and the end comes only after the
//! digest was found right.

use super::{after_mirrors, endpoints, give_up};
use crate::{
    Error, Event, Repository, Result,
    auth::Scopes,
    core::{Call, Core, Target},
    digest, document,
    reference::is_loopback,
    settings::{By, Endpoint},
    transport::{Attempts, Body, Failure, Request, Response, Transience},
    url::Url,
};
use rbuild_oci::oci_spec::image::Descriptor;
use sha2::{Digest as _, Sha256};
use std::{
    collections::VecDeque,
    io::{self, Read},
    sync::{Arc, PoisonError},
};
use ureq::http::{Method, StatusCode, header};

/// Reads a blob. An error of reading holds an [`Error`] ([`Error::from_io`]). Wrong bytes are noticed at the end, as
/// [`Error::Damaged`]: what was read before it is to be thrown away, and opening the blob again passes over the mirror
/// that gave them.
pub struct Blob {
    core: Arc<Core>,
    descriptor: Descriptor,
    what: String,
    places: VecDeque<Place>,
    failures: Vec<String>,
    body: Option<Body>,
    /// None once the end was found right.
    hasher: Option<Sha256>,
    offset: u64,
    attempts: Attempts,
    /// Mirrors that gave some of the bytes.
    givers: Vec<String>,
}

/// Where it can be.
enum Place {
    Registry(Endpoint),
    /// Of a foreign layer.
    Url(Url),
}

impl Place {
    fn name(&self) -> String {
        match self {
            Self::Registry(endpoint) => endpoint.host.clone(),
            Self::Url(url) => url.to_string(),
        }
    }

    fn endpoint(&self) -> Option<&Endpoint> {
        match self {
            Self::Registry(endpoint) => Some(endpoint),
            Self::Url(_) => None,
        }
    }
}

impl Blob {
    /// Makes ready to read; nothing is asked for before the first byte is.
    pub(crate) fn open(core: &Arc<Core>, repository: &Repository, descriptor: &Descriptor) -> Result<Self> {
        let what = format!("blob {} of {repository}", descriptor.digest());
        digest::check_supported(&what, descriptor.digest())?;
        let (endpoints, mut failures) = endpoints(core, repository, By::Digest)?;
        let mut places: VecDeque<Place> = VecDeque::new();
        {
            let distrusted = core.distrusted.lock().unwrap_or_else(PoisonError::into_inner);
            let is_trusted = |endpoint: &Endpoint| {
                endpoint.is_origin
                    || !distrusted.contains(&(endpoint.host.clone(), descriptor.digest().to_string()))
            };
            places.extend(endpoints.into_iter().filter(is_trusted).map(Place::Registry));
        }
        let urls = descriptor.urls().iter().flatten();
        for text in urls.filter(|_| document::is_foreign(descriptor.media_type())) {
            // One that is of no use matters only if nobody else has the blob.
            match foreign(text, is_loopback(repository.registry())) {
                Ok(url) => places.push_back(Place::Url(url)),
                Err(error) => failures.push(error.to_string()),
            }
        }
        Ok(Self {
            core: core.clone(),
            descriptor: descriptor.clone(),
            what,
            places,
            failures,
            body: None,
            hasher: Some(Sha256::new()),
            offset: 0,
            attempts: Attempts::new(core.transport.policy()),
            givers: Vec::new(),
        })
    }

    fn size(&self) -> u64 {
        self.descriptor.size()
    }

    fn advance(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if self.hasher.is_none() {
            return Ok(0);
        }
        loop {
            self.core.check_cancelled()?;
            if self.offset == self.size() {
                return self.finish().map(|()| 0);
            }
            let mut body = match self.body.take() {
                Some(body) => body,
                None => match self.connect()? {
                    Ok(body) => body,
                    Err(failure) => {
                        self.after(failure)?;
                        continue;
                    }
                },
            };
            let most = usize::try_from(self.size() - self.offset).unwrap_or(usize::MAX).min(buffer.len());
            match body.read(&mut buffer[..most]) {
                Ok(0) => {
                    let reason = format!("the answer ends after {} of {} bytes", self.offset, self.size());
                    self.after(Failure::network(Transience::Yes, reason))?;
                }
                Ok(count) => {
                    self.body = Some(body);
                    self.take(&buffer[..count]);
                    return Ok(count);
                }
                Err(error) => {
                    let failure = self.core.transport.read_failure(error, &body.url);
                    self.after(failure)?;
                }
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.offset += bytes.len() as u64;
        self.attempts.progress();
        let digest = self.descriptor.digest();
        self.core.transport.tell(Event::Received { digest, bytes: bytes.len() as u64 });
        if let Some(endpoint) = self.places.front().and_then(Place::endpoint)
            && !endpoint.is_origin
            && !self.givers.contains(&endpoint.host)
        {
            self.givers.push(endpoint.host.clone());
        }
    }

    /// All bytes are there: are there more, and are they right?
    fn finish(&mut self) -> Result<()> {
        let mut reason = None;
        // Reading to the end, too, gives the connection back for the next request. A break no longer matters.
        if let Some(mut body) = self.body.take()
            && matches!(body.read(&mut [0]), Ok(1..))
        {
            reason = Some(format!("it has more than {} bytes", self.size()));
        }
        let found = self.hasher.take().map(digest::finish).unwrap_or_default();
        if reason.is_none() && found != self.descriptor.digest().as_ref() {
            reason = Some(format!("its digest is {found}"));
        }
        let Some(reason) = reason else { return Ok(()) };
        let mut distrusted = self.core.distrusted.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = self.descriptor.digest().to_string();
        distrusted.extend(self.givers.drain(..).map(|host| (host, digest.clone())));
        let place = self.places.front().map(Place::name).unwrap_or_default();
        Err(Error::Damaged { what: format!("{} (from {place})", self.what), reason })
    }

    /// Waits before another try, goes on to the next place, or ends it.
    fn after(&mut self, failure: Failure) -> Result<()> {
        if failure.is_cancelled() {
            return Err(Error::Cancelled);
        }
        match self.attempts.after_failure(failure.transience, None) {
            Some(wait) => self.core.transport.wait(
                &self.what,
                &failure.reason(&self.what),
                self.attempts.failed(),
                wait,
            ),
            None => self.leave(failure.about(&self.what)),
        }
    }

    fn leave(&mut self, error: Error) -> Result<()> {
        let place = self.places.pop_front();
        let Some(place) = place.filter(|_| !self.places.is_empty()) else {
            return Err(after_mirrors(error, &self.failures));
        };
        self.attempts.progress();
        self.failures.push(give_up(&self.core, &place.name(), place.endpoint(), &error));
        Ok(())
    }

    /// A body that begins at the offset. What is final about this place leads on to the next.
    fn connect(&mut self) -> Result<Result<Body, Failure>> {
        loop {
            let answer = match self.places.front() {
                Some(Place::Registry(endpoint)) => self.ask_registry(endpoint),
                Some(Place::Url(url)) => self.ask_url(url),
                None => return Err(after_mirrors(self.nowhere(), &self.failures)),
            };
            match answer {
                Ok(response) => return Ok(self.body_of(response)),
                Err(error) if error.is_final() => return Err(error),
                Err(error) => self.leave(error)?,
            }
        }
    }

    fn nowhere(&self) -> Error {
        Error::NotFound { what: self.what.clone(), reason: "there is no place left to ask".to_owned() }
    }

    fn ask_registry(&self, endpoint: &Endpoint) -> Result<Response> {
        let path = format!("/v2/{}/blobs/{}", endpoint.path, self.descriptor.digest());
        let mut call = Call::new(Method::GET, Target::Path(path), Scopes::pull(&endpoint.path), &self.what);
        call.headers.extend(self.range());
        self.core.expect(endpoint, &call, &[StatusCode::OK, StatusCode::PARTIAL_CONTENT])
    }

    /// A stranger's server: it is shown nothing of ours.
    fn ask_url(&self, url: &Url) -> Result<Response> {
        let what = format!("{} (at {url})", self.what);
        let mut request = Request::get(url.clone(), self.core.transport.is_verified(&url.origin()));
        request.headers.extend(self.range());
        let response = self.core.repeat(&what, || Ok(self.core.transport.send(&request)))?;
        match response.status {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(response),
            StatusCode::NOT_FOUND => Err(Error::NotFound { what, reason: String::new() }),
            status => Err(Error::Refused { what, status: status.as_u16(), reason: String::new() }),
        }
    }

    fn range(&self) -> Option<(header::HeaderName, String)> {
        (self.offset > 0).then(|| (header::RANGE, format!("bytes={}-", self.offset)))
    }

    fn body_of(&self, response: Response) -> Result<Body, Failure> {
        let (offset, size) = (self.offset, self.size());
        let is_part = response.status == StatusCode::PARTIAL_CONTENT;
        let refuse = |reason: String| Failure::network(Transience::Yes, reason);
        if is_part {
            let text = response.header(header::CONTENT_RANGE).unwrap_or_default();
            if !begins_at(text, offset, size) {
                let text = crate::error::quoted(text);
                return Err(refuse(format!("asked for bytes from {offset} on, the registry gives {text:?}")));
            }
        }
        let expected = if is_part { size - offset } else { size };
        if let Some(length) = response.content_length().filter(|length| *length != expected) {
            return Err(refuse(format!("the registry announces {length} bytes instead of {expected}")));
        }
        let mut body = response.into_reader();
        if !is_part && offset > 0 {
            // The server knows no ranges: what is known already is passed over.
            let skipped = io::copy(&mut body.by_ref().take(offset), &mut io::sink());
            let skipped = skipped.map_err(|error| self.core.transport.read_failure(error, &body.url))?;
            if skipped < offset {
                return Err(refuse(format!("the answer ends after {skipped} of {size} bytes")));
            }
        }
        Ok(body)
    }
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.advance(buffer).map_err(Error::into_io)
    }
}

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blob").field("what", &self.what).field("offset", &self.offset).finish_non_exhaustive()
    }
}

/// `bytes FIRST-LAST/TOTAL` (RFC 9110, section 14.4).
fn begins_at(text: &str, offset: u64, size: u64) -> bool {
    let parse = || {
        let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.trim().split_once('-')?;
        let is_total = total.trim() == "*" || total.trim().parse() == Ok(size);
        Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?, is_total))
    };
    parse().is_some_and(|(first, last, is_total)| {
        first == offset && last.checked_add(1) == Some(size) && is_total
    })
}

/// Only a registry on this machine may name an address of this machine, where there need be no TLS.
fn foreign(text: &str, is_near: bool) -> Result<Url> {
    let url = Url::parse(text)?;
    let origin = url.origin();
    let reason = match origin.is_loopback() {
        true if is_near => return Ok(url),
        true => "it is of this machine, and the registry is not",
        false if origin.is_tls => return Ok(url),
        false => "it has no TLS",
    };
    Err(Error::Malformed { what: format!("address {url}"), reason: reason.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_foreign_layers() {
        for (text, is_near, reason) in [
            ("https://far.example/x", false, ""),
            ("https://far.example/x", true, ""),
            ("http://far.example/x", true, "no TLS"),
            ("http://127.0.0.1/x", true, ""),
            ("http://127.0.0.1/x", false, "of this machine"),
            ("https://localhost/x", false, "of this machine"),
            ("ftp://far.example/x?sig=hunter2", false, "https://"),
        ] {
            let error = foreign(text, is_near).map_or_else(|error| error.to_string(), |_| String::new());
            assert!(error.contains(reason) && error.is_empty() == reason.is_empty(), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn content_ranges() {
        for (text, fits) in [
            ("bytes 5-9/10", true),
            ("bytes 5-9/*", true),
            ("bytes 4-9/10", false),
            ("bytes 5-8/10", false),
            ("bytes 5-9/11", false),
            ("bytes */10", false),
            ("bytes 5-18446744073709551615/10", false),
            ("5-9/10", false),
            ("", false),
        ] {
            assert_eq!(begins_at(text, 5, 10), fits, "{text}");
        }
    }
}
