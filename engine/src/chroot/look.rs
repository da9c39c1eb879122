//! Looking at every file of a step's directory, for those that are not as they were noted.

use super::{
    failed,
    lay::below,
    stamps::{Noted, Stamp, Stamps, list},
};
use crate::{error::Result, folder::attributes, store::Store};
use rbuild_tree::{Device, Kind, ObjectId, Snapshot, Timestamp, Tree, TreePath, Xattrs};
use rustix::fs::{FileType, major, minor};
use std::{
    collections::{HashMap, HashSet},
    ffi::OsStr,
    fs, io,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

/// What was there before a step, and what counts.
pub(super) struct Before<'a> {
    pub(super) store: &'a Store,
    pub(super) folder: &'a Path,
    pub(super) tree: &'a Snapshot,
    pub(super) stamps: &'a Stamps,
    /// Where mounts would be: nothing there is the step's.
    pub(super) hidden: &'a HashSet<TreePath>,
    /// Directories on the way to those that the tree does not have, and the times they had.
    pub(super) lent: &'a HashMap<TreePath, Timestamp>,
    /// Later times become this one.
    pub(super) epoch: Timestamp,
    /// Whether the build is to stop.
    pub(super) stopped: &'a AtomicBool,
}

/// A file that is not as it was noted.
pub(super) struct Changed<'a> {
    pub(super) path: TreePath,
    pub(super) place: PathBuf,
    pub(super) stamp: Stamp,
    pub(super) xattrs: Xattrs,
    /// The same file before the step, and where it was.
    pub(super) before: Option<(TreePath, &'a Noted)>,
    pub(super) kind: Kind,
}

impl Changed<'_> {
    /// Whether it is the file that had this name.
    pub(super) fn stayed(&self) -> bool {
        self.before.as_ref().is_some_and(|(path, _)| *path == self.path)
    }

    /// Whether the step gave it a time that is later than the epoch. One that was there before is the tree's.
    pub(super) fn got_time(&self, epoch: Timestamp) -> bool {
        let is_new = |(_, noted): &(TreePath, &Noted)| noted.stamp.mtime != self.stamp.mtime;
        self.stamp.mtime > epoch && self.before.as_ref().is_none_or(is_new)
    }
}

/// Looks at every file.
pub(super) struct Walk<'a> {
    before: &'a Before<'a>,
    pub(super) removed: Vec<TreePath>,
    pub(super) changed: Vec<Changed<'a>>,
    /// A path of each file of several names that is as it was.
    pub(super) linked: HashMap<(u64, u64), TreePath>,
}

impl<'a> Walk<'a> {
    /// Nothing was looked at yet.
    pub(super) fn new(before: &'a Before<'a>) -> Self {
        Self { before, removed: Vec::new(), changed: Vec::new(), linked: HashMap::new() }
    }

    /// Looks at everything.
    ///
    /// # Errors
    /// A directory can't be listed.
    pub(super) fn all(&mut self) -> Result<()> {
        let Before { folder, stamps, hidden, .. } = *self.before;
        let found = fs::symlink_metadata(folder).map_err(|error| failed("look at", folder, error))?;
        let found = Stamp::of(&found);
        if found != stamps.root.stamp {
            self.note(TreePath::root(), folder.to_owned(), found, Some(&stamps.root))?;
        }
        // Where another directory has taken the place of one, all below it is put anew.
        let mut open = vec![(TreePath::root(), false)];
        while let Some((directory, is_replaced)) = open.pop() {
            let place = below(folder, &directory);
            let hidden: Vec<_> =
                hidden.iter().filter(|path| path.parent().as_ref() == Some(&directory)).collect();
            let is_hidden = |name: &[u8]| hidden.iter().any(|path| path.name() == Some(name));
            let mut names = list(&place)?;
            names.retain(|(name, _)| !is_hidden(name));
            let noted = stamps.directories.get(&directory);
            if let Some(noted) = noted {
                let is_gone = |name: &[u8]| names.binary_search_by(|(found, _)| (**found).cmp(name)).is_err();
                let gone = noted.keys().filter(|name| is_gone(name));
                self.removed.extend(gone.map(|name| directory.join(name)));
            }
            for (name, found) in names {
                let noted = noted.and_then(|names| names.get(&name));
                let (is_directory, is_linked) = (found.is_directory(), found.links > 1);
                if is_directory {
                    let is_other = !noted.is_some_and(|noted| noted.stamp.is_same_file(&found));
                    open.push((directory.join(&name), is_replaced || is_other));
                }
                match noted.filter(|_| !is_replaced) {
                    Some(noted) if noted.stamp == found && (is_directory || !is_linked) => {}
                    Some(noted) if noted.stamp == found => {
                        self.linked.insert(found.file(), directory.join(&name));
                    }
                    _ => {
                        let place = place.join(OsStr::from_bytes(&name));
                        self.note(directory.join(&name), place, found, noted)?;
                    }
                }
            }
        }
        self.follow();
        Ok(())
    }

    fn note(&mut self, path: TreePath, place: PathBuf, stamp: Stamp, noted: Option<&'a Noted>) -> Result<()> {
        let before =
            noted.filter(|noted| noted.stamp.is_same_file(&stamp)).map(|noted| (path.clone(), noted));
        let look = || Ok::<_, io::Error>((attributes(&place)?, kind(&place, &stamp)?));
        let (xattrs, kind) = look().map_err(|error| failed("look at", &place, error))?;
        self.changed.push(Changed { path, place, stamp, xattrs, before, kind });
        Ok(())
    }

    /// Finds out where files with a new name were.
    fn follow(&mut self) {
        if self.changed.iter().all(|changed| changed.before.is_some()) {
            return;
        }
        let mut inodes = HashMap::new();
        for (path, names) in &self.before.stamps.directories {
            for (name, noted) in names {
                inodes.insert(noted.stamp.file(), (path, name, noted));
            }
        }
        for changed in self.changed.iter_mut().filter(|changed| changed.before.is_none()) {
            if let Some((directory, name, noted)) = inodes.get(&changed.stamp.file())
                && noted.stamp.is_same_file(&changed.stamp)
            {
                changed.before = Some((directory.join(name), *noted));
            }
        }
    }
}

/// What it is; the bytes of a file are not looked at.
pub(super) fn kind(place: &Path, stamp: &Stamp) -> io::Result<Kind> {
    let device = Device { major: major(stamp.number), minor: minor(stamp.number) };
    Ok(match stamp.kind() {
        FileType::Directory => Kind::Directory(Tree::default().id()),
        FileType::Symlink => Kind::Symlink(fs::read_link(place)?.into_os_string().into_vec().into()),
        FileType::CharacterDevice => Kind::CharDevice(device),
        FileType::BlockDevice => Kind::BlockDevice(device),
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        _ => Kind::File { object: ObjectId::from_bytes([0; 32]), size: stamp.size },
    })
}
