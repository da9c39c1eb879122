//! Which image: a repository of a registry, and a tag or digest in it.

use crate::{Error, Result, error::name_without_user};
use rbuild_oci::{ImageName, oci_spec::image::Digest};
use std::{fmt, net::Ipv6Addr, str::FromStr};

/// What docker calls its registry in names.
pub(crate) const DOCKER_HUB: &str = "docker.io";
/// Where docker's registry answers.
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";
/// All its names.
pub(crate) const DOCKER_HUB_NAMES: [&str; 3] = [DOCKER_HUB, "index.docker.io", DOCKER_HUB_HOST];
const DEFAULT_TAG: &str = "latest";
/// Takes the place of an IPv6 address, which the parser of names does not know.
const STAND_IN: &str = "ipv6.invalid";

/// A registry and a path in it: `docker.io/library/debian`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Repository {
    registry: String,
    path: String,
}

impl Repository {
    /// The registry as names have it, with a port if it needs one: `docker.io`, `localhost:5000`, `[::1]:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path, without the registry: `library/debian`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The image of a tag.
    ///
    /// # Errors
    /// [`Error::Reference`] if it is no tag.
    pub fn with_tag(&self, tag: &str) -> Result<Reference> {
        rbuild_oci::reference::check_tag(tag).map_err(reference_error)?;
        Ok(Reference { repository: self.clone(), tag: Some(tag.to_owned()), digest: None })
    }

    /// The image of a digest.
    pub fn with_digest(&self, digest: Digest) -> Reference {
        Reference { repository: self.clone(), tag: None, digest: Some(digest) }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

/// An image as docker reads its name: `debian:12` is `docker.io/library/debian:12`, and without tag and digest it is
/// the tag `latest`. With both, the digest decides.
///
/// ```
/// use rbuild_registry::Reference;
/// let image: Reference = "debian:12".parse()?;
/// assert_eq!(image.to_string(), "docker.io/library/debian:12");
/// # Ok::<(), rbuild_registry::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Reference {
    repository: Repository,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Where it is.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The tag as written; `latest` where neither tag nor digest is.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest as written.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What the registry is asked for: the digest, or else the tag.
    pub(crate) fn key(&self) -> &str {
        self.digest.as_ref().map(AsRef::as_ref).or(self.tag.as_deref()).unwrap_or(DEFAULT_TAG)
    }
}

impl From<&ImageName> for Reference {
    fn from(name: &ImageName) -> Self {
        let full = name.reference();
        let digest = name.digest().cloned();
        let tag = name.tag().map(str::to_owned);
        let tag = tag.or_else(|| digest.is_none().then(|| DEFAULT_TAG.to_owned()));
        let (registry, path) = (full.registry().to_owned(), full.repository().to_owned());
        Self { repository: Repository { registry, path }, tag, digest }
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse =
            |reason: &str| Error::Reference { text: name_without_user(text), reason: reason.to_owned() };
        if text.contains("://") {
            return Err(refuse("an image's name has no scheme: write HOST/PATH:TAG"));
        }
        let Some(rest) = text.strip_prefix('[') else {
            return Ok(Self::from(&text.parse::<ImageName>().map_err(reference_error)?));
        };
        let (address, rest) =
            rest.split_once(']').ok_or_else(|| refuse("`[` begins an IPv6 address, `]` ends it"))?;
        let address: Ipv6Addr =
            address.parse().map_err(|_| refuse("what stands in brackets must be an IPv6 address"))?;
        let name: ImageName = format!("{STAND_IN}{rest}").parse().map_err(|error| match error {
            rbuild_oci::Error::Reference { reason, .. } => refuse(&reason),
            other => refuse(&other.to_string()),
        })?;
        let mut reference = Self::from(&name);
        match reference.repository.registry.strip_prefix(STAND_IN) {
            Some(port) if port.is_empty() || port.starts_with(':') => {
                reference.repository.registry = format!("[{address}]{port}");
                Ok(reference)
            }
            _ => Err(refuse("after the address come a port and a path")),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(f)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

fn reference_error(error: rbuild_oci::Error) -> Error {
    match error {
        rbuild_oci::Error::Reference { text, reason } => {
            Error::Reference { text: name_without_user(&text), reason }
        }
        other => Error::Reference { text: String::new(), reason: other.to_string() },
    }
}

/// The host that a registry's name stands for.
pub(crate) fn host_of(registry: &str) -> &str {
    if registry == DOCKER_HUB { DOCKER_HUB_HOST } else { registry }
}

/// Whether a host (with or without a port) is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None if host.matches(':').count() > 1 => host,
        None => host.split(':').next().unwrap_or_default(),
    };
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn passwords_in_names_are_not_told() {
        for text in ["https://me:secret@host/a:1", "me:secret@host:5000/a:1"] {
            let told = text.parse::<Reference>().unwrap_err().to_string();
            assert!(!told.contains("secret") && told.contains("***@host"), "{told}");
        }
        let told = "UPPER@sha256:abc".parse::<Reference>().unwrap_err().to_string();
        assert!(told.contains("UPPER@sha256:abc"), "{told}");
    }

    #[test]
    fn as_docker_reads_them() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, registry, path, key) in [
            ("debian", "docker.io", "library/debian", "latest"),
            ("debian:12", "docker.io", "library/debian", "12"),
            ("docker.io/debian", "docker.io", "library/debian", "latest"),
            ("index.docker.io/debian", "docker.io", "library/debian", "latest"),
            ("team/shop:1", "docker.io", "team/shop", "1"),
            ("localhost/shop", "localhost", "shop", "latest"),
            ("localhost:5000/a/b/c:x", "localhost:5000", "a/b/c", "x"),
            ("host.example/shop", "host.example", "shop", "latest"),
            ("127.0.0.1:5000/shop", "127.0.0.1:5000", "shop", "latest"),
            ("[::1]:5000/shop:1", "[::1]:5000", "shop", "1"),
            ("[0:0:0:0:0:0:0:1]/shop", "[::1]", "shop", "latest"),
            (&format!("debian@{digest}"), "docker.io", "library/debian", &digest),
            (&format!("debian:12@{digest}"), "docker.io", "library/debian", &digest),
        ] {
            let reference: Reference = text.parse().unwrap();
            let repository = reference.repository();
            assert_eq!(
                (repository.registry(), repository.path(), reference.key()),
                (registry, path, key),
                "{text}"
            );
            assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference, "{text}");
        }
        assert_eq!(format!("debian:12@{digest}").parse::<Reference>().unwrap().tag(), Some("12"));
    }

    #[test]
    fn what_is_none_is_explained() {
        for (text, reason) in [
            ("Debian:12", "lower case"),
            ("debian:", ""),
            ("debian@sha256:12", ""),
            ("https://docker.io/debian", "no scheme"),
            ("[::1/shop", "`]` ends it"),
            ("[1.2.3.4]/shop", "IPv6"),
            ("[::1]shop", "a port and a path"),
            ("[::1]:5000", ""),
            ("", ""),
        ] {
            let error = text.parse::<Reference>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
            assert!(!error.contains(STAND_IN), "{error}");
        }
    }

    #[test]
    fn which_hosts_are_this_machine() {
        for host in ["localhost", "localhost:5000", "127.0.0.1", "127.1.2.3:80", "[::1]:5000", "[::1]", "::1"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["docker.io", "localhost.example", "10.0.0.1:5000", "[2001:db8::1]", "1270.0.0.1", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    proptest! {
        #[test]
        fn anything_is_survived(text in "[\\[\\]a-zA-Z0-9:/@._-]{0,60}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
            }
        }
    }
}
