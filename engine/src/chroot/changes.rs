//! What a step changed: its directory against what was noted of it.
//!
//! Whatever a file has as it was noted it is as the tree has it, whether or not the directory could show that; only what
//! is different was changed. A file is followed by its inode: a new name of one that was there has all that the tree knows
//! of it.

use super::{
    failed,
    look::{Before, Changed, Walk},
    stamps::{Noted, Stamp},
};
use crate::{error::Result, store::Store};
use rayon::prelude::*;
use rbuild_overlay::{clone_prefix, hash_file};
use rbuild_tree::{
    Editor, Entry, FoundKind, Kind, Metadata, ObjectId, Snapshot, Timestamp, Tree, TreePath, Xattrs,
    entry::{image_value, is_kept_xattr},
    lookup,
};
use rustix::fs::FileType;
use std::{
    collections::{BTreeMap, HashMap},
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Files up to this size are read at once.
const SMALL: u64 = 64 << 10;

/// Reads what changed, and gives what later times than the epoch have become, in the directory too.
///
/// # Errors
/// The store can't be written; something that no tree can hold.
pub(super) fn read(before: &Before<'_>) -> Result<Snapshot> {
    let mut walk = Walk::new(before);
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
