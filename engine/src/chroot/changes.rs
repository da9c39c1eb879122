//! What a step changed: its directory against what was noted of it.
//!
//! A file is followed by its inode: a new name of one that was there has all that the tree knows
//! of it.

use super::{
    failed,
    look::{Before, Changed, Walk},
};
use crate::{
    error::{Error, Result},
    folder,
};
use rayon::prelude::*;
use rbuild_tree::{Editor, Entry, FoundKind, Kind, Metadata, Snapshot, Tree, TreePath, lookup};
use std::{
    collections::{BTreeMap, HashMap},
    fs::OpenOptions,
    os::unix::fs::OpenOptionsExt,
    sync::atomic::Ordering,
};

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

/// Finds out the bytes of a file, and puts them into the store.
fn keep(before: &Before<'_>, changed: &mut Changed<'_>) -> Result<()> {
    let Kind::File { object, size } = &mut changed.kind else { return Ok(()) };
    if let Some((path, noted)) = &changed.before
        && (*size, noted.stamp.size) == (0, 0)
        && let Some(Entry { kind: kind @ (Kind::CharDevice(_) | Kind::BlockDevice(_)), .. }) =
            lookup(before.store, before.tree, path)?
    {
        // What could not be made has an empty file in its place.
        changed.kind = kind;
        return Ok(());
    }
    let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(&changed.place);
    let kept = opened.and_then(|file| folder::keep(before.store, Some(file), *size, before.stopped));
    if before.stopped.load(Ordering::SeqCst) {
        return Err(Error::interrupted());
    }
    *object = kept.map_err(|error| {
        Error::environment(format!("can't keep {} in the store", changed.path)).caused_by(error)
    })?;
    Ok(())
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
        let found = stamp.metadata(&changed.xattrs);
        let known = match &changed.before {
            Some((old, noted)) => lookup(self.before.store, self.before.tree, old)?
                .filter(|was| was.kind.is_directory() == is_directory)
                .map(|was| (was.metadata, noted)),
            None => None,
        };
        let metadata = match known {
            Some((was, noted)) => {
                folder::left(&was, &found, &noted.stamp.metadata(&noted.xattrs), self.before.epoch)
            }
            None => folder::written(&found, self.before.epoch),
        };
        let is_there = match self.editor.get(path)? {
            Some(found) => changed.stayed() && matches_kind(&found.kind, kind),
            None if is_directory && self.before.lent.contains_key(path) => {
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
            if self.editor.get(&here)?.is_none()
                && let Some(time) = self.before.lent.get(&here)
            {
                let lent = self.lent.get(&here).cloned();
                let metadata = lent.unwrap_or_else(|| Metadata::root(0o755, *time));
                self.editor.insert(&here, Entry { metadata, kind: Kind::Directory(Tree::default().id()) })?;
            }
        }
        Ok(())
    }
}

fn matches_kind(found: &FoundKind, kind: &Kind) -> bool {
    match found {
        FoundKind::Directory => kind.is_directory(),
        FoundKind::Leaf(found) => found == kind,
    }
}
