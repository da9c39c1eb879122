//! `push`: what was built before, to registries.

use super::{Request, prepare};
use crate::{
    error::{Error, Result},
    registries::Registries,
    report::Reporter,
    spec::Kind,
    store::{ImageNode, Store},
};
use rbuild_oci::oci_spec::image::{Descriptor, ImageManifest};
use rbuild_registry::{Client, Pushed, Reference, Repository};
use std::{
    fs,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// Blobs on their way at once.
const MOST_AT_ONCE: usize = 4;

/// An image that is in a registry now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PushedImage {
    /// `registry.example/shop:1.0`
    pub reference: String,
    /// `sha256:…` of its manifest.
    pub digest: String,
    /// Blobs that were sent.
    pub uploaded: usize,
    /// Blobs that the registry had, there or in another repository.
    pub present: usize,
}

/// Pushes an image of the last build of the request's file to these references; none: to its tags.
///
/// # Errors
/// The image was not built, or is no longer whole in the store; it has no tags; a registry refuses.
pub fn push(
    request: &Request,
    image: &str,
    references: &[String],
    reporter: Arc<dyn Reporter>,
) -> Result<Vec<PushedImage>> {
    let prepare::History { store, build } = prepare::open_history(request)?;
    let name = image.strip_prefix("image.").unwrap_or(image);
    let node = build.nodes.get(&format!("image.{name}")).and_then(|node| node.image.clone());
    let node = node.ok_or_else(|| {
        Error::usage(format!("image `{name}` was not made by the last build of {}", request.file.display()))
            .hint(format!("`rbuild apply image.{name}` makes it"))
    })?;
    let references = match references {
        [] => tags(request, name)?,
        given => given.to_vec(),
    };
    let registries =
        Registries::new(&request.inputs.environment, request.offline, Some(store.clone()), reporter);
    registries.check_online("a registry")?;
    let client = registries.client()?;
    let references: Vec<Reference> =
        references.iter().map(|text| client.reference(text)).collect::<rbuild_registry::Result<_>>()?;
    let content = Content::load(&store, &node, name)?;
    references.iter().map(|reference| content.push(client, &store, reference)).collect()
}

fn tags(request: &Request, name: &str) -> Result<Vec<String>> {
    let loaded = prepare::load(request)?;
    let image = loaded.spec.images.get(name);
    let tags: Vec<String> =
        image.iter().flat_map(|image| image.tags.iter().map(|tag| tag.to_string())).collect();
    if tags.is_empty() {
        let message = format!("{} `{name}` has no tags, so there is nowhere to push it", Kind::Image);
        return Err(Error::usage(message).hint(format!("say where: rbuild push {name} HOST/PATH:TAG")));
    }
    Ok(tags)
}

/// What an image is made of: its manifest, and the blobs that names.
struct Content {
    manifest: Vec<u8>,
    digest: String,
    blobs: Vec<Descriptor>,
}

impl Content {
    fn load(store: &Store, node: &ImageNode, name: &str) -> Result<Self> {
        let gone = |what: &str| {
            Error::environment(format!("image `{name}`: {what} is not in the store any more"))
                .hint(format!("`rbuild apply image.{name}` makes it again"))
        };
        let hex = |digest: &str| digest.rsplit(':').next().unwrap_or_default().to_owned();
        let sha256 = hex(&node.manifest);
        if !store.has_blob(&sha256) {
            return Err(gone("its manifest"));
        }
        let path = store.blob_path(&sha256);
        let manifest = fs::read(&path).map_err(|error| Error::io("read", &path, error))?;
        let parsed: ImageManifest = serde_json::from_slice(&manifest)
            .map_err(|error| Error::internal(format!("the manifest of image `{name}`: {error}")))?;
        let mut blobs: Vec<Descriptor> = parsed.layers().clone();
        blobs.push(parsed.config().clone());
        blobs.dedup_by(|one, other| one.digest() == other.digest());
        match blobs.iter().find(|blob| !store.has_blob(blob.digest().digest())) {
            Some(missing) => Err(gone(missing.digest().as_ref())),
            None => Ok(Self { manifest, digest: node.manifest.clone(), blobs }),
        }
    }

    /// Blobs first, several at once; then the manifest that names them.
    fn push(&self, client: &Client, store: &Store, reference: &Reference) -> Result<PushedImage> {
        let (next, uploaded) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let failure: Mutex<Option<Error>> = Mutex::new(None);
        let work = || {
            while let Some(blob) = self.blobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                match push_blob(client, store, reference.repository(), blob) {
                    Ok(Pushed::Uploaded) => drop(uploaded.fetch_add(1, Ordering::Relaxed)),
                    Ok(_) => {}
                    Err(error) => {
                        next.store(self.blobs.len(), Ordering::Relaxed);
                        failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    }
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..MOST_AT_ONCE.min(self.blobs.len()) {
                scope.spawn(work);
            }
        });
        if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        client.push_manifest(reference, &self.manifest)?;
        let uploaded = uploaded.into_inner();
        Ok(PushedImage {
            reference: reference.to_string(),
            digest: self.digest.clone(),
            uploaded,
            present: self.blobs.len() - uploaded,
        })
    }
}

fn push_blob(client: &Client, store: &Store, repository: &Repository, blob: &Descriptor) -> Result<Pushed> {
    let path = store.blob_path(blob.digest().digest());
    Ok(client.push_blob(repository, blob, &path, &[])?)
}
