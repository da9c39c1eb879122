//! Making something new.

use super::{acl, xattr};
use crate::{
    Caller, Errno, FileKind, NodeId, Overlay, Stat,
    content::Data,
    directory::{Directory, Source},
    namespace::{check_depth, check_name},
    node::{Body, Inode, Name, Node, now},
    scratch::Inline,
};
use rbuild_tree::{Device, Metadata, Xattrs};
use std::sync::Arc;

/// What mknod(2) makes. Devices are data: they can't be opened through the mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// An empty regular file.
    File,
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
    /// A socket's name.
    Socket,
}

const SET_GROUP: u32 = 0o2000;

impl Overlay {
    /// Makes a file, device, pipe or socket; `mode` before the umask.
    ///
    /// # Errors
    /// EEXIST, ENOENT if `parent` was removed, ENOTDIR, EROFS, ENAMETOOLONG, EINVAL for what is no name, ENOSPC if an
    /// ACL that it inherits is too much.
    pub fn mknod(
        &self,
        parent: NodeId,
        name: &[u8],
        special: Special,
        mode: u32,
        caller: &Caller,
    ) -> Result<Stat, Errno> {
        let body = match special {
            Special::File => Body::File(Data::Inline(Inline::new(&self.0.budget))),
            Special::CharDevice(device) => Body::CharDevice(device),
            Special::BlockDevice(device) => Body::BlockDevice(device),
            Special::Fifo => Body::Fifo,
            Special::Socket => Body::Socket,
        };
        self.make(parent, name, body, mode, caller)
    }

    /// Makes a regular file, or finds the one that is there unless that must not be.
    ///
    /// # Errors
    /// As [`mknod`](Self::mknod); EEXIST only if `exclusive` or something else is there.
    pub fn create(
        &self,
        parent: NodeId,
        name: &[u8],
        mode: u32,
        exclusive: bool,
        caller: &Caller,
    ) -> Result<Stat, Errno> {
        let made = self.mknod(parent, name, Special::File, mode, caller);
        if made != Err(Errno::EXIST) || exclusive {
            return made;
        }
        let there = self.lookup(parent, name)?;
        if there.kind == FileKind::File {
            return Ok(there);
        }
        self.forget(there.id, 1);
        Err(Errno::EXIST)
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// As [`mknod`](Self::mknod); ENAMETOOLONG also if it would be too deep for a delta.
    pub fn mkdir(&self, parent: NodeId, name: &[u8], mode: u32, caller: &Caller) -> Result<Stat, Errno> {
        check_depth(self.depth(parent) + 1)?;
        let body = Body::Directory(Box::new(Directory::new(Source::New)));
        self.make(parent, name, body, mode, caller)
    }

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// As [`mknod`](Self::mknod).
    pub fn symlink(
        &self,
        parent: NodeId,
        name: &[u8],
        target: &[u8],
        caller: &Caller,
    ) -> Result<Stat, Errno> {
        self.make(parent, name, Body::Symlink(target.into()), 0o777, caller)
    }

    fn make(
        &self,
        parent: NodeId,
        name: &[u8],
        body: Body,
        mode: u32,
        caller: &Caller,
    ) -> Result<Stat, Errno> {
        self.check_writable()?;
        check_name(name)?;
        let above = self.node(parent)?;
        if self.seen_child(&above, name)?.is_some() {
            return Err(Errno::EXIST);
        }
        let mut guard = self.directory(&above)?;
        check_free(&guard, name)?;
        let mut inode = heir(&guard, body, mode, caller);
        if !inode.xattrs.is_empty() {
            let bytes = xattr::size(&inode.xattrs);
            self.reserve_attributes(&mut inode, bytes)?;
        }
        let node = self.attach(&above, &mut guard, name, inode);
        self.change_entry(&above, &mut guard, &name.into());
        drop(guard);
        Ok(self.answer(&node))
    }

    /// Puts a new inode into a directory that is locked.
    pub(crate) fn attach(&self, above: &Node, guard: &mut Inode, name: &[u8], mut inode: Inode) -> Arc<Node> {
        let name = Name::from(name);
        let kind = inode.kind();
        inode.links.push((above.id, Arc::clone(&name)));
        let node = self.0.table.give_birth(above.id, &name, inode);
        self.begin_change(&node, &mut node.lock());
        if let Some(directory) = guard.directory_mut() {
            if kind == FileKind::Directory {
                directory.count_directory(true);
            }
            if let Some(slots) = &mut directory.slots {
                slots.put(&name, kind, Arc::clone(&node));
            }
        }
        node
    }

    /// Gives a node one more name.
    ///
    /// # Errors
    /// EPERM for a directory, ENOENT if it has no name any more, EMLINK, and as [`mknod`](Self::mknod).
    pub fn link(&self, id: NodeId, parent: NodeId, name: &[u8]) -> Result<Stat, Errno> {
        self.check_writable()?;
        check_name(name)?;
        let (node, above) = (self.node(id)?, self.node(parent)?);
        if self.seen_child(&above, name)?.is_some() {
            return Err(Errno::EXIST);
        }
        if node.lock().is_directory() {
            return Err(Errno::PERM);
        }
        let mut guard = self.directory(&above)?;
        check_free(&guard, name)?;
        let name = Name::from(name);
        let kind = {
            let mut inode = node.lock();
            if inode.nlink == 0 {
                return Err(Errno::NOENT);
            }
            let links = inode.nlink.checked_add(1).ok_or(Errno::MLINK)?;
            self.begin_change(&node, &mut inode);
            inode.nlink = links;
            inode.ctime = now();
            inode.links.push((above.id, Arc::clone(&name)));
            inode.kind()
        };
        if let Some(slots) = guard.directory_mut().and_then(|directory| directory.slots.as_mut()) {
            slots.put(&name, kind, Arc::clone(&node));
        }
        self.change_entry(&above, &mut guard, &name);
        drop(guard);
        Ok(self.answer(&node))
    }
}

/// Whether a name can be made in a locked directory.
pub(super) fn check_free(guard: &Inode, name: &[u8]) -> Result<(), Errno> {
    let directory = guard.directory().ok_or(Errno::NOTDIR)?;
    if directory.removed {
        return Err(Errno::NOENT);
    }
    let slots = directory.slots.as_ref().ok_or(Errno::IO)?;
    if slots.get(name).is_some() { Err(Errno::EXIST) } else { Ok(()) }
}

/// A new inode as its directory demands: group and set-group bit of a set-group directory, its default ACL or else
/// the umask.
fn heir(above: &Inode, body: Body, mode: u32, caller: &Caller) -> Inode {
    let is_directory = matches!(body, Body::Directory(_));
    let mut mode = mode & 0o7777;
    let mut xattrs = Xattrs::new();
    let default = above.xattrs.get(acl::DEFAULT).filter(|_| !matches!(body, Body::Symlink(_)));
    match (&body, default) {
        (Body::Symlink(_), _) => {}
        (_, None) => mode &= !caller.umask,
        (_, Some(default)) => {
            mode = acl::inherit(default, mode, &mut xattrs);
            if is_directory {
                xattrs.insert(acl::DEFAULT.into(), default.clone());
            }
        }
    }
    let mut gid = caller.gid;
    if above.mode & SET_GROUP != 0 {
        gid = above.gid;
        if is_directory {
            mode |= SET_GROUP;
        }
    }
    Inode::new(Metadata { mode, uid: caller.uid, gid, mtime: now(), xattrs }, body, None)
}
