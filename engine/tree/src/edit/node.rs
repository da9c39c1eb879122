//! The directories an editor has looked at.
//!
//! A node is never moved or freed while the editor lives: a removed directory's nodes are just not reachable any more.
//! A node that changed has only changed ancestors, so marking stops at the first one that is marked already.

use super::{Editor, Found, FoundKind, at};
use crate::{Entry, Kind, Metadata, Result, Tree, TreeId, TreePath, tree::Name, walk};
use std::{collections::BTreeMap, sync::Arc};

/// The root directory's place in the list.
pub(super) const ROOT: usize = 0;

/// A directory that was looked at.
pub(super) struct Node {
    parent: usize,
    pub(super) metadata: Metadata,
    /// The digest of `lower`: right while nothing is marked changed.
    id: TreeId,
    /// As it is in the store; none until first looked at.
    lower: Option<Arc<Tree>>,
    /// What is different or being looked at; `None` is a name that is gone.
    over: BTreeMap<Name, Option<Slot>>,
    changed: bool,
}

/// What a name is, if it is not as in the store.
pub(super) enum Slot {
    /// This.
    Entry(Entry),
    /// A directory with a node of its own.
    Open(usize),
}

/// What a name is.
pub(super) enum View<'a> {
    /// This; a directory that nobody looked into yet, or no directory.
    Entry(&'a Entry),
    /// A directory with a node of its own.
    Open(usize),
}

/// Where a path leads without following links.
pub(super) enum Descent {
    /// A directory: its node.
    Directory(usize),
    /// Nowhere: this is the first path that does not exist.
    Missing(TreePath),
    /// This is no directory but such a thing.
    Blocked(TreePath, &'static str),
}

impl Node {
    pub(super) fn stored(parent: usize, metadata: Metadata, id: TreeId) -> Self {
        Self { parent, metadata, id, lower: None, over: BTreeMap::new(), changed: false }
    }

    fn has(&self, name: &[u8]) -> bool {
        match self.over.get(name) {
            Some(slot) => slot.is_some(),
            None => self.stored_entry(name).is_some(),
        }
    }

    fn stored_entry(&self, name: &[u8]) -> Option<&Entry> {
        self.lower.as_ref().and_then(|tree| tree.get(name))
    }
}

impl Editor<'_> {
    /// Fetches the stored part of a directory, once.
    pub(super) fn load(&mut self, node: usize) -> Result<()> {
        if self.nodes[node].lower.is_none() {
            self.nodes[node].lower = Some(walk::fetch(self.store, &self.nodes[node].id)?);
        }
        Ok(())
    }

    /// What `name` is in a directory.
    pub(super) fn view(&mut self, node: usize, name: &[u8]) -> Result<Option<View<'_>>> {
        self.load(node)?;
        let node = &self.nodes[node];
        Ok(match node.over.get(name) {
            Some(None) => None,
            Some(Some(Slot::Open(child))) => Some(View::Open(*child)),
            Some(Some(Slot::Entry(entry))) => Some(View::Entry(entry)),
            None => node.stored_entry(name).map(View::Entry),
        })
    }

    /// All of a directory that is loaded, sorted.
    pub(super) fn views(&self, node: usize) -> Vec<(&[u8], View<'_>)> {
        let node = &self.nodes[node];
        let lower = node.lower.iter().flat_map(|tree| tree.iter());
        let kept = lower.filter(|(name, _)| node.over.is_empty() || !node.over.contains_key(*name));
        let over = node.over.iter().filter_map(|(name, slot)| {
            let view = match slot.as_ref()? {
                Slot::Entry(entry) => View::Entry(entry),
                Slot::Open(child) => View::Open(*child),
            };
            Some((&**name, view))
        });
        let mut all: Vec<_> = kept.map(|(name, entry)| (name, View::Entry(entry))).chain(over).collect();
        // Two sorted runs: a stable sort merges them.
        all.sort_by_key(|(name, _)| *name);
        all
    }

    pub(super) fn found(&mut self, node: usize, name: &[u8]) -> Result<Option<Found>> {
        let found = match self.view(node, name)? {
            None => return Ok(None),
            Some(View::Entry(entry)) => found_entry(entry),
            Some(View::Open(child)) => self.found_directory(child),
        };
        Ok(Some(found))
    }

    pub(super) fn found_directory(&self, node: usize) -> Found {
        Found { metadata: self.nodes[node].metadata.clone(), kind: FoundKind::Directory }
    }

    pub(super) fn found_view(&self, view: &View<'_>) -> Found {
        match view {
            View::Entry(entry) => found_entry(entry),
            View::Open(child) => self.found_directory(*child),
        }
    }

    /// Follows a path down, giving each directory on the way a node.
    pub(super) fn descend(&mut self, path: &TreePath) -> Result<Descent> {
        let mut node = ROOT;
        for (depth, name) in path.names().enumerate() {
            let here = || path.names().take(depth + 1).fold(TreePath::root(), |path, name| path.join(name));
            match self.enter(node, name)? {
                Descent::Directory(child) => node = child,
                Descent::Missing(_) => return Ok(Descent::Missing(here())),
                Descent::Blocked(_, word) => return Ok(Descent::Blocked(here(), word)),
            }
        }
        Ok(Descent::Directory(node))
    }

    /// One name further down; the paths of the answer are left empty.
    pub(super) fn enter(&mut self, node: usize, name: &[u8]) -> Result<Descent> {
        let (metadata, tree) = match self.view(node, name)? {
            None => return Ok(Descent::Missing(TreePath::root())),
            Some(View::Open(child)) => return Ok(Descent::Directory(child)),
            Some(View::Entry(entry)) => match &entry.kind {
                Kind::Directory(tree) => (entry.metadata.clone(), *tree),
                other => return Ok(Descent::Blocked(TreePath::root(), other.word())),
            },
        };
        let child = self.nodes.len();
        self.nodes.push(Node::stored(node, metadata, tree));
        self.nodes[node].over.insert(name.into(), Some(Slot::Open(child)));
        Ok(Descent::Directory(child))
    }

    /// The node of a directory that must be there.
    pub(super) fn directory(&mut self, path: &TreePath) -> Result<usize> {
        match self.descend(path)? {
            Descent::Directory(node) => Ok(node),
            Descent::Missing(here) => Err(at(&here, "does not exist")),
            Descent::Blocked(here, word) => Err(at(&here, format!("is a {word}, not a directory"))),
        }
    }

    /// Makes `name` something else, or nothing.
    pub(super) fn put(&mut self, node: usize, name: &[u8], slot: Option<Slot>) -> Result<()> {
        self.load(node)?;
        let directory = &mut self.nodes[node];
        if let Some(time) = self.touch
            && directory.has(name) != slot.is_some()
        {
            directory.metadata.mtime = time;
        }
        if slot.is_none() && directory.stored_entry(name).is_none() {
            directory.over.remove(name);
        } else {
            directory.over.insert(name.into(), slot);
        }
        self.mark_changed(node);
        Ok(())
    }

    pub(super) fn mark_changed(&mut self, mut node: usize) {
        while !self.nodes[node].changed {
            self.nodes[node].changed = true;
            node = self.nodes[node].parent;
        }
    }

    /// The entry of a directory, written if it changed.
    pub(super) fn written(&mut self, node: usize) -> Result<Entry> {
        let kind = Kind::Directory(self.flush(node)?);
        Ok(Entry { metadata: self.nodes[node].metadata.clone(), kind })
    }

    /// Writes what changed in a directory and below; the deepest first.
    pub(super) fn flush(&mut self, node: usize) -> Result<TreeId> {
        let mut order = vec![node];
        let mut next = 0;
        while let Some(&node) = order.get(next) {
            let open = self.nodes[node].over.values().filter_map(|slot| match slot {
                Some(Slot::Open(child)) => Some(*child),
                _ => None,
            });
            order.extend(open.filter(|child| self.nodes[*child].changed));
            next += 1;
        }
        for node in order.into_iter().rev() {
            self.write(node)?;
        }
        Ok(self.nodes[node].id)
    }

    fn write(&mut self, node: usize) -> Result<()> {
        if !self.nodes[node].changed {
            return Ok(());
        }
        let entries = self.views(node).into_iter().map(|(name, view)| {
            let entry = match view {
                View::Entry(entry) => entry.clone(),
                View::Open(child) => {
                    let child = &self.nodes[child];
                    Entry { metadata: child.metadata.clone(), kind: Kind::Directory(child.id) }
                }
            };
            (Name::from(name), entry)
        });
        let tree = Tree::from_sorted(entries.collect());
        let id = self.store.put_tree(&tree)?;
        let node = &mut self.nodes[node];
        node.over.retain(|_, slot| matches!(slot, Some(Slot::Open(_))));
        (node.id, node.lower, node.changed) = (id, Some(Arc::new(tree)), false);
        Ok(())
    }
}

fn found_entry(entry: &Entry) -> Found {
    let kind = match &entry.kind {
        Kind::Directory(_) => FoundKind::Directory,
        kind => FoundKind::Leaf(kind.clone()),
    };
    Found { metadata: entry.metadata.clone(), kind }
}
