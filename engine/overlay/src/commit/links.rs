//! The link table of a delta: every group of the result that has a touched path, or gained or lost one.

use super::Commit;
use crate::{Error, node::Node, table::NodeKey, trace::groups::live_links};
use rbuild_tree::{DirectoryChange, TreePath, diff::is_touched};
use std::{collections::HashSet, sync::Arc};

impl Commit<'_> {
    pub(super) fn find_links(&mut self, dirty: &[Arc<Node>]) -> Result<(), Error> {
        for node in dirty {
            self.note_links(node);
        }
        let base = &self.overlay.0.base;
        // Groups of an earlier step's delta are part of the difference in any case.
        let all = base.live().is_some();
        for (group, paths) in base.links.groups().iter().enumerate() {
            if !all && !self.is_group_touched(paths) {
                continue;
            }
            for path in paths {
                self.find_name(path)?;
            }
            if let Some(node) = self.overlay.0.table.linked_node(NodeKey::Group(group)) {
                let known: HashSet<&TreePath> = paths.iter().collect();
                if self.paths(&node).iter().any(|path| !known.contains(path)) {
                    self.forced.insert(node.id);
                }
                self.note_links(&node);
                self.touch(&node);
            }
        }
        Ok(())
    }

    /// A node of several names belongs into the link table.
    pub(super) fn note_links(&mut self, node: &Arc<Node>) {
        let (names, count, group, before) = {
            let inode = node.lock();
            let origin = inode.origin.as_ref();
            let group = origin.and_then(|origin| origin.group);
            (inode.links.len(), inode.nlink, group, origin.and_then(|origin| origin.links))
        };
        if names > 1 {
            self.linked.insert(node.id, Arc::clone(node));
        }
        let forced = match group {
            // No group of the lower: all of its names joined.
            None => names > 1,
            // The next step must not see the machine's own link count.
            Some(NodeKey::Host(..)) => usize::try_from(count) == Ok(names) && before != live_links(count),
            Some(NodeKey::Group(_)) => self.overlay.0.base.live().is_some() && names == 1,
        };
        if forced {
            self.forced.insert(node.id);
        }
    }

    /// The groups to tell: a node may have been looked at closely and turned out to be as it was.
    pub(super) fn groups(&self, root: &DirectoryChange) -> Vec<Vec<TreePath>> {
        let base = &self.overlay.0.base;
        let told = |(node, paths): &(&Arc<Node>, Vec<TreePath>)| {
            let group = node.lock().origin.as_ref().and_then(|origin| origin.group);
            let before = match group {
                Some(NodeKey::Group(group)) => Some(&base.links.groups()[group]),
                _ => None,
            };
            before.is_some_and(|before| before != paths || base.live().is_some())
                || paths.iter().any(|path| is_touched(root, path))
        };
        let groups = self.linked.values().map(|node| (node, self.paths(node)));
        groups.filter(told).map(|(_, paths)| paths).collect()
    }

    /// Whether a path of the lower is gone, replaced or changed, as far as touched names tell.
    fn is_group_touched(&self, paths: &[TreePath]) -> bool {
        paths.iter().any(|path| {
            let mut directory = Arc::clone(&self.overlay.0.root);
            for name in path.names() {
                if !self.is_touched(directory.id, name) {
                    return false;
                }
                let child = self.overlay.lower_child(&directory, name);
                let Some(child) = child.ok().flatten() else { return true };
                directory = child;
            }
            true
        })
    }

    /// Makes sure that the node of a linked path knows this name, if it still has it.
    fn find_name(&self, path: &TreePath) -> Result<(), Error> {
        let (Some(above), Some(name)) = (path.parent(), path.name()) else { return Ok(()) };
        let Some(directory) = self.overlay.locate(&above).map_err(Error::at(path))? else { return Ok(()) };
        self.overlay.lower_child(&directory, name).map_err(Error::at(path))?;
        Ok(())
    }
}
