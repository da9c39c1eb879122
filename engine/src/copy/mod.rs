//! Images from place to place, byte for byte: registries, layouts, archives.
//!
//! Nothing is understood that need not be: manifests keep their bytes, and so the image its digest. Blobs of registries
//! and archives go through the store, where a build finds them later; what the other side has is not fetched at all.
//!
//! | module | what |
//! |---|---|
//! | `place` | how a person names a place |
//! | `origin` | documents, and files for blobs, of what is copied |
//! | `content` | all that a name stands for |

mod content;
mod origin;
mod place;

pub use place::{FileKind, Place};

use crate::{
    error::{Error, Result},
    image::replace,
    parallel,
    registries::{self, Registries},
    report::{Direction, Reporter},
    store::Store,
    transfer::Transfer,
};
use content::Content;
use origin::Origin;
use rbuild_oci::{
    Exported, Image, Platform,
    oci_spec::image::{Descriptor, Digest},
    write_docker_archive, write_layout, write_oci_archive,
};
use rbuild_registry::{BlobSource, Client, Pushed, Reference};
use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Blobs on their way at once.
const MOST_AT_ONCE: usize = 6;

/// What copies: the way to registries, and the store between.
pub struct Copier {
    store: Arc<Store>,
    registries: Registries,
}

/// An image that is where it was to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Copied {
    /// The place.
    pub place: String,
    /// `sha256:…` of the manifest or index.
    pub digest: String,
    /// Blobs that were copied.
    pub blobs: usize,
    /// Blobs that were there.
    pub present: usize,
}

impl Copier {
    /// With a store, for a caller with these variables.
    ///
    /// # Errors
    /// The store can't be opened.
    pub fn new(
        store: &Path,
        variables: &BTreeMap<String, String>,
        reporter: Arc<dyn Reporter>,
    ) -> Result<Self> {
        let store = Store::open(store)?;
        let registries = Registries::new(variables, false, Some(store.clone()), reporter);
        Ok(Self { store, registries })
    }

    /// Fetches the image of a registry for a platform into the store; counts its layers.
    ///
    /// # Errors
    /// A name that is none; whatever the registry answers.
    pub fn pull(&self, reference: &str, platform: &Platform) -> Result<Copied> {
        let place = Place::Registry(reference.to_owned());
        let origin = Origin::open(&place, Some(platform), &self.registries, &self.store)?;
        let content = Content::of(&origin)?;
        let blobs = self.fetch(&origin, &content)?;
        if let Some(repository) = origin.repository() {
            registries::remember(&self.store, repository, content.blobs.iter().map(Descriptor::digest));
        }
        Ok(Copied {
            place: origin.name.clone(),
            digest: origin.root.digest().to_string(),
            blobs,
            // The configuration came when the platform was looked for.
            present: (content.blobs.len() - 1).saturating_sub(blobs),
        })
    }

    /// Copies what `from` stands for to `to`: with a platform the one image for it, without all there is.
    ///
    /// # Errors
    /// Places that are none, what is not there or damaged, what can't be written, whatever a registry answers.
    pub fn copy(&self, from: &Place, to: &Place, platform: Option<&Platform>) -> Result<Copied> {
        let origin = Origin::open(from, platform, &self.registries, &self.store)?;
        let content = Content::of(&origin)?;
        match to {
            Place::Registry(text) => {
                let client = self.registries.client()?;
                self.push(&origin, &content, client, &client.reference(text)?)
            }
            Place::File { kind, path, reference } => {
                let files = self.files(&origin, &content)?;
                let write = Write { origin: &origin, content: &content, files: &files, from };
                match kind {
                    FileKind::Oci => write.layout(path, reference.as_deref()),
                    FileKind::OciArchive => write.oci_archive(path, reference.as_deref()),
                    FileKind::DockerArchive => write.docker_archive(path, reference.as_deref()),
                }?;
                Ok(Copied {
                    place: path.display().to_string(),
                    digest: origin.root.digest().to_string(),
                    blobs: content.blobs.len(),
                    present: 0,
                })
            }
        }
    }

    /// Fetches the blobs that the store does not have; says how many.
    fn fetch(&self, origin: &Origin<'_>, content: &Content) -> Result<usize> {
        let far: Vec<&Descriptor> = content.blobs.iter().filter(|blob| origin.is_far(blob)).collect();
        let transfer = self.transfer(origin, Direction::Pull, &far);
        parallel::each(&far, MOST_AT_ONCE, |_, blob| {
            origin.file(blob, &transfer)?;
            transfer.blob_done();
            Ok(())
        })?;
        transfer.end();
        Ok(far.len())
    }

    fn transfer(&self, origin: &Origin<'_>, direction: Direction, blobs: &[&Descriptor]) -> Arc<Transfer> {
        self.registries.transfer(&origin.name, direction, blobs.iter().map(|blob| blob.size()))
    }

    /// A file for each blob, its bytes checked.
    fn files(&self, origin: &Origin<'_>, content: &Content) -> Result<HashMap<Digest, PathBuf>> {
        self.fetch(origin, content)?;
        let transfer = self.transfer(origin, Direction::Pull, &[]);
        parallel::each(&content.blobs, MOST_AT_ONCE, |_, blob| origin.check(blob))?;
        let file = |blob: &Descriptor| Ok((blob.digest().clone(), origin.file(blob, &transfer)?));
        content.blobs.iter().map(file).collect()
    }

    fn push(
        &self,
        origin: &Origin<'_>,
        content: &Content,
        client: &Client,
        reference: &Reference,
    ) -> Result<Copied> {
        let no_root = || Error::internal("there is no manifest to push");
        let (root, inner) = content.manifests.split_last().ok_or_else(no_root)?;
        let all: Vec<&Descriptor> = content.blobs.iter().collect();
        let copied = |blobs| Copied {
            place: reference.to_string(),
            digest: root.0.to_string(),
            blobs,
            present: all.len() - blobs,
        };
        if client.is_pushed(reference, root.0.as_ref())? {
            return Ok(copied(0));
        }
        let sent = self.registries.transfer(
            &reference.to_string(),
            Direction::Push,
            all.iter().map(|blob| blob.size()),
        );
        let fetched = self.transfer(origin, Direction::Pull, &[]);
        let uploaded = AtomicUsize::new(0);
        parallel::each(&all, MOST_AT_ONCE, |_, blob| {
            let _counted = self.registries.on_the_way().enter(blob.digest().as_ref(), &sent);
            let mut sources = registries::sources(&self.store, blob.digest(), reference.repository());
            sources.extend(origin.repository().cloned());
            let source = Lazy { origin, blob, transfer: &fetched };
            match client.push_blob(reference.repository(), blob, &source, &sources)? {
                Pushed::Uploaded => {
                    uploaded.fetch_add(1, Ordering::Relaxed);
                    sent.blob_done();
                }
                _ => sent.blob_skipped(blob.size()),
            }
            Ok(())
        })?;
        for (digest, bytes) in inner {
            client.push_manifest(&reference.repository().with_digest(digest.clone()), bytes)?;
        }
        client.push_manifest(reference, &root.1)?;
        registries::remember(
            &self.store,
            reference.repository(),
            content.blobs.iter().map(Descriptor::digest),
        );
        sent.end();
        Ok(copied(uploaded.into_inner()))
    }
}

/// A blob that is fetched when its first byte is to be sent: most are there already.
struct Lazy<'a> {
    origin: &'a Origin<'a>,
    blob: &'a Descriptor,
    transfer: &'a Arc<Transfer>,
}

impl BlobSource for Lazy<'_> {
    fn open_at(&self, offset: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        let path = self.origin.file(self.blob, self.transfer).map_err(io::Error::other)?;
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Box::new(file))
    }
}

/// An image whose blobs are files, on its way to a file.
struct Write<'a> {
    origin: &'a Origin<'a>,
    content: &'a Content,
    files: &'a HashMap<Digest, PathBuf>,
    from: &'a Place,
}

impl Write<'_> {
    fn layout(&self, path: &Path, reference: Option<&str>) -> Result<()> {
        let names = [self.reference(reference)];
        Ok(write_layout(path, &self.exported(), &names, &|digest| self.file(digest))?)
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
        let configuration = self.file(manifest.config().digest()).and_then(std::fs::read);
        let configuration =
            configuration.map_err(|error| Error::environment("cannot read the config").caused_by(error))?;
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
        let tags: Vec<String> = match (name, self.from) {
            (Some(name), _) => vec![name.to_owned()],
            (None, Place::Registry(reference)) if !reference.contains('@') => vec![reference.clone()],
            (None, Place::File { reference: Some(name), kind: FileKind::DockerArchive, .. }) => {
                vec![name.clone()]
            }
            _ => Vec::new(),
        };
        replace(path, |out| Ok(write_docker_archive(out, &image, &tags, &|digest| self.file(digest))?))?;
        Ok(())
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
        self.files.get(digest).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn exported(&self) -> Exported<'_> {
        let documents = self.content.manifests.iter().map(|(digest, bytes)| (digest, bytes.as_slice()));
        let blobs = self.content.blobs.iter().map(|blob| (blob.digest(), blob.size()));
        Exported::new(&self.origin.root, documents, blobs)
    }
}
