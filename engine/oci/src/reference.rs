//! Names of images: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`.

use crate::{Error, Result};
use oci_spec::{distribution::Reference, image::Digest};
use std::{fmt, str::FromStr};

const LONGEST_TAG: usize = 128;
const UPPER_CASE: &str = "a repository's name must be lower case";
const UNDERSCORE: &str = "a registry's name can't hold `_`";

/// A name as a person wrote it, its parts checked.
///
/// ```
/// use rbuild_oci::reference::ImageName;
/// let name: ImageName = "debian:12".parse()?;
/// assert_eq!((name.name(), name.tag()), ("debian", Some("12")));
/// assert_eq!(name.full(), "docker.io/library/debian:12");
/// assert!("Debian:12".parse::<ImageName>().is_err());
/// # Ok::<(), rbuild_oci::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ImageName {
    name: String,
    tag: Option<String>,
    digest: Option<Digest>,
    full: Reference,
}

impl ImageName {
    /// The repository as written, without tag and digest.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tag, if one is written.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one is written.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What a layout calls this image: its tag, or `latest`.
    pub fn layout_reference(&self) -> &str {
        self.tag().unwrap_or("latest")
    }

    /// What `docker load` calls it: `NAME:TAG`, without a digest.
    pub fn docker_tag(&self) -> String {
        format!("{}:{}", self.name, self.layout_reference())
    }

    /// With the registry and namespace that docker would assume.
    pub fn full(&self) -> String {
        self.full.whole()
    }

    /// The parts with what docker would assume, for a registry.
    pub fn reference(&self) -> &Reference {
        &self.full
    }
}

impl FromStr for ImageName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = |reason: String| Error::Reference { text: text.to_owned(), reason };
        let full = match Reference::try_from(text) {
            // The parser takes an upper case namespace for a host and then does not look again.
            Ok(full) if has_upper_case(full.repository()) => return Err(refuse(UPPER_CASE.to_owned())),
            // Nor at what a host's name can hold, if it could be a path.
            Ok(full) if full.registry().contains('_') => return Err(refuse(UNDERSCORE.to_owned())),
            Ok(full) => full,
            Err(_) if has_upper_case(text) && Reference::try_from(text.to_lowercase()).is_ok() => {
                return Err(refuse(UPPER_CASE.to_owned()));
            }
            Err(error) => return Err(refuse(error.to_string())),
        };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(|error| refuse(format!("{error}")))?)),
            None => (text, None),
        };
        // A colon before the last slash is a port's.
        let (name, tag) = match rest.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
            Some((name, tag)) => (name, Some(tag.to_owned())),
            None => (rest, None),
        };
        if let Some(tag) = &tag {
            check_tag(tag)?;
        }
        Ok(Self { name: name.to_owned(), tag, digest, full })
    }
}

fn has_upper_case(text: &str) -> bool {
    text.chars().any(char::is_uppercase)
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

/// Checks a tag: a letter, digit or `_`, then up to 127 of these, `.` and `-`.
///
/// # Errors
/// [`Error::Reference`].
pub fn check_tag(tag: &str) -> Result<()> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = tag.as_bytes();
    let is_valid = bytes.first().is_some_and(|first| is_word(*first))
        && bytes.len() <= LONGEST_TAG
        && bytes.iter().all(|byte| is_word(*byte) || matches!(byte, b'.' | b'-'));
    if is_valid {
        return Ok(());
    }
    let reason = "a tag is up to 128 letters, digits, `_`, `.` and `-`, and begins with none of the last two";
    Err(Error::Reference { text: tag.to_owned(), reason: reason.to_owned() })
}

/// Whether two names mean the same image; what is no name means only itself.
pub(crate) fn same(one: &str, other: &str) -> bool {
    let full = |text: &str| text.parse::<ImageName>().ok().map(|name| name.full());
    one == other || full(one).is_some_and(|one| Some(one) == full(other))
}

/// Splits `DIRECTORY[:REFERENCE]` as it names an image in a layout.
pub fn split_layout(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':').filter(|(path, reference)| !path.is_empty() && !reference.contains('/')) {
        Some((path, reference)) => (path, Some(reference)),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let with_digest = format!("registry.example:5000/team/shop@{digest}");
        let with_both = format!("shop:1@{digest}");
        for (text, name, tag, full) in [
            ("shop", "shop", None, "docker.io/library/shop:latest"),
            ("team/shop:1.2-rc", "team/shop", Some("1.2-rc"), "docker.io/team/shop:1.2-rc"),
            ("localhost:5000/shop", "localhost:5000/shop", None, "localhost:5000/shop:latest"),
            ("registry.example/shop:1", "registry.example/shop", Some("1"), "registry.example/shop:1"),
            (&with_digest, "registry.example:5000/team/shop", None, &with_digest),
            (&with_both, "shop", Some("1"), &format!("docker.io/library/{with_both}")),
        ] {
            let parsed: ImageName = text.parse().unwrap();
            assert_eq!((parsed.name(), parsed.tag(), parsed.full().as_str()), (name, tag, full), "{text}");
            assert_eq!(parsed.to_string(), text);
            assert_eq!(parsed.digest().is_some(), text.contains('@'));
        }
        let name: ImageName = "team/shop".parse().unwrap();
        assert_eq!((name.layout_reference(), name.docker_tag().as_str()), ("latest", "team/shop:latest"));
    }

    #[test]
    fn what_is_no_name() {
        for text in
            ["", ":1", "shop:", "shop:a b", "shop@sha256:12", "a//b", "shop:-x", "shop@md5:00", "-shop"]
        {
            assert!(text.parse::<ImageName>().is_err(), "{text:?}");
        }
        for text in ["Team/shop:1", "Shop", "registry.example/Team/shop"] {
            let error = text.parse::<ImageName>().unwrap_err();
            assert!(error.to_string().contains("lower case"), "{error}");
        }
        let error = "my_registry.example/shop".parse::<ImageName>().unwrap_err();
        assert!(error.to_string().contains("can't hold `_`"), "{error}");
        assert!("my_team/shop_1.0".parse::<ImageName>().is_ok());
        assert!(check_tag(&"x".repeat(128)).is_ok());
        assert!(check_tag(&"x".repeat(129)).is_err());
    }

    #[test]
    fn layouts() {
        assert_eq!(split_layout("dist/image"), ("dist/image", None));
        assert_eq!(split_layout("dist/image:1.0"), ("dist/image", Some("1.0")));
        assert_eq!(split_layout("a:b/image"), ("a:b/image", None));
        assert!(same("debian:12", "docker.io/library/debian:12"));
        assert!(!same("debian:12", "debian:11"));
        assert!(same("any thing", "any thing"));
    }
}
