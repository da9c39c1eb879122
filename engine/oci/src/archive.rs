//! Writing images as one tar: `oci-archive`, a layout in a tar, and `docker-archive`, what `docker load` takes.
//!
//! The same image always gives the same bytes: entries in a fixed order, root:root, time 0.

use crate::{
    Error, Exported, Image, LayerDescriptor, Result, canonical_json,
    digest::Verified,
    error::io_error,
    layout::{BlobPaths, INDEX_FILE, LAYOUT_FILE, blob_name, empty_index, layout_file, with_references},
    source::tar_of,
    tar::write::{Item, Writer},
};
use oci_spec::image::Digest;
use rbuild_tree::{Metadata, Timestamp};
use serde_json::json;
use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read, Write},
};

const CHUNK: usize = 1 << 17;

/// Writes an image as a layout in a tar, under these references (none: without a name).
///
/// # Errors
/// [`Error::Image`], [`Error::Io`].
pub fn write_oci_archive(
    out: &mut dyn Write,
    image: &Exported<'_>,
    references: &[String],
    blobs: &BlobPaths<'_>,
) -> Result<()> {
    let writing = || io_error("writing an oci-archive");
    let mut archive = Writer::new(out);
    for name in ["blobs", "blobs/sha256"] {
        archive.entry(name.as_bytes(), Item::Directory, &directory()).map_err(writing())?;
    }
    for (digest, size) in image.blobs().values() {
        let mut blob = open_blob(blobs, digest, *size)?;
        write_stream(&mut archive, &blob_name(digest), *size, &mut blob)
            .map_err(io_error(format!("writing layer {digest}")))?;
    }
    for (digest, bytes) in image.documents() {
        let name = format!("blobs/{}", digest.replacen(':', "/", 1));
        archive.file(name.as_bytes(), bytes, &file()).map_err(writing())?;
    }
    let index = with_references(empty_index(), image, references)
        .map_err(|reason| Error::Image { image: INDEX_FILE.to_owned(), reason: reason.to_owned() })?;
    archive.file(INDEX_FILE.as_bytes(), &canonical_json(&index)?, &file()).map_err(writing())?;
    archive.file(LAYOUT_FILE.as_bytes(), layout_file().as_bytes(), &file()).map_err(writing())?;
    archive.finish().map_err(writing())?;
    Ok(())
}

/// Writes an image as docker saves it, under these names (`NAME:TAG`). Layers are uncompressed: every version of
/// docker and podman takes that.
///
/// # Errors
/// [`Error::Image`], [`Error::Io`].
pub fn write_docker_archive(
    out: &mut dyn Write,
    image: &Image,
    tags: &[String],
    blobs: &BlobPaths<'_>,
) -> Result<()> {
    let writing = || io_error("writing a docker-archive");
    let mut archive = Writer::new(out);
    let mut written = BTreeSet::new();
    let mut names = Vec::new();
    for layer in &image.layers {
        let directory_name = layer.diff_id.digest().to_owned();
        let name = format!("{directory_name}/layer.tar");
        if written.insert(directory_name.clone()) {
            archive.entry(directory_name.as_bytes(), Item::Directory, &directory()).map_err(writing())?;
            write_uncompressed(&mut archive, &name, layer, blobs)
                .map_err(io_error(format!("writing layer {}", layer.digest)))?;
        }
        names.push(name);
    }
    let configuration = format!("{}.json", image.configuration_descriptor.digest().digest());
    archive.file(configuration.as_bytes(), &image.configuration, &file()).map_err(writing())?;
    let manifest = json!([{ "Config": configuration, "RepoTags": tags, "Layers": names }]);
    archive.file(b"manifest.json", &canonical_json(&manifest)?, &file()).map_err(writing())?;
    archive.finish().map_err(writing())?;
    Ok(())
}

fn directory() -> Metadata {
    Metadata::root(0o755, Timestamp::default())
}

fn file() -> Metadata {
    Metadata::root(0o644, Timestamp::default())
}

fn open_blob(blobs: &BlobPaths<'_>, digest: &Digest, size: u64) -> Result<Verified<File>> {
    let opened = blobs(digest).and_then(File::open);
    let file = opened.map_err(io_error(format!("opening layer {digest}")))?;
    Ok(Verified::new(file, "layer", digest.clone(), Some(size)))
}

/// A tar entry begins with its size, which only a first reading tells.
fn write_uncompressed(
    archive: &mut Writer<'_>,
    name: &str,
    layer: &LayerDescriptor,
    blobs: &BlobPaths<'_>,
) -> io::Result<()> {
    let open = || -> io::Result<Box<dyn Read + Send>> {
        tar_of(Box::new(File::open(blobs(&layer.digest)?)?), layer).map_err(io::Error::other)
    };
    let size = io::copy(&mut open()?, &mut io::sink())?;
    write_stream(archive, name, size, &mut open()?)
}

fn write_stream(archive: &mut Writer<'_>, name: &str, size: u64, reader: &mut dyn Read) -> io::Result<()> {
    archive.entry(name.as_bytes(), Item::File(size), &file())?;
    let mut buffer = vec![0; CHUNK];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return archive.end_file(),
            Ok(count) => archive.data(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
