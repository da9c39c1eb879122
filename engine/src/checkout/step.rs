//! The folders of one step's mounts.

use super::{
    Bytes, Checkouts, Hand, Stack, changes,
    layer::{self, Trees},
};
use crate::error::Result;
use rbuild_sandbox::{Mount, Upper};
use rbuild_tree::{Delta, Snapshot, Timestamp, TreePath};
use std::{path::PathBuf, sync::Arc};

/// What a mount shows.
pub struct Shown {
    /// The tree.
    pub tree: Snapshot,
    /// Places for other mounts, directories or files, that are no part of it where it has none.
    pub lent: Vec<(TreePath, bool)>,
}

/// The folders of a step, removed when dropped.
pub struct StepFolders<'a> {
    checkouts: &'a Checkouts,
    hand: Arc<Hand>,
    folders: Vec<PathBuf>,
    /// The first is the root.
    uppers: Vec<Changes>,
}

/// Where the changes of a mount go.
pub(super) struct Changes {
    pub(super) shown: Shown,
    pub(super) stack: Stack,
    pub(super) folder: PathBuf,
    /// Whether files of several names lay in it from the start.
    pub(super) keeps_links: bool,
}

impl<'a> StepFolders<'a> {
    /// Puts overlay mounts in the place of the FUSE mounts of a set-up; `shown` says what each shows, in order.
    ///
    /// # Errors
    /// The machine refuses, the store lacks something, the disk is full.
    pub fn make(checkouts: &'a Checkouts, mounts: &mut [Mount], shown: Vec<Shown>) -> Result<Self> {
        let hand = checkouts.hand()?;
        let mut step = Self { checkouts, hand, folders: Vec::new(), uppers: Vec::new() };
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
        let mut lower = vec![self.checkouts.ground(&self.hand, &trees, &ground)?];
        lower.extend(self.checkouts.stack(&self.hand, &shown.tree)?);
        let mut upper = None;
        if !read_only {
            let linked = layer::upper(&trees, &shown.tree)?;
            let keeps_links = linked.is_some();
            // The root directory that is seen is the uppermost one.
            let empty = || Snapshot { root: shown.tree.root.clone(), ..Snapshot::scratch() };
            let changes = self.folder(&trees, &linked.unwrap_or_else(empty))?;
            let work = self.checkouts.empty_folder()?;
            self.folders.push(work.clone());
            let (stack, folder) = (lower.clone(), changes.clone());
            self.uppers.push(Changes { shown, stack, folder, keeps_links });
            upper = Some(Upper { changes, work });
        }
        let data = self.checkouts.objects.clone();
        Ok(Mount::Overlay { target, source, lower, data, upper })
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
