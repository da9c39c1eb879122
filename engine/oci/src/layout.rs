//! Writing images into an OCI layout directory, new or existing.
//!
//! Blobs are hard links to the files they come from where that is possible and those are read-only, so that nobody
//! but root or by intent writes into both; else copies. Every file is complete before it gets its name, and the index
//! comes last, so a layout is never seen half-written; a lock on the directory keeps two writers of one layout apart,
//! and what a killed one left, `.rbuild-*`, the next one removes. Entries of other images in the index stay as they are, byte for byte.
//!
//! Nothing is written through a symbolic link inside the directory; the directory itself is the caller's choice.

use crate::{Error, Exported, Result, canonical_json, digest::Verified, error::io_error};
use oci_spec::image::{ANNOTATION_REF_NAME, Digest};
use serde_json::{Value, json};
use std::{
    fs::{self, File, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

pub(crate) const LAYOUT_FILE: &str = "oci-layout";
pub(crate) const INDEX_FILE: &str = "index.json";
const LAYOUT_VERSION: &str = "1.0.0";
const LARGEST_INDEX: u64 = 32 << 20;
/// How the names of files begin that are not complete.
const UNFINISHED: &str = ".rbuild-";

/// Says in which file the blob of a digest is.
pub type BlobPaths<'a> = dyn Fn(&Digest) -> io::Result<PathBuf> + 'a;

/// Where a layout or an archive holds a blob.
pub(crate) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.digest())
}

/// The content of the file that says what a layout is.
pub(crate) fn layout_file() -> String {
    format!("{{\"imageLayoutVersion\":\"{LAYOUT_VERSION}\"}}")
}

/// Puts an image into the layout at `directory` under these references (none: without a name).
///
/// # Errors
/// [`Error::Image`] if there is something else than a layout, or a blob is damaged; [`Error::Io`].
pub fn write_layout(
    directory: &Path,
    image: &Exported<'_>,
    references: &[String],
    blobs: &BlobPaths<'_>,
) -> Result<()> {
    let layout = Layout::open(directory)?;
    for (digest, size) in image.blobs().values() {
        let source = blobs(digest).map_err(io_error(format!("finding layer {digest}")))?;
        layout.add_blob(digest, *size, &source)?;
    }
    for (digest, bytes) in image.documents() {
        let name = format!("blobs/{}", digest.replacen(':', "/", 1));
        layout.write(&name, |out| out.write_all(bytes))?;
    }
    let index = layout.read_index()?;
    let index = with_references(index, image, references)
        .map_err(|reason| layout.refuse(format!("{INDEX_FILE} {reason}")))?;
    let index = canonical_json(&index)?;
    layout.write(INDEX_FILE, |out| out.write_all(&index))
}

struct Layout {
    directory: PathBuf,
    /// Held while it lives.
    _lock: File,
}

impl Layout {
    fn open(directory: &Path) -> Result<Self> {
        let shown = directory.display();
        fs::create_dir_all(directory).map_err(io_error(format!("making layout {shown}")))?;
        let lock = File::open(directory).map_err(io_error(format!("opening layout {shown}")))?;
        let locked = match lock.lock() {
            Ok(()) => true,
            // Some network file systems have no locks on directories; then there is just none.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => false,
            Err(error) => return Err(io_error(format!("locking layout {shown}"))(error)),
        };
        let layout = Self { directory: directory.to_owned(), _lock: lock };
        layout.check_or_start()?;
        for name in ["blobs", "blobs/sha256"] {
            layout.make_directory(name)?;
        }
        // Without a lock they may be a living writer's.
        if locked {
            layout.remove_unfinished("")?;
            layout.remove_unfinished("blobs/sha256")?;
        }
        Ok(layout)
    }

    /// Removes what a killed writer left in a directory of the layout.
    fn remove_unfinished(&self, name: &str) -> Result<()> {
        let path = self.directory.join(name);
        let failed = || io_error(format!("cleaning up {}", path.display()));
        for entry in fs::read_dir(&path).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            if is_unfinished(&entry) {
                fs::remove_file(entry.path()).map_err(failed())?;
            }
        }
        Ok(())
    }

    fn check_or_start(&self) -> Result<()> {
        if let Some(bytes) = self.read(LAYOUT_FILE, 1 << 16)? {
            let version = serde_json::from_slice::<Value>(&bytes).ok();
            let version = version.as_ref().and_then(|value| value["imageLayoutVersion"].as_str());
            return match version {
                Some(LAYOUT_VERSION) => Ok(()),
                _ => Err(self.refuse(format!("it is not an image layout of version {LAYOUT_VERSION}"))),
            };
        }
        let context = || format!("reading layout {}", self.directory.display());
        let entries = fs::read_dir(&self.directory).map_err(io_error(context()))?;
        let entries = entries.collect::<io::Result<Vec<_>>>().map_err(io_error(context()))?;
        if !entries.iter().all(is_unfinished) {
            return Err(self.refuse("the directory is neither empty nor an image layout"));
        }
        self.write(LAYOUT_FILE, |out| out.write_all(layout_file().as_bytes()))
    }

    fn make_directory(&self, name: &str) -> Result<()> {
        let path = self.directory.join(name);
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(io_error(format!("making {}", path.display())))?,
        }
        let kind = fs::symlink_metadata(&path).map_err(io_error(format!("looking at {}", path.display())))?;
        if kind.is_dir() { Ok(()) } else { Err(self.refuse(format!("{name} is not a directory"))) }
    }

    fn add_blob(&self, digest: &Digest, size: u64, source: &Path) -> Result<()> {
        let name = blob_name(digest);
        let path = self.directory.join(&name);
        let is_there = |path: &Path| {
            fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == size)
        };
        if (is_there(source) && self.link(source, &path).is_ok()) || is_there(&path) {
            return Ok(());
        }
        let shown = source.display();
        let file = File::open(source).map_err(io_error(format!("opening layer {shown}")))?;
        let mut verified = Verified::new(file, "layer", digest.clone(), Some(size));
        self.write(&name, |out| io::copy(&mut verified, out).map(|_| ()))
    }

    /// Makes `path` another name of a read-only file, in place of what it was: that may have been damaged.
    fn link(&self, source: &Path, path: &Path) -> io::Result<()> {
        let file = fs::symlink_metadata(source)?;
        if file.mode() & 0o222 != 0 {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let is_same = |other: fs::Metadata| (other.dev(), other.ino()) == (file.dev(), file.ino());
        if fs::symlink_metadata(path).is_ok_and(is_same) {
            return Ok(());
        }
        let fresh = path.with_file_name(format!("{UNFINISHED}{}", std::process::id()));
        fs::hard_link(source, &fresh)?;
        fs::rename(&fresh, path).inspect_err(|_| drop(fs::remove_file(&fresh)))
    }

    /// Writes a file and gives it its name when it is complete.
    fn write(&self, name: &str, content: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
        let path = self.directory.join(name);
        let context = format!("writing {}", path.display());
        let mut file = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .permissions(Permissions::from_mode(0o644))
            .tempfile_in(path.parent().unwrap_or(&self.directory))
            .map_err(io_error(context.as_str()))?;
        content(file.as_file_mut()).map_err(io_error(context.as_str()))?;
        file.persist(&path).map_err(|error| io_error(context)(error.error))?;
        Ok(())
    }

    fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let path = self.directory.join(name);
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error(format!("reading {}", path.display()))(error)),
            Ok(_) => Ok(Some(bytes)),
        }
    }

    fn read_index(&self) -> Result<Value> {
        let Some(bytes) = self.read(INDEX_FILE, LARGEST_INDEX)? else { return Ok(empty_index()) };
        serde_json::from_slice(&bytes)
            .map_err(|error| self.refuse(format!("{INDEX_FILE} is not JSON: {error}")))
    }

    fn refuse(&self, reason: impl Into<String>) -> Error {
        Error::Image { image: self.directory.display().to_string(), reason: reason.into() }
    }
}

/// Whether it is a file that a writer has not finished.
fn is_unfinished(entry: &fs::DirEntry) -> bool {
    let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
    is_file && entry.file_name().to_string_lossy().starts_with(UNFINISHED)
}

/// The index of a layout without images.
pub(crate) fn empty_index() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [],
    })
}

/// Names an image in the index of a layout: in place of what had the name, else at the end. Without a name it takes
/// nobody's place.
pub(crate) fn with_references(
    mut index: Value,
    image: &Exported<'_>,
    references: &[String],
) -> Result<Value, &'static str> {
    let manifests = index.get_mut("manifests").and_then(Value::as_array_mut).ok_or("has no manifests")?;
    let names: Vec<Option<&str>> = match references {
        [] => vec![None],
        references => references.iter().map(|name| Some(name.as_str())).collect(),
    };
    let descriptor = image.descriptor();
    for name in names {
        let mut entry = json!({
            "mediaType": descriptor.media_type().to_string(),
            "digest": descriptor.digest().to_string(),
            "size": descriptor.size(),
        });
        if let Some(name) = name {
            entry["annotations"] = json!({ ANNOTATION_REF_NAME: name });
        }
        let is_same = |old: &&mut Value| {
            let is_called_so = old["annotations"][ANNOTATION_REF_NAME].as_str() == name;
            is_called_so && (name.is_some() || old["digest"] == entry["digest"])
        };
        match manifests.iter_mut().find(is_same) {
            Some(old) => *old = entry,
            None => manifests.push(entry),
        }
    }
    Ok(index)
}
