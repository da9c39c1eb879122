//! The engine's side of making a folder.

use super::{
    hand::Hand,
    layer::Trees,
    wire::{self, BYTES, MANY_BYTES, MOST_ENTRIES, NO_BYTES},
};
use crate::{
    error::{Error, Result},
    store::Store,
};
use rbuild_tree::{
    Entry, Kind, ObjectId, Snapshot, Tree, TreeId, TreePath, TreeStore,
    encoding::{encode_snapshot, encode_tree},
};
use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where a folder gets the bytes of its files from.
#[derive(Clone, Copy)]
pub(super) enum Bytes<'a> {
    /// They are copied.
    Copied,
    /// The kernel reads them in this folder of the store, which has all: nobody can write to it there.
    Shared(&'a Path),
}

/// A folder being made.
struct Filling<'a> {
    hand: &'a Hand,
    store: &'a Store,
    bytes: Bytes<'a>,
    /// Whether the sandbox may look into a folder of objects: those asked about.
    open: RefCell<HashMap<PathBuf, bool>>,
}

impl Hand {
    /// Makes an empty folder what a tree says.
    ///
    /// # Errors
    /// The store lacks something, the disk is full, or the build is stopped.
    pub(super) fn fill(
        &self,
        trees: &Trees<'_>,
        tree: &Snapshot,
        folder: BorrowedFd<'_>,
        bytes: Bytes<'_>,
        stopped: &dyn Fn() -> bool,
    ) -> Result<()> {
        let root = Snapshot { root: tree.root.clone(), ..Snapshot::scratch() };
        self.tell(&[b"make", &encode_snapshot(&root)], &[folder])?;
        let filling = Filling { hand: self, store: trees.store, bytes, open: RefCell::default() };
        let filled = filling.all(trees, tree, stopped);
        // Nothing that it says later must be taken for the answer to something else.
        let settled = self.settle();
        filled.and(settled)
    }
}

impl Filling<'_> {
    fn all(&self, trees: &Trees<'_>, tree: &Snapshot, stopped: &dyn Fn() -> bool) -> Result<()> {
        // Of a file of several names the first is made, and the others at the end.
        let links = tree.links.groups().iter().flat_map(|group| &group[1..]);
        let links: HashSet<&TreePath> = links.collect();
        let mut open: Vec<(TreePath, TreeId)> = vec![(TreePath::root(), tree.tree)];
        while let Some((path, id)) = open.pop() {
            if stopped() {
                return Err(Error::interrupted());
            }
            let directory: Arc<Tree> = trees.tree(&id)?;
            let entries = directory.iter().map(|(name, entry)| (path.join(name), name, entry));
            let entries: Vec<_> = entries.filter(|(path, ..)| !links.contains(path)).collect();
            let mut rest = &entries[..];
            while !rest.is_empty() {
                let (some, others) = rest.split_at(in_a_message(rest));
                self.some(&path, some)?;
                rest = others;
            }
            open.extend(entries.into_iter().filter_map(|(path, _, entry)| match entry.kind {
                Kind::Directory(below) => Some((path, below)),
                _ => None,
            }));
        }
        for group in tree.links.groups() {
            let Some((first, others)) = group.split_first() else { continue };
            for some in others.chunks(MOST_ENTRIES) {
                let paths = [first].into_iter().chain(some).map(TreePath::as_bytes);
                self.hand.tell(&[&b"link"[..]].into_iter().chain(paths).collect::<Vec<_>>(), &[])?;
            }
        }
        self.hand.tell(&[b"finish"], &[])
    }

    fn some(&self, path: &TreePath, entries: &[(TreePath, &[u8], &Entry)]) -> Result<()> {
        let (mut files, mut tree) = (Vec::new(), Vec::new());
        for (_, name, entry) in entries {
            let mut entry = (*entry).clone();
            if let Kind::File { object, size: 1.. } = &entry.kind {
                match self.shared(object) {
                    Some(path) => {
                        let marks = [(NO_BYTES, &b""[..]), (BYTES, &path)];
                        entry.metadata.xattrs.extend(marks.map(|(name, value)| (name.into(), value.into())));
                    }
                    None => files.push(self.opened(object)?),
                }
            }
            tree.push(((*name).into(), entry));
        }
        let tree = Tree::from_entries(tree);
        let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        self.hand.tell(&[b"fill", path.as_bytes(), &encode_tree(&tree)], &files)
    }

    fn opened(&self, object: &ObjectId) -> Result<File> {
        self.store.open_object(object).map_err(|error| self.missing(object, error))
    }

    /// How the kernel is to find an object; none if it must be copied.
    fn shared(&self, object: &ObjectId) -> Option<Vec<u8>> {
        let Bytes::Shared(objects) = self.bytes else { return None };
        let path = self.store.object_path(object);
        let (Ok(name), Some(folder)) = (path.strip_prefix(objects), path.parent()) else { return None };
        // First: it makes the folder of one that another store has.
        if self.store.has_extras() && self.store.look_at_object(object).is_err() {
            return None;
        }
        if !(self.is_open(objects) && self.is_open(folder)) {
            return None;
        }
        Some([b"/", name.as_os_str().as_bytes()].concat())
    }

    /// The ids of root's sandboxes are others than root.
    fn is_open(&self, folder: &Path) -> bool {
        let look = || fs::metadata(folder).is_ok_and(|found| found.mode() & 0o001 != 0);
        let mut open = self.open.borrow_mut();
        match open.get(folder) {
            Some(known) => *known,
            None => *open.entry(folder.to_owned()).or_insert(!rustix::process::geteuid().is_root() || look()),
        }
    }

    fn missing(&self, object: &ObjectId, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::NotFound => {
                let id = object.to_string();
                Error::from(rbuild_tree::Error::Missing { what: "object", id })
            }
            _ => Error::io("open", &self.store.object_path(object), error),
        }
    }
}

/// How many of these entries go in one message: one at least.
fn in_a_message(entries: &[(TreePath, &[u8], &Entry)]) -> usize {
    let mut bytes = 0;
    let fits = |(_, name, entry): &&(TreePath, &[u8], &Entry)| {
        bytes += wire::weight(name, entry);
        bytes < MANY_BYTES
    };
    entries.iter().take(MOST_ENTRIES).take_while(fits).count().max(1)
}
