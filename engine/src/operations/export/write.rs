//! Entries of a tree become files.

use super::{
    super::{
        Warning,
        accounts::missing_object,
        error::{OperationError, Result},
    },
    Exported,
    claim::unfinished_name,
    folder::{Folder, finish, times, word},
};
use crate::{error::Error, store::Store};
use rbuild_tree::{Entry, Kind, Metadata, Name, ObjectId, Snapshot, Tree, TreeId, TreePath, TreeStore};
use std::{collections::BTreeSet, io, path::PathBuf};

const SET_ID: u32 = 0o6000;
const OWNER_ALL: u32 = 0o700;

/// Writes entries, and remembers which paths it wrote.
pub(super) struct Writer<'a> {
    store: &'a Store,
    files: u64,
    /// Paths from the folder it was given, for [`Writer::remove_others`].
    written: BTreeSet<TreePath>,
    warnings: Vec<Warning>,
}

/// A folder that is being filled.
struct Open {
    folder: Folder,
    path: TreePath,
    rest: std::vec::IntoIter<(Name, Entry)>,
    /// What a new one gets at the end; one that was there keeps what it has.
    finish: Option<Metadata>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store, files: 0, written: BTreeSet::new(), warnings: Vec::new() }
    }

    pub(super) fn exported(self, path: PathBuf) -> Exported {
        Exported { path, files: self.files, warnings: self.warnings, state: None }
    }

    /// Writes an entry at a path below `base`.
    pub(super) fn entry(&mut self, base: &Folder, path: &TreePath, entry: &Entry) -> Result<()> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            return self.content(base, path, entry);
        };
        let mut open = Vec::new();
        self.one(&base.descend(&parent)?, path, name, entry, &mut open)?;
        self.fill(open)
    }

    /// Writes what is in a directory into the folder at a path below `base`.
    pub(super) fn content(&mut self, base: &Folder, path: &TreePath, entry: &Entry) -> Result<()> {
        let Kind::Directory(tree) = entry.kind else { return Ok(()) };
        let folder = base.descend(path)?;
        self.fill(vec![Open { folder, path: path.clone(), rest: self.entries(tree)?, finish: None }])
    }

    /// Writes a whole tree into a new folder.
    pub(super) fn root(&mut self, folder: &Folder, tree: &Snapshot) -> Result<()> {
        let (rest, finish) = (self.entries(tree.tree)?, Some(tree.root.clone()));
        self.fill(vec![Open { folder: folder.again()?, path: TreePath::root(), rest, finish }])
    }

    fn entries(&self, tree: TreeId) -> Result<std::vec::IntoIter<(Name, Entry)>> {
        Ok(Tree::clone(&*self.store.tree(&tree)?).into_iter())
    }

    /// Goes through open folders and what is in them, the deepest first.
    fn fill(&mut self, mut open: Vec<Open>) -> Result<()> {
        while let Some(mut here) = open.pop() {
            if let Some((name, entry)) = here.rest.next() {
                let path = here.path.join(&name);
                let mut below = Vec::new();
                self.one(&here.folder, &path, &name, &entry, &mut below)?;
                open.push(here);
                open.append(&mut below);
            } else if let Some(metadata) = here.finish {
                here.folder.finish((metadata.mode & !SET_ID) | OWNER_ALL, times(metadata.mtime))?;
            }
        }
        Ok(())
    }

    /// Writes one name; a directory is only opened.
    fn one(
        &mut self,
        folder: &Folder,
        path: &TreePath,
        name: &[u8],
        entry: &Entry,
        open: &mut Vec<Open>,
    ) -> Result<()> {
        self.written.insert(path.clone());
        match &entry.kind {
            Kind::Directory(tree) => {
                let rest = self.entries(*tree)?;
                let (folder, made) = folder.make(name, OWNER_ALL)?;
                let finish = made.then(|| entry.metadata.clone());
                open.push(Open { folder, path: path.clone(), rest, finish });
                return Ok(());
            }
            Kind::File { .. } | Kind::Symlink(_) => {}
            other => {
                let message = format!("{path} is a {} and is left out", other.word());
                self.warnings.push(Warning { code: "special-file", message, span: None });
                return Ok(());
            }
        }
        refuse_folder(folder, name, &entry.kind)?;
        self.files += 1;
        match &entry.kind {
            Kind::File { object, .. } => self.file(folder, path, name, object, &entry.metadata),
            Kind::Symlink(target) => {
                let fresh = folder.fresh_name();
                folder.link(&fresh, target, times(entry.metadata.mtime))?;
                folder.rename(&fresh, name)
            }
            _ => Ok(()),
        }
    }

    /// Writes a file under another name and moves it, so that it is never there by half.
    fn file(
        &self,
        folder: &Folder,
        path: &TreePath,
        name: &[u8],
        object: &ObjectId,
        metadata: &Metadata,
    ) -> Result<()> {
        let mut from = self.store.open_object(object).map_err(|cause| missing_object(path, cause))?;
        let unfinished = unfinished_name(name);
        let mut file = folder.claim_file(&unfinished)?;
        let written = io::copy(&mut from, &mut file)
            .and_then(|_| Ok(finish(&file, metadata.mode & !SET_ID, times(metadata.mtime))?))
            .map_err(|error| Error::io("write", &folder.path_of_name(name), error).into())
            .and_then(|()| folder.rename(&unfinished, name));
        if written.is_err() {
            // What went wrong is the error, not that its rest can't be removed.
            let _ = folder.remove(&unfinished);
        }
        written
    }

    /// Removes what is in the folder at `path` below `base` and was not written.
    pub(super) fn remove_others(&self, base: &Folder, path: &TreePath) -> Result<()> {
        let Some(folder) = base.descend_existing(path)? else { return Ok(()) };
        let mut pending = vec![(folder, path.clone())];
        while let Some((folder, path)) = pending.pop() {
            for name in folder.names()? {
                let path = path.join(&name);
                if !self.written.contains(&path) {
                    folder.remove(&name)?;
                } else if folder.look(&name)?.is_some_and(rustix::fs::FileType::is_dir) {
                    pending.push((folder.enter(&name)?, path));
                }
            }
        }
        Ok(())
    }
}

/// A folder of the workspace is no place for a file.
fn refuse_folder(folder: &Folder, name: &[u8], kind: &Kind) -> Result<()> {
    let Some(there) = folder.look(name)?.filter(|there| there.is_dir()) else { return Ok(()) };
    let path = folder.path_of_name(name);
    let message = format!("{} is a {}; a {} can't take its place", path.display(), word(there), kind.word());
    let error = OperationError::new("type-conflict", message);
    Err(error.hint(format!("to write into it let `dest` end in `/`, or remove {}", path.display())))
}
