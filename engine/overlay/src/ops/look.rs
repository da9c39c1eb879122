//! Looking without changing.

use crate::{
    Errno, FileKind, NodeId, Overlay, Stat,
    namespace::check_name,
    node::{Body, Name, Node},
    slots::{FIRST_COOKIE, Slot},
    table::{Known, Listed as Told, lower_id},
};
use std::sync::Arc;

/// Entries that are fetched from a directory at once.
const BATCH: usize = 128;

/// One entry of a listing.
#[derive(Debug)]
pub struct Listed<'a> {
    /// Its name; also `.` and `..`.
    pub name: &'a [u8],
    /// Where a listing goes on after it.
    pub cookie: u64,
    /// All of it.
    pub stat: Stat,
    /// Whether it counts as looked up, where that is asked for. `.` and `..` do not, nor does what can't be looked at:
    /// of that only the number and the kind are told.
    pub counts: bool,
}

/// What statfs(2) says, in blocks of `block_size` bytes.
#[derive(Clone, Copy, Debug)]
pub struct Filesystem {
    /// Bytes in a block.
    pub block_size: u64,
    /// All blocks of the filesystem of the scratch folder.
    pub blocks: u64,
    /// Its free ones.
    pub free: u64,
    /// Those an ordinary user may have.
    pub available: u64,
    /// Its inodes.
    pub files: u64,
    /// Its free inodes.
    pub free_files: u64,
}

impl Overlay {
    /// What `name` is in `parent`.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR, ENAMETOOLONG, EINVAL for what is no name, EACCES and EIO if the lower can't be read.
    pub fn lookup(&self, parent: NodeId, name: &[u8]) -> Result<Stat, Errno> {
        check_name(name)?;
        let directory = self.node(parent)?;
        let child = self.seen_child(&directory, name)?.ok_or(Errno::NOENT)?;
        Ok(self.answer(&child))
    }

    /// A child whose look-up is in the trace.
    pub(crate) fn seen_child(&self, directory: &Arc<Node>, name: &[u8]) -> Result<Option<Arc<Node>>, Errno> {
        let child = self.child(directory, name)?;
        self.saw_name(directory, name, child.as_ref());
        Ok(child)
    }

    /// Takes back `count` look-ups. With its last a node without a name vanishes, and its bytes with it; one that is as a
    /// tree of the lower has it is given back too, and made again with the same number when somebody asks.
    ///
    /// What was changed stays, and what a live directory has: what was seen of it must be the same when it is looked up
    /// again. That is some 600 bytes a file, no descriptor.
    pub fn forget(&self, id: NodeId, count: u64) {
        if let Some(node) = self.0.table.forget(id, count).filter(|node| node.id != NodeId::ROOT) {
            self.0.table.release(&node);
            self.unlearn(&node);
        }
    }

    /// Gives back the memory of a node that is as a tree of the lower has it. It is made again, with the same number,
    /// when somebody asks for it.
    fn unlearn(&self, node: &Arc<Node>) {
        let Some((above, name)) = node.lock().links.first().cloned() else { return };
        let Some(above) = self.0.table.get(above) else { return };
        // Nobody can get at the node while this is locked but by its number, and that is the table's.
        let mut guard = above.lock();
        let Some(slots) = guard.directory_mut().and_then(|directory| directory.slots.as_mut()) else {
            return;
        };
        let Some(sequence) = slots.sequence_of(&name, node) else { return };
        let (is_pristine, is_directory) = {
            let inode = node.lock();
            (inode.is_pristine(), inode.is_directory())
        };
        let from = Told { directory: above.id, sequence };
        if is_pristine && self.0.table.unlearn(node, from, is_directory) {
            slots.unlearn(&name);
        }
    }

    /// What stat(2) says.
    ///
    /// # Errors
    /// ESTALE.
    pub fn getattr(&self, id: NodeId) -> Result<Stat, Errno> {
        let node = self.node(id)?;
        let inode = node.lock();
        Ok(inode.stat(id))
    }

    /// Owner and group, for which a file that was only listed needs no node.
    ///
    /// # Errors
    /// ESTALE.
    pub fn owner(&self, id: NodeId) -> Result<(u32, u32), Errno> {
        if let Known::Listed(listed) = self.0.table.find(id)
            && let (directory, Some(name)) = self.listed_name(listed)?
            && let Some(stat) = self.peek(&directory, &name)?
        {
            return Ok((stat.uid, stat.gid));
        }
        let stat = self.getattr(id)?;
        Ok((stat.uid, stat.gid))
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// EINVAL if it is none.
    pub fn readlink(&self, id: NodeId) -> Result<Vec<u8>, Errno> {
        let node = self.node(id)?;
        let inode = node.lock();
        self.saw_attributes(&inode);
        match &inode.body {
            Body::Symlink(target) => Ok(target.to_vec()),
            _ => Err(Errno::INVAL),
        }
    }

    /// Lists a directory from behind `cookie` on (0: from the start) until `take` answers false, which means that it
    /// did not take the entry. Cookies stay right whatever is made or removed meanwhile. With `count`, what is taken
    /// counts as looked up.
    ///
    /// # Errors
    /// ENOTDIR; EACCES and EIO if the lower can't be read.
    pub fn readdir(
        &self,
        id: NodeId,
        cookie: u64,
        count: bool,
        take: &mut dyn FnMut(&Listed<'_>) -> bool,
    ) -> Result<(), Errno> {
        let directory = self.node(id)?;
        drop(self.directory(&directory)?);
        self.saw_listing(&directory);
        if cookie < FIRST_COOKIE && !self.list_dots(&directory, cookie, take)? {
            return Ok(());
        }
        let mut after = cookie.max(FIRST_COOKIE - 1);
        loop {
            let batch: Vec<Slot<Name>> = {
                let guard = self.directory(&directory)?;
                let slots = guard.directory().and_then(|d| d.slots.as_ref()).ok_or(Errno::IO)?;
                slots.after(after).take(BATCH).map(|slot| slot.to_owned()).collect()
            };
            let Some(last) = batch.last() else { return Ok(()) };
            after = last.sequence;
            for slot in batch {
                if !self.list_slot(&directory, &slot, count, take) {
                    return Ok(());
                }
            }
        }
    }

    fn list_dots(
        &self,
        directory: &Arc<Node>,
        cookie: u64,
        take: &mut dyn FnMut(&Listed<'_>) -> bool,
    ) -> Result<bool, Errno> {
        let above = self.node(directory.parent()).unwrap_or_else(|_| Arc::clone(directory));
        let dots: [(&[u8], &Arc<Node>, u64); 2] = [(b".", directory, 1), (b"..", &above, 2)];
        for (name, node, own) in dots.into_iter().filter(|(.., own)| *own > cookie) {
            let stat = node.lock().stat(node.id);
            if !take(&Listed { name, cookie: own, stat, counts: false }) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// One entry of a listing. Most files are only ever listed: their nodes are made when somebody asks for them.
    fn list_slot(
        &self,
        directory: &Arc<Node>,
        slot: &Slot<Name>,
        count: bool,
        take: &mut dyn FnMut(&Listed<'_>) -> bool,
    ) -> bool {
        let mut take = |stat, counts| take(&Listed { name: &slot.name, cookie: slot.sequence, stat, counts });
        let node = match &slot.node {
            Some(node) => Arc::clone(node),
            None => {
                let told = Told { directory: directory.id, sequence: slot.sequence };
                if count
                    && let Ok(Some(stat)) = self.peek(directory, &slot.name)
                    && self.0.table.tell(stat.id, told)
                {
                    let taken = take(stat, true);
                    if !taken {
                        self.forget(stat.id, 1);
                    }
                    return taken;
                }
                match self.child(directory, &slot.name) {
                    Ok(Some(node)) => node,
                    Ok(None) => return true,
                    // A mount of another user: as everywhere, its name is listed all the same.
                    Err(_) => {
                        return take(Stat::unknown(lower_id(directory.id, &slot.name), slot.kind), false);
                    }
                }
            }
        };
        let stat = node.lock().stat(node.id);
        let taken = take(stat, true);
        if taken && count {
            node.count_lookup();
        }
        taken
    }

    /// How much room there is: that of the scratch folder.
    ///
    /// # Errors
    /// The scratch folder is gone.
    pub fn statfs(&self) -> Result<Filesystem, Errno> {
        let stat = rustix::fs::statvfs(self.0.scratch.path())?;
        Ok(Filesystem {
            block_size: stat.f_frsize.max(512),
            blocks: stat.f_blocks,
            free: stat.f_bfree,
            available: stat.f_bavail,
            // Filesystems without a fixed number of inodes say 0, which programs take for "none left".
            files: stat.f_files.max(1 << 20),
            free_files: if stat.f_files == 0 { 1 << 20 } else { stat.f_ffree },
        })
    }

    /// The kind of a node, for callers that only have its number.
    pub(crate) fn kind(&self, id: NodeId) -> Result<FileKind, Errno> {
        Ok(self.node(id)?.lock().kind())
    }
}
