//! The difference of two root filesystems.

use crate::{DeltaId, Entry, Links, Metadata, encoding, tree::Name};
use std::collections::BTreeMap;

/// What happened to one name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// It is gone, with all below it.
    Removed,
    /// It is this now, whatever it was before; a directory with the whole tree it names.
    Replaced(Entry),
    /// It was and stays a directory.
    Directory(DirectoryChange),
}

/// What happened inside a directory that was there before and stays.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DirectoryChange {
    /// Its own metadata, if that changed.
    pub metadata: Option<Metadata>,
    /// What changed in it.
    pub children: BTreeMap<Name, Change>,
}

impl DirectoryChange {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.metadata.is_none() && self.children.is_empty()
    }
}

/// The difference of two root filesystems, starting at their root directories.
///
/// `links` holds every link group *of the result* that has a path this delta touched (removed, replaced, or below a
/// removed or replaced directory) or that gained or lost a path; it may name paths that did not change otherwise. A
/// touched path in no group of the delta is linked to nothing any more.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Delta {
    /// From the root down.
    pub root: DirectoryChange,
    /// Link groups of the result that differ from the base's.
    pub links: Links,
}

impl Delta {
    /// Whether both sides are the same.
    pub fn is_empty(&self) -> bool {
        self.root.is_empty() && self.links.is_empty()
    }

    /// Its identity.
    pub fn id(&self) -> DeltaId {
        DeltaId::of(&encoding::encode_delta(self))
    }
}
