//! What becomes of one name.

use super::Versions;
use crate::{Entry, Kind, Metadata, Result, TreeId, TreeStore, walk::fetch};

/// What becomes of one name; branches by their place.
pub(super) enum Decision {
    /// As in the base.
    Keep,
    /// This, or nothing.
    Take(Option<Entry>),
    /// A directory made of those of these branches.
    Join(Vec<usize>),
    /// These branches disagree.
    Conflict(Vec<usize>),
}

pub(super) fn decide(store: &dyn TreeStore, versions: &Versions<'_>) -> Result<Decision> {
    let base = versions.base;
    let changed: Vec<(usize, Option<&Entry>)> =
        versions.branches.iter().filter(|(_, entry)| *entry != base).copied().collect();
    if changed.is_empty() {
        return Ok(Decision::Keep);
    }
    let all_directories = |changes: &[(usize, Option<&Entry>)]| {
        changes.iter().all(|(_, entry)| entry.is_some_and(|entry| entry.kind.is_directory()))
    };
    if all_directories(&changed) {
        return Ok(Decision::Join(places(&changed)));
    }
    let mut real = Vec::new();
    for (branch, entry) in &changed {
        if !only_times_differ(store, base, *entry)? {
            real.push((*branch, *entry));
        }
    }
    if real.is_empty() {
        real.clone_from(&changed);
    }
    if all_directories(&real) {
        return Ok(Decision::Join(places(&real)));
    }
    let (_, first) = real[0];
    let agree = real.iter().all(|(_, entry)| match (first, entry) {
        (Some(first), Some(entry)) => !first.kind.is_directory() && are_alike(first, entry),
        (first, entry) => first.is_none() && entry.is_none(),
    });
    if !agree {
        return Ok(Decision::Conflict(places(&real)));
    }
    let latest = changed.iter().filter_map(|(_, entry)| entry.map(|entry| entry.metadata.mtime)).max();
    Ok(Decision::Take(first.map(|entry| {
        let mut entry = entry.clone();
        entry.metadata.mtime = latest.unwrap_or(entry.metadata.mtime);
        entry
    })))
}

fn places(changes: &[(usize, Option<&Entry>)]) -> Vec<usize> {
    changes.iter().map(|(branch, _)| *branch).collect()
}

/// A directory's metadata from those of the branches that changed it; if they disagree, who does.
pub(super) fn merge_metadata(versions: &Versions<'_>, changed: &[usize]) -> Result<Metadata, Vec<usize>> {
    let base = versions.base.filter(|entry| entry.kind.is_directory()).map(|entry| &entry.metadata);
    let other: Vec<(usize, &Metadata)> = changed
        .iter()
        .filter_map(|branch| Some((*branch, &versions.of(*branch)?.metadata)))
        .filter(|(_, metadata)| Some(*metadata) != base)
        .collect();
    let mut real =
        other.iter().filter(|(_, metadata)| !base.is_some_and(|base| same_but_time(base, metadata)));
    let first = real.clone().next().map(|(_, metadata)| *metadata);
    if let Some(first) = first
        && !real.clone().all(|(_, metadata)| same_but_time(first, metadata))
    {
        return Err(real.map(|(branch, _)| *branch).collect());
    }
    let chosen = first.or(base).or(real.next().map(|(_, metadata)| *metadata));
    let mut metadata = chosen.cloned().unwrap_or_else(|| Metadata::root(0o755, crate::Timestamp::default()));
    if let Some(latest) = other.iter().map(|(_, metadata)| metadata.mtime).max() {
        metadata.mtime = latest;
    }
    Ok(metadata)
}

/// Whether two entries are the same in all but their time.
pub(super) fn are_alike(left: &Entry, right: &Entry) -> bool {
    left.kind == right.kind && same_but_time(&left.metadata, &right.metadata)
}

fn same_but_time(left: &Metadata, right: &Metadata) -> bool {
    let rest = |metadata: &Metadata| (metadata.mode, metadata.uid, metadata.gid);
    rest(left) == rest(right) && left.xattrs == right.xattrs
}

/// Whether a version differs from the base in nothing but times, at any depth.
fn only_times_differ(store: &dyn TreeStore, base: Option<&Entry>, version: Option<&Entry>) -> Result<bool> {
    let (Some(base), Some(version)) = (base, version) else { return Ok(false) };
    let mut pending = Vec::new();
    if !push_if_alike(&mut pending, base, version) {
        return Ok(false);
    }
    while let Some((base, version)) = pending.pop() {
        let (base, version) = (fetch(store, &base)?, fetch(store, &version)?);
        if base.len() != version.len() {
            return Ok(false);
        }
        for ((old_name, old), (new_name, new)) in base.iter().zip(version.iter()) {
            if old_name != new_name || !push_if_alike(&mut pending, old, new) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Compares two entries but for times; directories are left to be looked into.
fn push_if_alike(pending: &mut Vec<(TreeId, TreeId)>, base: &Entry, version: &Entry) -> bool {
    match (&base.kind, &version.kind) {
        (Kind::Directory(from), Kind::Directory(to)) => {
            if from != to {
                pending.push((*from, *to));
            }
            same_but_time(&base.metadata, &version.metadata)
        }
        _ => are_alike(base, version),
    }
}

/// What a branch did, in a few words.
pub(super) fn word(base: Option<&Entry>, version: Option<&Entry>) -> String {
    match (base, version) {
        (_, None) => "removed".into(),
        (None, Some(entry)) => format!("added as {}", entry.kind.word()),
        (Some(old), Some(new)) if old.kind.word() != new.kind.word() => {
            format!("replaced by a {}", new.kind.word())
        }
        (Some(old), Some(new)) if old.kind == new.kind => "changed owner, mode or attributes".into(),
        (Some(_), Some(new)) if new.kind.is_directory() => "changed below".into(),
        (Some(_), Some(_)) => "changed".into(),
    }
}
