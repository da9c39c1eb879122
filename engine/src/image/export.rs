//! Where an image goes: layouts, archives, the bare tree.
//!
//! Archives are written beside their place and renamed over it: an interrupted build leaves the old one.

use crate::{
    error::{Error, Result},
    operations::{self, Context},
    report::Written,
    session::Session,
    spec::types::{Image, Output},
};
use rbuild_oci::{
    Exported, Image as Built, oci_spec::image::Digest, write_docker_archive, write_layout, write_oci_archive,
};
use rbuild_tree::{Snapshot, Timestamp};
use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

/// Writes all outputs of an image.
pub(super) fn write(
    session: &Session,
    image: &Image,
    built: &Built,
    snapshot: &Snapshot,
    context: &Context<'_>,
) -> Result<Vec<Written>> {
    let blobs = |digest: &Digest| -> io::Result<PathBuf> { Ok(session.store.blob_path(digest.digest())) };
    let mut written = Vec::new();
    for output in &image.outputs {
        let path = operations::output_path(&session.out, output.path())
            .map_err(|error| session.located(error).within(&format!("image `{}`", image.name.value)))?;
        let references = match output {
            Output::Oci { reference: Some(reference), .. } => vec![reference.value.clone()],
            _ => references(image),
        };
        match output {
            Output::Oci { .. } => {
                make_parent(&path)?;
                write_layout(&path, Exported::Image(built), &references, &blobs)?;
            }
            Output::OciArchive(_) => replace(&path, |out| {
                write_oci_archive(out, Exported::Image(built), &references, &blobs).map_err(Error::from)
            })?,
            Output::DockerArchive(_) => {
                let tags: Vec<String> = image.tags.iter().map(|tag| tag.to_string()).collect();
                replace(&path, |out| write_docker_archive(out, built, &tags, &blobs).map_err(Error::from))?;
            }
            Output::Tar(_) => replace(&path, |out| tree_tar(session, snapshot, out))?,
            Output::Dir(_) => {
                let exported = operations::export_directory(context, snapshot, &path).map_err(|error| {
                    session.located(error).within(&format!("image `{}`", image.name.value))
                })?;
                session.warn_all(&format!("image.{}", image.name.value), exported.warnings);
            }
        }
        let named = matches!(output, Output::Oci { .. });
        let shown = path.strip_prefix(&session.loaded.folder).map_or(path.as_path(), |inside| inside);
        written.push(Written {
            kind: output.word().to_owned(),
            path: shown.display().to_string(),
            reference: references.first().filter(|_| named).cloned(),
        });
    }
    Ok(written)
}

/// The names in a layout's index: the part of each tag after `:`, else `latest`.
fn references(image: &Image) -> Vec<String> {
    let tags: Vec<String> = image.tags.iter().map(|tag| tag.tag.clone()).collect();
    if tags.is_empty() { vec!["latest".to_owned()] } else { tags }
}

fn tree_tar(session: &Session, snapshot: &Snapshot, out: &mut dyn Write) -> Result<()> {
    let epoch = Timestamp::from_seconds(session.loaded.epoch);
    let summary = rbuild_oci::write_layer(&*session.store, None, snapshot, epoch, out)?;
    for path in summary.skipped_sockets {
        session.warn(Some("special-file"), None, format!("{path} is a socket and is left out of the tar"));
    }
    Ok(())
}

fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(|error| Error::io("make", parent, error))
}

/// Writes a file in one go, as far as others can see. The file beside it that it is written to has one name: what a
/// killed build left there is written over, and two builds of one file wait for each other.
fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    make_parent(path)?;
    let failed = |error| Error::io("write", path, error);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = path.with_file_name(format!(".rbuild-{name}"));
    let file = own(&fresh).map_err(failed)?;
    file.set_len(0).map_err(failed)?;
    let mut out = BufWriter::with_capacity(1 << 18, &file);
    let written = write(&mut out).and_then(|()| out.flush().map_err(failed));
    drop(out);
    let done = written.and_then(|()| fs::rename(&fresh, path).map_err(failed));
    if done.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    done
}

/// Opens the file and locks it; opens it again if whoever had the lock has moved it away meanwhile.
fn own(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
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
