//! Stores that are only read: what the own store lacks is looked for there, and used where it is.
//!
//! Nothing is written to them and no lock is taken in them: they may be another user's, on a read-only filesystem, or in
//! the image of a CI job. What can't be read there, or is not what its name says, is not there. Whoever names one trusts
//! it as the own store: its records say what steps gave.

use super::{
    Index,
    blobs::{blob_in, is_whole},
    durability,
    index::FileStamp,
    objects::{CHECKED, WRITTEN, fan_out, modified},
    read_version,
};
use rbuild_tree::ObjectId;
use std::{
    collections::HashSet,
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

/// All of a command's, in the order they are looked at.
pub(super) struct Extras {
    stores: Vec<Extra>,
    left_out: Vec<String>,
    /// Objects that turned out to be damaged in one of them, where they can't be removed.
    dropped: Mutex<HashSet<ObjectId>>,
}

struct Extra {
    root: PathBuf,
    /// Seconds since 1970: what was written from then on a power cut may have taken.
    doubted_since: Option<i64>,
}

impl Extras {
    /// Opens them; the own store is not one of them.
    pub(super) fn open(roots: &[PathBuf], own: &Path) -> Self {
        let mut extras = Self { stores: Vec::new(), left_out: Vec::new(), dropped: Mutex::default() };
        for root in roots {
            match Extra::open(root) {
                Ok(extra) if extra.root == own => {}
                Ok(extra) => extras.stores.push(extra),
                Err(reason) => extras
                    .left_out
                    .push(format!("the read-only store {} is not used: {reason}", root.display())),
            }
        }
        extras
    }

    pub(super) fn roots(&self) -> impl Iterator<Item = &Path> {
        self.stores.iter().map(|extra| extra.root.as_path())
    }

    pub(super) fn left_out(&self) -> &[String] {
        &self.left_out
    }

    pub(super) fn is_empty(&self) -> bool {
        self.stores.is_empty()
    }

    /// Says that an object is not what its name says.
    pub(super) fn drop_object(&self, id: &ObjectId) {
        if !self.is_empty() {
            self.dropped.lock().unwrap_or_else(PoisonError::into_inner).insert(*id);
        }
    }

    /// Opens an object.
    pub(super) fn open_object(&self, id: &ObjectId, index: &Index) -> Option<File> {
        if self.is_empty() || self.dropped.lock().unwrap_or_else(PoisonError::into_inner).contains(id) {
            return None;
        }
        self.stores.iter().find_map(|extra| extra.open_object(id, index))
    }

    /// The file of a whole blob.
    pub(super) fn blob(&self, sha256: &str, index: &Index) -> Option<PathBuf> {
        let paths = self.stores.iter().map(|extra| blob_in(&extra.root, sha256));
        paths.into_iter().find(|path| is_whole(path, sha256, index))
    }

    /// The bytes of a file of `trees/`.
    pub(super) fn tree(&self, hex: &str) -> Option<Vec<u8>> {
        self.stores.iter().find_map(|extra| {
            let bytes = fs::read(fan_out(&extra.root.join("trees"), hex)).ok()?;
            (blake3::hash(&bytes).to_hex().as_str() == hex).then_some(bytes)
        })
    }

    /// Where files are that have this path in the own store.
    pub(super) fn paths<'a>(&'a self, own: &'a Path, path: &'a Path) -> impl Iterator<Item = PathBuf> + 'a {
        let inner = path.strip_prefix(own).ok();
        inner.into_iter().flat_map(|inner| self.stores.iter().map(move |extra| extra.root.join(inner)))
    }
}

impl Extra {
    fn open(root: &Path) -> std::result::Result<Self, String> {
        let said = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => "it is no store".to_owned(),
            _ => error.to_string(),
        };
        let root = root.canonicalize().map_err(|error| error.to_string())?;
        read_version(&root.join("version")).map_err(said)?;
        Ok(Self { doubted_since: durability::doubted_since(&root), root })
    }

    fn open_object(&self, id: &ObjectId, index: &Index) -> Option<File> {
        let path = fan_out(&self.root.join("objects"), &id.to_string());
        let mut file = File::open(&path).ok()?;
        let metadata = file.metadata().ok()?;
        if self.is_sound(&metadata) {
            return Some(file);
        }
        // Its time can't be set, as that of an own object is: the stat cache remembers that it was read.
        let (read, stamp) = (SystemTime::now(), FileStamp::of(&metadata));
        if index.digest(&path, &stamp) != Some(*id) {
            let mut hasher = blake3::Hasher::new();
            io::copy(&mut file, &mut hasher).ok()?;
            if ObjectId::from(hasher.finalize()) != *id {
                tracing::warn!(?path, "damaged object in a read-only store");
                return None;
            }
            if stamp.was_quiet(read) {
                index.remember([(path.as_path(), stamp, *id)]);
            }
            file = File::open(&path).ok()?;
        }
        Some(file)
    }

    fn is_sound(&self, metadata: &Metadata) -> bool {
        match modified(metadata) {
            CHECKED => true,
            WRITTEN => !durability::is_since(self.doubted_since, metadata.ctime()),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Folders, Store};

    #[test]
    fn what_is_dropped_is_kept_anew_in_the_own_store() {
        let folder = tempfile::tempdir().unwrap();
        let [own, other] = ["own", "other"].map(|name| folder.path().join(name));
        let id = Store::open(&other).unwrap().put_object(b"x").unwrap();
        let store = Folders { own, read_only: vec![other.clone()] }.open().unwrap();
        assert!(store.has_object(&id));
        store.put_object(b"x").unwrap();
        assert!(!store.object_path(&id).exists(), "it is there already");
        store.drop_object(&id);
        assert!(!store.has_object(&id));
        store.put_object(b"x").unwrap();
        assert!(store.object_path(&id).exists() && store.has_object(&id));
        assert!(Store::open(&other).unwrap().has_object(&id), "nothing is removed there");
    }
}
