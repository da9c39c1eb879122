//! Which machine an image is for.

use crate::{Error, Result};
use std::{fmt, str::FromStr};

/// Operating system, processor and its variant, in the words of Go: `linux/arm64/v8`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, ...
    pub architecture: String,
    /// `v7`, `v8`, ...; none says that any will do.
    pub variant: Option<String>,
}

impl Platform {
    /// This machine's.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "powerpc64" => "ppc64",
            "loongarch64" => "loong64",
            other => other, // arm, riscv64, s390x, mips64, ... are called the same
        };
        let variant = (architecture == "arm").then(|| "v7".to_owned());
        Self { os: "linux".to_owned(), architecture: architecture.to_owned(), variant }
    }

    /// What `uname -m` says on such a machine.
    pub fn uname(&self) -> &str {
        match self.architecture.as_str() {
            "amd64" => "x86_64",
            "arm64" => "aarch64",
            "386" => "i686",
            "arm" => match self.variant.as_deref() {
                Some("v6") => "armv6l",
                Some("v5") => "armv5tel",
                _ => "armv7l",
            },
            "loong64" => "loongarch64",
            other => other,
        }
    }

    /// How well an image of the other platform serves where this one is asked for: higher is better, none not at all.
    pub fn serves(&self, image: &Self) -> Option<u8> {
        if self.os != image.os || self.architecture != image.architecture {
            return None;
        }
        match (self.plain_variant(), image.plain_variant()) {
            (wanted, variant) if wanted == variant => Some(2),
            (None, _) | (_, None) => Some(1),
            _ => None,
        }
    }

    /// arm64 has v8 where nothing is said.
    fn plain_variant(&self) -> Option<&str> {
        self.variant.as_deref().filter(|variant| !(self.architecture == "arm64" && *variant == "v8"))
    }
}

impl Default for Platform {
    fn default() -> Self {
        Self::host()
    }
}

impl FromStr for Platform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts.as_slice() {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some((*variant).to_owned())),
            _ => (&"", &"", None),
        };
        if parts.iter().any(|part| part.is_empty()) || os.is_empty() {
            let reason = "a platform is OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT, as linux/amd64";
            return Err(Error::Reference { text: text.to_owned(), reason: reason.to_owned() });
        }
        Ok(Self { os: (*os).to_owned(), architecture: (*architecture).to_owned(), variant })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn which_serves() {
        let platform = |text: &str| text.parse::<Platform>().unwrap();
        for (wanted, image, expected) in [
            ("linux/amd64", "linux/amd64", Some(2)),
            ("linux/amd64", "linux/amd64/v3", Some(1)),
            ("linux/arm64", "linux/arm64/v8", Some(2)),
            ("linux/arm/v7", "linux/arm/v7", Some(2)),
            ("linux/arm/v7", "linux/arm/v6", None),
            ("linux/arm/v7", "linux/arm", Some(1)),
            ("linux/amd64", "linux/arm64", None),
            ("linux/amd64", "windows/amd64", None),
        ] {
            assert_eq!(platform(wanted).serves(&platform(image)), expected, "{wanted} {image}");
        }
    }

    #[test]
    fn text() {
        assert_eq!("linux/arm/v7".parse::<Platform>().unwrap().to_string(), "linux/arm/v7");
        for bad in ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux//v7"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad:?}");
        }
        assert_eq!(Platform::host().os, "linux");
    }
}
