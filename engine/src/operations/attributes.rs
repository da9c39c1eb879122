//! Owner, mode and capabilities: `attrs`, and the rules that `copy` and `dirs` share.
//!
//! As a machine does it: the owner first, which takes set-id bits and capabilities from what is no directory; then the
//! mode, which may give them back; then capabilities. An access list follows the mode. A symbolic link has an owner
//! and no mode. A file of several names changes under all of them, once.

use super::{
    error::Result,
    work::{Ids, Work, is_link, no_match, type_conflict},
};
use crate::spec::types::{Attr, Capabilities, Mode};
use rbuild_tree::{Found, FoundKind, Kind, Metadata, Pattern, TreePath, find};
use std::collections::BTreeSet;

const CAPABILITY: &[u8] = b"security.capability";
const ACCESS_LIST: &[u8] = b"system.posix_acl_access";
const SET_ID: u32 = 0o6000;

/// What kind of thing the rules are asked about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sort {
    Directory,
    Link,
    Other,
}

impl Sort {
    pub(super) fn of(kind: &Kind) -> Self {
        match kind {
            Kind::Directory(_) => Self::Directory,
            Kind::Symlink(_) => Self::Link,
            _ => Self::Other,
        }
    }

    pub(super) fn of_found(found: &Found) -> Self {
        match &found.kind {
            FoundKind::Directory => Self::Directory,
            FoundKind::Leaf(kind) => Self::of(kind),
        }
    }
}

/// `owner`, `mode` and `dir-mode` of one table, its names looked up.
#[derive(Clone, Copy, Default)]
pub(super) struct Rules<'m> {
    pub(super) owner: Option<Ids>,
    pub(super) mode: Option<&'m Mode>,
    pub(super) directory_mode: Option<&'m Mode>,
}

impl Rules<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.owner.is_none() && self.mode.is_none() && self.directory_mode.is_none()
    }

    /// The metadata of an entry after the rules.
    pub(super) fn apply(&self, old: &Metadata, sort: Sort) -> Metadata {
        let mut new = old.clone();
        if let Some((uid, gid)) = self.owner
            && (uid, gid) != (old.uid, old.gid)
        {
            (new.uid, new.gid) = (uid, gid);
            if sort != Sort::Directory {
                new.mode &= !SET_ID;
                new.xattrs.remove(CAPABILITY);
            }
        }
        let mode = match sort {
            Sort::Link => None,
            Sort::Other => self.mode,
            Sort::Directory => self.directory_mode.or(self.mode.filter(|mode| mode.is_symbolic())),
        };
        if let Some(mode) = mode {
            let mode = mode.apply(new.mode, sort == Sort::Directory);
            set_mode(&mut new, mode);
        }
        new
    }
}

/// Sets the mode, and the classes of an access list that mirror it.
fn set_mode(metadata: &mut Metadata, mode: u32) {
    metadata.mode = mode;
    let Some(list) = metadata.xattrs.get_mut(ACCESS_LIST) else { return };
    // A version of four bytes, then entries of tag, permissions (two bytes each) and id (four), little-endian.
    const USER_OBJECT: u8 = 0x01;
    const GROUP_OBJECT: u8 = 0x04;
    const MASK: u8 = 0x10;
    const OTHER: u8 = 0x20;
    let Some((_, entries)) = list.split_at_mut_checked(4) else { return };
    let has_mask = entries.chunks_exact(8).any(|entry| entry[0] == MASK);
    for entry in entries.chunks_exact_mut(8) {
        let shift = match entry[0] {
            USER_OBJECT => 6,
            MASK => 3,
            GROUP_OBJECT if !has_mask => 3,
            OTHER => 0,
            _ => continue,
        };
        entry[2] = (mode >> shift & 7) as u8;
    }
}

/// One line of `attrs`.
pub(super) fn change(work: &mut Work<'_>, attr: &Attr) -> Result<()> {
    let owner = work.owner_if_said(attr.owner.as_ref())?;
    let pattern = Pattern::parse(&attr.path).map_err(|reason| no_match(reason).at(attr.path.span))?;
    let found = find(&mut work.editor, &pattern)?;
    if found.is_empty() {
        // The order is the step's own, so nobody can see it in the file.
        let error = no_match(format!("{} matches nothing in the tree", attr.path.value));
        let hint =
            "`attrs` is applied before `run`: make the path by `dirs`, change it in `run`, or in a next step";
        return Err(error.at(attr.path.span).hint(hint));
    }
    let rules = Rules { owner, mode: attr.mode.as_ref(), directory_mode: attr.dir_mode.as_ref() };
    let mut change = Change { attr, rules, done: BTreeSet::new() };
    for path in found {
        change.matched(work, &path, pattern.literal().is_some()).map_err(|error| error.at(attr.path.span))?;
    }
    Ok(())
}

struct Change<'a> {
    attr: &'a Attr,
    rules: Rules<'a>,
    /// Other names of files that have been changed, so that a relative mode is not applied twice.
    done: BTreeSet<TreePath>,
}

impl Change<'_> {
    fn matched(&mut self, work: &mut Work<'_>, path: &TreePath, literal: bool) -> Result<()> {
        let Some(found) = work.editor.get(path)? else { return Ok(()) };
        if literal {
            self.check(work, path, &found)?;
        }
        // A mode given as a number is for a directory too if that is what is named.
        let named = Rules { directory_mode: self.rules.directory_mode.or(self.rules.mode), ..self.rules };
        self.apply(work, path, &found, named)?;
        if self.attr.recursive && found.is_directory() {
            self.below(work, path)?;
        }
        Ok(())
    }

    /// Refuses what would silently do nothing.
    fn check(&self, work: &mut Work<'_>, path: &TreePath, found: &Found) -> Result<()> {
        let wants = match self.attr {
            Attr { capabilities: Some(_), recursive: false, .. } => "capabilities",
            Attr { mode: Some(_), .. } if is_link(found) => "mode",
            _ => return Ok(()),
        };
        if matches!(found.kind, FoundKind::Leaf(Kind::File { .. })) {
            return Ok(());
        }
        let error = type_conflict(path, format_args!("is a {}, which has no {wants}", found.word()));
        let target = work.follow(path).ok().filter(|target| is_link(found) && target.found.is_some());
        Err(match target {
            Some(target) => error.hint(format!("name what it points to: \"{}\"", target.path)),
            None => error,
        })
    }

    fn below(&mut self, work: &mut Work<'_>, path: &TreePath) -> Result<()> {
        let mut pending = vec![path.clone()];
        while let Some(directory) = pending.pop() {
            for (name, found) in work.editor.list(&directory)? {
                let path = directory.join(&name);
                self.apply(work, &path, &found, self.rules)?;
                if found.is_directory() {
                    pending.push(path);
                }
            }
        }
        Ok(())
    }

    fn apply(&mut self, work: &mut Work<'_>, path: &TreePath, found: &Found, rules: Rules<'_>) -> Result<()> {
        if self.done.contains(path) {
            return Ok(());
        }
        let mut metadata = rules.apply(&found.metadata, Sort::of_found(found));
        if let (Some(capabilities), FoundKind::Leaf(Kind::File { .. })) =
            (&self.attr.capabilities, &found.kind)
        {
            set_capabilities(&mut metadata, capabilities);
        }
        if metadata != found.metadata {
            work.editor.set_metadata(path, metadata)?;
        }
        self.done.extend(work.editor.linked(path));
        if found.is_directory() {
            self.done.insert(path.clone());
        }
        Ok(())
    }
}

fn set_capabilities(metadata: &mut Metadata, capabilities: &Capabilities) {
    if capabilities.is_empty() {
        metadata.xattrs.remove(CAPABILITY);
    } else {
        metadata.xattrs.insert(CAPABILITY.into(), capabilities.to_xattr().into());
    }
}
