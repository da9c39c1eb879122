//! Addresses of HTTP, as far as registries need them.

use crate::{
    Error, Result,
    error::{quoted, without_user},
    reference::is_loopback,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt;
use ureq::http::{Uri, uri::Scheme};

/// What a query may hold as it is (RFC 3986, unreserved).
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An absolute address with `http` or `https` and a host. It is shown without its query, which may hold a signature.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Url(Uri);

/// Scheme, host and port: what credentials are for.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct Origin {
    pub is_tls: bool,
    /// As written, without the port; IPv6 in brackets.
    pub host: String,
    pub port: u16,
}

impl Url {
    /// Parses an absolute address.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |reason: &str| Error::Malformed {
            what: format!(
                "address {:?}",
                quoted(&without_user(text.split(['?', '#']).next().unwrap_or_default()))
            ),
            reason: reason.to_owned(),
        };
        let text = text.split('#').next().unwrap_or_default();
        let uri: Uri = text.parse().map_err(|_| refuse("it is no URL"))?;
        if uri.scheme() != Some(&Scheme::HTTP) && uri.scheme() != Some(&Scheme::HTTPS) {
            return Err(refuse("it must begin with https:// or http://"));
        }
        match uri.authority() {
            Some(authority) if authority.as_str().contains('@') => {
                Err(refuse("it holds a user's name or password, which is not sent"))
            }
            Some(authority) if !authority.host().is_empty() => Ok(Self(uri)),
            _ => Err(refuse("it has no host")),
        }
    }

    /// What a `Location` or `Link` in the answer from here means.
    pub fn join(&self, location: &str) -> Result<Self> {
        let location = location.trim();
        let scheme = self.0.scheme_str().unwrap_or("https");
        let authority = self.0.authority().map_or("", |authority| authority.as_str());
        if has_scheme(location) {
            Self::parse(location)
        } else if location.starts_with("//") {
            Self::parse(&format!("{scheme}:{location}"))
        } else if location.starts_with('/') {
            Self::parse(&format!("{scheme}://{authority}{location}"))
        } else if location.starts_with('?') {
            Self::parse(&format!("{scheme}://{authority}{}{location}", self.0.path()))
        } else {
            let folder = self.0.path().rsplit_once('/').map_or("", |(folder, _)| folder);
            Self::parse(&format!("{scheme}://{authority}{folder}/{location}"))
        }
    }

    /// With more members in the query; those there are stay.
    pub fn with_query<'a>(&self, members: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let mut text = self.0.to_string();
        for (name, value) in members {
            text.push(if text.contains('?') { '&' } else { '?' });
            text.push_str(&form_member(name, value));
        }
        Self::parse(&text)
    }

    pub fn uri(&self) -> &Uri {
        &self.0
    }

    pub fn origin(&self) -> Origin {
        let is_tls = self.0.scheme() == Some(&Scheme::HTTPS);
        let host = self.0.host().unwrap_or_default().to_ascii_lowercase();
        Origin { is_tls, host, port: self.0.port_u16().unwrap_or(if is_tls { 443 } else { 80 }) }
    }
}

impl Origin {
    /// `HOST`, or `HOST:PORT` where the port is not the scheme's own.
    pub fn authority(&self) -> String {
        let usual = if self.is_tls { 443 } else { 80 };
        if self.port == usual { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// Whether it is this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.0.authority().map_or("", |authority| authority.as_str());
        write!(f, "{}://{authority}{}", self.0.scheme_str().unwrap_or_default(), self.0.path())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether it begins as an absolute address does (RFC 3986, section 3.1).
fn has_scheme(location: &str) -> bool {
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let scheme = location.split_once(':').map_or("", |(scheme, _)| scheme);
    scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(is_scheme)
}

/// `NAME=VALUE`, encoded for a query or form.
pub(crate) fn form_member(name: &str, value: &str) -> String {
    format!("{}={}", utf8_percent_encode(name, QUERY), utf8_percent_encode(value, QUERY))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn locations() {
        let base = Url::parse("https://host.example:5000/v2/a/blobs/uploads/?x=1").unwrap();
        for (location, expected) in [
            ("/v2/b?c=d", "https://host.example:5000/v2/b?c=d"),
            ("https://other.example/x?y=z&d=1#f", "https://other.example/x?y=z&d=1"),
            ("//other.example/x", "https://other.example/x"),
            ("uuid?_state=abc%3D", "https://host.example:5000/v2/a/blobs/uploads/uuid?_state=abc%3D"),
            ("?n=2", "https://host.example:5000/v2/a/blobs/uploads/?n=2"),
        ] {
            assert_eq!(base.join(location).unwrap().uri().to_string(), expected);
        }
        let url = base.with_query([("digest", "sha256:ab"), ("y", "a b")]).unwrap();
        assert!(url.uri().to_string().ends_with("?x=1&digest=sha256%3Aab&y=a%20b"));
        assert_eq!(url.to_string(), "https://host.example:5000/v2/a/blobs/uploads/");
    }

    #[test]
    fn only_clean_ones() {
        for text in
            ["", "/x", "ftp://x/y", "https://", "https://me:hunter2@host/x", "https://ho st/", "javascript:1"]
        {
            let error = Url::parse(text).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        let error = Url::parse("ftp://x/y?signature=1").unwrap_err().to_string();
        assert!(error.contains("https://") && !error.contains("signature"), "{error}");
    }

    #[test]
    fn origins() {
        let origin = |text: &str| Url::parse(text).unwrap().origin();
        assert_eq!(origin("https://Host.example/a"), origin("https://host.example:443/b"));
        assert_ne!(origin("https://host.example/a"), origin("http://host.example/a"));
        assert_ne!(origin("https://host.example/a"), origin("https://host.example:8443/a"));
        assert_eq!(origin("http://[::1]:5000/").authority(), "[::1]:5000");
        assert!(origin("http://[::1]:5000/").is_loopback());
    }
}
