//! What a step changed: its directory against what was noted of it.
//!
//! Whatever a file has as it was noted it is as the tree has it, whether or not the directory could show that; only what
//! is different was changed. A file is followed by its inode: a new name of one that was there has all that the tree knows
//! of it.

use super::{
    failed,
    lay::below,
    stamps::{Noted, Stamp, Stamps, attributes, list},
};
use crate::{error::Result, store::Store};
use rayon::prelude::*;
use rbuild_overlay::{clone_prefix, hash_file};
use rbuild_tree::{
    Device, Editor, Entry, FoundKind, Kind, Metadata, ObjectId, Snapshot, Timestamp, Tree, TreePath, Xattrs,
    entry::{image_value, is_kept_xattr},
    lookup,
};
use rustix::fs::{FileType, major, minor};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::{ffi::OsStrExt, ffi::OsStringExt, fs::OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Files up to this size are read at once.
const SMALL: u64 = 64 << 10;

/// What was there before a step, and what counts.
pub(super) struct Before<'a> {
    pub(super) store: &'a Store,
    pub(super) folder: &'a Path,
    pub(super) tree: &'a Snapshot,
    pub(super) stamps: &'a Stamps,
    /// Where mounts would be: nothing there is the step's.
    pub(super) hidden: &'a HashSet<TreePath>,
    /// Directories on the way to those that the tree does not have.
    pub(super) lent: &'a HashSet<TreePath>,
    /// Later times become this one.
    pub(super) epoch: Timestamp,
}

/// A file that is not as it was noted.
struct Changed<'a> {
    path: TreePath,
    place: PathBuf,
    stamp: Stamp,
    xattrs: Xattrs,
    /// The same file before the step, and where it was.
    before: Option<(TreePath, &'a Noted)>,
    kind: Kind,
}

impl Changed<'_> {
    /// Whether it is the file that had this name.
    fn stayed(&self) -> bool {
        self.before.as_ref().is_some_and(|(path, _)| *path == self.path)
    }

    /// Whether the step gave it a time that is later than the epoch. One that was there before is the tree's.
    fn got_time(&self, epoch: Timestamp) -> bool {
        let is_new = |(_, noted): &(TreePath, &Noted)| noted.stamp.mtime != self.stamp.mtime;
        self.stamp.mtime > epoch && self.before.as_ref().is_none_or(is_new)
    }
}

/// Reads what changed, and gives what later times than the epoch have become, in the directory too.
///
/// # Errors
/// The store can't be written; something that no tree can hold.
pub(super) fn read(before: &Before<'_>) -> Result<Snapshot> {
    let mut walk = Walk { before, removed: Vec::new(), changed: Vec::new(), linked: HashMap::new() };
    walk.all()?;
    let Walk { removed, mut changed, linked, .. } = walk;
    changed.par_iter_mut().try_for_each(|changed| keep(before, changed))?;
    let mut edit =
        Edit { before, editor: Editor::new(before.store, before.tree), linked, lent: BTreeMap::new() };
    for path in removed {
        edit.editor.remove(&path)?;
    }
    // Directories first, each before those in it, and files that stayed before those with a new name, which may be one more of the former.
    changed.sort_by_cached_key(|changed| match changed.stamp.is_directory() {
        true => (0, changed.path.clone()),
        false => (1 + u8::from(!changed.stayed()), changed.path.clone()),
    });
    for changed in &changed {
        edit.put(changed)?;
    }
    for changed in changed.iter().rev().filter(|changed| changed.got_time(before.epoch)) {
        let metadata = Metadata::root(0, before.epoch);
        super::lay::set_time(&changed.place, &metadata)
            .map_err(|error| failed("set the time of", &changed.place, error))?;
    }
    Ok(edit.editor.finish()?)
}

/// Looks at every file.
struct Walk<'a> {
    before: &'a Before<'a>,
    removed: Vec<TreePath>,
    changed: Vec<Changed<'a>>,
    /// A path of each file of several names that is as it was.
    linked: HashMap<(u64, u64), TreePath>,
}

impl<'a> Walk<'a> {
    fn all(&mut self) -> Result<()> {
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
fn kind(place: &Path, stamp: &Stamp) -> io::Result<Kind> {
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

/// Finds out the bytes of a file, and puts them into the store unless they are what was there.
fn keep(before: &Before<'_>, changed: &mut Changed<'_>) -> Result<()> {
    let Kind::File { object, size } = &mut changed.kind else { return Ok(()) };
    let was = match &changed.before {
        Some((path, noted)) => {
            let was = lookup(before.store, before.tree, path)?;
            // What could not be made has an empty file in its place.
            if let Some(Entry { kind: kind @ (Kind::CharDevice(_) | Kind::BlockDevice(_)), .. }) = &was
                && *size == 0
                && noted.stamp.size == 0
            {
                changed.kind = kind.clone();
                return Ok(());
            }
            match was {
                Some(Entry { kind: Kind::File { object, size }, .. }) => Some((object, size)),
                _ => None,
            }
        }
        None => None,
    };
    let kept = read_file(before.store, &changed.place, *size, was);
    *object = kept.map_err(|error| {
        crate::error::Error::environment(format!("can't keep {} in the store", changed.path)).caused_by(error)
    })?;
    Ok(())
}

fn read_file(store: &Store, place: &Path, size: u64, was: Option<(ObjectId, u64)>) -> io::Result<ObjectId> {
    let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(place)?;
    if size <= SMALL {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        return Ok(store.put_object(&bytes)?);
    }
    if let Some((object, old)) = was
        && old == size
        && hash_file(&file)? == object
    {
        return Ok(object);
    }
    let fresh = store.scratch().fresh();
    clone_prefix(&file, &File::create_new(&fresh)?, size)?;
    Ok(store.put_object_file(&fresh)?.0)
}

/// The tree becoming what the step left.
struct Edit<'a> {
    before: &'a Before<'a>,
    editor: Editor<'a>,
    /// A path of each file of several names.
    linked: HashMap<(u64, u64), TreePath>,
    /// What directories that are not in the tree yet get if something is put into them.
    lent: BTreeMap<TreePath, Metadata>,
}

impl Edit<'_> {
    fn put(&mut self, changed: &Changed<'_>) -> Result<()> {
        let Changed { path, stamp, kind, .. } = changed;
        let is_directory = stamp.is_directory();
        let known = match &changed.before {
            Some((old, noted)) => lookup(self.before.store, self.before.tree, old)?
                .filter(|was| was.kind.is_directory() == is_directory)
                .map(|was| (was.metadata, noted)),
            None => None,
        };
        let metadata = match known {
            Some((was, noted)) => self.left(&was, changed, noted),
            None => self.fresh(stamp, &changed.xattrs),
        };
        let is_there = match self.editor.get(path)? {
            Some(found) => changed.stayed() && matches_kind(&found.kind, kind),
            None if is_directory && self.before.lent.contains(path) => {
                // Only what is put into it makes it a part of the tree.
                self.lent.insert(path.clone(), metadata);
                return Ok(());
            }
            None => false,
        };
        let file = stamp.file();
        if !is_directory && stamp.links > 1 {
            if let Some(first) = self.linked.get(&file).cloned() {
                if first != *path && !self.editor.linked(&first).contains(path) {
                    self.make_parents(path)?;
                    self.editor.link(&first, path)?;
                }
                return Ok(());
            }
            self.linked.insert(file, path.clone());
        }
        if is_there {
            return Ok(self.editor.set_metadata(path, metadata)?);
        }
        self.make_parents(path)?;
        Ok(self.editor.insert(path, Entry { metadata, kind: kind.clone() })?)
    }

    /// Makes the directories above a path that were only lent.
    fn make_parents(&mut self, path: &TreePath) -> Result<()> {
        let mut here = TreePath::root();
        for name in path.parent().unwrap_or_default().names() {
            here.push(name);
            if self.editor.get(&here)?.is_none() && self.before.lent.contains(&here) {
                let lent = self.lent.get(&here).cloned();
                let metadata = lent.unwrap_or_else(|| Metadata::root(0o755, Timestamp::default()));
                self.editor.insert(&here, Entry { metadata, kind: Kind::Directory(Tree::default().id()) })?;
            }
        }
        Ok(())
    }

    /// What became of `was`, of which the directory showed what was noted.
    fn left(&self, was: &Metadata, changed: &Changed<'_>, noted: &Noted) -> Metadata {
        let found = self.fresh(&changed.stamp, &changed.xattrs);
        let shown = self.fresh(&noted.stamp, &noted.xattrs);
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
        if changed.stamp.mtime != noted.stamp.mtime {
            now.mtime = found.mtime;
        }
        now.xattrs.retain(|name, _| found.xattrs.contains_key(name) || !shown.xattrs.contains_key(name));
        let set = found.xattrs.into_iter().filter(|(name, value)| shown.xattrs.get(name) != Some(value));
        now.xattrs.extend(set);
        now
    }

    /// Metadata as a tree holds it, of something that the step wrote.
    fn fresh(&self, stamp: &Stamp, xattrs: &Xattrs) -> Metadata {
        let kept = xattrs.iter().filter(|(name, _)| is_kept_xattr(name));
        let xattrs = kept.map(|(name, value)| (name.clone(), image_value(name, value).into())).collect();
        let mode = if stamp.kind() == FileType::Symlink { 0o777 } else { stamp.mode & 0o7777 };
        let mtime = stamp.mtime.min(self.before.epoch);
        Metadata { mode, uid: stamp.uid, gid: stamp.gid, mtime, xattrs }
    }
}

fn matches_kind(found: &FoundKind, kind: &Kind) -> bool {
    match found {
        FoundKind::Directory => kind.is_directory(),
        FoundKind::Leaf(found) => found == kind,
    }
}
