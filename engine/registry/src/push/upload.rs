//! An upload session (distribution-spec, "Pushing a blob in chunks", "Pushing a blob monolithically").
//!
//! A session has an address, which every answer may change. The blob goes in one request; only where a body of its
//! size is refused (413) does it go in parts, of half the size, and half of that, until they are taken. After a break
//! the registry is asked how far it got, and the rest is sent from there; a session that is gone is begun anew, and so
//! is one whose bytes arrived garbled.

use super::{
    blob::{UploadSizes, has_blob_at},
    session::{self, Session},
};
use crate::{
    BlobSource, Error, Event, Result,
    auth::Scopes,
    core::{Call, Core, Target},
    digest,
    settings::Endpoint,
    transport::{Attempts, Part, Payload, Response, Transience},
    url::{Url, form_member},
};
use rbuild_oci::oci_spec::image::Descriptor;
use std::{cell::Cell, sync::PoisonError};
use ureq::http::{Method, StatusCode, header};

/// Whole uploads of one blob, if its bytes arrive as others.
const MOST_GARBLED: u32 = 3;

pub(super) struct Upload<'a> {
    pub core: &'a Core,
    pub endpoint: &'a Endpoint,
    pub descriptor: &'a Descriptor,
    pub source: &'a dyn BlobSource,
    pub sizes: &'a UploadSizes,
    pub what: &'a str,
    /// What was sent so far, at the most: what goes out again is told only from here on.
    pub told: Cell<u64>,
}

/// What a request to mount leads to.
pub(super) enum Start {
    Mounted,
    Session(Session),
}

/// What stopped an upload.
enum Stop {
    /// As it is.
    Final(Error),
    /// Ask how far it got.
    Broken(Error),
    /// Begin anew.
    Lost(Error),
    /// Begin anew, but not often.
    Garbled(Error),
    /// Go on with smaller bodies than this one.
    TooLarge(Error, u64),
}

impl Upload<'_> {
    /// Asks the registry to take the blob from another of its repositories. That needs the right to pull there.
    pub fn mount(&self, from: &str) -> Result<Start> {
        let path = &self.endpoint.path;
        let members = [form_member("mount", self.descriptor.digest().as_ref()), form_member("from", from)];
        let target = Target::Path(format!("/v2/{path}/blobs/uploads/?{}", members.join("&")));
        let call = Call::new(Method::POST, target, Scopes::mount(path, from), self.what);
        let call = call.with_payload(Payload::Bytes(&[]));
        let response =
            self.core.expect(self.endpoint, &call, &[StatusCode::CREATED, StatusCode::ACCEPTED])?;
        match response.status {
            StatusCode::CREATED => Ok(Start::Mounted),
            _ => Session::opened(&response, self.what).map(Start::Session),
        }
    }

    /// Sends the blob, in a session that there is or a new one.
    pub fn run(&self, first: Option<Session>) -> Result<()> {
        let mut session = first;
        let mut attempts = Attempts::new(self.core.transport.policy());
        let mut garbled = 0;
        loop {
            self.core.check_cancelled()?;
            let mut current = match session.take() {
                Some(session) => session,
                None => self.begin()?,
            };
            let before = current.offset;
            let stop = match self.send_all(&mut current) {
                Ok(()) => return Ok(()),
                Err(stop) => stop,
            };
            let (error, next) = match stop {
                Stop::Final(error) => return Err(error),
                Stop::TooLarge(error, length) => {
                    self.lower_limit(&current, length).ok_or(error)?;
                    session = self.progress_of(&current)?;
                    continue;
                }
                Stop::Broken(error) => {
                    // The last answer may be what was lost.
                    let digest = self.descriptor.digest();
                    if has_blob_at(self.core, self.endpoint, digest, &self.scopes(), self.what)? {
                        return Ok(());
                    }
                    (error, self.progress_of(&current)?)
                }
                Stop::Lost(error) => (error, None),
                Stop::Garbled(error) => {
                    if garbled == 0 {
                        self.check_source()?;
                    }
                    garbled += 1;
                    if garbled >= MOST_GARBLED {
                        return Err(error);
                    }
                    (error, None)
                }
            };
            let reached = next.as_ref().map_or(0, |next| next.offset).max(current.offset);
            if reached > before {
                attempts.progress();
            }
            session = next;
            match attempts.after_failure(Transience::Yes, None) {
                Some(wait) => {
                    let text = error.to_string();
                    let reason =
                        text.strip_prefix(self.what).map_or(&*text, |rest| rest.trim_start_matches(": "));
                    self.core.transport.wait(self.what, reason, attempts.failed(), wait)?;
                }
                None => return Err(error),
            }
        }
    }

    /// What arrives as something else may be something else on this machine already.
    fn check_source(&self) -> Result<()> {
        let (length, what, core) = (self.descriptor.size(), self.what, self.core);
        let part = Part { source: self.source, offset: 0, length, what, sent: &|_| () };
        let found = digest::of_reader(part.open(core.transport.cancel())?)
            .map_err(|error| Error::from_io(format!("reading {what}"), error))?;
        if found == self.descriptor.digest().as_ref() {
            return Ok(());
        }
        let file = self.source.file().map(|file| format!(" ({})", file.display())).unwrap_or_default();
        let (what, reason) =
            (format!("{what}, which is to be pushed{file},"), format!("its digest is {found}"));
        Err(Error::Damaged { what, reason })
    }

    fn scopes(&self) -> Scopes {
        Scopes::push(&self.endpoint.path)
    }

    fn call<'p>(&self, method: Method, url: Url, payload: Payload<'p>) -> Call<'p> {
        Call::new(method, Target::Url(url), self.scopes(), self.what).with_payload(payload)
    }

    fn begin(&self) -> Result<Session> {
        let target = Target::Path(format!("/v2/{}/blobs/uploads/", self.endpoint.path));
        let call =
            Call::new(Method::POST, target, self.scopes(), self.what).with_payload(Payload::Bytes(&[]));
        let response = self.core.expect(self.endpoint, &call, &[StatusCode::ACCEPTED])?;
        Session::opened(&response, self.what)
    }

    fn send_all(&self, session: &mut Session) -> Result<(), Stop> {
        let (size, limit) = (self.descriptor.size(), self.limit().max(session.least_part));
        if session.offset == 0 && size <= limit {
            return self.close(session, 0, size);
        }
        while session.offset < size {
            self.send_part(session, limit.min(size - session.offset))?;
        }
        self.close(session, size, 0)
    }

    /// How large a body may be, as far as is known of this host.
    fn limit(&self) -> u64 {
        let limits = self.core.body_limits.lock().unwrap_or_else(PoisonError::into_inner);
        limits.get(&self.endpoint.host).copied().unwrap_or(u64::MAX)
    }

    /// After a body of this length was refused; none if there are no smaller ones.
    fn lower_limit(&self, session: &Session, refused: u64) -> Option<()> {
        if refused <= self.sizes.least_part.max(session.least_part) {
            return None;
        }
        let half = refused.div_ceil(2).min(self.sizes.part).max(self.sizes.least_part).max(1);
        let mut limits = self.core.body_limits.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = limits.entry(self.endpoint.host.clone()).or_insert(half);
        *limit = half.min(*limit);
        tracing::debug!(self.what, refused, limit, "the body is too large for this host");
        Some(())
    }

    fn part(
        &self,
        offset: u64,
        length: u64,
        send: impl FnOnce(Payload<'_>) -> Result<Response>,
    ) -> Result<Response> {
        if length == 0 {
            return send(Payload::Bytes(&[]));
        }
        let digest = self.descriptor.digest();
        let sent = |position: u64| {
            let told = self.told.get();
            if position > told {
                self.told.set(position);
                self.core.transport.tell(Event::Sent { digest, bytes: position - told });
            }
        };
        send(Payload::Part(Part { source: self.source, offset, length, what: self.what, sent: &sent }))
    }

    fn send_part(&self, session: &mut Session, length: u64) -> Result<(), Stop> {
        let (offset, end) = (session.offset, session.offset + length);
        let sent = self.part(offset, length, |payload| {
            let call = self.call(Method::PATCH, session.url.clone(), payload).once();
            let call = call
                .with_header(header::CONTENT_TYPE, "application/octet-stream")
                .with_header(header::CONTENT_RANGE, format!("{offset}-{}", end - 1));
            self.core.send(self.endpoint, &call)
        });
        let response = sent.map_err(broken)?;
        match response.status {
            StatusCode::ACCEPTED | StatusCode::CREATED | StatusCode::NO_CONTENT => {}
            _ => return Err(self.stop(response, length)),
        }
        session.url = session::location(&response, self.what).map_err(Stop::Final)?;
        // What it says it has counts, if that can be: it may have kept less than was sent.
        let has = session::reached(&response);
        session.offset = has.filter(|has| (offset..=end).contains(has)).unwrap_or(end);
        if session.offset == offset {
            let reason = "the registry keeps nothing of what is sent".to_owned();
            return Err(Stop::Lost(Error::Unreachable { what: self.what.to_owned(), reason }));
        }
        Ok(())
    }

    /// Ends the session with its last bytes, and says what they all are.
    fn close(&self, session: &Session, offset: u64, length: u64) -> Result<(), Stop> {
        let digest = self.descriptor.digest().as_ref();
        let url = session.url.with_query([("digest", digest)]).map_err(Stop::Final)?;
        let sent = self.part(offset, length, |payload| {
            let call = self.call(Method::PUT, url, payload).once();
            let call = call.with_header(header::CONTENT_TYPE, "application/octet-stream");
            self.core.send(self.endpoint, &call)
        });
        let response = sent.map_err(broken)?;
        match response.status {
            StatusCode::CREATED | StatusCode::OK | StatusCode::NO_CONTENT => Ok(()),
            _ => Err(self.stop(response, length)),
        }
    }

    fn stop(&self, response: Response, length: u64) -> Stop {
        let status = response.status;
        let error = self.core.refusal(self.endpoint, response, self.what);
        match status {
            // DIGEST_INVALID, SIZE_INVALID and the like.
            StatusCode::BAD_REQUEST => Stop::Garbled(error),
            StatusCode::NOT_FOUND => Stop::Lost(error),
            // Not the registry's limit, often, but that of a server before it.
            StatusCode::PAYLOAD_TOO_LARGE => Stop::TooLarge(error, length),
            StatusCode::RANGE_NOT_SATISFIABLE => Stop::Broken(error),
            _ if error.is_transient() => Stop::Broken(error),
            _ => Stop::Final(error),
        }
    }

    /// How far a session got; none if it is gone, or where it is nobody answers.
    fn progress_of(&self, session: &Session) -> Result<Option<Session>> {
        let call = self.call(Method::GET, session.url.clone(), Payload::None);
        let response = match self.core.send(self.endpoint, &call) {
            Err(Error::Unreachable { .. }) => return Ok(None),
            result => result?,
        };
        if !matches!(response.status, StatusCode::NO_CONTENT | StatusCode::ACCEPTED | StatusCode::OK) {
            return Ok(None);
        }
        let Some(offset) = session::reached(&response) else { return Ok(None) };
        if offset > self.descriptor.size() {
            return Ok(None);
        }
        let url = match response.header(header::LOCATION) {
            Some(_) => session::location(&response, self.what)?,
            None => session.url.clone(),
        };
        Ok(Some(Session { url, offset, least_part: session.least_part }))
    }
}

fn broken(error: Error) -> Stop {
    match error {
        Error::Unreachable { .. } => Stop::Broken(error),
        error => Stop::Final(error),
    }
}
