//! Which names of which directories commit must look at.

use super::Commit;
use crate::{
    NodeId,
    node::{Name, Node},
};
use rbuild_tree::TreePath;
use std::sync::Arc;

impl Commit<'_> {
    /// Notes a node's names in their directories, those directories' in theirs, up to the root.
    pub(super) fn touch(&mut self, node: &Arc<Node>) {
        let mut queue = vec![Arc::clone(node)];
        while let Some(node) = queue.pop() {
            let links = {
                let inode = node.lock();
                if let Some(directory) = inode.directory() {
                    if !self.closed.insert(node.id) {
                        continue;
                    }
                    self.touched.entry(node.id).or_default().extend(directory.changed.iter().cloned());
                }
                inode.links.clone()
            };
            for (parent, name) in links {
                self.touched.entry(parent).or_default().insert(name);
                if !self.closed.contains(&parent)
                    && let Ok(above) = self.overlay.node(parent)
                {
                    queue.push(above);
                }
            }
        }
    }

    /// Whether anything at or below a name of a directory may differ from the lower.
    pub(super) fn is_touched(&self, directory: NodeId, name: &[u8]) -> bool {
        self.touched.get(&directory).is_some_and(|names| names.contains(name))
    }

    /// All paths of a node, sorted.
    pub(super) fn paths(&self, node: &Node) -> Vec<TreePath> {
        let links = node.lock().links.clone();
        let mut paths: Vec<TreePath> = links.iter().filter_map(|link| self.path(link)).collect();
        paths.sort();
        paths.dedup();
        paths
    }

    fn path(&self, (directory, name): &(NodeId, Name)) -> Option<TreePath> {
        let mut names = vec![Arc::clone(name)];
        let mut id = *directory;
        while id != NodeId::ROOT {
            let node = self.overlay.node(id).ok()?;
            let (above, name) = node.lock().links.first().cloned()?;
            names.push(name);
            id = above;
        }
        let mut path = TreePath::root();
        names.iter().rev().for_each(|name| path.push(name));
        Some(path)
    }
}
