//! The caller's own table of registries.

use super::{Mirror, Protocol, covers, location};
use crate::{Error, Result, error::without_user};
use serde::Deserialize;
use std::{collections::BTreeMap, path::PathBuf};

/// Tables by registry: `docker.io`, `localhost:5000`, or a repository's prefix (`docker.io/library`) for mirrors alone.
///
/// ```toml
/// [registries."docker.io"]
/// mirrors = ["mirror.example/hub", "http://10.0.0.7:5000"]
/// [registries."registry.example:5000"]
/// ca   = "/etc/ssl/private-ca.pem"
/// cert = "me.pem"
/// key  = "me.key"
/// ```
pub type RegistryTables = BTreeMap<String, RegistryTable>;

/// What is to be known about one registry.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    default,
    expecting = "a table of one registry, as [registries.\"HOST:PORT\"]"
)]
pub struct RegistryTable {
    /// Asked in this order before the registry itself: `HOST[:PORT][/PATH]`. What begins with `http://` is talked to
    /// without TLS.
    pub mirrors: Vec<String>,
    /// Talk to this registry without TLS.
    pub http: bool,
    /// CAs to trust for this host beside the system's: a file of PEM.
    pub ca: Option<PathBuf>,
    /// The certificate that shows who we are: a file of PEM, with the chain.
    pub cert: Option<PathBuf>,
    /// Its key: a file of PEM, not encrypted.
    pub key: Option<PathBuf>,
}

impl RegistryTable {
    /// `name` is the table's.
    pub(super) fn parsed_mirrors(&self, name: &str) -> Result<Vec<Mirror>> {
        let place = place(name);
        let parse = |text: &String| parse_mirror(text, &place);
        self.mirrors.iter().map(parse).collect()
    }
}

/// The table with the longest name that covers a repository, and that name.
pub(super) fn find<'t>(tables: &'t RegistryTables, name: &str) -> Option<(&'t str, &'t RegistryTable)> {
    let covering = tables.iter().filter(|(prefix, _)| is_exact(prefix, name));
    covering.max_by_key(|(prefix, _)| prefix.len()).map(|(prefix, table)| (prefix.as_str(), table))
}

/// A table is of one host: without its port it is another one.
fn is_exact(prefix: &str, name: &str) -> bool {
    covers(prefix, name).is_some_and(|count| !name[count..].starts_with(':'))
}

pub(super) fn check(tables: &RegistryTables) -> Result<()> {
    for (name, table) in tables {
        let refuse = |reason: &str| Err(Error::Settings { place: place(name), reason: reason.to_owned() });
        if name.contains("://") || name.ends_with('/') || name.contains(char::is_whitespace) {
            return refuse("a registry is named HOST[:PORT], without a scheme");
        }
        if name.is_empty() || name.contains('@') {
            return refuse("a registry is named HOST[:PORT]");
        }
        if table.cert.is_some() != table.key.is_some() {
            return refuse("`cert` and `key` belong together");
        }
        if table.http && (table.ca.is_some() || table.cert.is_some()) {
            return refuse("`http` does without TLS, so certificates are of no use");
        }
        if name.contains('/') && (table.http || table.ca.is_some() || table.cert.is_some()) {
            return refuse("`http`, `ca`, `cert` and `key` are for a host, without a path");
        }
        table.parsed_mirrors(name)?;
    }
    Ok(())
}

fn parse_mirror(text: &str, place: &str) -> Result<Mirror> {
    let (protocol, rest) = match text.split_once("://") {
        Some(("http", rest)) => (Some(Protocol::Plain), rest),
        Some(("https", rest)) => (Some(Protocol::Tls), rest),
        _ => (None, text),
    };
    let place = place.to_owned();
    match location(rest) {
        Ok(location) => Ok(Mirror { location, protocol, only: None, place }),
        Err(reason) => {
            let reason = format!("mirror {reason}, with http:// before it if it has no TLS");
            Err(Error::Settings { place, reason })
        }
    }
}

fn place(name: &str) -> String {
    format!("[registries.{:?}]", without_user(name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn mirrors() {
        let mirror = parse_mirror("http://10.0.0.7:5000/hub/", "x").unwrap();
        assert_eq!((mirror.location.as_str(), mirror.protocol), ("10.0.0.7:5000/hub", Some(Protocol::Plain)));
        assert_eq!(parse_mirror("mirror.example", "x").unwrap().protocol, None);
        for text in ["", "ftp://x", "http://", "a b", "me:hun/ter2@host", "https://me:hun/ter2@host/x", "/x"]
        {
            let error = parse_mirror(text, "x").unwrap_err().to_string();
            assert!(error.contains("HOST[:PORT]") && !error.contains("ter2"), "{text}: {error}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, reason) in [
            ("[\"a.example\"]\ncert = 'x'", "belong together"),
            ("[\"a.example\"]\nhttp = true\nca = 'x'", "of no use"),
            ("[\"https://a.example\"]", "without a scheme"),
            ("[\"a.example/x\"]\nhttp = true", "without a path"),
            ("[\"a.example\"]\nmirrors = ['ftp://x']", "ftp://x"),
        ] {
            let error = check(&toml::from_str(text).unwrap()).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert!(toml::from_str::<RegistryTables>("[\"a.example\"]\nmirror = []").is_err());
    }

    #[test]
    fn the_longest_name_wins() {
        let tables: RegistryTables =
            toml::from_str("[\"a.example\"]\n[\"a.example/x\"]\n[\"a.example:5000\"]").unwrap();
        let name = |repository: &str| find(&tables, repository).map(|(name, _)| name.to_owned());
        assert_eq!(name("a.example/x/y").unwrap(), "a.example/x");
        assert_eq!(name("a.example/xy").unwrap(), "a.example");
        assert_eq!(name("a.example:5000/x").unwrap(), "a.example:5000");
        assert_eq!(name("a.example:6000/x"), None);
    }
}
