//! What is special about layers: whiteouts, and what they must not hide.
//!
//! A whiteout hides what lies *below* the layer, wherever in the archive it stands. So the paths this layer has put
//! down are remembered; hiding goes around them. A directory that merely stands above such a path was implied, not
//! put down: where its lower self is hidden it gets the metadata of a new one.

use super::{
    place::{Placer, implied_directory},
    queue::Stored,
};
use crate::{Result, tar::member::Member};
use rbuild_tree::{Resolved, TreePath, tree::is_valid_name};
use std::collections::{HashMap, HashSet};

const WHITEOUT: &[u8] = b".wh.";
/// `.wh..wh..opq` hides a whole directory; other names that start so are the private notes of an old union filesystem.
const NOTE: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// How a path is in this layer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    /// Only as a directory above one that has an entry.
    Implied,
    /// By an entry of its own.
    Entry,
}

/// A layer while it is applied.
#[derive(Default)]
pub(super) struct Layer {
    /// Never iterated; looked up only.
    held: HashMap<TreePath, Held>,
    /// Directories that hold nothing but what this layer put there; the same.
    hidden: HashSet<TreePath>,
}

impl Layer {
    /// A path of the archive; the whiteout of a name may be longer than a name can be.
    pub fn parse(path: &[u8]) -> rbuild_tree::Result<TreePath> {
        let start = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let hidden = path[start..].strip_prefix(WHITEOUT).filter(|name| is_valid_name(name));
        let Some(hidden) = hidden else { return TreePath::parse(path) };
        Ok(TreePath::parse(&path[..start])?.join(&[WHITEOUT, hidden].concat()))
    }

    /// Whether it is a whiteout or a note, or lies below one.
    pub fn is_marker(path: &TreePath) -> bool {
        path.names().any(|name| name.starts_with(WHITEOUT))
    }

    /// Whether the layer itself holds this path, or something below it.
    pub fn holds(&self, path: &TreePath) -> bool {
        self.held.contains_key(path)
    }

    /// Remembers that this layer put something there.
    pub fn note(&mut self, path: &TreePath) {
        self.held.insert(path.clone(), Held::Entry);
        let mut above = path.parent();
        while let Some(directory) = above {
            above = directory.parent();
            if self.held.contains_key(&directory) {
                return; // and so are all above it
            }
            self.held.insert(directory, Held::Implied);
        }
    }

    /// Places an entry or carries a whiteout out.
    pub fn place(
        &mut self,
        placer: &mut Placer<'_>,
        path: &TreePath,
        member: &Member,
        object: Option<Stored>,
    ) -> Result<()> {
        if !Self::is_marker(path) {
            return placer.place_entry(path, member, object, Some(self));
        }
        if path.names().any(|name| name.starts_with(NOTE) && name != OPAQUE) {
            return Ok(());
        }
        let (parent, name) = (path.parent().unwrap_or_default(), path.name().unwrap_or_default());
        if Self::is_marker(&parent) {
            return Err(member.refuse("an entry can't lie below a whiteout"));
        }
        let Resolved { path: directory, .. } = match placer.editor.resolve(parent.as_bytes(), true) {
            Err(rbuild_tree::Error::At { .. }) => return Ok(()), // nothing can lie there
            resolved => resolved?,
        };
        match name.strip_prefix(WHITEOUT).filter(|_| name != OPAQUE) {
            None if placer.is_directory(&directory)? => self.hide_below(placer, &directory),
            None => Ok(()),
            Some(hidden) if !is_valid_name(hidden) => {
                Err(member.refuse("a whiteout of a name that can't be"))
            }
            Some(hidden) => self.hide(placer, &directory.join(hidden)),
        }
    }

    fn hide(&mut self, placer: &mut Placer<'_>, path: &TreePath) -> Result<()> {
        if !self.holds(path) {
            placer.editor.remove(path)?;
        } else if placer.is_directory(path)? {
            self.renew_implied(placer, path)?;
            self.hide_below(placer, path)?;
        }
        Ok(())
    }

    /// Takes everything out of a directory that this layer does not hold. That is done once for each: markers may be
    /// many.
    fn hide_below(&mut self, placer: &mut Placer<'_>, directory: &TreePath) -> Result<()> {
        let mut directories = vec![directory.clone()];
        while let Some(directory) = directories.pop() {
            if !self.hidden.insert(directory.clone()) {
                continue;
            }
            for (name, found) in placer.editor.list(&directory)? {
                let path = directory.join(&name);
                if !self.holds(&path) {
                    placer.editor.remove(&path)?;
                } else if found.is_directory() {
                    self.renew_implied(placer, &path)?;
                    directories.push(path);
                }
            }
        }
        Ok(())
    }

    fn renew_implied(&self, placer: &mut Placer<'_>, directory: &TreePath) -> Result<()> {
        if self.held.get(directory) == Some(&Held::Implied) {
            placer.editor.set_metadata(directory, implied_directory())?;
        }
        Ok(())
    }
}
