//! Into a file: a layout, an oci-archive, a docker-archive.

use super::{FileKind, Place, content::Content, origin::Origin};
use crate::{
    error::{Error, Result},
    image::replace,
    registries::Registries,
    report::Copied,
};
use rbuild_oci::{
    Exported, Image, Platform,
    oci_spec::image::{Descriptor, Digest},
    write_docker_archive, write_layout, write_oci_archive,
};
use rbuild_registry::{Reference, document::LARGEST_CONFIGURATION};
use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// An image whose blobs are files, on its way to a file.
pub(super) struct Write<'a> {
    pub(super) origin: &'a Origin<'a>,
    pub(super) content: &'a Content,
    pub(super) files: &'a HashMap<Digest, PathBuf>,
    pub(super) from: &'a Place,
    pub(super) registries: &'a Registries,
}

impl Write<'_> {
    /// Writes it.
    pub(super) fn to(&self, kind: FileKind, path: &Path, reference: Option<&str>) -> Result<Copied> {
        match kind {
            FileKind::Oci => self.layout(path, reference),
            FileKind::OciArchive => self.oci_archive(path, reference),
            FileKind::DockerArchive => self.docker_archive(path, reference),
        }?;
        Ok(Copied {
            place: path.display().to_string(),
            digest: self.origin.root.digest().to_string(),
            blobs: self.content.blobs.len(),
            present: 0,
        })
    }

    fn layout(&self, path: &Path, reference: Option<&str>) -> Result<()> {
        let names = [self.reference(reference)];
        Ok(write_layout(path, &self.exported(), &names, &|digest| {
            self.origin.to_link(digest, self.file(digest)?)
        })?)
    }

    fn oci_archive(&self, path: &Path, reference: Option<&str>) -> Result<()> {
        let names = [self.reference(reference)];
        replace(path, |out| {
            Ok(write_oci_archive(out, &self.exported(), &names, &|digest| self.file(digest))?)
        })?;
        Ok(())
    }

    fn docker_archive(&self, path: &Path, name: Option<&str>) -> Result<()> {
        let manifest = self.content.only_manifest().ok_or_else(|| {
            Error::usage(format!("{} is an index, and a docker-archive holds one image", self.origin.name))
                .hint("say which: --platform linux/amd64")
        })?;
        let configuration = self.configuration(manifest.config()).map_err(|error| {
            Error::environment(format!("cannot read the config of {}", self.origin.name)).caused_by(error)
        })?;
        let (parsed, layers) = rbuild_registry::document::read_configuration(
            &self.origin.name,
            &configuration,
            manifest.layers(),
        )?;
        let platform = Platform {
            os: parsed.os().to_string(),
            architecture: parsed.architecture().to_string(),
            variant: parsed.variant().clone(),
        };
        let image = Image::of_configuration(platform, configuration, layers, &BTreeMap::new())?;
        let tags: Vec<String> = self.docker_name(name).into_iter().collect();
        replace(path, |out| Ok(write_docker_archive(out, &image, &tags, &|digest| self.file(digest))?))?;
        Ok(())
    }

    fn configuration(&self, config: &Descriptor) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.file(config.digest())?)?.take(LARGEST_CONFIGURATION + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST_CONFIGURATION {
            return Err(io::Error::other("it has more than 16 MiB"));
        }
        Ok(bytes)
    }

    /// The name in a docker-archive: the one that is wanted, else the one it had; docker wants a tag in it.
    fn docker_name(&self, wanted: Option<&str>) -> Option<String> {
        let name = wanted.map(str::to_owned).or_else(|| match self.from {
            Place::Registry(reference) => (!reference.contains('@')).then(|| self.origin.name.clone()),
            Place::File { reference, kind: FileKind::DockerArchive, .. } => reference.clone(),
            Place::File { .. } => None,
        })?;
        let tagged = name.rsplit('/').next().is_some_and(|last| last.contains(':'));
        Some(if tagged { name } else { name + ":latest" })
    }

    /// The name in a layout: the one that is wanted, else the one it had, else `latest`.
    fn reference(&self, wanted: Option<&str>) -> String {
        let had = match self.from {
            Place::Registry(text) => {
                text.parse::<Reference>().ok().and_then(|parsed| parsed.tag().map(str::to_owned))
            }
            Place::File { kind: FileKind::DockerArchive, .. } => None,
            Place::File { reference, .. } => reference.clone().filter(|name| !name.starts_with("sha256:")),
        };
        wanted.map(str::to_owned).or(had).unwrap_or_else(|| "latest".to_owned())
    }

    fn file(&self, digest: &Digest) -> io::Result<PathBuf> {
        if self.registries.is_cancelled() {
            return Err(io::Error::other("interrupted"));
        }
        self.files.get(digest).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn exported(&self) -> Exported<'_> {
        let documents = self.content.manifests.iter().map(|(digest, bytes)| (digest, bytes.as_slice()));
        let blobs = self.content.blobs.iter().map(|blob| (blob.digest(), blob.size()));
        Exported::new(&self.origin.root, documents, blobs)
    }
}
