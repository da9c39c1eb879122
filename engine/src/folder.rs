//! Reading back what a command left in a folder, however the folder was shown to it (`checkout`, `chroot`).
//!
//! Whatever an entry has as the folder showed it is as the tree has it, whether or not the folder could show that; only
//! what is different was changed.

use crate::store::Store;
use rbuild_overlay::clone_prefix;
use rbuild_tree::{
    Metadata, ObjectId, Timestamp, Xattrs,
    entry::{image_value, is_kept_xattr},
};
use rustix::{
    fs::{lgetxattr, llistxattr},
    io::Errno,
};
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

/// The kernel's limit of a list of names, and of a value.
const LARGEST: usize = 64 << 10;
/// Room for the names that most files have.
const USUAL: usize = 512;
/// Files up to this size are read at once.
const SMALL: u64 = 64 << 10;

/// The extended attributes of a file, as they are.
pub(crate) fn attributes(path: &Path) -> io::Result<Xattrs> {
    let (mut few, mut many) = ([0; USUAL], Vec::new());
    let names = match llistxattr(path, &mut few[..]) {
        Err(Errno::OPNOTSUPP) => &[],
        Err(Errno::RANGE) => {
            many.resize(LARGEST, 0);
            let length = llistxattr(path, &mut many[..])?;
            &many[..length]
        }
        length => &few[..length?],
    };
    let mut xattrs = Xattrs::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; LARGEST];
        let length = match lgetxattr(path, name, &mut value[..]) {
            // Of another namespace.
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM) => continue,
            length => length?,
        };
        xattrs.insert(name.into(), value[..length].into());
    }
    Ok(xattrs)
}

/// Metadata as a tree holds it, of something that a step wrote.
pub(crate) fn written(found: &Metadata, epoch: Timestamp) -> Metadata {
    let kept = found.xattrs.iter().filter(|(name, _)| is_kept_xattr(name));
    let xattrs = kept.map(|(name, value)| (name.clone(), image_value(name, value).into())).collect();
    Metadata { mtime: found.mtime.min(epoch), xattrs, ..*found }
}

/// What became of `was`, of which the folder showed `shown` and now has `found`.
pub(crate) fn left(was: &Metadata, found: &Metadata, shown: &Metadata, epoch: Timestamp) -> Metadata {
    let is_same_time = found.mtime == shown.mtime;
    let (found, shown) = (written(found, epoch), written(shown, epoch));
    let mut now = was.clone();
    for (value, before, target) in [
        (found.mode, shown.mode, &mut now.mode),
        (found.uid, shown.uid, &mut now.uid),
        (found.gid, shown.gid, &mut now.gid),
    ] {
        if value != before {
            *target = value;
        }
    }
    if !is_same_time {
        now.mtime = found.mtime;
    }
    now.xattrs.retain(|name, _| found.xattrs.contains_key(name) || !shown.xattrs.contains_key(name));
    let set = found.xattrs.into_iter().filter(|(name, value)| shown.xattrs.get(name) != Some(value));
    now.xattrs.extend(set);
    now
}

/// Puts the bytes of a file into the store.
///
/// # Errors
/// It can't be read or kept; the build is to stop.
pub(crate) fn keep(
    store: &Store,
    file: Option<File>,
    size: u64,
    stopped: &AtomicBool,
) -> io::Result<ObjectId> {
    let mut bytes = Vec::new();
    match file {
        Some(mut file) if size > SMALL => {
            let mut hasher = blake3::Hasher::new();
            hasher.update_reader(Stoppable { file: &mut file, stopped })?;
            let object = hasher.finalize().into();
            if !store.has_object(&object) {
                let fresh = store.scratch().fresh();
                clone_prefix(&file, &File::create_new(&fresh)?, size)?;
                store.put_hashed_file(&fresh, &object)?;
            }
            return Ok(object);
        }
        Some(mut file) => drop(file.read_to_end(&mut bytes)?),
        None => {}
    }
    Ok(store.put_object(&bytes)?)
}

/// A file that fails once the build is to stop: its holes may be larger than any disk.
struct Stoppable<'a> {
    file: &'a mut File,
    stopped: &'a AtomicBool,
}

impl Read for Stoppable<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stopped.load(Ordering::SeqCst) {
            return Err(io::Error::other("interrupted"));
        }
        self.file.read(buffer)
    }
}
