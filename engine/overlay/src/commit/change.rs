//! What changed in a directory that still is where the lower has it.

use super::Commit;
use crate::{
    Error, FileKind,
    directory::Source,
    node::{Body, Inode, Name, Node},
    place::Place,
    table::NodeKey,
    trace::{
        input::{entry_content, unchanged},
        recorder::Content,
    },
};
use rbuild_tree::{Change, DirectoryChange, Entry, Kind, TreePath};
use std::{collections::BTreeSet, sync::Arc};

/// What became of a name.
enum Fate {
    /// As an earlier step left it, and nobody looked.
    Pending(Change),
    /// As the lower has it, and nobody looked.
    Untouched,
    Gone,
    Is(Arc<Node>),
}

impl Commit<'_> {
    pub(super) fn directory_change(
        &mut self,
        node: &Arc<Node>,
        path: &TreePath,
    ) -> Result<DirectoryChange, Error> {
        let mut change =
            DirectoryChange { metadata: self.metadata_change(node), ..DirectoryChange::default() };
        let mut names: BTreeSet<Name> = self.touched.get(&node.id).cloned().unwrap_or_default();
        // What an earlier step changed is in no list of this one's.
        names.extend(node.lock().directory().into_iter().flat_map(|body| body.changed.iter().cloned()));
        for name in names {
            let (fate, lower_has, place) = fate(node, &name);
            let path = path.join(&name);
            let changed = match fate {
                Fate::Pending(change) => Some(change),
                Fate::Untouched => None,
                Fate::Gone => lower_has.then_some(Change::Removed),
                Fate::Is(child) if self.is_omitted(&child) => lower_has.then_some(Change::Removed),
                Fate::Is(child) => self.child_change(node, &child, &name, &place, &path)?,
            };
            changed.and_then(|changed| change.children.insert((&*name).into(), changed));
        }
        Ok(change)
    }

    fn metadata_change(&mut self, node: &Arc<Node>) -> Option<rbuild_tree::Metadata> {
        let inode = node.lock();
        let (now, lower) = (self.metadata(&inode), inode.lower_metadata());
        let was_set = inode.dirty && (now == lower || now.mtime == lower.mtime);
        drop(inode);
        if was_set {
            // The lower's own time is part of the result, or of the fact that nothing changed.
            self.overlay.saw_listing(node);
        }
        (now != lower).then_some(now)
    }

    fn child_change(
        &mut self,
        directory: &Arc<Node>,
        child: &Arc<Node>,
        name: &Name,
        place: &Arc<Place>,
        path: &TreePath,
    ) -> Result<Option<Change>, Error> {
        let was_changed = directory.lock().directory().is_some_and(|body| body.changed.contains(name));
        let (in_place, is_directory, dirty, joined) = {
            let inode = child.lock();
            let stood = inode.stood_at(place, name);
            let joined = (was_changed && !stood).then_some(inode.nlink);
            (inode.is_traced() && stood, inode.is_directory(), inode.dirty, joined)
        };
        if in_place && is_directory {
            let change = self.directory_change(child, path)?;
            return Ok((!change.is_empty()).then_some(Change::Directory(change)));
        }
        let forced = self.forced.contains(&child.id);
        if in_place && !dirty && !forced {
            return Ok(None);
        }
        let entry = self.build(child, path)?;
        // What an earlier step replaced stays so: it knew whether that was needed.
        let earlier = was_changed && child.lock().origin.as_ref().is_some_and(|origin| !origin.traced);
        if !forced
            && !earlier
            && self.is_as_lower(directory, name, place, &entry, joined)?
            && self.is_linked_as_lower(child, &Place::below(place, name).path(), path)
        {
            return Ok(None);
        }
        Ok(Some(Change::Replaced(entry)))
    }

    /// Whether the lower has the very same entry under a name; `joined` is how many names a file has that was given this
    /// one. If so, that is something the result depends on.
    fn is_as_lower(
        &self,
        directory: &Arc<Node>,
        name: &Name,
        place: &Arc<Place>,
        entry: &Entry,
        joined: Option<u32>,
    ) -> Result<bool, Error> {
        let source = {
            let inode = directory.lock();
            inode.directory().map(|body| (body.source.clone(), body.lower_has(name)))
        };
        let path = Place::below(place, name).path();
        match source {
            Some((Source::Tree(_, tree), true)) => {
                let same = tree.get(name) == Some(entry);
                if same {
                    self.saw_entry(&path, entry)?;
                }
                Ok(same)
            }
            Some((Source::Live(_), true)) => Ok(self.is_as_live(&path, entry, joined)),
            _ => Ok(false),
        }
    }

    /// Whether what stands at `path` has the hard links that the lower has at `lower`: an equal file in place of one of
    /// several names is one of its own. A directory that was made anew has none of the lower's.
    fn is_linked_as_lower(&self, child: &Arc<Node>, lower: &TreePath, path: &TreePath) -> bool {
        let groups = &self.overlay.0.base.groups;
        let inode = child.lock();
        if !inode.is_directory() {
            let group = match inode.origin.as_ref().and_then(|origin| origin.group) {
                Some(NodeKey::Group(group)) => Some(group),
                _ => None,
            };
            return groups.number(lower) == group;
        }
        drop(inode);
        let is_below = |linked: &Arc<Node>| self.paths(linked).iter().any(|name| name.starts_with(path));
        !groups.any_below(lower) && !self.linked.values().any(is_below)
    }

    /// The same for a live directory; what can't be read is not the same. Its link groups are in no table: a file that
    /// took the place of another is another one where either has more names.
    fn is_as_live(&self, path: &TreePath, entry: &Entry, joined: Option<u32>) -> bool {
        let Some(live) = self.overlay.0.base.live() else { return false };
        let Ok(Some(found)) = live.look(path) else { return false };
        if found.metadata != entry.metadata || joined.is_some_and(|links| links > 1 || found.links > 1) {
            return false;
        }
        let content = match (&found.kind, &entry.kind) {
            (Kind::File { size: old, .. }, Kind::File { object, size }) if old == size => {
                let id = live.file(path).and_then(|file| unchanged(&file, &found.stamp));
                if !id.is_ok_and(|id| id == *object) {
                    return false;
                }
                Content::Live(found.stamp)
            }
            (Kind::File { .. } | Kind::Directory(_), _) => return false,
            (old, new) if old == new => Content::Known(entry_content(entry)),
            _ => return false,
        };
        if let Some(recorder) = &self.overlay.0.recorder {
            recorder.content(path.clone(), content);
        }
        true
    }

    /// Whether a node was lent and the step did nothing with it.
    pub(super) fn is_omitted(&self, node: &Arc<Node>) -> bool {
        let children = {
            let inode = node.lock();
            if !inode.lent {
                return false;
            }
            match &inode.body {
                Body::Directory(directory) => children(directory.slots.as_ref()),
                _ => return is_pristine_file(&inode),
            }
        };
        children.iter().all(|child| self.is_omitted(child))
    }
}

fn is_pristine_file(inode: &Inode) -> bool {
    inode.kind() == FileKind::File && inode.size() == 0 && inode.links.len() == 1
}

fn children(slots: Option<&crate::slots::Slots>) -> Vec<Arc<Node>> {
    slots.map(|slots| slots.iter().filter_map(|slot| slot.node).collect()).unwrap_or_default()
}

fn fate(node: &Node, name: &Name) -> (Fate, bool, Arc<Place>) {
    let inode = node.lock();
    let place = inode.origin.as_ref().map_or_else(Place::root, |origin| Arc::clone(&origin.place));
    let Some(directory) = inode.directory() else { return (Fate::Untouched, false, place) };
    let fate = match (directory.pending.get(&**name), &directory.slots) {
        (Some(change), _) => Fate::Pending(change.clone()),
        (None, None) => Fate::Untouched,
        (None, Some(slots)) => match slots.get(name) {
            None => Fate::Gone,
            Some(slot) => slot.node.map_or(Fate::Untouched, Fate::Is),
        },
    };
    (fate, directory.lower_has(name), place)
}
