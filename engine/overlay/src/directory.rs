//! A directory: where its entries come from, what they are now, and which of them may differ from the lower's.

use crate::{FileKind, node::Name, slots::Slots};
use rbuild_tree::{Change, Tree, TreeId, tree};
use std::{
    collections::{BTreeMap, BTreeSet},
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

    /// Whether a tree has all of it and nobody has a node of what is in it.
    pub fn is_pristine(&self) -> bool {
        matches!(self.source, Source::Tree(..))
            && !self.removed
            && self.changed.is_empty()
            && self.pending.is_empty()
            && self.slots.as_ref().is_none_or(Slots::is_pristine)
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
        self.slots = Some(match &self.source {
            Source::New => Slots::of_names([]),
            Source::Tree(_, tree) => Slots::of_tree(tree),
            Source::Live(names) => Slots::of_names(self.changed_names(names.as_deref())),
        });
    }

    /// The names of a live directory after what earlier steps did.
    fn changed_names(&self, names: Option<&Vec<(tree::Name, FileKind)>>) -> Vec<(Name, FileKind)> {
        let mut names: BTreeMap<tree::Name, FileKind> = names.into_iter().flatten().cloned().collect();
        for (name, change) in &self.pending {
            match change {
                Change::Removed => drop(names.remove(name)),
                Change::Replaced(entry) => drop(names.insert(name.clone(), kind_of(&entry.kind))),
                Change::Directory(_) => drop(names.insert(name.clone(), FileKind::Directory)),
            }
        }
        names.into_iter().map(|(name, kind)| (name.into(), kind)).collect()
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
