//! `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, in either case, as curl and Go read them.
//!
//! ureq takes the first of these variables for every address, so the choice is made here. Plain http goes through a
//! proxy by CONNECT too, which some proxies allow for port 443 only.

use crate::{Environment, Error, Result, url::Origin};
use std::net::IpAddr;

/// Which proxy for which address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies {
    http: Option<Choice>,
    https: Option<Choice>,
    exceptions: Vec<Exception>,
}

/// A proxy, or the name of a variable that holds none which can be used: that matters when it would be.
type Choice = Result<Proxy, &'static str>;

/// The address may hold a password: only its host is shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proxy(String);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Exception {
    Everything,
    /// A host and all below it; with a port only that one.
    Domain(String, Option<u16>),
    /// Addresses whose first bits are these.
    Network(IpAddr, u8),
}

impl Proxies {
    pub fn of(environment: &Environment) -> Self {
        let find = |name: &'static str| {
            let lower = name.to_ascii_lowercase();
            environment.text(&lower).or_else(|| environment.text(name)).map(|text| (name, text))
        };
        let all = find("ALL_PROXY");
        let parse =
            |found: Option<(&'static str, &str)>| found.map(|(name, text)| Proxy::parse(text).ok_or(name));
        let exceptions = find("NO_PROXY").map_or_else(Vec::new, |(_, text)| exceptions(text));
        Self {
            http: parse(find("HTTP_PROXY").or(all)),
            https: parse(find("HTTPS_PROXY").or(all)),
            exceptions,
        }
    }

    /// The proxy for an address; none to go there directly. This machine is never behind a proxy.
    ///
    /// # Errors
    /// [`Error::Settings`] if the variable holds what is no address of a proxy, or one of another kind.
    pub fn for_origin(&self, origin: &Origin) -> Result<Option<&Proxy>> {
        let choice = if origin.is_tls { &self.https } else { &self.http };
        let is_direct =
            origin.is_loopback() || self.exceptions.iter().any(|exception| exception.is_for(origin));
        match choice.as_ref().filter(|_| !is_direct) {
            None => Ok(None),
            Some(Ok(proxy)) => Ok(Some(proxy)),
            Some(Err(name)) => {
                let host = origin.authority();
                let reason = format!(
                    "{host} can't be reached through it: a proxy is http://[USER:PASSWORD@]HOST:PORT or \
                     https://..., and not of SOCKS; hosts in NO_PROXY are reached without one"
                );
                Err(Error::Settings { place: (*name).to_owned(), reason })
            }
        }
    }
}

impl Proxy {
    fn parse(text: &str) -> Option<Self> {
        let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let scheme = full.split("://").next().unwrap_or_default();
        let is_usable = matches!(scheme, "http" | "https") && ureq::Proxy::new(&full).is_ok();
        is_usable.then_some(Self(full))
    }

    /// The address, with its password.
    pub fn address(&self) -> &str {
        &self.0
    }

    /// The host, to be told.
    pub fn host(&self) -> &str {
        let rest = self.0.split("://").nth(1).unwrap_or_default();
        rest.rsplit('@').next().unwrap_or_default().trim_end_matches('/')
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.host())
    }
}

impl Exception {
    fn is_for(&self, origin: &Origin) -> bool {
        match self {
            Self::Everything => true,
            Self::Domain(domain, port) => {
                let host = origin.host.as_str();
                let is_below = host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.ends_with('.'));
                (host == domain || is_below) && port.is_none_or(|port| port == origin.port)
            }
            Self::Network(network, bits) => {
                let address = origin.host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
                address.is_ok_and(|address| is_within(address, *network, *bits))
            }
        }
    }
}

fn is_within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let leading = |bytes: &[u8]| -> Vec<bool> {
        let all = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1));
        all.take(usize::from(bits)).collect()
    };
    match (address, network) {
        (IpAddr::V4(one), IpAddr::V4(other)) => leading(&one.octets()) == leading(&other.octets()),
        (IpAddr::V6(one), IpAddr::V6(other)) => leading(&one.octets()) == leading(&other.octets()),
        _ => false,
    }
}

fn exceptions(text: &str) -> Vec<Exception> {
    let parts = text.split([',', ' ']).map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| exception(&part.to_ascii_lowercase())).collect()
}

fn exception(part: &str) -> Exception {
    if part == "*" {
        return Exception::Everything;
    }
    if let Some((address, bits)) = part.split_once('/')
        && let (Ok(address), Ok(bits)) = (address.parse(), bits.parse())
    {
        return Exception::Network(address, bits);
    }
    if let Ok(address) = part.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Exception::Network(address, if address.is_ipv4() { 32 } else { 128 });
    }
    let domain = part.trim_start_matches('*').trim_start_matches('.');
    match domain.rsplit_once(':').map(|(host, port)| (host, port.parse())) {
        Some((host, Ok(port))) => Exception::Domain(host.to_owned(), Some(port)),
        _ => Exception::Domain(domain.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::url::Url;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::of(&Environment::new("/nowhere", variables.iter().copied()))
    }

    #[test]
    fn each_scheme_has_its_own() {
        let set = [
            ("HTTP_PROXY", "plain.example:3128"),
            ("https_proxy", "http://me:hunter2@tls.example:3128"),
            ("NO_PROXY", "corp.example, 10.0.0.0/8,one.example:5000,[2001:db8::1]"),
        ];
        let proxies = proxies(&set);
        let host = |text: &str| {
            let origin = Url::parse(text).unwrap().origin();
            proxies.for_origin(&origin).unwrap().map(|proxy| proxy.host().to_owned())
        };
        assert_eq!(host("http://far.example/").unwrap(), "plain.example:3128");
        assert_eq!(host("https://far.example/").unwrap(), "tls.example:3128");
        for direct in [
            "https://corp.example/",
            "https://a.corp.example/",
            "https://10.1.2.3/",
            "http://one.example:5000/",
            "https://[2001:db8::1]/",
            "http://localhost:5000/",
        ] {
            assert_eq!(host(direct), None, "{direct}");
        }
        for proxied in ["https://mycorp.example/", "https://11.1.2.3/", "http://one.example/"] {
            assert!(host(proxied).is_some(), "{proxied}");
        }
        assert!(!format!("{proxies:?}").contains("hunter2"));
    }

    #[test]
    fn a_bad_one_is_told_where_it_would_be_used_and_without_its_password() {
        let origin = |text: &str| Url::parse(text).unwrap().origin();
        let far = origin("https://far.example/");
        for (name, text) in
            [("HTTPS_PROXY", "ftp://me:hunter2@x"), ("ALL_PROXY", "socks5://me:hunter2@x:1080")]
        {
            let proxies = proxies(&[(name, text), ("NO_PROXY", "near.example")]);
            let error = proxies.for_origin(&far).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("far.example"), "{error}");
            assert!(!error.contains("hunter2") && !format!("{proxies:?}").contains("hunter2"), "{error}");
            for direct in ["https://near.example/", "https://localhost/"] {
                assert_eq!(proxies.for_origin(&origin(direct)).unwrap(), None, "{direct}");
            }
        }
        let proxies = proxies(&[("ALL_PROXY", "socks5://x:1080"), ("HTTPS_PROXY", "http://y:3128")]);
        assert_eq!(proxies.for_origin(&far).unwrap().unwrap().host(), "y:3128");
        assert!(proxies.for_origin(&origin("http://far.example/")).is_err());
    }
}
