//! Places of images, as a person names them.

use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// Where an image is, or is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// In a registry: a reference.
    Registry(String),
    /// In a file or folder.
    File {
        /// Which kind.
        kind: FileKind,
        /// Where.
        path: PathBuf,
        /// Its name there.
        reference: Option<String>,
    },
}

/// What a file or folder is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// An OCI layout.
    Oci,
    /// A tar of one.
    OciArchive,
    /// What `docker load` takes.
    DockerArchive,
}

const KINDS: [(&str, FileKind); 3] = [
    ("oci", FileKind::Oci),
    ("oci-archive", FileKind::OciArchive),
    ("docker-archive", FileKind::DockerArchive),
];
/// Places of skopeo and podman.
const OTHERS: [&str; 8] = [
    "dir",
    "docker-daemon",
    "containers-storage",
    "ostree",
    "sif",
    "tarball",
    "oci-layout",
    "docker-tarball",
];
const FORMS: &str =
    "a place is HOST/PATH:TAG, oci:FOLDER[:REF], oci-archive:FILE[:REF] or docker-archive:FILE[:NAME:TAG]";

impl Place {
    /// Reads `oci:FOLDER[:REF]`, `oci-archive:FILE[:REF]`, `docker-archive:FILE[:NAME:TAG]`, or the reference of a
    /// registry, with or without `docker://`. A `:` in a path is one if there is a file of that name.
    ///
    /// # Errors
    /// It is none of these.
    pub fn parse(text: &str) -> Result<Self> {
        if let Some(reference) = text.strip_prefix("docker://") {
            return Ok(Self::Registry(reference.to_owned()));
        }
        for (word, kind) in KINDS {
            if let Some(rest) = text.strip_prefix(word).and_then(|rest| rest.strip_prefix(':')) {
                let (path, reference) = split(rest);
                if path.is_empty() {
                    return Err(Error::usage(format!("{text:?} names no file")).hint(FORMS));
                }
                let reference = reference.map(str::to_owned);
                return Ok(Self::File { kind, path: path.into(), reference });
            }
        }
        check_reference(text)?;
        if Path::new(text).exists() {
            return Err(Error::usage(format!("{text:?} does not say what kind of place it is"))
                .hint(FORMS)
                .hint(format!("docker://{text} is the image of a registry")));
        }
        Ok(Self::Registry(text.to_owned()))
    }
}

/// Refuses what can be read as an image of docker.io and is meant as something else.
///
/// # Errors
/// It names a file or folder, or a kind of place.
pub(crate) fn check_reference(text: &str) -> Result<()> {
    if text.starts_with(['/', '.', '~']) || text.ends_with(".tar") {
        return Err(Error::usage(format!("{text:?} does not say what kind of place it is")).hint(FORMS));
    }
    let word = text.split_once(':').map_or("", |(word, _)| word);
    if KINDS.iter().any(|(kind, _)| *kind == word) {
        return Err(
            Error::usage(format!("{text:?} is no image of a registry")).hint("`rbuild copy` takes it")
        );
    }
    if OTHERS.contains(&word) {
        return Err(Error::usage(format!("`{word}:` is no kind of place here")).hint(FORMS));
    }
    Ok(())
}

/// The path, and what is behind its first `:`.
fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once(':') {
        Some((path, reference)) if !reference.is_empty() && !Path::new(text).exists() => {
            (path, Some(reference))
        }
        _ => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let file = |kind, path: &str, reference: Option<&str>| Place::File {
            kind,
            path: path.into(),
            reference: reference.map(str::to_owned),
        };
        for (text, place) in [
            ("debian:12", Place::Registry("debian:12".to_owned())),
            ("docker://localhost:5000/a", Place::Registry("localhost:5000/a".to_owned())),
            ("oci:dist/shop", file(FileKind::Oci, "dist/shop", None)),
            ("oci:dist/shop:1.0", file(FileKind::Oci, "dist/shop", Some("1.0"))),
            ("oci-archive:/a.tar", file(FileKind::OciArchive, "/a.tar", None)),
            ("docker-archive:a.tar:shop:1", file(FileKind::DockerArchive, "a.tar", Some("shop:1"))),
        ] {
            assert_eq!(Place::parse(text).ok(), Some(place), "{text}");
        }
        for text in ["./shop", "/tmp/shop", "oci:", "oci::x", "dir:shop", "shop.tar", "Cargo.toml"] {
            assert!(Place::parse(text).is_err_and(|error| error.kind().exit_code() == 2), "{text}");
        }
    }
}
