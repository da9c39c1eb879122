//! Images go straight into a container engine of this machine: docker, or podman by the same interface.
//!
//! | module | what |
//! |---|---|
//! | [`sockets`] | where an engine may answer |
//! | [`engine`] | what it is asked |
//! | [`http`] | as much of HTTP as that needs |

mod engine;
mod http;
mod sockets;

use crate::{error::Result, report::Written, session::Session, spec::types::Image, store::OutputMemo};
use engine::Engine;
use rbuild_oci::{Image as Built, oci_spec::image::Digest, write_docker_archive};
use std::{
    io,
    path::{Path, PathBuf},
};

/// Loads an image under all its tags, unless they all mean it already. On its way it is never a file.
///
/// # Errors
/// `docker-failed`: no engine answers, or it refuses; a layer that the store has lost.
pub(super) fn load(session: &Session, image: &Image, built: &Built) -> Result<Vec<Written>> {
    let engine = Engine::find(&session.caller, &session.stopped)?;
    let tags: Vec<String> = image.tags.iter().map(ToString::to_string).collect();
    let known = Known { session, engine: &engine, config: built.configuration_descriptor.digest().as_ref() };
    if !known.is_under(&tags)? {
        let blobs = |digest: &Digest| -> io::Result<PathBuf> { Ok(session.store.blob_path(digest.digest())) };
        engine.load(&mut |out| Ok(write_docker_archive(out, built, &tags, &blobs)?))?;
        known.remember(&tags)?;
    }
    let written = |path| Written { kind: engine.name().to_owned(), path, reference: None };
    Ok(tags.into_iter().map(written).collect())
}

/// What an engine knows of one image.
struct Known<'a> {
    session: &'a Session,
    engine: &'a Engine<'a>,
    /// `sha256:…` of its config: the id it has in most engines.
    config: &'a str,
}

impl Known<'_> {
    /// Whether all tags mean the image.
    fn is_under(&self, tags: &[String]) -> Result<bool> {
        for tag in tags {
            let Some(id) = self.engine.image_id(tag)? else { return Ok(false) };
            let memo = || self.session.store.records().output(&self.place(tag));
            let is_it = |memo: OutputMemo| memo.content == self.config && memo.state == id;
            if id != self.config && !memo().is_some_and(is_it) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Remembers what id the engine gave the image. It may be another than that of its config: docker on containerd's
    /// store writes a manifest of its own.
    fn remember(&self, tags: &[String]) -> Result<()> {
        for tag in tags {
            if let Some(state) = self.engine.image_id(tag)?.filter(|id| id != self.config) {
                let memo = OutputMemo { content: self.config.to_owned(), state, warnings: Vec::new() };
                self.session.store.records().put_output(&self.place(tag), &memo)?;
            }
        }
        Ok(())
    }

    /// What records name the tag by, beside the paths of files: no path begins like this.
    fn place(&self, tag: &str) -> PathBuf {
        Path::new("engine:").join(format!("{}#{tag}", self.engine.socket().display()))
    }
}
