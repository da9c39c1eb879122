//! Where an image goes: layouts, archives, the bare tree, registries.
//!
//! Archives are written beside their place and renamed over it: an interrupted build leaves the old one. What is there
//! already, by the store's memory of what it wrote there and the times of the files, is not written again.

use super::{push, queue::WRITER};
use crate::{
    error::{Error, Result},
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
    fs::{self, File, Metadata},
    io::{self, BufWriter, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// Longer than the clock that files get their times from stands still.
const CLOCK_TICKS: Duration = Duration::from_millis(50);

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
                write_layout(path, Exported::Image(built), &references, &blobs)?;
                Vec::new()
            }
            Output::OciArchive(_) => {
                file_unless_there(session, path, format!("{word} 1 {digest} {references:?}"), |out| {
                    write_oci_archive(out, Exported::Image(built), &references, &blobs)?;
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
            // It has no path, so it is not here.
            Output::Push(_) => Vec::new(),
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
        let shown = path.strip_prefix(&session.loaded.folder).map_or(path, |inside| inside);
        Ok(Written {
            kind: word.to_owned(),
            path: shown.display().to_string(),
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
    unless_there(session, path, content, there, || replace(path, write))
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

fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(|error| Error::io("make", parent, error))
}

/// Writes a file in one go, as far as others can see. The file beside it that it is written to has one name: what a
/// killed build left there is written over, and two builds of one file wait for each other.
fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<Vec<String>>) -> Result<Fresh> {
    make_parent(path)?;
    let failed = |error| Error::io("write", path, error);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = path.with_file_name(format!(".rbuild-{name}"));
    let file = own(&fresh).map_err(failed)?;
    file.set_len(0).map_err(failed)?;
    let mut out = BufWriter::with_capacity(1 << 18, &file);
    let written = write(&mut out).and_then(|warnings| out.flush().map_err(failed).map(|()| warnings));
    drop(out);
    let done = written.and_then(|warnings| {
        // Earlier than anything that somebody can do to the file under its name, even in the same tick of the clock.
        file.set_modified(SystemTime::now() - CLOCK_TICKS).map_err(failed)?;
        let before = file.metadata().map_err(failed)?;
        fs::rename(&fresh, path).map_err(failed)?;
        let now = fs::symlink_metadata(path).ok().filter(|now| is_unchanged(&before, now));
        Ok(Fresh { warnings, state: now.and_then(|now| operations::file_state(&now)) })
    });
    if done.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    done
}

fn is_unchanged(before: &Metadata, now: &Metadata) -> bool {
    let state = |of: &Metadata| (of.dev(), of.ino(), of.size(), of.mtime(), of.mtime_nsec());
    state(before) == state(now)
}

/// Opens the file and locks it; opens it again if whoever had the lock has moved it away meanwhile.
fn own(path: &Path) -> io::Result<File> {
    loop {
        let mut options = File::options();
        options.create(true).truncate(false).write(true).custom_flags(nix::libc::O_NOFOLLOW);
        let file = options.open(path)?;
        file.lock()?;
        let own = file.metadata()?.ino();
        if fs::symlink_metadata(path).is_ok_and(|named| named.ino() == own) {
            return Ok(file);
        }
    }
}
