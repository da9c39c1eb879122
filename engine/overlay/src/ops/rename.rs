//! Moving names.

use super::remove::stands;
use crate::{
    Errno, FileKind, NodeId, Overlay,
    namespace::{check_depth, check_name},
    node::{Body, Inode, Name, Node, now},
    slots::Slots,
};
use rbuild_tree::{Device, Metadata};
use rustix::fs::RenameFlags;
use std::sync::{Arc, MutexGuard, PoisonError};

/// One side of a rename.
struct End {
    above: Arc<Node>,
    name: Name,
    /// Whether a whiteout stays here when the name goes.
    whiteout: bool,
}

/// The two directories, locked; one guard if they are the same.
struct Guards<'a> {
    from: MutexGuard<'a, Inode>,
    to: Option<MutexGuard<'a, Inode>>,
}

impl Guards<'_> {
    fn to(&mut self) -> &mut Inode {
        match &mut self.to {
            Some(to) => to,
            None => &mut self.from,
        }
    }
}

impl Overlay {
    /// rename(2) with the flags of renameat2(2): 0, `RENAME_NOREPLACE` or `RENAME_EXCHANGE`; with `RENAME_WHITEOUT`, not
    /// for an exchange, a character device 0/0 stays under the old name, which is data here. Directories of the lower
    /// move like any other.
    ///
    /// # Errors
    /// ENOENT, EEXIST, ENOTEMPTY, EISDIR, ENOTDIR, EROFS; EINVAL for other flags and for a directory into itself;
    /// ENAMETOOLONG if it would get too deep for a delta.
    pub fn rename(
        &self,
        parent: NodeId,
        name: &[u8],
        new_parent: NodeId,
        new_name: &[u8],
        flags: u32,
    ) -> Result<(), Errno> {
        self.check_writable()?;
        check_name(name)?;
        check_name(new_name)?;
        let flags = RenameFlags::from_bits_retain(flags);
        let whiteout = flags.contains(RenameFlags::WHITEOUT) && !flags.contains(RenameFlags::EXCHANGE);
        let flags = if whiteout { flags - RenameFlags::WHITEOUT } else { flags };
        if !(flags.is_empty() || flags == RenameFlags::NOREPLACE || flags == RenameFlags::EXCHANGE) {
            return Err(Errno::INVAL);
        }
        let from = End { above: self.node(parent)?, name: name.into(), whiteout };
        let to = End { above: self.node(new_parent)?, name: new_name.into(), whiteout: false };
        let lock = || self.0.renames.lock().unwrap_or_else(PoisonError::into_inner);
        let _shape = (parent != new_parent).then(lock);
        // A second round only if somebody changed one of the names between looking and locking.
        while !self.try_rename(&from, &to, flags)? {}
        Ok(())
    }

    fn try_rename(&self, from: &End, to: &End, flags: RenameFlags) -> Result<bool, Errno> {
        let moved = self.seen_child(&from.above, &from.name)?.ok_or(Errno::NOENT)?;
        let victim = self.seen_child(&to.above, &to.name)?;
        if let Some(victim) = &victim {
            if flags == RenameFlags::NOREPLACE {
                return Err(Errno::EXIST);
            }
            if Arc::ptr_eq(victim, &moved) {
                return Ok(true);
            }
            if flags.is_empty() && victim.lock().is_directory() {
                drop(self.directory(victim)?);
                self.saw_listing(victim);
            }
        } else if flags == RenameFlags::EXCHANGE {
            return Err(Errno::NOENT);
        }
        self.check_shape(from, to, &moved, victim.as_ref(), flags)?;
        let mut guards = self.lock_both(from, to)?;
        if guards.to().directory().is_none_or(|directory| directory.removed) {
            return Err(Errno::NOENT);
        }
        let there = match &victim {
            Some(victim) => stands(guards.to(), &to.name, victim),
            None => {
                let slots = guards.to().directory().and_then(|directory| directory.slots.as_ref());
                slots.is_some_and(|slots| slots.get(&to.name).is_none())
            }
        };
        if !there || !stands(&guards.from, &from.name, &moved) {
            return Ok(false);
        }
        match victim {
            Some(victim) if flags == RenameFlags::EXCHANGE => {
                self.exchange(from, to, guards, &moved, &victim)
            }
            victim => self.replace(from, to, guards, &moved, victim.as_ref())?,
        }
        Ok(true)
    }

    /// What depends on the shape of the tree: no loops, nothing too deep, no self-deadlock in what follows.
    fn check_shape(
        &self,
        from: &End,
        to: &End,
        moved: &Arc<Node>,
        victim: Option<&Arc<Node>>,
        flags: RenameFlags,
    ) -> Result<(), Errno> {
        let exchange = flags == RenameFlags::EXCHANGE;
        let is_directory = |node: &Arc<Node>| node.lock().is_directory();
        if is_directory(moved) {
            if self.is_within(to.above.id, moved.id) {
                return Err(Errno::INVAL);
            }
            self.check_move_depth(moved, from, to)?;
        }
        let Some(victim) = victim else { return Ok(()) };
        if is_directory(victim) && self.is_within(from.above.id, victim.id) {
            return Err(if exchange { Errno::INVAL } else { Errno::NOTEMPTY });
        }
        match (exchange, is_directory(moved), is_directory(victim)) {
            (false, true, false) => Err(Errno::NOTDIR),
            (false, false, true) => Err(Errno::ISDIR),
            (true, _, true) => self.check_move_depth(victim, to, from),
            _ => Ok(()),
        }
    }

    /// Only what is in memory counts of the moved directory: what nobody looked at is as deep as the lower had it.
    fn check_move_depth(&self, moved: &Arc<Node>, from: &End, to: &End) -> Result<(), Errno> {
        let (old, new) = (self.depth(from.above.id), self.depth(to.above.id));
        if new <= old { Ok(()) } else { check_depth(new + levels(moved)) }
    }

    /// Locks both directories: an outer one before an inner one, as everybody does; of two unrelated ones either, as
    /// only one rename between directories runs at a time.
    fn lock_both<'a>(&self, from: &'a End, to: &'a End) -> Result<Guards<'a>, Errno> {
        if from.above.id == to.above.id {
            return Ok(Guards { from: self.directory(&from.above)?, to: None });
        }
        if self.is_within(from.above.id, to.above.id) {
            let outer = self.directory(&to.above)?;
            return Ok(Guards { from: self.directory(&from.above)?, to: Some(outer) });
        }
        let first = self.directory(&from.above)?;
        Ok(Guards { from: first, to: Some(self.directory(&to.above)?) })
    }

    fn replace(
        &self,
        from: &End,
        to: &End,
        mut guards: Guards<'_>,
        moved: &Arc<Node>,
        victim: Option<&Arc<Node>>,
    ) -> Result<(), Errno> {
        let kind = moved.lock().kind();
        if let Some(victim) = victim {
            let directory = kind == FileKind::Directory;
            self.detach(&to.above, victim, &to.name, directory)?;
            if directory && let Some(body) = guards.to().directory_mut() {
                body.count_directory(false);
            }
        }
        let within = guards.to.is_none();
        if let Some(slots) = guards.from.directory_mut().and_then(|directory| directory.slots.as_mut()) {
            if within {
                slots.rename(&from.name, &to.name, kind, Arc::clone(moved));
            } else {
                slots.remove(&from.name);
            }
        }
        if !within {
            self.place(guards.to(), &to.name, kind, moved);
        }
        self.moved(&mut guards, from, to, moved, kind);
        if from.whiteout {
            let body = Body::CharDevice(Device { major: 0, minor: 0 });
            let inode = Inode::new(Metadata::root(0, now()), body, None);
            self.attach(&from.above, &mut guards.from, &from.name, inode);
        }
        self.change_entry(&from.above, &mut guards.from, &from.name);
        self.change_entry(&to.above, guards.to(), &to.name);
        drop(guards);
        if let Some(victim) = victim {
            self.0.table.release(victim);
        }
        Ok(())
    }

    fn exchange(&self, from: &End, to: &End, mut guards: Guards<'_>, a: &Arc<Node>, b: &Arc<Node>) {
        let (a_kind, b_kind) = (a.lock().kind(), b.lock().kind());
        self.place(&mut guards.from, &from.name, b_kind, b);
        self.place(guards.to(), &to.name, a_kind, a);
        self.moved(&mut guards, from, to, a, a_kind);
        let (back_from, back_to) = (to, from);
        self.relink(back_from, back_to, b);
        if b_kind == FileKind::Directory && guards.to.is_some() {
            count(guards.to(), false);
            count(&mut guards.from, true);
        }
        self.change_entry(&from.above, &mut guards.from, &from.name);
        self.change_entry(&to.above, guards.to(), &to.name);
    }

    fn place(&self, guard: &mut Inode, name: &Name, kind: FileKind, node: &Arc<Node>) {
        if let Some(slots) = guard.directory_mut().and_then(|directory| directory.slots.as_mut()) {
            slots.put(name, kind, Arc::clone(node));
        }
    }

    fn moved(&self, guards: &mut Guards<'_>, from: &End, to: &End, node: &Arc<Node>, kind: FileKind) {
        self.relink(from, to, node);
        if kind == FileKind::Directory && guards.to.is_some() {
            count(&mut guards.from, false);
            count(guards.to(), true);
        }
    }

    /// Tells a node that one of its names is another now.
    fn relink(&self, from: &End, to: &End, node: &Arc<Node>) {
        let mut inode = node.lock();
        self.begin_change(node, &mut inode);
        inode.ctime = now();
        inode.lent = false; // the step wants it, and elsewhere
        let old = inode.links.iter_mut().find(|(id, name)| *id == from.above.id && *name == from.name);
        if let Some(link) = old {
            *link = (to.above.id, Arc::clone(&to.name));
        }
        if inode.is_directory() {
            node.set_parent(to.above.id);
        }
    }
}

/// How many levels of directories there are from this one down.
fn levels(top: &Arc<Node>) -> usize {
    let mut levels = 0;
    let mut level = vec![Arc::clone(top)];
    while !level.is_empty() {
        levels += 1;
        level = level.iter().flat_map(subdirectories).collect();
    }
    levels
}

fn subdirectories(node: &Arc<Node>) -> Vec<Arc<Node>> {
    let inode = node.lock();
    let slots = inode.directory().and_then(|directory| directory.slots.as_ref());
    slots
        .into_iter()
        .flat_map(Slots::iter)
        .filter(|slot| slot.kind == FileKind::Directory)
        .filter_map(|slot| slot.node)
        .collect()
}

fn count(guard: &mut Inode, gained: bool) {
    if let Some(directory) = guard.directory_mut() {
        directory.count_directory(gained);
    }
}
