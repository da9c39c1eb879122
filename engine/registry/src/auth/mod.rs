//! Being let in: docker's token authentication, and basic.
//!
//! A registry answers 401 and says how to authenticate; that is remembered for its host, so later requests bring what
//! they need at once. Tokens are kept by what they are good for. One that is refused, or about to expire, is fetched
//! anew. Sources: distribution's `spec/auth/token.md` and `oauth.md`, RFC 6749 section 6, RFC 7617.
//!
//! | module | what |
//! |---|---|
//! | `scope` | what a token is good for |
//! | `token` | the token server |

mod scope;
mod token;

pub(crate) use scope::Scopes;

use crate::{
    Challenge, Credential, Credentials, Error, Result, Secret,
    settings::{Endpoint, Protocol},
    transport::{Failure, Response, Transport},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};
use token::{Token, TokenServer};
use ureq::http::header;

/// How a host wants it.
#[derive(Clone, Debug)]
enum Scheme {
    Bearer(TokenServer),
    Basic,
}

/// What is known of one host.
#[derive(Default)]
struct Host {
    scheme: Option<Scheme>,
    tokens: Vec<Token>,
}

/// A registry's name, and how it is talked to.
type Way = (String, Protocol);

/// Brings requests what they need to be let in. Shared by all threads of a client.
pub(crate) struct Authorizer {
    credentials: Credentials,
    /// A credential that stands for all others: of a login that is being tried.
    fixed: Option<Credential>,
    hosts: Mutex<BTreeMap<Way, Arc<Mutex<Host>>>>,
    /// Answers of files and helpers, which may be slow.
    known: Mutex<BTreeMap<(String, String), Option<Credential>>>,
}

impl Authorizer {
    pub fn new(credentials: Credentials, fixed: Option<Credential>) -> Self {
        Self { credentials, fixed, hosts: Mutex::default(), known: Mutex::default() }
    }

    /// The header for a request, as far as is known what the host wants.
    pub fn header(
        &self,
        transport: &Transport,
        endpoint: &Endpoint,
        scopes: &Scopes,
    ) -> Result<Option<Secret>, Failure> {
        let host = self.host(endpoint);
        let mut host = lock(&host); // held while a token is fetched: who needs the same one waits for it
        let server = match &host.scheme {
            None => return Ok(None),
            Some(Scheme::Basic) => return Ok(self.basic(endpoint)?),
            Some(Scheme::Bearer(server)) => server.clone(),
        };
        let now = Instant::now();
        host.tokens.retain(|token| token.is_good(now));
        if let Some(token) = host.tokens.iter().find(|token| token.scopes.cover(scopes)) {
            return Ok(Some(token.header()));
        }
        let credential = self.credential(endpoint)?;
        if let Some(Credential::RegistryToken(token)) = credential {
            return Ok(Some(Secret::new(format!("Bearer {}", token.expose()))));
        }
        let token = server.fetch(transport, &endpoint.registry, scopes, credential.as_ref())?;
        let header = token.header();
        host.tokens.push(token);
        Ok(Some(header))
    }

    /// Learns from an answer 401 to a request with these scopes, of a call that began then. False if a next request could
    /// bring nothing else than this one: a password, a token of a file or one that was fetched for this call is refused
    /// once, and where there is none, nobody is asked again.
    pub fn learn(
        &self,
        transport: &Transport,
        endpoint: &Endpoint,
        response: &Response,
        scopes: &mut Scopes,
        began: Instant,
    ) -> Result<bool> {
        let headers = response.headers.get_all(header::WWW_AUTHENTICATE);
        let challenges: Vec<Challenge> =
            headers.iter().filter_map(|value| value.to_str().ok()).flat_map(Challenge::parse).collect();
        let host = self.host(endpoint);
        let mut host = lock(&host);
        let bearer = challenges.iter().find(|one| one.scheme == "bearer" && one.parameter("realm").is_some());
        if let Some(bearer) = bearer {
            let asked = scopes.clone();
            scopes.add_all(bearer.parameter("scope").unwrap_or_default());
            let server = TokenServer::of(transport, endpoint, response, bearer)?;
            host.scheme = Some(Scheme::Bearer(server));
            let Some(sent) = &response.authorization else { return Ok(true) };
            let is_sent = |token: &mut Token| token.header() == *sent;
            let refused: Vec<Token> = host.tokens.extract_if(.., is_sent).collect();
            let is_new = refused.iter().any(|token| token.fetched >= began);
            let is_fixed = matches!(self.credential(endpoint)?, Some(Credential::RegistryToken(_)));
            return Ok(!(is_fixed || (is_new && *scopes == asked)));
        }
        if challenges.iter().any(|one| one.scheme == "basic") {
            host.scheme = Some(Scheme::Basic);
            return Ok(response.authorization.is_none() && self.basic(endpoint)?.is_some());
        }
        let offered: Vec<&str> = challenges.iter().map(|one| one.scheme.as_str()).collect();
        let reason = match offered.as_slice() {
            [] => "it does not say how to authenticate".to_owned(),
            _ => format!("it wants one of these, which are not known here: {}", offered.join(", ")),
        };
        Err(Error::Denied { what: endpoint.host.clone(), reason })
    }

    /// Whether there is a credential to be refused.
    pub fn has_credential(&self, endpoint: &Endpoint) -> bool {
        self.credential(endpoint).is_ok_and(|found| found.is_some())
    }

    fn basic(&self, endpoint: &Endpoint) -> Result<Option<Secret>> {
        match self.credential(endpoint)? {
            None => Ok(None),
            Some(Credential::Password { user, secret }) => Ok(Some(basic_header(&user, &secret))),
            Some(_) => Err(Error::Denied {
                what: endpoint.registry.clone(),
                reason: "it wants a name and a password, but a token is what is kept for it: log in again"
                    .to_owned(),
            }),
        }
    }

    fn credential(&self, endpoint: &Endpoint) -> Result<Option<Credential>> {
        if let Some(fixed) = &self.fixed {
            return Ok(Some(fixed.clone()));
        }
        let key = (endpoint.registry.clone(), endpoint.path.clone());
        if let Some(known) = lock(&self.known).get(&key) {
            return Ok(known.clone());
        }
        let found = self.credentials.find_at(&endpoint.registry, &endpoint.path)?;
        lock(&self.known).insert(key, found.clone());
        Ok(found)
    }

    fn host(&self, endpoint: &Endpoint) -> Arc<Mutex<Host>> {
        // By name and not by host, since names are what credentials are kept for. What was learned where anybody may
        // have answered counts there alone.
        let key = (endpoint.registry.clone(), endpoint.protocol);
        lock(&self.hosts).entry(key).or_default().clone()
    }
}

/// RFC 7617.
fn basic_header(user: &str, secret: &Secret) -> Secret {
    let encoded = BASE64_STANDARD.encode(format!("{user}:{}", secret.expose()));
    Secret::new(format!("Basic {encoded}"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
