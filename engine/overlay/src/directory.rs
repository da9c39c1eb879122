//! The entries of one directory.
//!
//! Names have a sequence number for as long as they exist; it is their cookie, so a listing that goes on after
//! deletions neither skips nor repeats. The lower's names come first, sorted, then what was made, in that order: the
//! same order in every run.

use crate::{
    FileKind,
    node::{Name, Node},
};
use rbuild_tree::{Change, Tree, TreeId, tree};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

/// Where the entries come from.
#[derive(Clone)]
pub(crate) enum Source {
    /// Made by the step.
    New,
    /// A directory of the store.
    Tree(TreeId, Arc<Tree>),
    /// A directory of this machine; its names once they were listed, sorted.
    Live(Option<Arc<Vec<(tree::Name, FileKind)>>>),
}

/// What a directory's inode holds.
pub(crate) struct Directory {
    pub source: Source,
    /// None until somebody looks.
    pub slots: Option<Slots>,
    /// It has no name any more; nothing can be made in it.
    pub removed: bool,
    /// Names that may differ from the lower's.
    pub changed: BTreeSet<Name>,
    /// What the delta of a live lower says of names that were not looked at yet.
    pub pending: BTreeMap<tree::Name, Change>,
    /// How many sub-directories there are, if that is known without looking.
    pub directories: Option<u32>,
}

/// The names as they are now.
#[derive(Default)]
pub(crate) struct Slots {
    by_name: HashMap<Name, u64>,
    by_sequence: BTreeMap<u64, Slot>,
    next: u64,
}

/// One name.
#[derive(Clone)]
pub(crate) struct Slot {
    pub name: Name,
    /// What it is, for listings.
    pub kind: FileKind,
    /// None while the lower's entry was not looked at.
    pub node: Option<Arc<Node>>,
}

/// Cookies of `.` and `..`; entries follow.
pub(crate) const FIRST_COOKIE: u64 = 3;

impl Directory {
    /// An empty one.
    pub fn new(source: Source) -> Self {
        let directories = match &source {
            Source::New => Some(0),
            Source::Tree(_, tree) => Some(subdirectories(tree)),
            Source::Live(_) => None,
        };
        let (changed, pending) = (BTreeSet::new(), BTreeMap::new());
        Self { source, slots: None, removed: false, changed, pending, directories }
    }

    /// Link count as stat(2) shows it.
    pub fn links(&self) -> u32 {
        match (self.removed, self.directories) {
            (true, _) => 0,
            (false, None) => 1,
            (false, Some(count)) => count.saturating_add(2),
        }
    }

    /// Whether the lower has the name, whatever the mount shows. Only right once a live directory was listed.
    pub fn lower_has(&self, name: &[u8]) -> bool {
        match &self.source {
            Source::New => false,
            Source::Tree(_, tree) => tree.get(name).is_some(),
            Source::Live(names) => names.as_ref().is_some_and(|names| find(names, name).is_ok()),
        }
    }

    /// Notes that what `name` stands for changed.
    pub fn change(&mut self, name: &Name) {
        self.pending.remove(&**name);
        let exists = self.slots.as_ref().is_some_and(|slots| slots.get(name).is_some());
        if exists || self.lower_has(name) {
            // A new directory is written whole: no need to know which of its names changed.
            if !matches!(self.source, Source::New) {
                self.changed.insert(Arc::clone(name));
            }
        } else {
            self.changed.remove(name);
        }
    }

    /// A sub-directory came or went.
    pub fn count_directory(&mut self, gained: bool) {
        let step = |count: u32| if gained { count.saturating_add(1) } else { count.saturating_sub(1) };
        self.directories = self.directories.map(step);
    }

    /// The slots of a directory whose names are known.
    pub fn fill(&mut self) {
        if self.slots.is_some() {
            return;
        }
        let mut names: BTreeMap<tree::Name, FileKind> = match &self.source {
            Source::New | Source::Live(None) => BTreeMap::new(),
            Source::Tree(_, tree) => {
                tree.iter().map(|(name, entry)| (name.into(), kind_of(&entry.kind))).collect()
            }
            Source::Live(Some(names)) => names.iter().cloned().collect(),
        };
        for (name, change) in &self.pending {
            match change {
                Change::Removed => drop(names.remove(name)),
                Change::Replaced(entry) => drop(names.insert(name.clone(), kind_of(&entry.kind))),
                Change::Directory(_) => drop(names.insert(name.clone(), FileKind::Directory)),
            }
        }
        let mut slots = Slots { next: FIRST_COOKIE, ..Slots::default() };
        for (name, kind) in names {
            slots.push(Slot { name: name.into(), kind, node: None });
        }
        self.slots = Some(slots);
    }
}

/// Looks a name up in a sorted listing.
pub(crate) fn find(names: &[(tree::Name, FileKind)], name: &[u8]) -> Result<usize, usize> {
    names.binary_search_by(|(known, _)| (**known).cmp(name))
}

/// How many entries are directories.
pub(crate) fn subdirectories(tree: &Tree) -> u32 {
    u32::try_from(tree.iter().filter(|(_, entry)| entry.kind.is_directory()).count()).unwrap_or(u32::MAX - 2)
}

/// The kind of an entry.
pub(crate) fn kind_of(kind: &rbuild_tree::Kind) -> FileKind {
    use rbuild_tree::Kind;
    match kind {
        Kind::File { .. } => FileKind::File,
        Kind::Directory(_) => FileKind::Directory,
        Kind::Symlink(_) => FileKind::Symlink,
        Kind::CharDevice(_) => FileKind::CharDevice,
        Kind::BlockDevice(_) => FileKind::BlockDevice,
        Kind::Fifo => FileKind::Fifo,
        Kind::Socket => FileKind::Socket,
    }
}

impl Slots {
    pub fn is_empty(&self) -> bool {
        self.by_sequence.is_empty()
    }

    pub fn get(&self, name: &[u8]) -> Option<&Slot> {
        self.by_sequence.get(self.by_name.get(name)?)
    }

    pub fn get_mut(&mut self, name: &[u8]) -> Option<&mut Slot> {
        self.by_sequence.get_mut(self.by_name.get(name)?)
    }

    /// Adds a name that is not there, at the end.
    pub fn push(&mut self, slot: Slot) {
        let sequence = self.next;
        self.next += 1;
        self.by_name.insert(Arc::clone(&slot.name), sequence);
        self.by_sequence.insert(sequence, slot);
    }

    pub fn remove(&mut self, name: &[u8]) -> Option<Slot> {
        let sequence = self.by_name.remove(name)?;
        self.by_sequence.remove(&sequence)
    }

    /// Puts a node under a name: in place of what was there, so that a listing under way sees the name once.
    pub fn put(&mut self, name: &Name, kind: FileKind, node: Arc<Node>) {
        match self.get_mut(name) {
            Some(slot) => (slot.kind, slot.node) = (kind, Some(node)),
            None => self.push(Slot { name: Arc::clone(name), kind, node: Some(node) }),
        }
    }

    /// The names from a cookie on, with theirs.
    pub fn after(&self, cookie: u64) -> impl Iterator<Item = (u64, &Slot)> {
        self.by_sequence.range(cookie.saturating_add(1)..).map(|(sequence, slot)| (*sequence, slot))
    }

    /// All names, in the order of listings.
    pub fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.by_sequence.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(name: &[u8]) -> Slot {
        Slot { name: name.into(), kind: FileKind::File, node: None }
    }

    #[test]
    fn cookies_survive_deletion_and_addition() {
        let mut slots = Slots { next: FIRST_COOKIE, ..Slots::default() };
        for name in 0..10_u8 {
            slots.push(slot(&[name]));
        }
        let (cookie, _) =
            slots.after(0).nth(4).map(|(cookie, slot)| (cookie, slot.clone())).unwrap_or((0, slot(b"")));
        (0..4_u8).for_each(|name| drop(slots.remove(&[name])));
        slots.remove(&[6]);
        slots.push(slot(b"new"));
        let rest: Vec<&[u8]> = slots.after(cookie).map(|(_, slot)| &*slot.name).collect();
        assert_eq!(rest, [&[5][..], &[7], &[8], &[9], b"new"]);
        assert!(slots.after(u64::MAX).next().is_none());
    }
}
