//! What tells that an output is still what was written: the times and numbers of its files, not their bytes.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
};

/// The state of an output file, 64 hex digits. It changes with every change of the file, if the time in `metadata` was
/// set before the present; none where the filesystem's clock is too coarse for that.
pub fn file_state(metadata: &Metadata) -> Option<String> {
    let mut hasher = blake3::Hasher::new();
    add(&mut hasher, b"", metadata, true);
    (metadata.is_file() && is_fine(metadata)).then(|| hasher.finalize().to_hex().to_string())
}

/// The same of a folder with everything in it, which may be renamed in between.
///
/// # Errors
/// As from listing a folder; there may be none.
pub fn folder_state(folder: &Path) -> io::Result<Option<String>> {
    let root = fs::symlink_metadata(folder)?;
    if !root.is_dir() {
        return Ok(None);
    }
    let mut hasher = blake3::Hasher::new();
    add(&mut hasher, b"", &root, false);
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        let mut entries = fs::read_dir(&path)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let metadata = entry.metadata()?;
            add(&mut hasher, entry.file_name().as_bytes(), &metadata, true);
            if metadata.is_dir() {
                open.push(entry.path());
            }
        }
        hasher.update(b"/");
    }
    Ok(is_fine(&root).then(|| hasher.finalize().to_hex().to_string()))
}

/// A rename changes when a thing was last changed, and nothing else of it.
fn add(hasher: &mut blake3::Hasher, name: &[u8], metadata: &Metadata, changed: bool) {
    hasher.update(&(name.len() as u64).to_le_bytes()).update(name);
    let (device, inode, size) = (metadata.dev(), metadata.ino(), metadata.size());
    let numbers = [device, inode, size, metadata.mode().into(), metadata.uid().into(), metadata.gid().into()];
    for number in numbers {
        hasher.update(&number.to_le_bytes());
    }
    let changed = if changed { [metadata.ctime(), metadata.ctime_nsec()] } else { [0, 0] };
    let times = [metadata.mtime(), metadata.mtime_nsec(), changed[0], changed[1]];
    for time in times {
        hasher.update(&time.to_le_bytes());
    }
}

/// Whether the filesystem keeps more than whole seconds.
fn is_fine(metadata: &Metadata) -> bool {
    metadata.ctime_nsec() != 0
}
