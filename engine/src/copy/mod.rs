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
//! | `write` | into files |

mod content;
mod origin;
mod place;
mod write;

pub(crate) use place::check_reference;
pub use place::{FileKind, Place};

use crate::{
    error::Result,
    parallel,
    registries::{self, Outgoing, Registries},
    report::{Copied, Direction, Reporter},
    store::{Folders, Store},
    transfer::Transfer,
};
use content::Content;
use origin::Origin;
use rbuild_oci::{
    Platform,
    oci_spec::image::{Descriptor, Digest},
};
use rbuild_registry::BlobSource;
use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use write::Write;

/// Blobs on their way at once.
const MOST_AT_ONCE: usize = 6;

/// What copies: the way to registries, and the store between.
pub struct Copier {
    store: Arc<Store>,
    registries: Arc<Registries>,
}

impl Copier {
    /// With a store, for a caller with these variables.
    ///
    /// # Errors
    /// The store can't be opened.
    pub fn new(
        store: &Folders,
        variables: &BTreeMap<String, String>,
        reporter: Arc<dyn Reporter>,
    ) -> Result<Self> {
        let store = store.open()?;
        let registries = Arc::new(Registries::new(variables, false, Some(store.clone()), reporter));
        Ok(Self { store, registries })
    }

    /// Fetches the image of a registry into the store, of several the one for a platform (none: this machine's); counts
    /// its layers.
    ///
    /// # Errors
    /// A name that is none; an image that is not for the platform; whatever the registry answers; it was interrupted.
    pub fn pull(&self, reference: &str, platform: Option<&Platform>) -> Result<Copied> {
        self.registries.interruptible(|| {
            check_reference(reference)?;
            let place = Place::Registry(reference.to_owned());
            let wanted = platform.cloned().unwrap_or_else(Platform::host);
            let origin = Origin::open(&place, Some(&wanted), &self.registries, &self.store)?;
            origin.check_platform(&wanted, platform.is_some())?;
            let content = Content::of(&origin)?;
            let blobs = self.fetch(&origin, &content)?;
            if let Some(repository) = origin.repository() {
                let digests = content.blobs.iter().map(Descriptor::digest);
                registries::remember(&self.store, repository, digests);
            }
            self.store.settle()?;
            // The configuration came when the platform was looked for.
            let present = content.blobs.len().saturating_sub(1 + blobs);
            let (place, digest) = (origin.name.clone(), origin.root.digest().to_string());
            Ok(Copied { place, digest, blobs, present })
        })
    }

    /// Copies what `from` stands for to `to`: with a platform the one image for it, without all there is.
    ///
    /// # Errors
    /// Places that are none, what is not there or damaged, what can't be written, whatever a registry answers; it was
    /// interrupted.
    pub fn copy(&self, from: &Place, to: &Place, platform: Option<&Platform>) -> Result<Copied> {
        self.registries.interruptible(|| {
            let origin = Origin::open(from, platform, &self.registries, &self.store)?;
            if let Some(platform) = platform {
                origin.check_platform(platform, true)?;
            }
            let content = Content::of(&origin)?;
            let copied = match to {
                Place::Registry(text) => self.to_registry(&origin, &content, text),
                Place::File { kind, path, reference } => {
                    let files = self.files(&origin, &content)?;
                    let registries = &*self.registries;
                    let write = Write { origin: &origin, content: &content, files: &files, from, registries };
                    write.to(*kind, path, reference.as_deref())
                }
            }?;
            self.store.settle()?;
            Ok(copied)
        })
    }

    fn to_registry(&self, origin: &Origin<'_>, content: &Content, to: &str) -> Result<Copied> {
        let reference = self.registries.client()?.reference(to)?;
        let far: Vec<&Descriptor> = content.blobs.iter().filter(|blob| origin.is_far(blob)).collect();
        let fetched = self.transfer(origin, Direction::Pull, &far);
        let is_counted = |blob: &Descriptor| far.iter().any(|far| far.digest() == blob.digest());
        let image = Outgoing {
            manifests: &content.manifests,
            blobs: &content.blobs,
            repository: origin.repository(),
        };
        let copied = self.registries.push(&image, &reference, |blob| Lazy {
            origin,
            blob: blob.clone(),
            transfer: &fetched,
            is_counted: is_counted(blob),
            is_fetched: AtomicBool::new(false),
        })?;
        fetched.end();
        Ok(copied)
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
}

/// A blob that is fetched when its first byte is to be sent: most are there already.
struct Lazy<'a> {
    origin: &'a Origin<'a>,
    blob: Descriptor,
    transfer: &'a Arc<Transfer>,
    /// Whether the transfer counts on it.
    is_counted: bool,
    is_fetched: AtomicBool,
}

impl BlobSource for Lazy<'_> {
    fn open_at(&self, offset: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        let path = self.origin.file(&self.blob, self.transfer).map_err(io::Error::other)?;
        self.is_fetched.store(true, Ordering::Relaxed);
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Box::new(file))
    }
}

impl Drop for Lazy<'_> {
    fn drop(&mut self) {
        match (self.is_counted, self.is_fetched.load(Ordering::Relaxed)) {
            (true, true) => self.transfer.blob_done(),
            (true, false) => self.transfer.blob_skipped(self.blob.size()),
            (false, _) => {}
        }
    }
}
