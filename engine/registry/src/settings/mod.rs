//! Where images of a registry are really fetched, and how its hosts are talked to.
//!
//! Three sources, the first that says something about a repository wins: the caller's own table ([`RegistryTables`],
//! rbuild's `[registries]`), podman's `registries.conf`, and the rules for everybody (TLS; plain http for this machine
//! alone). `insecure` counts for the prefix or mirror it was said of. Certificates come from the caller's table and from
//! docker's and podman's `certs.d`.
//!
//! | module | what |
//! |---|---|
//! | `endpoint` | a place to ask, and how |
//! | `table` | the caller's own table |
//! | `containers` | podman's `registries.conf`, its drop-ins and short names |
//! | `certificates` | private CAs and client certificates of a host |
//! | `proxy` | `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY` |
//!
//! `unqualified-search-registries` is not used: a short name means what docker reads in it on every machine, unless
//! an alias says otherwise.

mod certificates;
mod containers;
mod endpoint;
mod proxy;
mod table;

pub use table::{RegistryTable, RegistryTables};

pub(crate) use certificates::TlsFiles;
pub(crate) use endpoint::{By, Endpoint, Mirror, Protocol};
pub(crate) use proxy::{Proxies, Proxy};

use crate::{
    Environment, Error, Reference, Repository, Result,
    error::without_user,
    reference::{host_of, is_loopback},
};
use containers::{Containers, Rule};

const TLS_PORT: &str = ":443";
const PLAIN_PORT: &str = ":80";

/// Everything that is known about registries and their hosts.
#[derive(Clone, Debug)]
pub struct Settings {
    environment: Environment,
    tables: RegistryTables,
    containers: Containers,
    proxies: Proxies,
}

impl Settings {
    /// Reads podman's files, where they are, below what the caller says.
    ///
    /// # Errors
    /// [`Error::Settings`] if a file or the table is malformed; [`Error::Io`].
    pub fn load(environment: &Environment, tables: RegistryTables) -> Result<Self> {
        table::check(&tables)?;
        let containers = Containers::load(environment)?;
        let proxies = Proxies::of(environment);
        Ok(Self { environment: environment.clone(), tables, containers, proxies })
    }

    /// An image as a person writes it: aliases of short names first, then docker's reading.
    ///
    /// # Errors
    /// [`Error::Reference`].
    pub fn reference(&self, text: &str) -> Result<Reference> {
        match self.containers.alias(text) {
            Some(full) => full.parse(),
            None => text.parse(),
        }
    }

    /// Where to pull from: mirrors in order, then the registry itself.
    pub(crate) fn pull_endpoints(&self, repository: &Repository, by: By) -> Result<Vec<Endpoint>> {
        let name = repository.to_string();
        let (prefix, mirrors) = match table::find(&self.tables, &name) {
            Some((prefix, table)) => (prefix.to_owned(), table.parsed_mirrors(prefix)?),
            None => match self.rule(&name) {
                Some((prefix, rule)) => (prefix.to_owned(), rule.mirrors.clone()),
                None => (String::new(), Vec::new()),
            },
        };
        let mut endpoints = Vec::new();
        for mirror in mirrors.iter().filter(|mirror| mirror.only.is_none_or(|only| only == by)) {
            let moved = format!("{}{}", mirror.location, &name[prefix.len()..]);
            endpoints.push(self.endpoint(&moved, mirror.protocol, false, &mirror.place)?);
        }
        endpoints.push(self.origin(repository)?);
        Ok(endpoints)
    }

    /// The registry itself, where pushes go; `registries.conf` may give it another location, or block it.
    pub(crate) fn origin(&self, repository: &Repository) -> Result<Endpoint> {
        let name = repository.to_string();
        if let Some((prefix, rule)) = self.rule(&name) {
            if rule.blocked {
                let place = rule.place.clone();
                return Err(Error::Blocked { repository: name, place });
            }
            if let Some(location) = &rule.location {
                let moved = format!("{location}{}", &name[prefix.len()..]);
                let protocol = rule.insecure.then_some(Protocol::Insecure);
                return self.endpoint(&moved, protocol, true, &rule.place);
            }
        }
        self.endpoint(&name, None, true, &name)
    }

    /// A registry as a whole.
    pub(crate) fn registry(&self, registry: &str) -> Endpoint {
        let (host, path) = (host_of(registry).to_owned(), String::new());
        let protocol = self.protocol(registry);
        Endpoint { registry: registry.to_owned(), host, path, protocol, is_origin: true }
    }

    fn endpoint(
        &self,
        name: &str,
        protocol: Option<Protocol>,
        is_origin: bool,
        place: &str,
    ) -> Result<Endpoint> {
        let (registry, path) = name.split_once('/').unwrap_or((name, ""));
        if registry.is_empty() || path.is_empty() {
            let reason = format!("it leads to {name:?}, which is no repository: HOST[:PORT]/PATH");
            return Err(Error::Settings { place: place.to_owned(), reason });
        }
        let host = host_of(registry).to_owned();
        let is_ours = [TLS_PORT, PLAIN_PORT].iter().any(|usual| self.table(&host, usual).is_some());
        let protocol = match protocol {
            Some(Protocol::Insecure) if is_ours => self.protocol(name),
            Some(protocol) => protocol,
            None => self.protocol(name),
        };
        Ok(Endpoint { registry: registry.to_owned(), host, path: path.to_owned(), protocol, is_origin })
    }

    /// podman's rule for a repository and the part of its name that it is for, unless our own table has one.
    fn rule<'s>(&'s self, name: &'s str) -> Option<(&'s str, &'s Rule)> {
        if table::find(&self.tables, name).is_some() { None } else { self.containers.find(name) }
    }

    /// How `HOST[:PORT][/PATH]` is talked to. `insecure` counts for what it was said of: a repository's rule says
    /// nothing of its host, and one with another location nothing of this one.
    fn protocol(&self, name: &str) -> Protocol {
        let registry = host_part(name);
        let host = host_of(registry);
        if self.table(host, PLAIN_PORT).is_some_and(|table| table.http) {
            return Protocol::Plain;
        }
        let table = self.table(host, TLS_PORT);
        let is_insecure = |(prefix, rule): (&str, &Rule)| {
            rule.insecure && rule.location.as_deref().is_none_or(|location| location == prefix)
        };
        match table {
            Some(table) if table.ca.is_some() || table.cert.is_some() => Protocol::Tls,
            None if self.rule(name).is_some_and(is_insecure) => Protocol::Insecure,
            _ if is_loopback(registry) => Protocol::Either,
            _ => Protocol::Tls,
        }
    }

    /// The table of a host, with or without the port that is usual.
    fn table(&self, host: &str, usual: &str) -> Option<&RegistryTable> {
        let is_named = |(name, _): &(&String, &RegistryTable)| is_same_host(host_of(name), host, usual);
        self.tables.get(host).or_else(|| self.tables.iter().find(is_named).map(|(_, table)| table))
    }

    /// Certificates for a host.
    pub(crate) fn tls(&self, host: &str) -> Result<TlsFiles> {
        let mut files = certificates::of_directories(&self.environment, host)?;
        if let Some(table) = self.table(host, TLS_PORT) {
            files.authorities.extend(table.ca.clone());
            if let (Some(certificate), Some(key)) = (&table.cert, &table.key) {
                files.client = Some((certificate.clone(), key.clone()));
            }
        }
        Ok(files)
    }

    /// Whether a host as a whole may be talked to without TLS.
    pub(crate) fn is_plain(&self, host: &str) -> bool {
        self.protocol(host) != Protocol::Tls
    }

    /// Whether a host's certificate must be right, where it is not asked for a repository.
    pub(crate) fn is_verified(&self, host: &str) -> bool {
        self.protocol(host).is_verified()
    }

    pub(crate) fn proxies(&self) -> &Proxies {
        &self.proxies
    }
}

/// Whether two names are of one host and port, where this port is the usual one and may be left out.
fn is_same_host(one: &str, other: &str, usual: &str) -> bool {
    let bare = |host: &str| host.strip_suffix(usual).unwrap_or(host).to_ascii_lowercase();
    bare(one) == bare(other)
}

/// `HOST[:PORT]` of `HOST[:PORT][/PATH]`.
fn host_part(location: &str) -> &str {
    location.split('/').next().unwrap_or_default()
}

/// Looks at `HOST[:PORT][/PATH]`, and leaves out what ends it needlessly. A password in it is not told.
fn location(text: &str) -> Result<String, String> {
    let bare = text.trim_end_matches('/');
    if host_part(bare).is_empty() || bare.contains([' ', '@', '?', '#']) || bare.contains("://") {
        return Err(format!("{:?} is no HOST[:PORT][/PATH]", without_user(text)));
    }
    Ok(bare.to_owned())
}

/// Whether a prefix of a rule (`HOST`, `HOST/PATH`, `*.DOMAIN`) covers a repository; how much of its name.
pub(crate) fn covers(prefix: &str, name: &str) -> Option<usize> {
    if let Some(domain) = prefix.strip_prefix('*').filter(|domain| domain.starts_with('.')) {
        let host = name.split(['/', ':']).next().unwrap_or_default();
        return (host.ends_with(domain) && host.len() > domain.len()).then_some(host.len());
    }
    let rest = name.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with(['/', ':'])).then_some(prefix.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_usual_port_may_be_left_out() {
        let root = tempfile::tempdir().unwrap();
        for name in ["d.example", "e.example:443", "f.example:5000"] {
            let folder = root.path().join("etc/docker/certs.d").join(name);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("ca.crt"), "").unwrap();
        }
        let tables = "['a.example:443']\nca = 'x'\n['b.example']\nca = 'x'\n['p.example:80']\nhttp = true\n\
                      ['q.example']\nhttp = true\nmirrors = ['http://m.example:80/x']";
        let environment = Environment::new(root.path(), [("HOME", "/nowhere")]);
        let settings = Settings::load(&environment, toml::from_str(tables).unwrap()).unwrap();
        for (host, count) in [
            ("a.example", 1),
            ("b.example:443", 1),
            ("d.example:443", 1),
            ("e.example", 1),
            ("f.example:5000", 1),
            ("b.example:5000", 0),
            ("f.example", 0),
        ] {
            assert_eq!(settings.tls(host).unwrap().authorities.len(), count, "{host}");
        }
        for (host, is_plain) in [
            ("p.example", true),
            ("q.example:80", true),
            ("m.example", false), // a path of it is a mirror without TLS
            ("q.example:443", false),
            ("p.example:8080", false),
        ] {
            assert_eq!(settings.is_plain(host), is_plain, "{host}");
        }
        assert_eq!(settings.protocol("p.example"), Protocol::Plain);
        assert_eq!(settings.protocol("q.example:443"), Protocol::Tls);
    }

    #[test]
    fn insecure_is_what_it_was_said_of() {
        let root = tempfile::tempdir().unwrap();
        let conf = root.path().join("etc/containers/registries.conf");
        std::fs::create_dir_all(conf.parent().unwrap()).unwrap();
        let text = "[[registry]]\nprefix = 'a.example/team'\ninsecure = true\n\
                    [[registry.mirror]]\nlocation = 'own.example/hub'\ninsecure = true\n\
                    [[registry.mirror]]\nlocation = 'm.example/hub'\ninsecure = true\n\
                    [[registry.mirror]]\nlocation = 'm.example/right'\n\
                    [[registry]]\nlocation = 'b.example'\ninsecure = true\n\
                    [[registry]]\nprefix = 'c.example'\nlocation = 'd.example/c'\ninsecure = true\n\
                    [[registry]]\nprefix = '*.lan'\ninsecure = true\n\
                    [[registry]]\nlocation = 'own.example'\ninsecure = true\n\
                    [[registry]]\nlocation = 'plain.example'\ninsecure = true\n";
        std::fs::write(conf, text).unwrap();
        let tables = "['own.example']\nca = 'x'\n['plain.example']\nhttp = true\n['table.lan']";
        let environment = Environment::new(root.path(), [("HOME", "/nowhere")]);
        let settings = Settings::load(&environment, toml::from_str(tables).unwrap()).unwrap();
        let repository =
            |name: &str| format!("{name}/x:1").parse::<Reference>().unwrap().repository().clone();
        use Protocol::{Insecure, Plain, Tls};
        for (name, of_origin, of_host) in [
            ("a.example/team", Insecure, Tls),
            ("a.example/other", Tls, Tls),
            ("b.example", Insecure, Insecure),
            ("b.example:5000", Insecure, Insecure),
            ("c.example", Insecure, Tls),
            ("d.example", Tls, Tls),
            ("h.lan", Insecure, Insecure),
            ("h.lan:5000", Insecure, Insecure),
            ("own.example", Tls, Tls),
            ("plain.example", Plain, Plain),
            ("table.lan", Tls, Tls),
        ] {
            let origin = settings.origin(&repository(name)).unwrap();
            assert_eq!(origin.protocol, of_origin, "{name}");
            assert_eq!(settings.registry(host_part(name)).protocol, of_host, "{name}");
        }
        let endpoints = settings.pull_endpoints(&repository("a.example/team"), By::Tag).unwrap();
        let found: Vec<_> = endpoints.iter().map(|one| (one.host.as_str(), one.protocol)).collect();
        let mirrors = [("own.example", Tls), ("m.example", Insecure), ("m.example", Tls)];
        assert_eq!(found, [mirrors.as_slice(), &[("a.example", Insecure)]].concat());
    }

    #[test]
    fn prefixes() {
        for (prefix, name, covered) in [
            ("docker.io", "docker.io/library/debian", Some(9)),
            ("docker.io/library", "docker.io/library/debian", Some(17)),
            ("docker.io/lib", "docker.io/library/debian", None),
            ("host.example", "host.example:5000/a", Some(12)),
            ("*.example", "host.example/a", Some(12)),
            ("*.example", "a.b.example:5000/a", Some(11)),
            ("*.example", "example/a", None),
            ("*.example", "host.example.org/a", None),
        ] {
            assert_eq!(covers(prefix, name), covered, "{prefix} {name}");
        }
    }
}
