//! Where an image goes: layouts, archives, the bare tree, registries, container engines.
//!
//! Archives are written beside their place and renamed over it: an interrupted build leaves the old one. What is there
//! already, by the store's memory of what it wrote there and the times of the files, is not written again.

use super::{
    docker,
    file::{make_parent, replace},
    push,
    queue::WRITER,
};
use crate::{
    error::Result,
    operations::{self, Context},
    report::Written,
    session::Session,
    spec::types::{Image, Output},
    store::OutputMemo,
};
use rbuild_oci::{
    Exported, Image as Built, oci_spec::image::Digest, write_docker_archive, write_layout, write_oci_archive,
};
use rbuild_tree::{Snapshot, Timestamp};
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Writes and sends an image to all its places.
pub(super) fn write(
    session: &Session,
    image: &Image,
    built: &Built,
    snapshot: &Snapshot,
    context: &Context<'_>,
) -> Result<Vec<Written>> {
    let export = Export { session, image, built, snapshot, context };
    let mut written = Vec::new();
    for output in &image.outputs {
        match (output, output.path()) {
            (_, Some(place)) => {
                let path = operations::output_path(&session.out, place)
                    .map_err(|error| session.located(error).within(&what(image)))?;
                written.push(export.write_at(output, &path)?);
            }
            (Output::Push(wanted), None) if wanted.value => {
                written.extend(push::to_tags(session, image, built.descriptor.digest().as_ref())?);
            }
            (Output::Docker(wanted), None) if wanted.value => {
                written
                    .extend(docker::load(session, image, built).map_err(|error| error.within(&what(image)))?);
            }
            (_, None) => {}
        }
    }
    Ok(written)
}

fn what(image: &Image) -> String {
    format!("image `{}`", image.name.value)
}

/// What is written, and of which build.
struct Export<'a> {
    session: &'a Session,
    image: &'a Image,
    built: &'a Built,
    snapshot: &'a Snapshot,
    context: &'a Context<'a>,
}

impl Export<'_> {
    fn write_at(&self, output: &Output, path: &Path) -> Result<Written> {
        let Self { session, image, built, snapshot, context } = *self;
        let blobs = |digest: &Digest| -> io::Result<PathBuf> { Ok(session.store.blob_path(digest.digest())) };
        let (word, digest) = (output.word(), built.descriptor.digest());
        let references = match output {
            Output::Oci { reference: Some(reference), .. } => vec![reference.value.clone()],
            _ => references(image),
        };
        // What is written is named so that two of one name are the same bytes.
        let warnings = match output {
            Output::Oci { .. } => {
                make_parent(path)?;
                let own = |digest: &Digest| Ok(session.store.own_blob(digest.digest())?);
                write_layout(path, &Exported::from(built), &references, &own)?;
                Vec::new()
            }
            Output::OciArchive(_) => {
                file_unless_there(session, path, format!("{word} 1 {digest} {references:?}"), |out| {
                    write_oci_archive(out, &Exported::from(built), &references, &blobs)?;
                    Ok(Vec::new())
                })?
            }
            Output::DockerArchive(_) => {
                let tags: Vec<String> = image.tags.iter().map(ToString::to_string).collect();
                file_unless_there(session, path, format!("{word} 1 {digest} {tags:?}"), |out| {
                    write_docker_archive(out, built, &tags, &blobs)?;
                    Ok(Vec::new())
                })?
            }
            Output::Tar(_) => {
                let content = format!("{word} {WRITER} {} {}", snapshot.id(), session.loaded.epoch);
                file_unless_there(session, path, content, |out| tree_tar(session, snapshot, out))?
            }
            // They have no path, so they are not here.
            Output::Push(_) | Output::Docker(_) => Vec::new(),
            Output::Dir(_) => {
                let there = operations::folder_state(path).ok().flatten();
                unless_there(session, path, format!("{word} 1 {}", snapshot.id()), there, || {
                    let exported = operations::export_directory(context, snapshot, path)
                        .map_err(|error| session.located(error).within(&what(image)))?;
                    let warnings = exported.warnings.into_iter().map(|warning| warning.message).collect();
                    Ok(Fresh { warnings, state: exported.state })
                })?
            }
        };
        for warning in warnings {
            session.warn(Some("special-file"), Some(&format!("image.{}", image.name.value)), warning);
        }
        let named = matches!(output, Output::Oci { .. });
        Ok(Written {
            kind: word.to_owned(),
            path: path.display().to_string(),
            reference: references.into_iter().next().filter(|_| named),
        })
    }
}

/// The names in a layout's index: the part of each tag after `:`, else `latest`.
fn references(image: &Image) -> Vec<String> {
    let tags: Vec<String> = image.tags.iter().map(|tag| tag.tag.clone()).collect();
    if tags.is_empty() { vec!["latest".to_owned()] } else { tags }
}

/// An output that was just written.
struct Fresh {
    /// What could not be put in.
    warnings: Vec<String>,
    /// What tells later that it is there still; none if nothing can.
    state: Option<String>,
}

fn file_unless_there(
    session: &Session,
    path: &Path,
    content: String,
    write: impl FnOnce(&mut dyn Write) -> Result<Vec<String>>,
) -> Result<Vec<String>> {
    let there = fs::symlink_metadata(path).ok().and_then(|metadata| operations::file_state(&metadata));
    unless_there(session, path, content, there, || {
        let (warnings, state) = replace(path, write)?;
        Ok(Fresh { warnings, state })
    })
}

/// Writes an output unless it is there already, in the state it was left in; gives what its writer warned of, now or
/// then.
fn unless_there(
    session: &Session,
    path: &Path,
    content: String,
    there: Option<String>,
    write: impl FnOnce() -> Result<Fresh>,
) -> Result<Vec<String>> {
    let known = session.store.records().output(path);
    if let Some(known) =
        known.filter(|known| known.content == content && Some(&known.state) == there.as_ref())
    {
        return Ok(known.warnings);
    }
    let Fresh { warnings, state } = write()?;
    if let Some(state) = state {
        let memo = OutputMemo { content, state, warnings: warnings.clone() };
        session.store.records().put_output(path, &memo)?;
    }
    Ok(warnings)
}

fn tree_tar(session: &Session, snapshot: &Snapshot, out: &mut dyn Write) -> Result<Vec<String>> {
    let epoch = Timestamp::from_seconds(session.loaded.epoch);
    let summary = rbuild_oci::write_layer(&*session.store, None, snapshot, epoch, out)?;
    let left_out = summary.skipped_sockets.iter();
    Ok(left_out.map(|path| format!("{path} is a socket and is left out of the tar")).collect())
}
