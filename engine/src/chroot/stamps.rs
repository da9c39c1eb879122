//! What a directory's files looked like when a step began.
//!
//! The time of the last change of an inode can't be set, so a file with the inode, size and times that were noted is the
//! one that was noted; but one that was written in the same tick of the clock as it was noted would look so, too:
//! [`Stamps::wait`] waits for the next.

use super::failed;
use crate::{error::Result, folder::attributes, store::Store};
use rbuild_tree::{Kind, Metadata, Snapshot, Timestamp, TreePath, TreeStore, Xattrs};
use rustix::fs::FileType;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ffi::OsStr,
    fs, io,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::{FileTypeExt, MetadataExt},
    },
    path::Path,
    thread,
    time::{Duration, SystemTime},
};

/// Longer than the clock of filesystems stands still, on any kernel.
const TICK: Duration = Duration::from_millis(10);

/// What lstat(2) says of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) device: u64,
    pub(super) inode: u64,
    /// With the bits of its type.
    pub(super) mode: u32,
    pub(super) links: u64,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) number: u64,
    pub(super) size: u64,
    pub(super) mtime: Timestamp,
    changed: (i64, i64),
    /// Where the filesystem keeps that; the number of one that was removed is soon another's.
    born: Option<SystemTime>,
}

impl Stamp {
    pub(super) fn of(found: &fs::Metadata) -> Self {
        let nanoseconds = u32::try_from(found.mtime_nsec()).unwrap_or(0);
        Self {
            device: found.dev(),
            inode: found.ino(),
            mode: found.mode(),
            links: found.nlink(),
            uid: found.uid(),
            gid: found.gid(),
            number: found.rdev(),
            size: if found.is_dir() || found.file_type().is_block_device() { 0 } else { found.len() },
            mtime: Timestamp { seconds: found.mtime(), nanoseconds },
            changed: (found.ctime(), found.ctime_nsec()),
            born: found.created().ok(),
        }
    }

    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    pub(super) fn is_directory(&self) -> bool {
        self.kind() == FileType::Directory
    }

    /// Whether it is of the same file, whatever became of it.
    pub(super) fn is_same_file(&self, other: &Self) -> bool {
        self.file() == other.file() && self.kind() == other.kind() && self.born == other.born
    }

    /// The metadata that it tells of.
    pub(super) fn metadata(&self, xattrs: &Xattrs) -> Metadata {
        // A link has no mode of its own.
        let mode = if self.kind() == FileType::Symlink { 0o777 } else { self.mode & 0o7777 };
        Metadata { mode, uid: self.uid, gid: self.gid, mtime: self.mtime, xattrs: xattrs.clone() }
    }

    /// Which file it is.
    pub(super) fn file(&self) -> (u64, u64) {
        (self.device, self.inode)
    }
}

/// A file as it was noted.
#[derive(PartialEq, Eq)]
pub(super) struct Noted {
    pub(super) stamp: Stamp,
    pub(super) xattrs: Xattrs,
}

/// The names of a directory.
pub(super) type Names = BTreeMap<Box<[u8]>, Noted>;

/// All files below a folder.
pub(super) struct Stamps {
    pub(super) root: Noted,
    pub(super) directories: HashMap<TreePath, Names>,
}

impl Stamps {
    /// Notes what is in a folder but for what is at or below `hidden`; changes after it will be seen.
    ///
    /// # Errors
    /// A directory can't be listed.
    pub(super) fn note(
        store: &Store,
        tree: &Snapshot,
        folder: &Path,
        hidden: &HashSet<TreePath>,
    ) -> Result<Self> {
        // Most files have none, and then there is nothing that the filesystem could have refused.
        let with_xattrs = with_xattrs(store, tree)?;
        let note = |path: &TreePath, place: &Path, stamp| {
            let xattrs = if with_xattrs.contains(path) { attributes(place) } else { Ok(Xattrs::new()) };
            xattrs.map(|xattrs| Noted { stamp, xattrs }).map_err(|error| failed("look at", place, error))
        };
        let found = fs::symlink_metadata(folder).map_err(|error| failed("look at", folder, error))?;
        let root = note(&TreePath::root(), folder, Stamp::of(&found))?;
        let (mut directories, mut open) = (HashMap::new(), vec![TreePath::root()]);
        while let Some(path) = open.pop() {
            let place = super::lay::below(folder, &path);
            let mut names = Names::new();
            for (name, stamp) in list(&place)? {
                let (path, place) = (path.join(&name), place.join(OsStr::from_bytes(&name)));
                if hidden.contains(&path) {
                    continue;
                }
                let noted = note(&path, &place, stamp)?;
                if noted.stamp.is_directory() {
                    open.push(path);
                }
                names.insert(name, noted);
            }
            directories.insert(path, names);
        }
        Ok(Self { root, directories })
    }

    /// Waits until what is written now can be told from what was noted.
    pub(super) fn wait() {
        thread::sleep(TICK);
    }

    /// Whether all is the same, although the folder itself was moved meanwhile.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let shown = |noted: &Noted| {
            let Stamp { mode, uid, gid, mtime, .. } = noted.stamp;
            (mode, uid, gid, mtime)
        };
        shown(&self.root) == shown(&other.root)
            && self.root.xattrs == other.root.xattrs
            && self.directories == other.directories
    }
}

/// The paths of a tree that have extended attributes.
fn with_xattrs(store: &Store, tree: &Snapshot) -> Result<HashSet<TreePath>> {
    let mut found = HashSet::new();
    let mut open = vec![(TreePath::root(), tree.tree)];
    if !tree.root.xattrs.is_empty() {
        found.insert(TreePath::root());
    }
    while let Some((path, id)) = open.pop() {
        for (name, entry) in store.tree(&id)?.iter() {
            if !entry.metadata.xattrs.is_empty() {
                found.insert(path.join(name));
            }
            if let Kind::Directory(below) = entry.kind {
                open.push((path.join(name), below));
            }
        }
    }
    Ok(found)
}

/// What is in a directory, by name.
pub(super) fn list(place: &Path) -> Result<Vec<(Box<[u8]>, Stamp)>> {
    let stamp = |entry: io::Result<fs::DirEntry>| {
        let entry = entry?;
        match entry.metadata() {
            // Of a process that is still about to end.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            found => Ok(Some((entry.file_name().into_vec().into_boxed_slice(), Stamp::of(&found?)))),
        }
    };
    let entries = fs::read_dir(place).and_then(|entries| {
        entries.filter_map(|entry| stamp(entry).transpose()).collect::<io::Result<Vec<_>>>()
    });
    let mut entries = entries.map_err(|error| failed("list", place, error))?;
    entries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    Ok(entries)
}
