//! Places to ask, and how they are talked to.

use crate::url::{Origin, Url};

/// How a host is talked to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Protocol {
    Tls,
    Plain,
    /// TLS if it can do that, else plain: of this machine.
    Either,
    /// The same, under any certificate: where `registries.conf` says `insecure`.
    Insecure,
}

impl Protocol {
    /// Whether a certificate must be right.
    pub fn is_verified(self) -> bool {
        self != Self::Insecure
    }
}

/// One place to ask for a repository.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Endpoint {
    /// The registry's name, for credentials: `docker.io`.
    pub registry: String,
    /// Where it answers: `registry-1.docker.io`, with a port if one is written.
    pub host: String,
    /// The repository's path there.
    pub path: String,
    pub protocol: Protocol,
    /// Whether it is the registry that the name names, and not a mirror.
    pub is_origin: bool,
}

impl Endpoint {
    /// Whether it is what answers there.
    pub fn is_at(&self, origin: &Origin) -> bool {
        let scheme = if origin.is_tls { "https" } else { "http" };
        Url::parse(&format!("{scheme}://{}/", self.host)).is_ok_and(|url| url.origin() == *origin)
    }
}

/// Whether an image is asked for by tag or by digest: some mirrors are for one of them only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum By {
    Tag,
    Digest,
}

/// A mirror as both kinds of settings have it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Mirror {
    /// `HOST[:PORT][/PATH]`, to stand where the matched prefix stands.
    pub location: String,
    /// None if nothing is said of it.
    pub protocol: Option<Protocol>,
    /// None for both.
    pub only: Option<By>,
    /// Where it was read: a file and line, or a table.
    pub place: String,
}
