//! What comes from a registry.
//!
//! | module | what |
//! |---|---|
//! | `manifest` | a tag to a digest, a digest to a document |
//! | `image` | from a name and a platform to a manifest, its configuration and its layers |
//! | `blob` | bytes, resumed where they break off |
//! | `discover` | tags, referrers |

mod blob;
mod discover;
mod image;
mod manifest;

pub use blob::Blob;
pub use image::{RemoteImage, RemoteLayer};
pub use manifest::Manifest;

pub(crate) use discover::{referrers, tags};
#[cfg(any(test, fuzzing))]
pub use image::choose;
pub(crate) use image::fetch as fetch_image;
pub(crate) use manifest::{fetch as fetch_manifest, resolve, resolve_at_origin};

use crate::{
    Error, Event, Repository, Result,
    core::Core,
    settings::{By, Endpoint},
};
use std::{
    fs::File,
    io::{self, Seek, Write},
    sync::PoisonError,
};

/// Where a blob is written to.
pub trait BlobTarget: Write {
    /// Throws away what was written: it was wrong, or the rest did not come.
    ///
    /// # Errors
    /// If that can't be done.
    fn begin_again(&mut self) -> io::Result<()>;
}

impl BlobTarget for File {
    fn begin_again(&mut self) -> io::Result<()> {
        self.set_len(0)?;
        self.rewind()
    }
}

/// Where to ask: mirrors in order, then the registry itself. And what is known already of mirrors that are left out.
fn endpoints(core: &Core, repository: &Repository, by: By) -> Result<(Vec<Endpoint>, Vec<String>)> {
    let mut endpoints = core.settings().pull_endpoints(repository, by)?;
    let lost = core.lost_mirrors.lock().unwrap_or_else(PoisonError::into_inner);
    let mut failures = Vec::new();
    endpoints.retain(|endpoint| match lost.get(&endpoint.host).filter(|_| !endpoint.is_origin) {
        Some(reason) => {
            failures.push(reason.clone());
            false
        }
        None => true,
    });
    Ok((endpoints, failures))
}

/// Asks mirrors in order, then the registry itself; the first that has it wins.
fn first_of<T>(
    core: &Core,
    repository: &Repository,
    by: By,
    mut run: impl FnMut(&Endpoint) -> Result<T>,
) -> Result<T> {
    let (endpoints, mut failures) = endpoints(core, repository, by)?;
    for endpoint in endpoints {
        let error = match run(&endpoint) {
            Err(error) if !error.is_final() => error,
            result => return result,
        };
        if endpoint.is_origin {
            return Err(after_mirrors(error, &failures));
        }
        failures.push(give_up(core, &endpoint.host, Some(&endpoint), &error));
    }
    Err(Error::Settings {
        place: repository.to_string(),
        reason: "there is no place to pull it from".to_owned(),
    })
}

/// Downloads something anew, whole, if its bytes were wrong.
pub(crate) fn again_if_damaged<T>(mut run: impl FnMut() -> Result<T>) -> Result<T> {
    const MOST_DOWNLOADS: usize = 3;
    for _ in 1..MOST_DOWNLOADS {
        match run() {
            Err(Error::Damaged { what, reason }) => tracing::warn!(what, reason, "asking for it again"),
            result => return result,
        }
    }
    run()
}

/// Says that a place failed; in words, for what comes of it in the end. A mirror that never answered is not asked again:
/// the next blob would wait as long. One that did may be wrong about a blob, or send to a storage that is down.
fn give_up(core: &Core, place: &str, endpoint: Option<&Endpoint>, error: &Error) -> String {
    let reason = error.to_string();
    tracing::warn!(place, reason, "this place is given up for the next");
    core.transport.tell(Event::NextPlace { what: place, reason: &reason });
    let failure = format!("{place}: {reason}");
    let is_lost = |mirror: &&Endpoint| !mirror.is_origin && !core.transport.has_answered(mirror);
    if matches!(error, Error::Unreachable { .. })
        && let Some(mirror) = endpoint.filter(is_lost)
    {
        let mut lost = core.lost_mirrors.lock().unwrap_or_else(PoisonError::into_inner);
        lost.insert(mirror.host.clone(), failure.clone());
    }
    failure
}

fn after_mirrors(error: Error, failures: &[String]) -> Error {
    match failures {
        [] => error,
        _ => Error::AfterMirrors { mirrors: failures.join("; "), source: Box::new(error) },
    }
}
