//! `archive`: a tar of a root filesystem.
//!
//! What an archive unpacks to is remembered by the blake3 of the file and the options, so it is read once.

use super::{Surroundings, input::Input, locate};
use crate::{
    error::{Error, Result},
    key::Ingredients,
    spec::types::{ArchiveOwner, ArchiveSource},
    store::sha256_of,
};
use rbuild_oci::{Import, Owner};
use rbuild_tree::Snapshot;
use std::{io::BufReader, path::Path};

pub(super) fn import(archive: &ArchiveSource, surroundings: &Surroundings<'_>) -> Result<Snapshot> {
    let path = locate(surroundings.folder, &archive.path)?;
    let mut input = Input::open(surroundings, &path)?;
    let mut ingredients = Ingredients::default();
    ingredients.add("source", "archive");
    ingredients.add("digest", input.digest.to_string());
    ingredients.add("strip", archive.strip.to_string());
    ingredients.add("owner", format!("{:?}", archive.owner));
    // In the key, so that a right digest is checked once and a wrong one always.
    ingredients.add("sha256", archive.sha256.as_deref().map_or("", String::as_str));
    surroundings.once(&ingredients.key(), || {
        check_sha256(archive, &path, surroundings, &mut input)?;
        let options = Import {
            strip: archive.strip as usize,
            owner: match archive.owner {
                ArchiveOwner::Keep => Owner::Keep,
                ArchiveOwner::Root => Owner::Root,
            },
            ..Import::default()
        };
        let reader = BufReader::with_capacity(1 << 18, surroundings.stoppable(input.bytes()?));
        let mut tar =
            rbuild_oci::decompress(Box::new(reader)).map_err(|error| Error::io("read", &path, error))?;
        let unpacked = rbuild_oci::import(&mut tar, surroundings.store, &options);
        drop(tar);
        input.check_unchanged()?;
        unpacked.map_err(|error| {
            Error::source("source-failed", format!("can't unpack {}", path.display())).caused_by(error)
        })
    })
}

fn check_sha256(
    archive: &ArchiveSource,
    path: &Path,
    surroundings: &Surroundings<'_>,
    input: &mut Input,
) -> Result<()> {
    let Some(wanted) = &archive.sha256 else { return Ok(()) };
    let found = sha256_of(&mut surroundings.stoppable(input.bytes()?))
        .map_err(|error| Error::io("read", path, error))?;
    if found == **wanted {
        return Ok(());
    }
    let message = format!("{} has sha256 {found}, not {}", path.display(), wanted.value);
    Err(Error::source("digest-mismatch", message)
        .hint("if the new archive is right, write its sha256 into the build file"))
}
