//! Taking names away.

use crate::{
    Errno, NodeId, Overlay,
    namespace::check_name,
    node::{Inode, Name, Node, now},
};
use std::sync::Arc;

impl Overlay {
    /// Takes a name away from what is no directory. Its bytes live on until nobody uses them.
    ///
    /// # Errors
    /// ENOENT, EISDIR, ENOTDIR if `parent` is none, EROFS.
    pub fn unlink(&self, parent: NodeId, name: &[u8]) -> Result<(), Errno> {
        self.remove(parent, name, false)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR, ENOTEMPTY, EROFS.
    pub fn rmdir(&self, parent: NodeId, name: &[u8]) -> Result<(), Errno> {
        self.remove(parent, name, true)
    }

    fn remove(&self, parent: NodeId, name: &[u8], directory: bool) -> Result<(), Errno> {
        self.check_writable()?;
        check_name(name)?;
        let above = self.node(parent)?;
        loop {
            let victim = self.seen_child(&above, name)?.ok_or(Errno::NOENT)?;
            if directory {
                drop(self.directory(&victim)?); // so that it is listed before anything is locked
                self.saw_listing(&victim);
            }
            let mut guard = self.directory(&above)?;
            if !stands(&guard, name, &victim) {
                continue;
            }
            let name = Name::from(name);
            self.detach(&above, &victim, &name, directory)?;
            if let Some(body) = guard.directory_mut() {
                if directory {
                    body.count_directory(false);
                }
                body.slots.iter_mut().for_each(|slots| slots.remove(&name));
            }
            self.change_entry(&above, &mut guard, &name);
            drop(guard);
            self.0.table.release(&victim);
            return Ok(());
        }
    }

    /// Takes one name away from a node whose directory is locked: the last of a directory, which must be empty.
    pub(super) fn detach(
        &self,
        above: &Node,
        victim: &Arc<Node>,
        name: &Name,
        directory: bool,
    ) -> Result<(), Errno> {
        let mut inode = victim.lock();
        match (inode.is_directory(), directory) {
            (true, false) => return Err(Errno::ISDIR),
            (false, true) => return Err(Errno::NOTDIR),
            _ => {}
        }
        if inode.directory().is_some_and(|body| body.slots.as_ref().is_some_and(|slots| !slots.is_empty())) {
            return Err(Errno::NOTEMPTY);
        }
        self.begin_change(victim, &mut inode);
        match inode.directory_mut() {
            Some(body) => body.removed = true,
            None => inode.nlink = inode.nlink.saturating_sub(1),
        }
        inode.ctime = now();
        inode.links.retain(|(id, known)| *id != above.id || known != name);
        Ok(())
    }
}

/// Whether a name in a locked directory still is this node.
pub(super) fn stands(guard: &Inode, name: &[u8], node: &Arc<Node>) -> bool {
    let slots = guard.directory().and_then(|directory| directory.slots.as_ref());
    let there = slots.and_then(|slots| slots.get(name)).and_then(|slot| slot.node);
    there.is_some_and(|there| Arc::ptr_eq(&there, node))
}
