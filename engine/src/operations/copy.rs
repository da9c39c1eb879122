//! `copy`: entries of another tree land in this one.
//!
//! A directory that lands where nothing is costs one entry, however large it is. Onto a directory, or a link to one, it
//! merges, name by name; a file, link or device takes the place of a file, link or device; a directory against anything
//! else is an error. Metadata comes along, and the hard links among what is taken. With `replace` all targets are
//! cleared before anything lands, and a directory whose content is meant gives its metadata to the target.

use super::{
    adjust::{Adjust, Exclude},
    attributes::{Rules, Sort},
    error::{OperationError, Result},
    place::{Landing, Placement, place},
    select::{Reading, Selection, select_from},
    work::{Ids, Work, is_link, type_conflict},
};
use crate::spec::types::Copy;
use rbuild_tree::{Entry, Found, Kind, Metadata, TreePath, TreeStore};
use std::collections::BTreeMap;

pub(super) fn copy(work: &mut Work<'_>, copy: &Copy) -> Result<()> {
    let context = work.context;
    let owner = work.owner_if_said(copy.owner.as_ref())?;
    let reading = reading(copy);
    let Selection { list, links, above } = select_from(context, &copy.from, &copy.src, reading)?;
    if list.is_empty() {
        return Ok(());
    }
    let rules = Rules { owner, mode: copy.mode.as_ref(), directory_mode: copy.dir_mode.as_ref() };
    let adjust = Adjust { store: context.store, rules, exclude: Exclude::new(&copy.exclude)? };
    let placements = place(list, &copy.src, &copy.dest, copy.parents)?;
    let mut landing = Copying { work, copy, owner, adjust, above, grafts: BTreeMap::new() };
    landing.all(&placements).map_err(|error| error.at(copy.dest.span))?;
    landing.join_links(links.groups())?;
    work.forget_accounts();
    Ok(())
}

/// How the patterns of a copy are to be read.
pub(super) fn reading(copy: &Copy) -> Reading {
    Reading { follow: copy.follow, parents: copy.parents, optional: copy.optional }
}

/// One copy while it is carried out.
struct Copying<'w, 'a> {
    work: &'w mut Work<'a>,
    copy: &'w Copy,
    owner: Option<Ids>,
    adjust: Adjust<'w>,
    /// Directories above what is taken, for `parents`.
    above: BTreeMap<TreePath, Metadata>,
    /// Where entries of the source went, whole: what lies below an entry lies below its target.
    grafts: BTreeMap<TreePath, Vec<TreePath>>,
}

impl Copying<'_, '_> {
    fn all(&mut self, placements: &[Placement]) -> Result<()> {
        if self.copy.replace {
            placements.iter().try_for_each(|placement| self.clear(placement))?;
        }
        if self.copy.dest.directory && placements.iter().any(|placement| placement.landing == Landing::Entry)
        {
            let fresh = self.fresh_directory();
            self.work.ensure_directory(&self.copy.dest.path, Some(fresh))?;
        }
        for placement in placements {
            match placement.landing {
                Landing::Entry => self.land(placement)?,
                Landing::Content => self.land_content(placement)?,
            }
        }
        Ok(())
    }

    /// The directory that things go into, if it is missing.
    fn fresh_directory(&self) -> Metadata {
        self.work.fresh(0o755, self.owner)
    }

    /// Takes away what is at a target.
    fn clear(&mut self, placement: &Placement) -> Result<()> {
        let follow = placement.landing == Landing::Content && self.copy.dest.directory;
        let resolved = self.work.editor.resolve(placement.target.as_bytes(), follow)?;
        match resolved.found {
            None => {}
            Some(found) if resolved.path.is_root() => {
                let kind = Kind::Directory(rbuild_tree::Tree::default().id());
                self.work.editor.insert(&resolved.path, Entry { metadata: found.metadata, kind })?;
            }
            Some(_) => drop(self.work.editor.remove(&resolved.path)?),
        }
        Ok(())
    }

    fn land(&mut self, placement: &Placement) -> Result<()> {
        let Placement { selected, target, .. } = placement;
        if self.copy.parents {
            self.make_above(&selected.path)?;
        }
        let fresh = self.fresh_directory();
        let (real, _) = self.work.ensure_parent(target, Some(fresh))?;
        let entry = self.adjust.entry(&selected.entry)?;
        self.merge(vec![(entry, selected.real.clone(), real)])
    }

    /// Makes the directories between the destination and an entry of `parents` that are missing, as they are in the
    /// source but for their times: they don't hold all that the source's do.
    fn make_above(&mut self, path: &TreePath) -> Result<()> {
        let mut above: Vec<TreePath> = std::iter::successors(path.parent(), TreePath::parent).collect();
        above.reverse();
        for directory in above.iter().filter(|directory| !directory.is_root()) {
            let Some(metadata) = self.above.get(directory) else { continue };
            let metadata = Metadata {
                mtime: self.work.context.epoch,
                ..self.adjust.metadata(metadata, Sort::Directory)
            };
            self.work.ensure_directory(&self.copy.dest.path.join_path(directory), Some(metadata))?;
        }
        Ok(())
    }

    fn land_content(&mut self, placement: &Placement) -> Result<()> {
        let Placement { selected, target, .. } = placement;
        let entry = self.adjust.entry(&selected.entry)?;
        let fresh = if self.copy.replace { entry.metadata.clone() } else { self.fresh_directory() };
        self.refuse_dangling(target)?;
        // Whoever makes the parents makes them for root, so that only the last has an owner.
        let real = self.work.ensure_directory(target, Some(fresh))?;
        self.merge(children(self.work, &entry, &selected.real, &real)?)?;
        if self.copy.replace {
            // Its names came one by one, and changed its time.
            self.work.editor.set_metadata(&real, entry.metadata)?;
        }
        Ok(())
    }

    /// `/d` without a final `/` means what is there, and a link to nothing is no directory.
    fn refuse_dangling(&mut self, target: &TreePath) -> Result<()> {
        let last = self.work.editor.resolve(target.as_bytes(), false)?;
        if !self.copy.dest.directory
            && last.found.as_ref().is_some_and(is_link)
            && self.work.follow(target)?.found.is_none()
        {
            return Err(against_directory(&last.path, "symbolic link to nothing"));
        }
        Ok(())
    }

    /// Puts entries at real paths; what is added to the list on the way comes from directories that merge.
    fn merge(&mut self, mut pending: Vec<(Entry, TreePath, TreePath)>) -> Result<()> {
        while let Some((entry, source, target)) = pending.pop() {
            let found = self.work.editor.get(&target)?;
            match found {
                Some(found) if entry.kind.is_directory() => {
                    let real = self.directory_there(&target, &found)?;
                    pending.extend(children(self.work, &entry, &source, &real)?);
                }
                Some(found) if found.is_directory() => {
                    return Err(self.against_entry(&target, entry.kind.word()));
                }
                _ => {
                    self.work.editor.insert(&target, entry)?;
                    self.grafts.entry(source).or_default().push(target);
                }
            }
        }
        Ok(())
    }

    /// The directory that another one merges with: what is at the target, or what a link there leads to.
    fn directory_there(&mut self, target: &TreePath, found: &Found) -> Result<TreePath> {
        if found.is_directory() {
            return Ok(target.clone());
        }
        if is_link(found)
            && let Some(there) =
                self.work.follow(target).ok().filter(|there| is_directory(there.found.as_ref()))
        {
            return Ok(there.path);
        }
        Err(against_directory(target, found.word()))
    }

    fn against_entry(&self, target: &TreePath, word: &str) -> OperationError {
        let error = type_conflict(target, format_args!("is a directory; a {word} can't take its place"));
        if *target == self.copy.dest.path && !self.copy.dest.directory {
            return error.hint(format!("to put it into the directory write dest = \"{target}/\""));
        }
        error.hint("`replace = true` removes what is there first")
    }

    /// Makes those that were one file in the source one file here.
    fn join_links(&mut self, groups: &[Vec<TreePath>]) -> Result<()> {
        for group in groups {
            let mut first: Option<(TreePath, Found)> = None;
            for target in group.iter().flat_map(|member| self.targets_of(member)).collect::<Vec<_>>() {
                let Some(found) = self.work.editor.get(&target)?.filter(|found| !found.is_directory()) else {
                    continue;
                };
                match &first {
                    None => first = Some((target, found)),
                    // Something that landed later may have taken its place.
                    Some((known, same)) if *same == found => self.work.editor.link(known, &target)?,
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }

    /// Where a path of the source went.
    fn targets_of(&self, path: &TreePath) -> Vec<TreePath> {
        let mut targets = Vec::new();
        for outer in std::iter::successors(Some(path.clone()), TreePath::parent) {
            if let (Some(grafts), Some(tail)) = (self.grafts.get(&outer), path.strip_prefix(&outer)) {
                targets.extend(grafts.iter().map(|graft| graft.join_path(&tail)));
            }
        }
        targets
    }
}

/// What is in a directory entry, with where it is and where it goes; the last is taken first.
fn children(
    work: &Work<'_>,
    entry: &Entry,
    source: &TreePath,
    target: &TreePath,
) -> Result<Vec<(Entry, TreePath, TreePath)>> {
    let Kind::Directory(tree) = &entry.kind else { return Ok(Vec::new()) };
    let tree = work.context.store.tree(tree)?;
    let child = |(name, entry): (&[u8], &Entry)| (entry.clone(), source.join(name), target.join(name));
    Ok(tree.iter().rev().map(child).collect())
}

fn is_directory(found: Option<&Found>) -> bool {
    found.is_some_and(Found::is_directory)
}

fn against_directory(target: &TreePath, word: &str) -> OperationError {
    let error = type_conflict(target, format_args!("is a {word}; a directory can't take its place"));
    error.hint("`replace = true` removes what is there first")
}
