//! From a name to a node: loading directories and entries of the lower when they are first needed, and the rules
//! that every change of the tree shares.

use crate::{
    Errno, NodeId, Overlay, Stat,
    content::WORTH_ASKING,
    directory::Source,
    error::errno,
    lower::{Born, From, Seed},
    node::{Inode, Name, Node, Original},
    place::Place,
    table::{Known, Listed, lower_id},
    trace::recorder::lower_content,
};
use rbuild_tree::{Change, Kind, TreePath, encoding::MAX_DEPTH, tree::is_valid_name};
use std::sync::{Arc, MutexGuard, PoisonError};

/// Whether these bytes can name something.
pub(crate) fn check_name(name: &[u8]) -> Result<(), Errno> {
    if name.len() > 255 {
        return Err(Errno::NAMETOOLONG);
    }
    if is_valid_name(name) { Ok(()) } else { Err(Errno::INVAL) }
}

/// Refuses a directory deeper than what a delta can hold.
pub(crate) fn check_depth(depth: usize) -> Result<(), Errno> {
    if depth > MAX_DEPTH { Err(Errno::NAMETOOLONG) } else { Ok(()) }
}

impl Overlay {
    /// The node of a number; one that was forgotten is stale.
    pub(crate) fn node(&self, id: NodeId) -> Result<Arc<Node>, Errno> {
        if id == NodeId::ROOT {
            return Ok(Arc::clone(&self.0.root));
        }
        match self.0.table.find(id) {
            Known::Node(node) => Ok(node),
            Known::Listed(listed) => self.listed_node(id, listed),
            Known::Nothing => Err(Errno::STALE),
        }
    }

    /// The node of a number that a listing told, or that was given back.
    fn listed_node(&self, id: NodeId, listed: Listed) -> Result<Arc<Node>, Errno> {
        let (directory, name) = self.listed_name(listed)?;
        if let Some(name) = name {
            self.child(&directory, &name)?;
        }
        // Somebody else may have been faster.
        self.0.table.get(id).ok_or(Errno::STALE)
    }

    /// Where a number without a node was told.
    pub(crate) fn listed_name(&self, listed: Listed) -> Result<(Arc<Node>, Option<Name>), Errno> {
        let directory = self.node(listed.directory)?;
        let name = {
            let inode = self.directory(&directory)?;
            let slots = inode.directory().and_then(|directory| directory.slots.as_ref());
            slots.and_then(|slots| slots.listed_at(listed.sequence)).map(Name::from)
        };
        Ok((directory, name))
    }

    /// What stat(2) says of an entry of a tree that nobody has looked at, without making its node. None if it has to be
    /// made: directories, files of several names, and those that are asked for holes, once.
    pub(crate) fn peek(&self, directory: &Arc<Node>, name: &[u8]) -> Result<Option<Stat>, Errno> {
        let seed = {
            let guard = self.directory(directory)?;
            let Some(body) = guard.directory() else { return Ok(None) };
            let slot = body.slots.as_ref().and_then(|slots| slots.get(name));
            let is_listed = slot.is_some_and(|slot| slot.node.is_none());
            if !is_listed || !matches!(body.source, Source::Tree(..)) {
                return Ok(None);
            }
            seed(directory.id, &guard, name)?
        };
        let From::Entry { entry, .. } = &seed.from else { return Ok(None) };
        match entry.kind {
            Kind::Directory(_) => return Ok(None),
            Kind::File { size, .. } if size >= WORTH_ASKING => return Ok(None),
            _ => {}
        }
        let born = self.0.base.born(&*self.0.store, &seed)?;
        Ok(born.filter(|born| born.key.is_none()).map(|born| born.inode.stat(born.id)))
    }

    /// Stat of a node that the caller will know from now on.
    pub(crate) fn answer(&self, node: &Arc<Node>) -> Stat {
        node.count_lookup();
        node.lock().stat(node.id)
    }

    /// Refuses changes of a read-only mount.
    pub(crate) fn check_writable(&self) -> Result<(), Errno> {
        if self.0.read_only { Err(Errno::ROFS) } else { Ok(()) }
    }

    /// Locks a directory whose names are known; they are listed first, without the lock, if they are not.
    pub(crate) fn directory<'a>(&self, node: &'a Node) -> Result<MutexGuard<'a, Inode>, Errno> {
        let place = {
            let mut inode = node.lock();
            let place = inode.origin.as_ref().map(|origin| Arc::clone(&origin.place));
            let directory = inode.directory_mut().ok_or(Errno::NOTDIR)?;
            if !matches!(directory.source, Source::Live(None)) {
                directory.fill();
                return Ok(inode);
            }
            place.ok_or(Errno::IO)?
        };
        let live = self.0.base.live().ok_or(Errno::IO)?;
        let names = Arc::new(live.list(&place.path()).map_err(|cause| errno(&cause))?);
        let mut inode = node.lock();
        let directory = inode.directory_mut().ok_or(Errno::NOTDIR)?;
        if matches!(directory.source, Source::Live(None)) {
            directory.source = Source::Live(Some(names));
        }
        directory.fill();
        Ok(inode)
    }

    /// What `name` is in a directory, made from the lower if nobody looked at it before.
    pub(crate) fn child(&self, directory: &Arc<Node>, name: &[u8]) -> Result<Option<Arc<Node>>, Errno> {
        loop {
            let seed = {
                let guard = self.directory(directory)?;
                let Some(slot) =
                    guard.directory().and_then(|d| d.slots.as_ref()).and_then(|slots| slots.get(name))
                else {
                    return Ok(None);
                };
                if let Some(node) = slot.node {
                    return Ok(Some(node));
                }
                seed(directory.id, &guard, name)?
            };
            let Some(born) = self.0.base.born(&*self.0.store, &seed)? else {
                return Ok(None);
            };
            if let Some(node) = self.install(directory, &seed.name, born)? {
                return Ok(Some(node));
            }
        }
    }

    /// Puts a new inode under its name, unless somebody else was faster; then there is nothing, and one looks again.
    fn install(&self, directory: &Arc<Node>, name: &Name, born: Born) -> Result<Option<Arc<Node>>, Errno> {
        let mut guard = self.directory(directory)?;
        let above = guard.origin.as_ref().map(|origin| Arc::clone(&origin.place)).ok_or(Errno::IO)?;
        let body = guard.directory_mut().ok_or(Errno::NOTDIR)?;
        let Some(slots) = &mut body.slots else { return Ok(None) };
        let listed = slots.get(name).map(|slot| Listed { directory: directory.id, sequence: slot.sequence });
        let build = || self.0.table.adopt(born.id, listed, |id| Node::new(id, directory.id, born.inode));
        let node = slots.settle(name, || match born.key {
            Some(key) => self.0.table.linked(key, build),
            None => build(),
        });
        let Some(node) = node else { return Ok(None) };
        body.pending.remove(&**name);
        self.join(&node, directory.id, name, born.traced.then_some(&above));
        Ok(Some(node))
    }

    /// Tells a node one more of its names; `above` is where the directory stood, if the traced lower has the name.
    fn join(&self, node: &Node, parent: NodeId, name: &Name, above: Option<&Arc<Place>>) {
        let mut inode = node.lock();
        inode.links.push((parent, Arc::clone(name)));
        let Some(above) = above.filter(|above| inode.is_traced() && !inode.stood_at(above, name)) else {
            return;
        };
        let Some(origin) = &mut inode.origin else { return };
        let alias = Place::below(above, name);
        origin.aliases.push(Arc::clone(&alias));
        self.saw_alias(&inode, &alias);
    }

    /// The first change of a node: remembers what the lower says and that commit must look at it.
    pub(crate) fn begin_change(&self, node: &Arc<Node>, inode: &mut Inode) {
        if inode.original.is_none() && inode.origin.is_some() {
            let (metadata, size, content) = (inode.metadata(), inode.size(), lower_content(inode));
            inode.original = Some(Box::new(Original { metadata, size, content }));
        }
        if !inode.dirty {
            inode.dirty = true;
            self.0.dirty.lock().unwrap_or_else(PoisonError::into_inner).push(node.id);
        }
    }

    /// A directory gained, lost or changed a name.
    pub(crate) fn change_entry(&self, node: &Arc<Node>, inode: &mut Inode, name: &Name) {
        self.begin_change(node, inode);
        if let Some(directory) = inode.directory_mut() {
            directory.change(name);
        }
        inode.touch();
    }

    /// How many directories are above; the root has none. Only exact while nobody renames directories.
    pub(crate) fn depth(&self, id: NodeId) -> usize {
        self.ancestors(id).len()
    }

    /// Whether `inner` is `outer` or below it.
    pub(crate) fn is_within(&self, inner: NodeId, outer: NodeId) -> bool {
        inner == outer || self.ancestors(inner).contains(&outer)
    }

    fn ancestors(&self, mut id: NodeId) -> Vec<NodeId> {
        let mut above = Vec::new();
        while id != NodeId::ROOT
            && let Some(node) = self.0.table.get(id)
        {
            id = node.parent();
            above.push(id);
        }
        above
    }

    /// The directory that the lower had at this path, wherever it is now; none if it is gone.
    pub(crate) fn locate(&self, path: &TreePath) -> Result<Option<Arc<Node>>, Errno> {
        let names: Vec<&[u8]> = path.names().collect();
        let numbers = names.iter().scan(NodeId::ROOT, |above, name| {
            *above = lower_id(*above, name);
            Some(*above)
        });
        // What moved is known, even where nobody knows what it was in any more.
        let known = numbers.enumerate().filter_map(|(at, id)| Some((at + 1, self.0.table.get(id)?))).last();
        let (depth, mut node) = known.unwrap_or_else(|| (0, Arc::clone(&self.0.root)));
        for name in &names[depth..] {
            let Some(next) = self.lower_child(&node, name)? else { return Ok(None) };
            node = next;
        }
        Ok(node.lock().is_directory().then(|| Arc::clone(&node)))
    }

    /// What `name` is in a directory, if the lower had that there too.
    pub(crate) fn lower_child(&self, directory: &Arc<Node>, name: &[u8]) -> Result<Option<Arc<Node>>, Errno> {
        let Some(above) = directory.lock().origin.as_ref().map(|origin| Arc::clone(&origin.place)) else {
            return Ok(None);
        };
        let child = self.child(directory, name)?;
        Ok(child.filter(|child| child.lock().stood_at(&above, name)))
    }
}

/// What to make the inode of an entry from.
fn seed(parent: NodeId, guard: &Inode, name: &[u8]) -> Result<Seed, Errno> {
    let (Some(origin), Some(directory)) = (&guard.origin, guard.directory()) else {
        return Err(Errno::IO);
    };
    let from = match (directory.pending.get(name), &directory.source) {
        (Some(Change::Replaced(entry)), _) => From::Entry { entry: entry.clone(), traced: false },
        (Some(Change::Directory(change)), _) => From::Live(Some(change.clone())),
        (_, Source::Tree(_, tree)) => {
            let entry = tree.get(name).ok_or(Errno::IO)?.clone();
            From::Entry { entry, traced: origin.traced }
        }
        (_, Source::Live(_)) => From::Live(None),
        (_, Source::New) => return Err(Errno::IO),
    };
    Ok(Seed { place: Place::below(&origin.place, name), parent, name: name.into(), from })
}
