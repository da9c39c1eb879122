//! Places for mounts to stand on.

use crate::{
    Errno, FileKind, Overlay,
    content::Data,
    directory::{Directory, Source},
    namespace::check_depth,
    node::{Body, Inode, Node},
    scratch::Inline,
};
use rbuild_tree::{Metadata, Timestamp, TreePath};
use std::sync::Arc;

impl Overlay {
    /// Makes the missing directories of a path, or an empty file as its last part, as *lent*: they show in the mount
    /// but are no part of the result, unless the step puts something else into them. Times of directories that were
    /// there stay. Works on a read-only mount.
    ///
    /// # Errors
    /// ENOTDIR or EISDIR if something else is there, ELOOP if it is a symbolic link, ENAMETOOLONG, EIO.
    pub fn lend(&self, path: &TreePath, directory: bool) -> Result<(), Errno> {
        let mut node = Arc::clone(&self.0.root);
        let last = path.names().count();
        for (index, name) in path.names().enumerate() {
            let wants_directory = directory || index + 1 < last;
            node = match self.child(&node, name)? {
                Some(child) => child,
                None => self.lend_one(&node, name, wants_directory)?,
            };
            match (self.kind(node.id)?, wants_directory) {
                (FileKind::Directory, true) => {}
                (FileKind::Directory, false) => return Err(Errno::ISDIR),
                (FileKind::Symlink, _) => return Err(Errno::LOOP),
                (_, true) => return Err(Errno::NOTDIR),
                (_, false) => {}
            }
        }
        Ok(())
    }

    fn lend_one(&self, above: &Arc<Node>, name: &[u8], directory: bool) -> Result<Arc<Node>, Errno> {
        let (mode, body) = if directory {
            check_depth(self.depth(above.id) + 1)?;
            (0o755, Body::Directory(Box::new(Directory::new(Source::New))))
        } else {
            (0o644, Body::File(Data::Inline(Inline::new(&self.0.budget))))
        };
        // The same time in every run.
        let mut inode = Inode::new(Metadata::root(mode, Timestamp::default()), body, None);
        inode.lent = true;
        let mut guard = self.directory(above)?;
        Ok(self.attach(above, &mut guard, name, inode))
    }
}
