//! Where an image goes: layouts, archives, the bare tree.
//!
//! Archives are written beside their place and renamed over it: an interrupted build leaves the old one.

use crate::{
    error::{Error, Result},
    execute::Engine,
    operations::{self, Context},
    report::Written,
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
    engine: &Engine,
    image: &Image,
    built: &Built,
    snapshot: &Snapshot,
    context: &Context<'_>,
) -> Result<Vec<Written>> {
    let blobs = |digest: &Digest| -> io::Result<PathBuf> { Ok(engine.store.blob_path(digest.digest())) };
    let mut written = Vec::new();
    for output in &image.outputs {
        let path = operations::output_path(&engine.out, output.path())
            .map_err(|error| engine.located(error).within(&format!("image `{}`", image.name.value)))?;
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
            Output::Tar(_) => replace(&path, |out| tree_tar(engine, snapshot, out))?,
            Output::Dir(_) => {
                operations::export_directory(context, snapshot, &path).map_err(|error| {
                    engine.located(error).within(&format!("image `{}`", image.name.value))
                })?;
            }
        }
        let named = matches!(output, Output::Oci { .. });
        let shown = path.strip_prefix(&engine.loaded.folder).map_or(path.as_path(), |inside| inside);
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

fn tree_tar(engine: &Engine, snapshot: &Snapshot, out: &mut dyn Write) -> Result<()> {
    let epoch = Timestamp::from_seconds(engine.loaded.epoch);
    let summary = rbuild_oci::write_layer(&*engine.store, None, snapshot, epoch, out)?;
    for path in summary.skipped_sockets {
        engine.warn(Some("special-file"), None, format!("{path} is a socket and is left out of the tar"));
    }
    Ok(())
}

fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(|error| Error::io("make", parent, error))
}

/// Writes a file in one go, as far as others can see.
fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    make_parent(path)?;
    let parent = path.parent().unwrap_or(path);
    let fresh = tempfile::Builder::new().prefix(".rbuild-").tempfile_in(parent);
    let fresh = fresh.map_err(|error| Error::io("write in", parent, error))?;
    let failed = |error| Error::io("write", path, error);
    let mut out = BufWriter::with_capacity(1 << 18, fresh.as_file());
    write(&mut out)?;
    out.flush().map_err(failed)?;
    drop(out);
    readable(fresh.as_file()).map_err(failed)?;
    fresh.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Temporary files are 0600; an output is like any file the caller makes.
fn readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    // Reading the umask means setting it, which other threads would see: 0644 is what nearly everybody has.
    file.set_permissions(fs::Permissions::from_mode(0o644))
}
