//! The client: all that can be asked of a registry.

use crate::{
    BlobSource, BlobTarget, Cancel, Credential, Credentials, Documents, Error, NoDocuments, Observer,
    Reference, Repository, Result, RetryPolicy, Settings, Silent, Timeouts,
    auth::{Authorizer, Scopes},
    core::{Call, Core, Target},
    error::{io_error, name_without_user},
    pull::{self, Blob, Manifest, RemoteImage},
    push::{self, Pushed, UploadSizes},
    reference::{DOCKER_HUB, DOCKER_HUB_NAMES},
    transport::Transport,
};
use rbuild_oci::{
    Platform,
    oci_spec::image::{Descriptor, Digest},
};
use std::{
    io::{self, BufWriter, Write},
    sync::{Arc, Mutex},
};
use ureq::http::{Method, StatusCode};

const WRITE_BUFFER: usize = 256 << 10;

/// How a client behaves.
#[derive(Clone)]
pub struct Options {
    /// How long nothing may happen.
    pub timeouts: Timeouts,
    /// How often to try.
    pub retry: RetryPolicy,
    /// How bytes are sent.
    pub upload: UploadSizes,
    /// Who is told.
    pub observer: Arc<dyn Observer>,
    /// What is known already.
    pub documents: Arc<dyn Documents>,
    /// Nobody is asked for anything: what is not known is [`Error::Offline`].
    pub is_offline: bool,
}

impl Default for Options {
    fn default() -> Self {
        let (timeouts, retry, upload) = (Timeouts::default(), RetryPolicy::default(), UploadSizes::default());
        let (observer, documents) = (Arc::new(Silent), Arc::new(NoDocuments));
        Self { timeouts, retry, upload, observer, documents, is_offline: false }
    }
}

/// Talks to registries. A clone is the same client: connections, tokens and the end by [`Cancel`] are shared, by any
/// number of threads.
#[derive(Clone)]
pub struct Client {
    core: Arc<Core>,
    credentials: Credentials,
    options: Arc<Options>,
}

impl Client {
    /// A client with these settings and credentials. Nothing is asked for yet.
    pub fn new(settings: Settings, credentials: Credentials, options: Options) -> Self {
        let core = Arc::new(core_of(settings, &credentials, None, &options, Cancel::default()));
        Self { core, credentials, options: Arc::new(options) }
    }

    /// Ends everything, from any thread.
    pub fn cancel(&self) -> Cancel {
        self.core.transport.cancel().clone()
    }

    /// An image's name as a person writes it, short names by podman's aliases.
    ///
    /// # Errors
    /// [`Error::Reference`].
    pub fn reference(&self, text: &str) -> Result<Reference> {
        self.core.settings().reference(text)
    }

    /// Media type, digest and size of what a reference names today.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Denied`] and what else can happen on the way.
    pub fn resolve(&self, reference: &Reference) -> Result<Descriptor> {
        pull::resolve(&self.core, reference)
    }

    /// The manifest or index that a reference names, its digest verified.
    ///
    /// # Errors
    /// As [`Self::resolve`]; [`Error::Malformed`], [`Error::Damaged`].
    pub fn manifest(&self, reference: &Reference) -> Result<Manifest> {
        pull::fetch_manifest(&self.core, reference)
    }

    /// The image for a platform: its manifest, configuration and the list of its layers, all of them checked.
    ///
    /// # Errors
    /// As [`Self::manifest`]; [`Error::NoPlatform`].
    pub fn image(&self, reference: &Reference, platform: &Platform) -> Result<RemoteImage> {
        pull::fetch_image(&self.core, reference, platform)
    }

    /// The bytes of a blob, or of a foreign layer from its `urls`. Nothing is asked for before the first read.
    ///
    /// # Errors
    /// [`Error::Malformed`] if its digest is not of sha256; all others when it is read.
    pub fn blob(&self, repository: &Repository, descriptor: &Descriptor) -> Result<Blob> {
        Blob::open(&self.core, repository, descriptor)
    }

    /// Writes a blob to an empty target. Wrong bytes are thrown away and asked for again, elsewhere if a mirror gave
    /// them. The target ends up right, or empty.
    ///
    /// # Errors
    /// As reading from [`Self::blob`]; [`Error::Io`].
    pub fn save_blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        target: &mut dyn BlobTarget,
    ) -> Result<()> {
        let what = || format!("writing blob {}", descriptor.digest());
        pull::again_if_damaged(|| {
            let mut out = BufWriter::with_capacity(WRITE_BUFFER, &mut *target);
            let copied =
                io::copy(&mut self.blob(repository, descriptor)?, &mut out).and_then(|_| out.flush());
            // Dropped as it is, it would write what is left.
            let _ = out.into_parts();
            let Err(error) = copied else { return Ok(()) };
            target.begin_again().map_err(io_error(what()))?;
            Err(Error::from_io(what(), error))
        })
    }

    /// Whether a reference names this image (`sha256:…`) at the registry itself, whatever mirrors say; with a tag and a
    /// digest, whether the tag does.
    ///
    /// # Errors
    /// As [`Self::resolve`]. A name that means nothing yet is no error.
    pub fn is_pushed(&self, reference: &Reference, digest: &str) -> Result<bool> {
        let tagged = reference.tag().map(|tag| reference.repository().with_tag(tag)).transpose()?;
        match pull::resolve_at_origin(&self.core, tagged.as_ref().unwrap_or(reference)) {
            Ok(found) => Ok(found.digest().as_ref() == digest),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether a repository has a blob.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn has_blob(&self, repository: &Repository, digest: &Digest) -> Result<bool> {
        push::has_blob(&self.core, repository, digest)
    }

    /// Sees to it that a repository has a blob. `sources` are repositories that may have it already: those of the same
    /// registry are asked to share it.
    ///
    /// # Errors
    /// As [`Self::resolve`]; [`Error::Refused`]; [`Error::Io`] if the source can't be read.
    pub fn push_blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        source: &dyn BlobSource,
        sources: &[Repository],
    ) -> Result<Pushed> {
        push::push_blob(&self.core, &self.options.upload, repository, descriptor, source, sources)
    }

    /// Puts a manifest or index under the tag of a reference, or under its digest where there is no tag. What it names
    /// must be there.
    ///
    /// # Errors
    /// As [`Self::push_blob`]; [`Error::Malformed`]; [`Error::Damaged`] if it is not what the reference's digest says.
    pub fn push_manifest(&self, reference: &Reference, bytes: &[u8]) -> Result<Descriptor> {
        push::push_manifest(&self.core, reference, bytes)
    }

    /// The tags of a repository, by the registry itself.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn tags(&self, repository: &Repository) -> Result<Vec<String>> {
        pull::tags(&self.core, repository)
    }

    /// What refers to an image: signatures, SBOMs; all, or those of one type. By the registry itself.
    ///
    /// # Errors
    /// As [`Self::resolve`]. None of them is no error.
    pub fn referrers(
        &self,
        repository: &Repository,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>> {
        pull::referrers(&self.core, repository, digest, artifact_type)
    }

    /// Whether there is a registry, and whether it lets this user in.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Denied`], [`Error::Refused`].
    pub fn ping(&self, registry: &str) -> Result<()> {
        ping(&self.core, registry)
    }

    /// Keeps a credential where docker would, if the registry takes it. Says where.
    ///
    /// # Errors
    /// As [`Self::ping`]; [`Error::Credentials`].
    pub fn login(&self, registry: &str, credential: &Credential) -> Result<String> {
        let registry = normal(registry)?;
        let settings = self.core.settings().clone();
        let trial =
            core_of(settings, &self.credentials, Some(credential.clone()), &self.options, self.cancel());
        ping(&trial, &registry)?;
        self.credentials.store(&registry, credential)
    }

    /// Forgets a credential; false if there was none.
    ///
    /// # Errors
    /// [`Error::Credentials`], [`Error::Io`].
    pub fn logout(&self, registry: &str) -> Result<bool> {
        self.credentials.erase(&normal(registry)?)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

fn core_of(
    settings: Settings,
    credentials: &Credentials,
    fixed: Option<Credential>,
    options: &Options,
    cancel: Cancel,
) -> Core {
    Core {
        transport: Transport::new(settings, options, cancel),
        authorizer: Authorizer::new(credentials.clone(), fixed),
        documents: options.documents.clone(),
        is_offline: options.is_offline,
        distrusted: Mutex::default(),
        lost_mirrors: Mutex::default(),
        body_limits: Mutex::default(),
    }
}

fn ping(core: &Core, registry: &str) -> Result<()> {
    let registry = normal(registry)?;
    let endpoint = core.settings().registry(&registry);
    let target = Target::Path("/v2/".to_owned());
    let call = Call::new(Method::GET, target, Scopes::none(), format!("registry {registry}"));
    core.expect(&endpoint, &call, &[StatusCode::OK]).map(|_| ())
}

/// A registry's name as references have it: docker's own under one name, without a scheme.
fn normal(registry: &str) -> Result<String> {
    let bare = registry.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let bare = bare.trim_end_matches("/v1").trim_end_matches("/v2");
    if DOCKER_HUB_NAMES.contains(&bare) {
        return Ok(DOCKER_HUB.to_owned());
    }
    // A name that no reference could have is no registry's.
    let probe =
        if bare.contains(['.', ':']) || bare == "localhost" { bare.to_owned() } else { String::new() };
    match format!("{probe}/x").parse::<Reference>() {
        Ok(reference) if reference.repository().registry() == bare => Ok(bare.to_owned()),
        _ => Err(Error::Reference {
            text: name_without_user(&format!("{registry}/")).trim_end_matches("/").to_owned(),
            reason: "a registry is HOST[:PORT], as registry.example or localhost:5000".to_owned(),
        }),
    }
}
