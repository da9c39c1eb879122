//! The registries as a build reaches them: one client, made when something is needed from outside.

mod push;

pub(crate) use push::Outgoing;

use crate::{
    error::{Error, Result},
    interrupts::{Interrupts, Stopping},
    report::{Direction, Event, Reporter},
    store::Store,
    transfer::{OnTheWay, Transfer},
};
use rbuild_oci::oci_spec::image::Digest;
use rbuild_registry::{
    Client, Credentials, Documents, Environment, Event as Happening, NoDocuments, Observer, Options,
    Reference, RegistryTables, Repository, Settings,
};
use std::{
    collections::BTreeMap,
    fs, io,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

/// A client that is made at first use.
pub struct Registries {
    environment: Environment,
    /// Nothing may be asked for.
    offline: bool,
    store: Option<Arc<Store>>,
    reporter: Arc<dyn Reporter>,
    client: OnceLock<std::result::Result<Client, String>>,
    cancelled: AtomicBool,
    on_the_way: Arc<OnTheWay>,
}

impl Registries {
    /// For a caller with these variables; documents of registries are kept in the store, if there is one.
    pub fn new(
        variables: &BTreeMap<String, String>,
        offline: bool,
        store: Option<Arc<Store>>,
        reporter: Arc<dyn Reporter>,
    ) -> Self {
        let environment = Environment::new("/", variables);
        Self {
            environment,
            offline,
            store,
            reporter,
            client: OnceLock::new(),
            cancelled: AtomicBool::new(false),
            on_the_way: Arc::default(),
        }
    }

    /// The client.
    ///
    /// # Errors
    /// The settings are wrong.
    pub fn client(&self) -> Result<&Client> {
        let made = self.client.get_or_init(|| self.make().map_err(|error| error.to_string()));
        if self.is_cancelled() {
            self.cancel();
        }
        made.as_ref().map_err(|reason| Error::source("registry-failed", reason.clone()))
    }

    /// Fails if nothing may be asked for.
    ///
    /// # Errors
    /// `offline`: `what` is not in the store.
    pub fn check_online(&self, what: &str) -> Result<()> {
        if !self.offline {
            return Ok(());
        }
        Err(Error::offline(what))
    }

    /// The same for what is sent and not fetched.
    ///
    /// # Errors
    /// `offline`: `what` needs the network.
    pub(crate) fn check_online_to(&self, what: &str) -> Result<()> {
        if !self.offline {
            return Ok(());
        }
        Err(Error::source("offline", format!("--offline: {what}, and that needs the network"))
            .hint("leave --offline out, or name targets that need no registry"))
    }

    /// Tells something to be looked at.
    pub(crate) fn warn(&self, code: &str, message: String) {
        self.reporter.report(&Event::warning(Some(code), None, &message));
    }

    /// Blobs of these sizes are to come or go, for a node or an image's reference.
    pub(crate) fn transfer(
        &self,
        what: &str,
        direction: Direction,
        sizes: impl IntoIterator<Item = u64>,
    ) -> Arc<Transfer> {
        Arc::new(Transfer::new(what, direction, sizes, self.reporter.clone()))
    }

    /// Where bytes of blobs are counted.
    pub(crate) fn on_the_way(&self) -> &OnTheWay {
        &self.on_the_way
    }

    /// Does work that a signal ends; a second one ends the process.
    ///
    /// # Errors
    /// Those of the work; it was interrupted.
    pub(crate) fn interruptible<T>(self: &Arc<Self>, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let registries = self.clone();
        let _interrupts = Interrupts::watch(move || {
            let stopping = if registries.is_cancelled() { Stopping::Already } else { Stopping::Now };
            registries.cancel();
            stopping
        })?;
        work().map_err(|error| if self.is_cancelled() { Error::interrupted() } else { error })
    }

    /// Whether everything is to end.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    /// Ends whatever is going on, and what would be begun.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        if let Some(Ok(client)) = self.client.get() {
            client.cancel().cancel();
        }
    }

    fn make(&self) -> rbuild_registry::Result<Client> {
        let settings = Settings::load(&self.environment, self.tables()?)?;
        let documents: Arc<dyn Documents> = match &self.store {
            Some(store) => Arc::new(InStore(store.clone())),
            None => Arc::new(NoDocuments),
        };
        let options = Options {
            observer: Arc::new(Told { reporter: self.reporter.clone(), on_the_way: self.on_the_way.clone() }),
            documents,
            is_offline: self.offline,
            ..Options::default()
        };
        Ok(Client::new(settings, Credentials::new(self.environment.clone()), options))
    }

    /// `[registries]` of the user's config; its paths are relative to the file.
    fn tables(&self) -> rbuild_registry::Result<RegistryTables> {
        #[derive(serde::Deserialize, Default)]
        #[serde(deny_unknown_fields, default)]
        struct Config {
            registries: RegistryTables,
        }
        let Some(path) = self.config_path() else { return Ok(RegistryTables::new()) };
        let refused =
            |reason: String| rbuild_registry::Error::Settings { place: path.display().to_string(), reason };
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(RegistryTables::new()),
            read => read.map_err(|error| refused(error.to_string()))?,
        };
        let mut config: Config =
            toml::from_str(&text).map_err(|error| refused(error.to_string().trim_end().to_owned()))?;
        let folder = path.parent().unwrap_or(&path);
        for table in config.registries.values_mut() {
            for file in [&mut table.ca, &mut table.cert, &mut table.key].into_iter().flatten() {
                *file = folder.join(&*file);
            }
        }
        Ok(config.registries)
    }

    fn config_path(&self) -> Option<PathBuf> {
        Some(self.environment.config_home()?.join("rbuild/config.toml"))
    }
}

/// Other repositories of the same registry that may have a blob.
fn sources(store: &Store, digest: &Digest, target: &Repository) -> Vec<Repository> {
    let known = store.index().locations(digest.as_ref(), target.registry());
    let parsed = known.iter().filter_map(|text| Some(text.parse::<Reference>().ok()?.repository().clone()));
    parsed.filter(|repository| repository != target).collect()
}

/// Remembers that a repository has these blobs.
pub(crate) fn remember<'a>(
    store: &Store,
    repository: &Repository,
    digests: impl IntoIterator<Item = &'a Digest>,
) {
    store.index().remember_locations(&repository.to_string(), digests.into_iter().map(AsRef::as_ref));
}

/// Documents of registries are blobs of the store like the layers.
struct InStore(Arc<Store>);

impl Documents for InStore {
    fn get(&self, digest: &Digest) -> Option<Vec<u8>> {
        if !digest.as_ref().starts_with("sha256:") {
            return None;
        }
        self.0.document(digest.digest()).ok()
    }

    fn keep(&self, digest: &Digest, bytes: &[u8]) {
        if !digest.as_ref().starts_with("sha256:") {
            return;
        }
        // What can't be kept is asked for again.
        if let Err(error) = self.0.put_document(digest.digest(), bytes) {
            tracing::warn!(%error, %digest, "a document could not be kept");
        }
    }
}

/// Troubles on the way are warnings; bytes are counted.
struct Told {
    reporter: Arc<dyn Reporter>,
    on_the_way: Arc<OnTheWay>,
}

impl Observer for Told {
    fn event(&self, event: Happening<'_>) {
        let message = match event {
            Happening::Received { digest, bytes } => {
                return self.on_the_way.add(Direction::Pull, digest.as_ref(), bytes);
            }
            Happening::Sent { digest, bytes } => {
                return self.on_the_way.add(Direction::Push, digest.as_ref(), bytes);
            }
            Happening::Retry { what, reason, wait, .. } => {
                format!("{what}: {reason}; trying again in {:.1} s", wait.as_secs_f64())
            }
            Happening::NextPlace { what, reason } => format!("{what}: {reason}; trying the next place"),
            _ => return,
        };
        self.reporter.report(&Event::warning(Some("registry-retry"), None, &message));
    }
}
