//! Which folders a stack is made of: those of what a snapshot was made from, as far as that is known, and the difference.

use super::{
    Checkouts, checks,
    fill::Bytes,
    hand::Hand,
    in_memory, kept,
    layer::{self, Trees},
    locked, open_folder,
};
use crate::error::Result;
use rbuild_sandbox::Memory;
use rbuild_tree::{Kind, ObjectId, Snapshot, SnapshotId, TreePath, walk};
use std::{collections::HashSet, os::fd::AsFd, path::PathBuf};

/// More than this on top of each other, and the next one lies on the lowest: every look-up asks them all, and the kernel
/// takes no longer list than fits a page.
const HIGHEST: usize = 40;

/// A difference of less is made as fast as it is found: entries, and bytes of files.
const WORTH_KEEPING: (usize, u64) = (300, 16 << 20);

impl Checkouts {
    /// The stack that shows a snapshot, made if there is none.
    pub(super) fn stack(&self, hand: &Hand, snapshot: &Snapshot) -> Result<Stack> {
        let id = snapshot.id();
        let slot = locked(&self.stacks).entry(id).or_default().clone();
        // Whoever wants the same waits; what it is made from was there before it, so nobody waits in a circle.
        let mut made = locked(&slot);
        if let Some(stack) = &*made {
            return Ok(stack.clone());
        }
        let stack = match self.below(id) {
            Some(below) => self.over(hand, (id, snapshot), below)?,
            None => self.whole(hand, id, snapshot)?,
        };
        *made = Some(stack.clone());
        Ok(stack)
    }

    /// What a snapshot's stack is to lie on: the nearest of those it was made from that has one, or else the first of all.
    fn below(&self, id: SnapshotId) -> Option<(SnapshotId, Snapshot)> {
        if kept::is_there(&self.store, &self.name(id, None)) {
            return None;
        }
        let origins = locked(&self.origins).clone();
        let of = |id: &SnapshotId| origins.get(id).cloned();
        if let Some(origin) = of(&id)
            && kept::is_there(&self.store, &self.name(id, Some(origin.0)))
        {
            return Some(origin);
        }
        let ancestors: Vec<_> = std::iter::successors(of(&id), |(id, _)| of(id)).collect();
        let near = ancestors.iter().take_while(|(id, _)| self.height(*id) < HIGHEST);
        let near = near.into_iter().find(|(id, _)| {
            let origin = of(id).map(|(id, _)| id);
            self.height(*id) > 0
                || kept::is_there(&self.store, &self.name(*id, None))
                || origin.is_some_and(|origin| kept::is_there(&self.store, &self.name(*id, Some(origin))))
        });
        near.or(ancestors.last()).cloned()
    }

    /// How many folders the stack of a snapshot has that is there or being made; 0 if there is none.
    fn height(&self, id: SnapshotId) -> usize {
        let slot = locked(&self.stacks).get(&id).cloned();
        slot.map_or(0, |slot| match slot.try_lock() {
            Ok(made) => made.as_ref().map_or(0, Stack::height),
            Err(_) => 1,
        })
    }

    fn name(&self, above: SnapshotId, below: Option<SnapshotId>) -> String {
        kept::name(&self.ids, self.objects.is_some(), above, below)
    }

    fn whole(&self, hand: &Hand, id: SnapshotId, snapshot: &Snapshot) -> Result<Stack> {
        let trees = Trees::new(&self.store);
        let name = self.name(id, None);
        if let Some(kept) = kept::take(&self.store, &name) {
            self.checks.begin(&self.store, &kept.objects);
            return Ok(Stack::from(self.hold(kept)));
        }
        let Contents { memory, objects } = match self.bytes() {
            Bytes::Shared(_) => contents(&trees, snapshot)?,
            Bytes::Copied => Contents::default(),
        };
        if let Some(memory) = self.lay_in_memory(hand, &trees, snapshot, memory, &name)? {
            self.checks.begin_with(&self.store, objects);
            return Ok(Stack { folders: Vec::new(), memory: Some(memory) });
        }
        checks::check(&self.store, objects.iter().copied())?;
        self.make_and_keep(hand, &trees, snapshot, (self.bytes(), &objects), &name).map(Stack::from)
    }

    /// A stack on that of another snapshot.
    fn over(
        &self,
        hand: &Hand,
        (id, snapshot): (SnapshotId, &Snapshot),
        (below_id, below): (SnapshotId, Snapshot),
    ) -> Result<Stack> {
        let on = |top: PathBuf| Ok(self.stack(hand, &below)?.under(top));
        let name = self.name(id, Some(below_id));
        if let Some(kept) = kept::take(&self.store, &name) {
            return on(self.hold(kept));
        }
        let trees = Trees::new(&self.store);
        let layer = layer::difference(&trees, &below, snapshot)?;
        let origin = locked(&self.origins).get(&id).cloned();
        match origin.filter(|_| is_worth_keeping(&trees, &layer).unwrap_or(false)) {
            // What is kept is looked for over this one only.
            Some(origin) if origin.0 != below_id => self.over(hand, (id, snapshot), origin),
            Some(_) => on(self.make_and_keep(hand, &trees, &layer, (Bytes::Copied, &[]), &name)?),
            None => on(self.folder(hand, &trees, &layer, Bytes::Copied)?),
        }
    }

    fn make_and_keep(
        &self,
        hand: &Hand,
        trees: &Trees<'_>,
        tree: &Snapshot,
        (bytes, objects): (Bytes<'_>, &[ObjectId]),
        name: &str,
    ) -> Result<PathBuf> {
        kept::tidy(&self.store, hand);
        let scratch = self.store.scratch().fresh_folder()?;
        let folder = kept::folder_in(&scratch);
        self.make_folder(&folder)?;
        self.fill(hand, trees, tree, open_folder(&folder)?.as_fd(), bytes)?;
        match kept::keep(&self.store, &scratch, name, objects) {
            Ok(kept) => Ok(self.hold(kept)),
            // Another process was faster, or there is no room: it serves this build.
            Err(error) => {
                tracing::debug!(?folder, %error, "a folder is not kept");
                Ok(folder)
            }
        }
    }

    fn hold(&self, kept: kept::Kept) -> PathBuf {
        let folder = kept.folder.clone();
        locked(&self.kept).push(kept);
        folder
    }
}

/// What a mount shows.
pub struct Shown {
    /// The tree.
    pub tree: Snapshot,
    /// Places for other mounts, directories or files, that are no part of it where it has none.
    pub lent: Vec<(TreePath, bool)>,
}

/// What shows a snapshot together.
#[derive(Clone)]
pub(super) struct Stack {
    /// The uppermost first.
    pub(super) folders: Vec<PathBuf>,
    /// What lies below them all, where that is not on the disk.
    pub(super) memory: Option<Memory>,
}

impl Stack {
    /// The same with a folder on top.
    pub(super) fn under(mut self, top: PathBuf) -> Self {
        self.folders.insert(0, top);
        self
    }

    fn height(&self) -> usize {
        self.folders.len() + usize::from(self.memory.is_some())
    }
}

impl From<PathBuf> for Stack {
    fn from(folder: PathBuf) -> Self {
        Self { folders: vec![folder], memory: None }
    }
}

/// What a tree has.
#[derive(Default)]
struct Contents {
    /// The bytes that its entries would take in memory.
    memory: u64,
    /// What its files are made of, each once.
    objects: Vec<ObjectId>,
}

fn contents(trees: &Trees<'_>, snapshot: &Snapshot) -> rbuild_tree::Result<Contents> {
    let (mut memory, mut objects) = (in_memory::weight(&snapshot.root), HashSet::new());
    walk(trees, &snapshot.tree, &mut |_, entry| {
        memory += in_memory::weight(&entry.metadata);
        if let Kind::File { object, size: 1.. } = entry.kind {
            objects.insert(object);
        }
        Ok(())
    })?;
    Ok(Contents { memory, objects: objects.into_iter().collect() })
}

fn is_worth_keeping(trees: &Trees<'_>, layer: &Snapshot) -> rbuild_tree::Result<bool> {
    let (mut entries, mut bytes) = (0, 0);
    walk(trees, &layer.tree, &mut |_, entry| {
        entries += 1;
        if let Kind::File { size, .. } = entry.kind {
            bytes += size;
        }
        Ok(())
    })?;
    Ok(entries >= WORTH_KEEPING.0 || bytes >= WORTH_KEEPING.1)
}
