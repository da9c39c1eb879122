//! One call to a registry: address, authorization, tries, and what a refusal means.

use crate::{
    Documents, Error, Result,
    auth::{Authorizer, Scopes},
    error::{is_transient_status, quoted},
    settings::{Endpoint, Settings},
    transport::{Attempts, Failure, Payload, Request, Response, Transience, Transport, retry_after},
    url::Url,
};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Instant,
};
use ureq::http::{HeaderName, Method, StatusCode};

/// Answers 401 in a row to one call: the first asks for a token, the second may have found it expired, or ask for more.
const MOST_CHALLENGES: u32 = 3;
/// Of an error's body.
const LARGEST_REFUSAL: u64 = 64 << 10;

/// What all clones of a client share.
pub(crate) struct Core {
    pub transport: Transport,
    pub authorizer: Authorizer,
    pub documents: Arc<dyn Documents>,
    /// Nobody is asked.
    pub is_offline: bool,
    /// Hosts that gave wrong bytes for a digest, with the digest.
    pub distrusted: Mutex<BTreeSet<(String, String)>>,
    /// Mirrors that never answered, and why. They are not asked again.
    pub lost_mirrors: Mutex<BTreeMap<String, String>>,
    /// Bytes in one request, by host: where more was refused.
    pub body_limits: Mutex<BTreeMap<String, u64>>,
}

/// Where a call goes.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// Below the host of the endpoint: `/v2/...`.
    Path(String),
    /// An address that the registry gave.
    Url(Url),
}

/// A call, which can be made again.
pub(crate) struct Call<'a> {
    pub method: Method,
    pub target: Target,
    pub scopes: Scopes,
    pub headers: Vec<(HeaderName, String)>,
    pub payload: Payload<'a>,
    /// For errors and events.
    pub what: String,
    /// Whether making it twice does no harm.
    pub is_repeatable: bool,
}

impl<'a> Call<'a> {
    /// A call without a body that changes nothing.
    pub fn new(method: Method, target: Target, scopes: Scopes, what: impl Into<String>) -> Self {
        let (headers, payload) = (Vec::new(), Payload::None);
        Self { method, target, scopes, headers, payload, what: what.into(), is_repeatable: true }
    }

    pub fn with_header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn with_payload(mut self, payload: Payload<'a>) -> Self {
        self.payload = payload;
        self
    }

    /// Whoever makes it looks himself at what came of it before he makes it again.
    pub fn once(mut self) -> Self {
        self.is_repeatable = false;
        self
    }
}

impl Core {
    pub fn settings(&self) -> &Settings {
        self.transport.settings()
    }

    pub fn check_cancelled(&self) -> Result<()> {
        self.transport.cancel().check()
    }

    /// Makes a call until there is an answer, whatever its status; those that pass are waited for.
    pub fn send(&self, endpoint: &Endpoint, call: &Call<'_>) -> Result<Response> {
        self.send_network(endpoint, call).map_err(|failure| failure.about(&call.what))
    }

    fn send_network(&self, endpoint: &Endpoint, call: &Call<'_>) -> Result<Response, Failure> {
        if self.is_offline {
            return Err(Error::Offline { what: call.what.clone() }.into());
        }
        let mut scopes = call.scopes.clone();
        let mut attempts = Attempts::new(self.transport.policy());
        let (mut challenges, began) = (0, Instant::now());
        loop {
            let result = self.send_once(endpoint, call, &scopes);
            if let Ok((response, true)) = &result
                && response.status == StatusCode::UNAUTHORIZED
                && challenges < MOST_CHALLENGES
                && self.authorizer.learn(&self.transport, endpoint, response, &mut scopes, began)?
            {
                challenges += 1;
                // Read to its end, its connection does for the next request.
                let _ = result.map(|(response, _)| response.into_bytes(LARGEST_REFUSAL));
                continue;
            }
            let (transience, asked, reason) = match &result {
                Ok((response, is_own)) => {
                    let status = response.status;
                    // An address that was signed for a while may be too old.
                    let is_old =
                        !is_own && matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
                    let passes = is_old || is_transient_status(status.as_u16());
                    let transience = if passes { Transience::Yes } else { Transience::Never };
                    (transience, retry_after(response), format!("the answer is {status}"))
                }
                Err(failure) => (failure.transience, None, failure.reason(&call.what)),
            };
            let wait = attempts.after_failure(transience, asked).filter(|_| call.is_repeatable);
            let Some(wait) = wait else { return result.map(|(response, _)| response) };
            self.transport.wait(&call.what, &reason, attempts.failed(), wait)?;
        }
    }

    /// The answer, and whether it is the registry's own and not one of a host it redirects to.
    fn send_once(
        &self,
        endpoint: &Endpoint,
        call: &Call<'_>,
        scopes: &Scopes,
    ) -> Result<(Response, bool), Failure> {
        let own = self.transport.address(endpoint, "/v2/")?;
        let url = match &call.target {
            Target::Path(path) => own.join(path)?,
            Target::Url(url) => url.clone(),
        };
        let own = own.origin();
        let is_verified = endpoint.protocol.is_verified();
        self.transport.check_step(&own, is_verified, &url)?;
        // Credentials are for the registry, whatever address it gives.
        let (authorization, is_verified) = match url.origin() == own {
            true => (self.authorizer.header(&self.transport, endpoint, scopes)?, is_verified),
            false => (None, self.transport.is_verified(&url.origin())),
        };
        let (method, headers, payload) = (call.method.clone(), call.headers.clone(), call.payload);
        let request = Request { method, url, is_verified, headers, authorization, payload };
        let response = self.transport.send(&request)?;
        let is_own = response.url.origin() == own;
        Ok((response, is_own))
    }

    /// Makes a call that must end with one of these statuses.
    pub fn expect(&self, endpoint: &Endpoint, call: &Call<'_>, statuses: &[StatusCode]) -> Result<Response> {
        let response = self.send(endpoint, call)?;
        if statuses.contains(&response.status) {
            return Ok(response);
        }
        Err(self.refusal(endpoint, response, &call.what))
    }

    /// Tries again what breaks while an answer is read. The inner failure decides; an outer error ends it.
    pub fn repeat<T>(&self, what: &str, mut run: impl FnMut() -> Result<Result<T, Failure>>) -> Result<T> {
        let mut attempts = Attempts::new(self.transport.policy());
        loop {
            let failure = match run()? {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            match attempts.after_failure(failure.transience, None) {
                Some(wait) => self.transport.wait(what, &failure.reason(what), attempts.failed(), wait)?,
                None => return Err(failure.about(what)),
            }
        }
    }

    /// What an answer means that is not the one that was hoped for.
    pub fn refusal(&self, endpoint: &Endpoint, response: Response, what: &str) -> Error {
        let status = response.status;
        let origin = response.url.origin();
        let (host, is_own) = (origin.authority(), endpoint.is_at(&origin));
        let what = if is_own { what.to_owned() } else { format!("{what} (at {host})") };
        let words = response.into_bytes(LARGEST_REFUSAL).ok().flatten().map(|bytes| words(&bytes));
        let reason = words.unwrap_or_default();
        match status {
            StatusCode::NOT_FOUND => Error::NotFound { what, reason },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let name = &endpoint.registry;
                let hint = match self.authorizer.has_credential(endpoint) {
                    // It was shown no credential: another one would not help.
                    _ if !is_own => format!(
                        "{host}, where {name} sends for it, refuses: is it blocked here, or the signed address too old?"
                    ),
                    true => format!("the credential for {name} is wrong, or does not allow it"),
                    false => format!("it does not exist or needs a login: `rbuild login {name}`"),
                };
                let reason = if reason.is_empty() { hint } else { format!("{hint} ({reason})") };
                Error::Denied { what, reason }
            }
            _ => Error::Refused { what, status: status.as_u16(), reason },
        }
    }
}

#[derive(Deserialize)]
struct Refusal {
    errors: Vec<RefusalEntry>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RefusalEntry {
    code: String,
    message: String,
}

/// A registry's words (distribution-spec, "Error Codes"). Pages of HTML and the like say nothing.
fn words(bytes: &[u8]) -> String {
    let Ok(refusal) = serde_json::from_slice::<Refusal>(bytes) else { return String::new() };
    let texts = refusal.errors.iter().take(3).map(|entry| {
        let (code, message) = (quoted(&entry.code), quoted(&entry.message));
        if code.is_empty() || message.is_empty() { code + &message } else { format!("{code}: {message}") }
    });
    texts.collect::<Vec<_>>().join("; ")
}
