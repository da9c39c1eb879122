//! What the last build of a file made, by the names of that file.

use super::arguments::{FileArgument, StoreArgument, load, look};
use rbuild::{
    build::{History, open_history},
    error::{Error, Result},
    mount::no_tree,
    spec::{Inputs, Kind, Target},
    store::{Build, Node, Store},
};
use rbuild_tree::{ObjectId, Snapshot, SnapshotId};
use std::{path::PathBuf, sync::Arc};

/// The last build of one file, and the store that holds it.
pub struct Past {
    /// Where everything is.
    pub store: Arc<Store>,
    /// The build file, as the user named it.
    file: PathBuf,
    build: Build,
}

impl Past {
    /// Looks the build up.
    ///
    /// # Errors
    /// No build file, no store, or nothing was built of the file in this store.
    pub fn open(file: &FileArgument, store: &StoreArgument) -> Result<Self> {
        let file = file.find(&mut Vec::new())?;
        let root = store.find()?;
        let History { store, build } = open_history(&look(file.clone(), Inputs::default(), root.clone()))?;
        if build.nodes.is_empty() {
            let message =
                format!("{} was not built yet with the store {}", file.display(), root.own.display());
            return Err(Error::usage(message).hint(format!("`rbuild apply {}` builds it", file.display())));
        }
        Ok(Self { store, file, build })
    }

    /// The node of this name, `jar` or `step.jar`, with its whole name. A bare name that several kinds have is that of
    /// the first of `kinds`; those are all that can be meant.
    ///
    /// # Errors
    /// The build had none.
    pub fn node(&self, name: &str, kinds: &[&str]) -> Result<(&str, &Node)> {
        let of_kind = |kind: &&str| self.build.nodes.get_key_value(&format!("{kind}.{name}"));
        let whole = || {
            let (kind, _) = name.split_once('.')?;
            self.build.nodes.get_key_value(name).filter(|_| kinds.contains(&kind))
        };
        let found = whole().or_else(|| kinds.iter().find_map(of_kind));
        found.map(|(name, node)| (name.as_str(), node)).ok_or_else(|| self.unknown(name, kinds))
    }

    fn unknown(&self, name: &str, kinds: &[&str]) -> Error {
        let file = self.file.display();
        if let Some(target) = self.declared(name, kinds) {
            let message = format!("{target} did not run in the last build of {file}");
            return Error::usage(message).hint(format!("`rbuild apply {file} {target}` builds it"));
        }
        let of_kind = |known: &&String| known.split_once('.').is_some_and(|(kind, _)| kinds.contains(&kind));
        let known: Vec<&str> = self.build.nodes.keys().filter(of_kind).map(String::as_str).collect();
        let kinds = kinds.join(", ");
        let kinds =
            kinds.rsplit_once(", ").map_or(kinds.clone(), |(others, last)| format!("{others} or {last}"));
        let error = Error::usage(format!("the last build of {file} has no {kinds} `{name}`"));
        if known.is_empty() { error } else { error.hint(format!("it has {}", known.join(", "))) }
    }

    /// A table of the build file as it is now, if the file can be read and has one of this name.
    fn declared(&self, name: &str, kinds: &[&str]) -> Option<Target> {
        let spec = load(&self.file, Inputs::default()).ok()?.spec;
        let (kind, bare) = name.split_once('.').map_or((None, name), |(kind, bare)| (Some(kind), bare));
        let wanted =
            |known: &Kind| kinds.contains(&known.word()) && kind.is_none_or(|kind| kind == known.word());
        let kind = Kind::ALL.into_iter().filter(wanted).find(|kind| spec.contains(*kind, bare))?;
        Some(Target { kind, name: bare.to_owned() })
    }

    /// The tree that a node gave.
    ///
    /// # Errors
    /// It gave none, or the store has lost it.
    pub fn snapshot(&self, name: &str, node: &Node) -> Result<Snapshot> {
        let Some(hex) = &node.snapshot else {
            return Err(no_tree(name, node.passed));
        };
        let id: SnapshotId = hex.parse()?;
        Ok(self.store.snapshot(&id)?)
    }

    /// What a node's command wrote.
    ///
    /// # Errors
    /// It ran none, or the store has lost it.
    pub fn log(&self, name: &str, node: &Node) -> Result<Vec<u8>> {
        let Some(hex) = &node.log else {
            return Err(Error::usage(format!("{name} ran no command, so it has no log")));
        };
        let id: ObjectId = hex.parse()?;
        self.store.read_object(&id).map_err(|error| lost(&format!("the log of {name}"), error))
    }

    /// A document of an image, by its `sha256:…`.
    ///
    /// # Errors
    /// The store has lost it, or it is damaged.
    pub fn document(&self, digest: &str) -> Result<serde_json::Value> {
        let sha256 = digest.strip_prefix("sha256:").unwrap_or(digest);
        let bytes = self.store.document(sha256).map_err(|error| lost(digest, error))?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::environment(format!("{digest} is damaged")).caused_by(error))
    }
}

fn lost(what: &str, error: std::io::Error) -> Error {
    Error::environment(format!("the store has lost {what}"))
        .caused_by(error)
        .hint("`rbuild apply` makes it again")
}
