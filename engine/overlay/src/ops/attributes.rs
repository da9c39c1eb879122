//! Setting what stat(2) shows.

use super::acl;
use crate::{
    Caller, Errno, NodeId, Overlay, Stat,
    content::file_data,
    node::{Inode, Node, now},
};
use rbuild_tree::{Timestamp, entry::CAPABILITY};
use std::sync::Arc;

const SET_USER: u32 = 0o4000;
const SET_GROUP: u32 = 0o2000;
const GROUP_EXECUTE: u32 = 0o0010;

/// What setattr changes; what is none stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttributes {
    /// Permission, set-id and sticky bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size of a regular file; new bytes are zero.
    pub size: Option<u64>,
    /// Access time.
    pub atime: Option<SetTime>,
    /// Modification time.
    pub mtime: Option<SetTime>,
}

/// A time to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// That of the clock.
    Now,
    /// This one.
    At(Timestamp),
}

impl SetTime {
    fn resolve(self) -> Timestamp {
        match self {
            Self::Now => now(),
            Self::At(time) => time,
        }
    }
}

impl Overlay {
    /// Sets attributes. A change of owner clears the set-id bits and the capability of a file; a change of size the
    /// capability, and the set-id bits if `caller` is not root.
    ///
    /// # Errors
    /// EROFS, ESTALE; EISDIR or EINVAL for the size of what has none; EFBIG, ENOSPC, EIO.
    pub fn setattr(&self, id: NodeId, set: &SetAttributes, caller: &Caller) -> Result<Stat, Errno> {
        self.check_writable()?;
        let node = self.node(id)?;
        let mut inode = node.lock();
        if let Some(size) = set.size {
            self.truncate(&node, &mut inode, size)?;
            kill_privileges(&mut inode, caller.uid != 0);
        }
        self.begin_change(&node, &mut inode);
        // A request that sets nothing is chown(2) with neither an owner nor a group, which is one all the same.
        let is_chown = set.uid.is_some() || set.gid.is_some() || *set == SetAttributes::default();
        inode.uid = set.uid.unwrap_or(inode.uid);
        inode.gid = set.gid.unwrap_or(inode.gid);
        if is_chown && !inode.is_directory() {
            kill_privileges(&mut inode, true);
        }
        if let Some(mode) = set.mode {
            inode.mode = mode & 0o7777;
            acl::change_mode(&mut inode);
        }
        if let Some(time) = set.atime {
            inode.atime = Some(time.resolve());
        }
        if let Some(time) = set.mtime {
            inode.mtime = time.resolve();
            inode.dated = time != SetTime::Now;
        }
        inode.ctime = now();
        Ok(inode.stat(id))
    }

    fn truncate(&self, node: &Arc<Node>, inode: &mut Inode, size: u64) -> Result<(), Errno> {
        if i64::try_from(size).is_err() {
            return Err(Errno::FBIG);
        }
        let old = file_data(inode)?.size();
        self.begin_change(node, inode);
        if size != old {
            self.own(inode, size.min(old), size)?;
            self.resize(inode, size)?;
        }
        inode.touch();
        Ok(())
    }
}

/// Clears what a change of content or owner must: the capability, and the set-id bits if asked.
pub(super) fn kill_privileges(inode: &mut Inode, set_id: bool) {
    inode.xattrs.remove(CAPABILITY);
    if set_id {
        inode.mode &= !SET_USER;
        if inode.mode & GROUP_EXECUTE != 0 {
            inode.mode &= !SET_GROUP;
        }
    }
}
