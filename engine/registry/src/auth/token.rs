//! The token server: asked for a token by GET, with a name and a password if there are any, or by POST with an
//! identity token.

use super::{Scopes, basic_header};
use crate::{
    Challenge, Credential, Error, Result, Secret,
    error::is_transient_status,
    settings::Endpoint,
    transport::{Attempts, Failure, Payload, Request, Response, Transience, Transport, retry_after},
    url::{Url, form_member},
};
use jiff::Timestamp;
use serde::Deserialize;
use std::time::{Duration, Instant};
use ureq::http::{Method, StatusCode, header};

/// What a token is good for if its server does not say (token.md).
const USUAL_LIFE: u64 = 60;
const LONGEST_LIFE: u64 = 24 * 60 * 60;
const LARGEST_ANSWER: u64 = 1 << 20;
const CLIENT: &str = "rbuild";

/// Where tokens for a host come from.
#[derive(Clone, Debug)]
pub(super) struct TokenServer {
    realm: Url,
    is_verified: bool,
    service: Option<String>,
}

/// A token, and until when it is used.
pub(super) struct Token {
    secret: Secret,
    pub scopes: Scopes,
    pub fetched: Instant,
    end: Instant,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Answer {
    token: String,
    access_token: String,
    expires_in: Option<u64>,
    issued_at: Option<String>,
}

impl Token {
    fn new(secret: Secret, scopes: Scopes, life: Duration) -> Self {
        let fetched = Instant::now();
        Self { secret, scopes, fetched, end: fetched + life }
    }

    pub fn is_good(&self, now: Instant) -> bool {
        now < self.end
    }

    pub fn header(&self) -> Secret {
        Secret::new(format!("Bearer {}", self.secret.expose()))
    }
}

impl TokenServer {
    /// The server that a challenge names. It is sent passwords, so it must have TLS, or be as near as its registry; and
    /// only where it is the registry itself need its certificate be no better.
    pub fn of(
        transport: &Transport,
        endpoint: &Endpoint,
        response: &Response,
        challenge: &Challenge,
    ) -> Result<Self> {
        let registry = response.url.origin();
        let refuse = |reason: String| Error::Denied { what: registry.authority(), reason };
        let realm = Url::parse(challenge.parameter("realm").unwrap_or_default())
            .map_err(|error| refuse(format!("its token server is unusable: {error}")))?;
        let origin = realm.origin();
        let is_as_near = !registry.is_tls && registry.host == origin.host;
        if !origin.is_tls && !transport.may_be_plain(&origin) && !is_as_near {
            return Err(refuse(format!("its token server {realm} has no TLS, so no password is sent there")));
        }
        let is_verified = match origin == registry {
            true => endpoint.protocol.is_verified(),
            false => transport.is_verified(&origin),
        };
        Ok(Self { realm, is_verified, service: challenge.parameter("service").map(str::to_owned) })
    }

    /// A token for these scopes.
    pub fn fetch(
        &self,
        transport: &Transport,
        registry: &str,
        scopes: &Scopes,
        credential: Option<&Credential>,
    ) -> Result<Token, Failure> {
        let what = format!("a token for {registry} from {}", self.realm);
        let mut attempts = Attempts::new(transport.policy());
        loop {
            let sent = match credential {
                Some(Credential::IdentityToken(token)) => self.refresh(transport, scopes, token),
                other => self.get(transport, scopes, other),
            };
            let (failure, asked) = match sent {
                Ok(response) if is_transient_status(response.status.as_u16()) => {
                    let reason = format!("the answer is {}", response.status);
                    (Failure::network(Transience::Yes, reason), retry_after(&response))
                }
                Ok(response) => match read(transport, response, registry, credential.is_some(), &what) {
                    Ok((secret, life)) => return Ok(Token::new(secret, scopes.clone(), life)),
                    Err(failure) => (failure, None),
                },
                Err(failure) => (failure, None),
            };
            match attempts.after_failure(failure.transience, asked) {
                Some(wait) => transport.wait(&what, &failure.reason(&what), attempts.failed(), wait)?,
                None => return Err(failure.about(&what).into()),
            }
        }
    }

    fn get(
        &self,
        transport: &Transport,
        scopes: &Scopes,
        credential: Option<&Credential>,
    ) -> Result<Response, Failure> {
        let mut members: Vec<(&str, &str)> = Vec::new();
        members.extend(self.service.as_deref().map(|service| ("service", service)));
        let texts = scopes.texts();
        members.extend(texts.iter().map(|scope| ("scope", scope.as_str())));
        let mut authorization = None;
        if let Some(Credential::Password { user, secret }) = credential {
            members.push(("account", user));
            authorization = Some(basic_header(user, secret));
        }
        let url = self.realm.with_query(members)?;
        transport.send(&Request { authorization, ..Request::get(url, self.is_verified) })
    }

    fn refresh(&self, transport: &Transport, scopes: &Scopes, token: &Secret) -> Result<Response, Failure> {
        let mut form = vec![
            form_member("grant_type", "refresh_token"),
            form_member("client_id", CLIENT),
            form_member("refresh_token", token.expose()),
        ];
        form.extend(self.service.as_deref().map(|service| form_member("service", service)));
        form.push(form_member("scope", &scopes.texts().join(" ")));
        let form = form.join("&");
        let headers = vec![(header::CONTENT_TYPE, "application/x-www-form-urlencoded".to_owned())];
        let payload = Payload::Bytes(form.as_bytes());
        let request = Request::get(self.realm.clone(), self.is_verified);
        transport.send(&Request { method: Method::POST, headers, payload, ..request })
    }
}

/// The token in an answer, and for how long it is good.
fn read(
    transport: &Transport,
    response: Response,
    registry: &str,
    has_credential: bool,
    what: &str,
) -> Result<(Secret, Duration), Failure> {
    let (status, url) = (response.status, response.url.clone());
    let refuse = |reason: &str| Error::Denied { what: what.to_owned(), reason: reason.to_owned() };
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST) {
        return Err(refuse(&match has_credential {
            true => format!("the credential for {registry} is refused: `rbuild login {registry}`"),
            false => format!("it gives none without a login: `rbuild login {registry}`"),
        })
        .into());
    }
    if status != StatusCode::OK {
        let (what, reason) = (what.to_owned(), String::new());
        return Err(Error::Refused { what, status: status.as_u16(), reason }.into());
    }
    let bytes = response.into_bytes(LARGEST_ANSWER).map_err(|error| transport.read_failure(error, &url))?;
    // Nothing of the answer is told: it may be a token. What the network garbled may come right the next time.
    let garbled = |reason: &str| Failure::own(Transience::Brief, refuse(reason));
    let answer: Answer = bytes
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| garbled("its answer is no token"))?;
    let text = if answer.token.is_empty() { &answer.access_token } else { &answer.token };
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(garbled("its answer holds no token"));
    }
    Ok((Secret::new(text), life(&answer, Timestamp::now())))
}

/// How long to use a token: a tenth less than its server says, for clocks and for requests that take their time.
fn life(answer: &Answer, now: Timestamp) -> Duration {
    let life = answer.expires_in.unwrap_or(USUAL_LIFE).clamp(1, LONGEST_LIFE);
    let issued = answer.issued_at.as_deref().and_then(|text| text.parse::<Timestamp>().ok());
    let age =
        issued.and_then(|issued| Duration::try_from(now.duration_since(issued)).ok()).unwrap_or_default();
    // A clock that is wrong must not make every token old: then it is tried, and a 401 tells.
    let age = if age.as_secs() >= life { Duration::ZERO } else { age };
    (Duration::from_secs(life) - age).mul_f64(0.9)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lives() {
        let now: Timestamp = "2026-11-25T08:00:00Z".parse().unwrap();
        let life = |expires_in, issued_at: Option<&str>| {
            life(&Answer { expires_in, issued_at: issued_at.map(str::to_owned), ..Answer::default() }, now)
                .as_secs()
        };
        assert_eq!(life(None, None), 54);
        assert_eq!(life(Some(300), None), 270);
        assert_eq!(life(Some(300), Some("2026-11-25T07:58:20Z")), 180);
        assert_eq!(life(Some(300), Some("2020-01-01T00:00:00Z")), 270);
        assert_eq!(life(Some(300), Some("2030-01-01T00:00:00Z")), 270);
        assert_eq!(life(Some(0), Some("nonsense")), 0);
        assert_eq!(life(Some(u64::MAX), None), 77_760);
    }
}
