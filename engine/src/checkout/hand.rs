//! The engine's side of the worker.

use super::{
    layer::Trees,
    open_folder,
    wire::{self, BYTES, MANY_BYTES, MOST_BYTES, MOST_ENTRIES, NO_BYTES, TOO_LARGE},
};
use crate::{
    error::{Error, Result},
    store::Store,
};
use rbuild_sandbox::{IdMap, Worker};
use rbuild_tree::{
    Entry, Kind, Snapshot, Tree, TreeId, TreePath, TreeStore,
    encoding::{encode_snapshot, encode_tree},
};
use std::{
    collections::HashSet,
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Where a folder gets the bytes of its files from.
#[derive(Clone, Copy)]
pub(super) enum Bytes<'a> {
    /// They are copied.
    Copied,
    /// The kernel reads them in this folder of the store: nobody can write to it there.
    Shared(&'a Path),
}

impl Bytes<'_> {
    /// How the kernel is to find an object; none if it must be copied.
    fn of(self, object: &Path) -> Option<Vec<u8>> {
        let Self::Shared(objects) = self else { return None };
        let path = object.strip_prefix(objects).ok()?;
        // The ids of root's sandboxes are others than root.
        let is_open = |folder: &Path| fs::metadata(folder).is_ok_and(|found| found.mode() & 0o001 != 0);
        let is_open = !rustix::process::geteuid().is_root() || is_open(objects) && is_open(object.parent()?);
        is_open.then(|| [b"/", path.as_os_str().as_bytes()].concat())
    }
}

/// A worker; it ends with this value.
pub(super) struct Hand {
    worker: Worker,
    /// It did not answer: nobody should ask it again.
    is_lost: AtomicBool,
}

impl Hand {
    /// Starts one with these ids.
    ///
    /// # Errors
    /// The machine refuses: `no-tier`.
    pub(super) fn start(ids: &IdMap) -> Result<Self> {
        Ok(Self { worker: Worker::start(ids)?, is_lost: AtomicBool::new(false) })
    }

    /// Whether it answers.
    pub(super) fn is_well(&self) -> bool {
        !self.is_lost.load(Ordering::Relaxed)
    }

    /// Asks it for something; gives the answer and the descriptors that came along.
    ///
    /// # Errors
    /// What it could not do, or it is gone.
    pub(super) fn ask(
        &self,
        question: &[&[u8]],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(Vec<u8>, Vec<OwnedFd>)> {
        let question = wire::join(question);
        if question.len() > MOST_BYTES {
            return Err(refused(TOO_LARGE));
        }
        let (answer, descriptors) = self
            .worker
            .ask(&question, descriptors)
            .inspect_err(|_| self.is_lost.store(true, Ordering::Relaxed))?;
        match wire::split(&answer).as_deref() {
            Some([b"done", answer]) => Ok((answer.to_vec(), descriptors)),
            Some([b"failed", reason]) => Err(refused(&String::from_utf8_lossy(reason))),
            _ => Err(Error::internal("the worker's answer is malformed")),
        }
    }

    /// Makes an empty folder what a tree says.
    ///
    /// # Errors
    /// The store lacks something, the disk is full, or the build is stopped.
    pub(super) fn fill(
        &self,
        trees: &Trees<'_>,
        tree: &Snapshot,
        folder: &Path,
        bytes: Bytes<'_>,
        stopped: &dyn Fn() -> bool,
    ) -> Result<()> {
        let opened = open_folder(folder)?;
        let root = Snapshot { root: tree.root.clone(), ..Snapshot::scratch() };
        self.ask(&[b"make", &encode_snapshot(&root)], &[opened.as_fd()])?;
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
                self.fill_some(trees.store, &path, some, bytes)?;
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
                self.ask(&[&b"link"[..]].into_iter().chain(paths).collect::<Vec<_>>(), &[])?;
            }
        }
        self.ask(&[b"finish"], &[])?;
        Ok(())
    }

    fn fill_some(
        &self,
        store: &Store,
        path: &TreePath,
        entries: &[(TreePath, &[u8], &Entry)],
        bytes: Bytes<'_>,
    ) -> Result<()> {
        let (mut files, mut tree) = (Vec::new(), Vec::new());
        for (_, name, entry) in entries {
            let mut entry = (*entry).clone();
            if let Kind::File { object, size: 1.. } = &entry.kind {
                let missing = |error: io::Error| match error.kind() {
                    io::ErrorKind::NotFound => {
                        let id = object.to_string();
                        Error::from(rbuild_tree::Error::Missing { what: "object", id })
                    }
                    _ => Error::io("open", &store.object_path(object), error),
                };
                let file = store.open_object(object).map_err(missing)?;
                match bytes.of(&store.object_path(object)) {
                    Some(path) => {
                        let marks = [(NO_BYTES, &b""[..]), (BYTES, &path)];
                        entry.metadata.xattrs.extend(marks.map(|(name, value)| (name.into(), value.into())));
                    }
                    None => files.push(file),
                }
            }
            tree.push(((*name).into(), entry));
        }
        let tree = Tree::from_entries(tree);
        let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        self.ask(&[b"fill", path.as_bytes(), &encode_tree(&tree)], &files)?;
        Ok(())
    }

    /// Removes all that is in a folder.
    ///
    /// # Errors
    /// Something can't be removed.
    pub(super) fn empty(&self, folder: &Path) -> Result<()> {
        self.ask(&[b"empty"], &[open_folder(folder)?.as_fd()]).map(drop)
    }
}

fn refused(reason: &str) -> Error {
    Error::environment(format!("a folder of a step: can't {reason}"))
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
