//! `update`: looks names up again and writes what they mean now into the lock file.

use super::{Request, prepare};
use crate::{
    error::{Error, Result},
    registries::Registries,
    report::Silent,
    spec::{Kind, Loaded, lock, types::SourceKind},
};
use std::{collections::BTreeSet, sync::Arc};

/// What a name meant, and means now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Updated {
    /// `source.base`
    pub node: String,
    /// What was looked up.
    pub input: String,
    /// What the lock file said; none if it said nothing.
    pub old: Option<String>,
    /// What it says now.
    pub new: String,
}

/// Looks up the sources that the request's targets name; none: all of them, and the epoch becomes now. Entries that no
/// source uses any more are dropped.
///
/// # Errors
/// A name that is no source with a lookup; whatever keeps a registry from answering; then nothing is written.
pub fn update(request: &Request) -> Result<Vec<Updated>> {
    let loaded = prepare::load(request)?;
    let path = lock::path_of(&request.file);
    let mut lock = lock::Lock::load(&path)?.unwrap_or_else(|| lock::Lock::new(loaded.epoch));
    let store = request.store.open()?;
    let registries = Registries::new(&request.inputs.environment, false, Some(store), Arc::new(Silent));
    let wanted = wanted(request, &loaded)?;
    let (mut updated, mut used) = (Vec::new(), BTreeSet::new());
    for (name, text) in lookups(&loaded) {
        let client = registries.client()?;
        let reference = client.reference(text)?;
        if reference.digest().is_some() {
            continue;
        }
        let input = reference.to_string();
        used.insert(input.clone());
        if !wanted.is_empty() && !wanted.contains(name) {
            continue;
        }
        let new = client.resolve(&reference)?.digest().to_string();
        let old = lock.value("image", &input, "digest").map(str::to_owned);
        lock.set("image", &input, "digest", &new);
        updated.push(Updated { node: format!("source.{name}"), input, old, new });
    }
    lock.lookups.retain(|entry| {
        let value = |key: &str| entry.get(key).and_then(toml::Value::as_str);
        value("op") != Some("image") || value("input").is_some_and(|input| used.contains(input))
    });
    if wanted.is_empty() {
        lock.epoch = jiff::Timestamp::now().as_second();
    }
    lock.store(&path)?;
    Ok(updated)
}

/// Sources that are looked up, and what is written there.
fn lookups(loaded: &Loaded) -> impl Iterator<Item = (&str, &str)> {
    loaded.spec.sources.values().filter_map(|source| match &source.kind {
        SourceKind::Image(image) => Some((source.name.as_str(), image.reference.as_str())),
        _ => None,
    })
}

fn wanted(request: &Request, loaded: &Loaded) -> Result<BTreeSet<String>> {
    let known: BTreeSet<&str> = lookups(loaded).map(|(name, _)| name).collect();
    let prefix = format!("{}.", Kind::Source);
    let one = |target: &String| {
        let name = target.strip_prefix(&prefix).unwrap_or(target);
        match known.contains(name) {
            true => Ok(name.to_owned()),
            false => Err(Error::usage(format!("`{target}` is no source that is looked up"))
                .hint(format!("these are: {}", known.iter().copied().collect::<Vec<_>>().join(", ")))),
        }
    };
    request.targets.iter().map(one).collect()
}
