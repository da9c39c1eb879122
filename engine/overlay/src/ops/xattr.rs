//! Extended attributes: `user.*` and `trusted.*` with any value (the kernel asks who may), file capabilities, and POSIX
//! ACLs.

use super::acl;
use crate::{
    Caller, Errno, NodeId, Overlay,
    node::{Inode, now},
    scratch::Reserved,
};
use rbuild_tree::{
    Xattrs,
    entry::{CAPABILITY, image_value},
};
use rustix::fs::XattrFlags;

/// Bytes of names and values that one file may have, as on ext4; more names could not be listed.
const MOST_OF_ONE: usize = 64 << 10;
/// Bytes of those that a step sets or inherits, of all files together: they are in memory until it ends.
pub(crate) const BUDGET: usize = 64 << 20;

/// Whether attributes of this name can be kept while the step runs. Commit lets fewer through.
fn is_supported(name: &[u8]) -> bool {
    [&b"user."[..], b"trusted."].iter().any(|prefix| name.starts_with(prefix) && name.len() > prefix.len())
        || [CAPABILITY, acl::ACCESS, acl::DEFAULT].contains(&name)
}

/// Whether a name is one that could be there if somebody else had set it.
fn is_known(name: &[u8]) -> bool {
    is_supported(name) || name.starts_with(b"security.")
}

impl Overlay {
    /// The value of an attribute.
    ///
    /// # Errors
    /// ENODATA, EOPNOTSUPP for names of no known kind, ESTALE.
    pub fn getxattr(&self, id: NodeId, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let node = self.node(id)?;
        let inode = node.lock();
        self.saw_attributes(&inode);
        match inode.xattrs.get(name) {
            Some(value) => Ok(value.to_vec()),
            None if is_known(name) => Err(Errno::NODATA),
            None => Err(Errno::OPNOTSUPP),
        }
    }

    /// The names, each with a NUL behind it.
    ///
    /// # Errors
    /// ESTALE.
    pub fn listxattr(&self, id: NodeId) -> Result<Vec<u8>, Errno> {
        let node = self.node(id)?;
        let inode = node.lock();
        self.saw_attributes(&inode);
        Ok(inode.xattrs.keys().flat_map(|name| name.iter().copied().chain([0])).collect())
    }

    /// Sets an attribute; flags of setxattr(2). An access ACL also sets the permission bits.
    ///
    /// # Errors
    /// EEXIST, ENODATA, EOPNOTSUPP, EINVAL for an ACL that is none, EACCES for a default ACL of what is no directory,
    /// ENOSPC if they are too many or too large, EROFS, ESTALE.
    pub fn setxattr(
        &self,
        id: NodeId,
        name: &[u8],
        value: &[u8],
        flags: u32,
        caller: &Caller,
    ) -> Result<(), Errno> {
        self.check_writable()?;
        if !is_supported(name) {
            return Err(Errno::OPNOTSUPP);
        }
        let node = self.node(id)?;
        let mut inode = node.lock();
        let flags = XattrFlags::from_bits_retain(flags);
        match inode.xattrs.contains_key(name) {
            true if flags.contains(XattrFlags::CREATE) => return Err(Errno::EXIST),
            false if flags.contains(XattrFlags::REPLACE) => return Err(Errno::NODATA),
            _ => {}
        }
        check_acl(&inode, name, value)?;
        let old = inode.xattrs.get(name).map_or(0, |value| name.len() + value.len());
        let total = (size(&inode.xattrs) - old).saturating_add(name.len() + value.len());
        self.reserve_attributes(&mut inode, total)?;
        self.begin_change(&node, &mut inode);
        if name == acl::ACCESS {
            acl::set_access(&mut inode, value, caller);
        } else {
            inode.xattrs.insert(name.into(), image_value(name, value).into());
        }
        inode.ctime = now();
        Ok(())
    }

    /// Memory for attributes of an inode that take so many bytes.
    pub(super) fn reserve_attributes(&self, inode: &mut Inode, bytes: usize) -> Result<(), Errno> {
        let reserved = inode.reserved.get_or_insert_with(|| Reserved::new(&self.0.attributes));
        if bytes <= MOST_OF_ONE && reserved.resize(bytes) { Ok(()) } else { Err(Errno::NOSPC) }
    }

    /// Takes an attribute away.
    ///
    /// # Errors
    /// ENODATA, EOPNOTSUPP, EROFS, ESTALE.
    pub fn removexattr(&self, id: NodeId, name: &[u8]) -> Result<(), Errno> {
        self.check_writable()?;
        if !is_known(name) {
            return Err(Errno::OPNOTSUPP);
        }
        let node = self.node(id)?;
        let mut inode = node.lock();
        if !inode.xattrs.contains_key(name) {
            // An ACL that is not there is as good as removed, on every filesystem.
            let is_acl = [acl::ACCESS, acl::DEFAULT].contains(&name);
            return if is_acl { Ok(()) } else { Err(Errno::NODATA) };
        }
        self.begin_change(&node, &mut inode);
        inode.xattrs.remove(name);
        let left = size(&inode.xattrs);
        if let Some(reserved) = &mut inode.reserved {
            reserved.resize(left);
        }
        inode.ctime = now();
        Ok(())
    }
}

/// Bytes of names and values.
pub(super) fn size(xattrs: &Xattrs) -> usize {
    xattrs.iter().map(|(name, value)| name.len() + value.len()).sum()
}

fn check_acl(inode: &Inode, name: &[u8], value: &[u8]) -> Result<(), Errno> {
    if ![acl::ACCESS, acl::DEFAULT].contains(&name) {
        return Ok(());
    }
    if !acl::is_valid(value) {
        return Err(Errno::INVAL);
    }
    if name == acl::DEFAULT && !inode.is_directory() { Err(Errno::ACCESS) } else { Ok(()) }
}
