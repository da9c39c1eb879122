//! One request, one answer: connections, TLS, proxies, time limits, redirects. Nothing here knows what a registry is.
//!
//! ureq gives HTTP/1.1 over pooled connections. Added here: agents by host (each has its own certificates and proxy),
//! a limit on silence that differs from the limit on the first byte (`patience`), redirects that lose their
//! `Authorization` (`redirect`), bodies that are read while they go out (`payload`), words for what goes wrong
//! (`failure`), an end from outside (`cancel`), and waiting between tries (`retry`).

mod agent;
mod cancel;
mod failure;
mod patience;
mod payload;
mod redirect;
mod retry;

pub use agent::Timeouts;
pub use cancel::Cancel;
pub use payload::BlobSource;
pub use retry::RetryPolicy;

pub(crate) use failure::{Failure, Transience};
pub(crate) use payload::{Part, Payload};
pub(crate) use retry::{Attempts, retry_after};

use crate::{
    Error, Event, Observer, Options, Result, Secret, Settings,
    settings::{Endpoint, Protocol, Proxy},
    url::{Origin, Url},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use ureq::{
    Agent, SendBody,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
};

/// A request, which can be sent more than once.
#[derive(Clone)]
pub(crate) struct Request<'a> {
    pub method: Method,
    pub url: Url,
    /// Whether the host's certificate must be right.
    pub is_verified: bool,
    pub headers: Vec<(HeaderName, String)>,
    pub authorization: Option<Secret>,
    pub payload: Payload<'a>,
}

impl Request<'_> {
    /// One that says nothing of who asks.
    pub fn get(url: Url, is_verified: bool) -> Self {
        let (method, headers) = (Method::GET, Vec::new());
        Self { method, url, is_verified, headers, authorization: None, payload: Payload::None }
    }
}

/// An answer, its body unread.
pub(crate) struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Where it came from, after redirects.
    pub url: Url,
    /// What the request said of who asks.
    pub authorization: Option<Secret>,
    body: ureq::Body,
}

impl Response {
    /// A header as text.
    pub fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The bytes that follow, as the server counts them.
    pub fn content_length(&self) -> Option<u64> {
        self.header(header::CONTENT_LENGTH).and_then(|text| text.trim().parse().ok())
    }

    pub fn into_reader(self) -> Body {
        Body { inner: self.body.into_reader(), url: self.url }
    }

    /// The whole body, if it has no more bytes than this.
    pub fn into_bytes(self, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        self.body.into_reader().take(limit + 1).read_to_end(&mut bytes)?;
        Ok((bytes.len() as u64 <= limit).then_some(bytes))
    }
}

/// An answer's body, and where it comes from.
pub(crate) struct Body {
    inner: ureq::BodyReader<'static>,
    pub url: Url,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

/// Sends requests.
pub(crate) struct Transport {
    settings: Settings,
    timeouts: Timeouts,
    policy: RetryPolicy,
    observer: Arc<dyn Observer>,
    cancel: Cancel,
    /// With whether the host's certificate must be right.
    agents: Mutex<BTreeMap<(Origin, bool), Agent>>,
    /// Hosts that could be talked to in two ways, and whether they have TLS.
    probed: Mutex<BTreeMap<String, bool>>,
    answered: Mutex<BTreeSet<Origin>>,
}

impl Transport {
    pub fn new(settings: Settings, options: &Options, cancel: Cancel) -> Self {
        let (timeouts, policy) = (options.timeouts.clone(), options.retry.clone());
        let observer = options.observer.clone();
        Self {
            settings,
            timeouts,
            policy,
            observer,
            cancel,
            agents: Mutex::default(),
            probed: Mutex::default(),
            answered: Mutex::default(),
        }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn policy(&self) -> &RetryPolicy {
        &self.policy
    }

    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    pub fn tell(&self, event: Event<'_>) {
        self.observer.event(event);
    }

    /// Waits before another try, and says so.
    pub fn wait(&self, what: &str, reason: &str, failed: u32, wait: Duration) -> Result<()> {
        tracing::debug!(what, reason, failed, ?wait, "trying again");
        self.tell(Event::Retry { what, reason, failed, wait });
        self.cancel.sleep(wait)
    }

    /// The address of a path on an endpoint's host, with the scheme that the host talks.
    pub fn address(&self, endpoint: &Endpoint, path: &str) -> Result<Url, Failure> {
        let is_tls = match endpoint.protocol {
            Protocol::Tls => true,
            Protocol::Plain => false,
            Protocol::Either | Protocol::Insecure => self.has_tls(endpoint)?,
        };
        let scheme = if is_tls { "https" } else { "http" };
        Ok(Url::parse(&format!("{scheme}://{}{path}", endpoint.host))?)
    }

    /// Asks once, as docker does: TLS first. Only an answer that is no TLS, followed by one that is HTTP, says no.
    fn has_tls(&self, endpoint: &Endpoint) -> Result<bool, Failure> {
        let (host, is_verified) = (endpoint.host.as_str(), endpoint.protocol.is_verified());
        let known = |probed: &BTreeMap<String, bool>| probed.get(host).copied();
        if let Some(is_tls) = known(&self.probed.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(is_tls);
        }
        let probe = |scheme: &str| {
            let url = Url::parse(&format!("{scheme}://{host}/v2/"))?;
            self.exchange(&Request::get(url, is_verified))
        };
        let is_tls = match probe("https") {
            Ok(_) => true,
            Err(failure) if failure.is_no_tls => match probe("http") {
                // What a server with TLS says to plain http.
                Ok(response) if response.status != StatusCode::BAD_REQUEST => false,
                _ => return Err(failure),
            },
            Err(failure) => return Err(failure),
        };
        self.probed.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned(), is_tls);
        Ok(is_tls)
    }

    /// Sends a request once and follows no redirect.
    pub fn exchange(&self, request: &Request<'_>) -> Result<Response, Failure> {
        self.cancel.check()?;
        let origin = request.url.origin();
        let agent = self.agent(origin.clone(), request.is_verified)?;
        let mut builder = ureq::http::Request::builder().method(&request.method).uri(request.url.uri());
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        if let Some(authorization) = &request.authorization {
            let value = HeaderValue::from_str(authorization.expose());
            let mut value = value.map_err(|_| Error::Credentials {
                place: format!("the credential for {}", request.url.origin().authority()),
                reason: "it holds characters that no header can".to_owned(),
            })?;
            value.set_sensitive(true);
            builder = builder.header(header::AUTHORIZATION, value);
        }
        let result = match request.payload {
            Payload::None => agent.run(finish(builder, SendBody::none())?),
            Payload::Bytes(mut bytes) => {
                builder = builder.header(header::CONTENT_LENGTH, bytes.len());
                agent.run(finish(builder, SendBody::from_reader(&mut bytes))?)
            }
            Payload::Part(part) => {
                builder = builder.header(header::CONTENT_LENGTH, part.length);
                if part.is_asked_first() {
                    builder = builder.header(header::EXPECT, "100-continue");
                }
                let mut reader = part.open(&self.cancel)?;
                agent.run(finish(builder, SendBody::from_reader(&mut reader))?)
            }
        };
        self.cancel.check()?;
        let response = result.map_err(|error| self.failure(error, &request.url))?;
        self.answered.lock().unwrap_or_else(PoisonError::into_inner).insert(origin);
        let (parts, body) = response.into_parts();
        let (url, authorization) = (request.url.clone(), request.authorization.clone());
        Ok(Response { status: parts.status, headers: parts.headers, url, authorization, body })
    }

    /// Whether there ever was an answer from an endpoint itself.
    pub fn has_answered(&self, endpoint: &Endpoint) -> bool {
        let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.iter().any(|origin| endpoint.is_at(origin))
    }

    /// Sends a request and follows redirects, if it has no body.
    pub fn send(&self, request: &Request<'_>) -> Result<Response, Failure> {
        redirect::follow(self, request)
    }

    /// What went wrong while a body was read, in words.
    pub fn read_failure(&self, error: io::Error, url: &Url) -> Failure {
        match self.cancel.check() {
            Ok(()) => self.failure(ureq::Error::from(error), url),
            Err(cancelled) => cancelled.into(),
        }
    }

    fn failure(&self, error: ureq::Error, url: &Url) -> Failure {
        let origin = url.origin();
        let proxy = self.settings.proxies().for_origin(&origin).ok().flatten();
        failure::explain(error, &self.timeouts).at(origin.authority(), proxy.map(Proxy::host))
    }

    /// Whether the certificate of a host must be right that a registry or a host's answer names.
    pub fn is_verified(&self, origin: &Origin) -> bool {
        self.settings.is_verified(&origin.authority())
    }

    /// Whether a host is one that may be talked to without TLS.
    pub fn may_be_plain(&self, origin: &Origin) -> bool {
        origin.is_loopback() || self.settings.is_plain(&origin.authority())
    }

    /// Whether an address that a host gave may be followed: not from TLS to none, unless that was named, or is all on
    /// this machine, or on one host whose TLS says nothing.
    pub fn check_step(&self, from: &Origin, is_verified: bool, next: &Url) -> Result<(), Failure> {
        let to = next.origin();
        let is_near = (from.is_loopback() && to.is_loopback()) || (!is_verified && from.host == to.host);
        if to.is_tls || !from.is_tls || is_near || self.settings.is_plain(&to.authority()) {
            return Ok(());
        }
        let reason = format!("it leads to {next}, which has no TLS");
        Err(Failure::network(Transience::Never, reason))
    }

    fn agent(&self, origin: Origin, is_verified: bool) -> Result<Agent> {
        let key = (origin, is_verified);
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = agents.get(&key) {
            return Ok(agent.clone());
        }
        let agent = agent::build(&self.settings, &self.timeouts, &key.0, is_verified)?;
        self.cancel.register(agent.clone())?;
        agents.insert(key, agent.clone());
        Ok(agent)
    }
}

fn finish<'b>(
    builder: ureq::http::request::Builder,
    body: SendBody<'b>,
) -> Result<ureq::http::Request<SendBody<'b>>> {
    // Only a header that holds what no header can leads here.
    builder
        .body(body)
        .map_err(|error| Error::Malformed { what: "request".to_owned(), reason: error.to_string() })
}
