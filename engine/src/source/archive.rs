//! `archive`: a tar of a root filesystem.
//!
//! What an archive unpacks to is remembered by the blake3 of the file and the options, so it is read once.

use super::{Surroundings, file_digest, locate};
use crate::{
    error::{Error, Result},
    key::Ingredients,
    spec::types::{ArchiveOwner, ArchiveSource},
    store::{Record, Yield, file_sha256},
};
use rbuild_oci::{Import, Owner};
use rbuild_tree::Snapshot;
use std::{fs::File, io::BufReader};

pub(super) fn import(archive: &ArchiveSource, surroundings: &Surroundings<'_>) -> Result<Snapshot> {
    let store = surroundings.store;
    let path = locate(surroundings.folder, &archive.path)?;
    let digest = file_digest(store, &path)?;
    let mut ingredients = Ingredients::default();
    ingredients.add("source", "archive");
    ingredients.add("digest", digest.to_string());
    ingredients.add("strip", archive.strip.to_string());
    ingredients.add("owner", format!("{:?}", archive.owner));
    // In the key, so that a right digest is checked once and a wrong one always.
    ingredients.add("sha256", archive.sha256.as_deref().map_or("", String::as_str));
    let key = ingredients.key();
    let known = store.records().get(&key).and_then(|record| record.result.snapshot());
    if let Some(snapshot) = known.and_then(|id| store.snapshot(&id).ok()) {
        return Ok(snapshot);
    }
    if let Some(wanted) = &archive.sha256 {
        let found = file_sha256(&path).map_err(|error| Error::io("read", &path, error))?;
        if found != **wanted {
            let message = format!("{} has sha256 {found}, not {}", path.display(), wanted.value);
            return Err(Error::source("digest-mismatch", message)
                .hint("if the new archive is right, write its sha256 into the build file"));
        }
    }
    let options = Import {
        strip: archive.strip as usize,
        owner: match archive.owner {
            ArchiveOwner::Keep => Owner::Keep,
            ArchiveOwner::Root => Owner::Root,
        },
        ..Import::default()
    };
    let file = File::open(&path).map_err(|error| Error::io("open", &path, error))?;
    let mut tar = rbuild_oci::decompress(Box::new(BufReader::with_capacity(1 << 18, file)))
        .map_err(|error| Error::io("read", &path, error))?;
    let snapshot = rbuild_oci::import(&mut tar, store, &options).map_err(|error| {
        Error::source("source-failed", format!("can't unpack {}", path.display())).caused_by(error)
    })?;
    let id = store.put_snapshot(&snapshot)?;
    let result = Yield::Snapshot(id.to_string());
    let finished = jiff::Timestamp::now().as_second();
    store
        .records()
        .put(&key, &Record { result, log: None, duration: 0, finished, trace: None, warnings: vec![] })?;
    Ok(snapshot)
}
