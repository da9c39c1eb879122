//! What one mount of a step shows, as an overlay that knows what other mounts stand on in it.

use crate::{
    checkout::Shown,
    error::{Error, Result},
    store::Store,
};
use rbuild_overlay::{Lower, Options, Overlay};
use rbuild_tree::{Snapshot, Timestamp, TreePath, apply};
use std::{io, sync::Arc};

/// What a mount shows.
pub(super) struct Filesystem {
    pub(super) overlay: Overlay,
    /// What it is over; none over this machine's files.
    pub(super) tree: Option<Snapshot>,
    /// Where other mounts stand, and whether as directories.
    pub(super) lent: Vec<(TreePath, bool)>,
}

impl Filesystem {
    /// Opens one.
    ///
    /// # Errors
    /// Its root can't be read.
    pub(super) fn open(store: &Arc<Store>, lower: Lower, options: Options) -> Result<Self> {
        let tree = match &lower {
            Lower::Snapshot(snapshot) => Some(snapshot.clone()),
            Lower::Live(_) => None,
        };
        let store: Arc<dyn rbuild_overlay::Store> = store.clone();
        Ok(Self { overlay: Overlay::new(store, lower, options)?, tree, lent: Vec::new() })
    }

    /// Gives the mount on `target` something to stand on at `path`.
    ///
    /// # Errors
    /// Something else is there.
    pub(super) fn lend(&mut self, path: TreePath, target: &TreePath, directory: bool) -> Result<()> {
        self.overlay.lend(&path, directory).map_err(|errno| {
            let cause = io::Error::from(errno);
            Error::step("type-conflict", format!("nothing can be mounted on {target}")).caused_by(cause)
        })?;
        self.lent.push((path, directory));
        Ok(())
    }

    /// What the kernel's overlay filesystem is to show in its place.
    ///
    /// # Errors
    /// Those of the store; it is over this machine's files.
    pub(super) fn shown(&self, store: &Store, epoch: Timestamp) -> Result<Shown> {
        let tree = self.tree.as_ref().ok_or_else(|| Error::internal("this machine's files are no tree"))?;
        // A workdir that was made is there for the command, and stays.
        let tree = apply(store, tree, &self.overlay.commit(Some(epoch))?.delta)?;
        Ok(Shown { tree, lent: self.lent.clone() })
    }
}
