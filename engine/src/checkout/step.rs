//! The folders of one step's mounts.

use super::{
    Bytes, Checkouts, Hand, Shown, Stack,
    changes::{self, Changes},
    foreign,
    layer::{self, Trees},
};
use crate::error::{Error, Result};
use rbuild_sandbox::{Memory, Mount, Upper};
use rbuild_supervisor::OwnerTable;
use rbuild_tree::{Delta, Snapshot, Timestamp};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// The folders of a step, removed when dropped.
pub struct StepFolders<'a> {
    checkouts: &'a Checkouts,
    hand: Arc<Hand>,
    folders: Vec<PathBuf>,
    /// The first is the root.
    uppers: Vec<Changes>,
    /// Of each mount, where there is one id.
    tables: Vec<Arc<OwnerTable>>,
    /// Those of all mounts, in order.
    memories: Vec<Memory>,
}

impl<'a> StepFolders<'a> {
    /// Puts overlay mounts in the place of the FUSE mounts of a set-up; `shown` says what each shows, in order.
    ///
    /// # Errors
    /// The machine refuses, the store lacks something, the disk is full.
    pub fn make(checkouts: &'a Checkouts, mounts: &mut [Mount], shown: Vec<Shown>) -> Result<Self> {
        let hand = checkouts.hand()?;
        let mut step = Self {
            checkouts,
            hand,
            folders: Vec::new(),
            uppers: Vec::new(),
            tables: Vec::new(),
            memories: Vec::new(),
        };
        let mut shown = shown.into_iter();
        for mount in mounts {
            if let Mount::Fuse { target, source, read_only } = mount
                && let Some(shown) = shown.next()
            {
                let (target, source) = (target.clone(), source.clone());
                *mount = step.overlay(shown, target, source, *read_only)?;
            }
        }
        Ok(step)
    }

    fn overlay(&mut self, shown: Shown, target: String, source: String, read_only: bool) -> Result<Mount> {
        let trees = Trees::new(&self.checkouts.store);
        let ground = layer::ground(&trees, &shown.tree, &shown.lent)?;
        let ground = self.checkouts.ground(&self.hand, &trees, &ground)?;
        let stack = self.checkouts.stack(&self.hand, &shown.tree)?.under(ground);
        let mut upper = None;
        if read_only {
            self.table(&trees, &shown.tree, (&target, &source), &stack, None)?;
        } else {
            let linked = layer::upper(&trees, &shown.tree)?;
            let keeps_links = linked.is_some();
            // The root directory that is seen is the uppermost one.
            let empty = || Snapshot { root: shown.tree.root.clone(), ..Snapshot::scratch() };
            let changes = self.folder(&trees, &linked.unwrap_or_else(empty))?;
            let work = self.checkouts.empty_folder()?;
            self.folders.push(work.clone());
            let owners =
                self.table(&trees, &shown.tree, (&target, &source), &stack, Some((&changes, keeps_links)))?;
            let (stack, folder) = (stack.clone(), changes.clone());
            self.uppers.push(Changes { shown, stack, folder, keeps_links, owners });
            upper = Some(Upper { changes, work });
        }
        let data = self.checkouts.objects.clone();
        let Stack { folders: lower, memory } = stack;
        let (is_in_memory, memories) = (memory.is_some(), &mut self.memories);
        memories.extend(memory);
        Ok(Mount::Overlay { target, source, lower, data, memory: is_in_memory, upper })
    }

    /// Where the owners of a mount are kept, if folders can't keep them; of one that can be changed with the folder for that,
    /// and whether files of several names lie in it.
    fn table(
        &mut self,
        trees: &Trees<'_>,
        tree: &Snapshot,
        place: (&str, &str),
        stack: &Stack,
        changes: Option<(&Path, bool)>,
    ) -> Result<Option<Arc<OwnerTable>>> {
        if !self.checkouts.ids.is_single() {
            return Ok(None);
        }
        let keeps_links = changes.is_some_and(|(_, keeps_links)| keeps_links);
        let mut foreign = foreign::all(trees, tree, keeps_links, &self.checkouts.plain)?;
        foreign::number(&stack.folders, &mut foreign);
        let folder = changes.map(|(folder, _)| folder);
        let table = OwnerTable::new(place, folder, foreign)
            .map_err(|error| Error::io("open", folder.unwrap_or(Path::new("")), error))?;
        self.tables.push(Arc::new(table));
        Ok(self.tables.last().cloned())
    }

    /// Where the owners of each mount are kept, in order; none where the folders keep them.
    pub fn tables(&self) -> &[Arc<OwnerTable>] {
        &self.tables
    }

    /// What its mounts have in memory, for the sandbox.
    pub fn memories(&self) -> &[Memory] {
        &self.memories
    }

    fn folder(&mut self, trees: &Trees<'_>, tree: &Snapshot) -> Result<PathBuf> {
        let folder = self.checkouts.folder(&self.hand, trees, tree, Bytes::Copied)?;
        self.folders.push(folder.clone());
        Ok(folder)
    }

    /// What the step changed of the root: the difference to what it was shown. Times later than `epoch` of what it wrote
    /// become `epoch`.
    ///
    /// # Errors
    /// The store can't be written; something that no tree can hold.
    pub fn changes(&self, epoch: Timestamp) -> Result<Delta> {
        self.checkouts.checks.finish()?;
        match self.uppers.first() {
            Some(root) => {
                let Checkouts { store, stopped, .. } = self.checkouts;
                changes::read(&self.hand, store, root, epoch, stopped)
            }
            None => Ok(Delta::default()),
        }
    }
}

impl Drop for StepFolders<'_> {
    fn drop(&mut self) {
        self.checkouts.remove_later(self.hand.clone(), std::mem::take(&mut self.folders));
    }
}
