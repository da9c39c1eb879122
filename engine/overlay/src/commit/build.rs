//! Entries of what is new, moved or changed: bytes go into the store, directories are written as trees.

use super::Commit;
use crate::{
    Error, Stamp, Store as _,
    content::{Data, Source as Bytes},
    directory::{Slot, Source},
    node::{Body, Inode, Node},
    trace::{
        input::{entry_content, tree_listing},
        recorder::Content,
    },
};
use rbuild_tree::{Entry, Kind, ObjectId, Tree, TreeId, TreePath, TreeStore as _};
use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc};

impl Commit<'_> {
    /// The entry of a node, with all below it.
    pub(super) fn build(&mut self, node: &Arc<Node>, path: &TreePath) -> Result<Entry, Error> {
        let mut inode = node.lock();
        let metadata = self.metadata(&inode);
        let kind = match &mut inode.body {
            Body::Directory(_) => {
                drop(inode);
                return Ok(Entry { metadata, kind: Kind::Directory(self.build_tree(node, path)?) });
            }
            Body::File(_) => {
                let (object, size) = self.keep(&mut inode).map_err(Error::at(path))?;
                Kind::File { object, size }
            }
            Body::Symlink(target) => Kind::Symlink(target.clone()),
            Body::CharDevice(device) => Kind::CharDevice(*device),
            Body::BlockDevice(device) => Kind::BlockDevice(*device),
            Body::Fifo => Kind::Fifo,
            Body::Socket => Kind::Socket,
        };
        if !matches!(kind, Kind::File { .. }) {
            self.overlay.saw_content(&mut inode);
        }
        drop(inode);
        self.note_several(node);
        Ok(Entry { metadata, kind })
    }

    /// A node with several names that moved with its directory.
    fn note_several(&mut self, node: &Arc<Node>) {
        if node.lock().links.len() > 1 {
            self.linked.insert(node.id, Arc::clone(node));
        }
    }

    fn build_tree(&mut self, node: &Arc<Node>, path: &TreePath) -> Result<TreeId, Error> {
        let source = node.lock().directory().map(|directory| directory.source.clone());
        if let Some(Source::Tree(id, _)) = source
            && self.touched.get(&node.id).is_none_or(|names| names.is_empty())
        {
            self.saw_moved(node)?;
            return Ok(id);
        }
        // A directory that was emptied and filled anew owes the lower nothing but what it kept; it was listed to be.
        self.overlay.saw_listing(node);
        let slots: Vec<Slot> = {
            let inode = self.overlay.directory(node).map_err(Error::at(path))?;
            let slots = inode.directory().and_then(|directory| directory.slots.as_ref());
            slots.map(|slots| slots.iter().cloned().collect()).unwrap_or_default()
        };
        let mut entries = Vec::with_capacity(slots.len());
        for slot in slots {
            let path = path.join(&slot.name);
            if let Some(entry) = self.build_slot(node, &slot, &path)? {
                entries.push(((&*slot.name).into(), entry));
            }
        }
        Ok(self.overlay.0.store.put_tree(&Tree::from_entries(entries))?)
    }

    fn build_slot(
        &mut self,
        above: &Arc<Node>,
        slot: &Slot,
        path: &TreePath,
    ) -> Result<Option<Entry>, Error> {
        let untouched = match (&slot.node, above.lock().directory().map(|directory| &directory.source)) {
            (None, Some(Source::Tree(_, tree))) => tree.get(&slot.name).cloned(),
            _ => None,
        };
        if let Some(entry) = untouched {
            let place = above.lock().traced_place().map(Arc::clone);
            if let Some(place) = place {
                self.saw_entry(&place.path().join(&slot.name), &entry)?;
            }
            return Ok(Some(entry));
        }
        let child = match &slot.node {
            Some(child) => Some(Arc::clone(child)),
            None => self.overlay.child(above, &slot.name).map_err(Error::at(path))?,
        };
        match child.filter(|child| !self.is_omitted(child)) {
            Some(child) => self.build(&child, path).map(Some),
            None => Ok(None),
        }
    }

    /// An entry of the lower that is in the result: all of it counts as read.
    pub(super) fn saw_entry(&self, path: &TreePath, entry: &Entry) -> Result<(), Error> {
        let Some(recorder) = &self.overlay.0.recorder else { return Ok(()) };
        let Kind::Directory(id) = &entry.kind else {
            recorder.content(path.clone(), Content::Known(entry_content(entry)));
            return Ok(());
        };
        let tree = self.overlay.0.store.tree(id)?;
        let groups = &self.overlay.0.base.groups;
        recorder.listing(path.clone(), tree_listing(path, entry.metadata.mtime, &tree, groups));
        for (name, child) in tree.iter() {
            self.saw_entry(&path.join(name), child)?;
        }
        Ok(())
    }

    /// The same for a directory that moved as it was.
    fn saw_moved(&self, node: &Arc<Node>) -> Result<(), Error> {
        if self.overlay.0.recorder.is_none() {
            return Ok(());
        }
        let (place, metadata, source) = {
            let inode = node.lock();
            let Some(place) = inode.traced_place().map(Arc::clone) else { return Ok(()) };
            (place, inode.lower_metadata(), inode.directory().map(|directory| directory.source.clone()))
        };
        match source {
            Some(Source::Tree(id, _)) => {
                self.saw_entry(&place.path(), &Entry { metadata, kind: Kind::Directory(id) })
            }
            _ => Ok(()),
        }
    }

    /// Puts the bytes of a file into the store; from then on they are read from there.
    fn keep(&mut self, inode: &mut Inode) -> io::Result<(ObjectId, u64)> {
        let store = Arc::clone(&self.overlay.0.store);
        if let Body::File(Data::Lower { .. }) = &inode.body {
            self.overlay.saw_content(inode);
        }
        let Body::File(data) = &inode.body else { return Err(io::ErrorKind::InvalidInput.into()) };
        let blocks = data.blocks();
        let (object, size) = match data {
            Data::Lower { source: Bytes::Object(id), size, .. } => return Ok((*id, *size)),
            Data::Inline(inline) => (store.put_bytes(inline.bytes())?, inline.bytes().len() as u64),
            Data::Scratch { file, .. } => {
                // What is in the store must not be open for writing anywhere.
                file.close();
                store.put_file(&file.path())?
            }
            Data::Lower { source, size, .. } => (self.import(source, *size)?, *size),
        };
        inode.body = Body::File(Data::Lower { source: Bytes::Object(object), size, blocks });
        Ok((object, size))
    }

    /// Takes a file of a live lower into the store.
    fn import(&self, source: &Bytes, size: u64) -> io::Result<ObjectId> {
        let file = self.overlay.open_lower(source)?;
        let object = self.copy_in(&file, size)?;
        if let (Bytes::Live { place, stamp }, Some(recorder)) = (source, &self.overlay.0.recorder)
            && Stamp::of(&file)? != *stamp
        {
            recorder.spoil(format!("{} changed while it was read", place.path()));
        }
        Ok(object)
    }

    fn copy_in(&self, file: &File, size: u64) -> io::Result<ObjectId> {
        let (store, shared) = (&self.overlay.0.store, &self.overlay.0);
        match usize::try_from(size) {
            Ok(length) if length <= shared.inline_limit => {
                let mut bytes = vec![0; length];
                file.read_exact_at(&mut bytes, 0)?;
                store.put_bytes(&bytes)
            }
            _ => {
                let scratch = shared.scratch.create()?;
                crate::copy::clone_prefix(file, &*scratch.open()?, size)?;
                scratch.close();
                Ok(store.put_file(&scratch.path())?.0)
            }
        }
    }
}
