//! From the folder of changes that the kernel left to a difference, as the FUSE overlay tells it.
//!
//! Whatever an entry has as the stack shows it is as the tree has it, whether or not the stack could show that; only
//! what is different was changed. What bears the mark of a copy is a file that was there, at the place that its time of
//! reading tells ([`place_mark`]), or here if a program has set that. Without it a file of several names is taken for
//! that if its bytes are the same, since the kernel breaks its links and leaves no mark.
//!
//! Where there is one id a table says whose each is that a step made or gave away ([`OwnerTable`]). All links, pipes and
//! sockets that were made are in it; others were copied, which the kernel can't mark on them.

mod moved;

use super::{
    hand::Hand,
    open_folder,
    stack::{Shown, Stack},
    upper::is_opaque,
    wire::{self, IDENTITY, INODE, ORIGIN, WHITEOUT},
};
use crate::{
    error::{Error, Result},
    folder,
    store::Store,
};
use rbuild_supervisor::{Owned, OwnerTable};
use rbuild_tree::{
    Delta, Editor, Entry, FoundKind, Kind, Metadata, Snapshot, Timestamp, Tree, TreePath, diff,
    encoding::{decode_snapshot, decode_tree},
};
use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io,
    os::fd::AsFd,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Where the changes of a mount go.
pub(super) struct Changes {
    pub(super) shown: Shown,
    pub(super) stack: Stack,
    pub(super) folder: PathBuf,
    /// Whether files of several names lay in it from the start.
    pub(super) keeps_links: bool,
    /// Who owns what of it, if the folder can't say.
    pub(super) owners: Option<Arc<OwnerTable>>,
}

/// A snapshot becoming what the step left.
struct Replay<'a> {
    hand: &'a Hand,
    store: &'a Store,
    stopped: &'a AtomicBool,
    /// What the step was shown.
    before: &'a Snapshot,
    /// The first name of each file of several names that was there.
    first_names: HashMap<&'a TreePath, &'a TreePath>,
    /// The places that marks tell, once one is looked for.
    places: Option<HashMap<u32, TreePath>>,
    editor: Editor<'a>,
    epoch: Timestamp,
    /// What was lent and is not in the tree, with the metadata it gets if something is put into it.
    lent: BTreeMap<TreePath, Metadata>,
    /// Links of files that were there are kept by the kernel.
    keeps_links: bool,
    /// A path of each file of several names.
    inodes: HashMap<Box<[u8]>, TreePath>,
    /// Whose what is, where the folder can't say.
    owners: Option<&'a OwnerTable>,
    /// New names of files that were there, for the end: what such a file is shows where it was.
    new_names: Vec<(TreePath, Entry)>,
}

/// Reads what a step changed; times later than `epoch` become it.
///
/// # Errors
/// The worker or the store fails, a tree can't hold it, or the build is stopped.
pub(super) fn read(
    hand: &Hand,
    store: &Store,
    changes: &Changes,
    epoch: Timestamp,
    stopped: &AtomicBool,
) -> Result<Delta> {
    let Changes { shown, stack, folder, keeps_links, owners } = changes;
    let mut editor = Editor::new(store, &shown.tree);
    let mut lent = BTreeMap::new();
    for (path, _) in &shown.lent {
        let mut here = TreePath::root();
        for name in path.names() {
            here.push(name);
            if editor.get(&here)?.is_none() {
                lent.insert(here.clone(), Metadata::root(0o755, epoch));
            }
        }
    }
    let (keeps_links, before) = (*keeps_links, &shown.tree);
    let groups = before.links.groups().iter();
    let first_names = groups.flat_map(|group| group.iter().map(|name| (name, &group[0]))).collect();
    let (places, inodes, new_names) = Default::default();
    let mut replay = Replay {
        hand,
        store,
        stopped,
        before,
        first_names,
        places,
        editor,
        epoch,
        lent,
        keeps_links,
        inodes,
        owners: owners.as_deref(),
        new_names,
    };
    let folders = [folder].into_iter().chain(&stack.folders).map(|path| open_folder(path));
    let folders = folders.collect::<Result<Vec<_>>>()?;
    let folders: Vec<_> =
        folders.iter().map(AsFd::as_fd).chain(stack.memory.as_ref().map(AsFd::as_fd)).collect();
    let question: &[&[u8]] = if owners.is_some() { &[b"read", b"identities"] } else { &[b"read"] };
    let (roots, _) = hand.ask(question, &folders)?;
    replay.root(&roots)?;
    loop {
        replay.check_stopped()?;
        let (message, files) = hand.ask(&[b"next"], &[])?;
        if message.is_empty() {
            break;
        }
        let parts = wire::split(&message).unwrap_or_default();
        let [path, upper, below] = parts.as_slice() else { return Err(malformed()) };
        let tree = |bytes| decode_tree(bytes).map_err(|_| malformed());
        let (upper, below) = (tree(upper)?, tree(below)?);
        replay.directory(&TreePath::parse(path)?, upper, &below, files.into_iter().map(File::from))?;
    }
    for (path, found) in std::mem::take(&mut replay.new_names) {
        replay.leaf(&path, found, None)?;
    }
    Ok(diff(store, before, &replay.editor.finish()?)?)
}

fn malformed() -> Error {
    Error::internal("the worker's answer is malformed")
}

impl Replay<'_> {
    fn root(&mut self, roots: &[u8]) -> Result<()> {
        let parts = wire::split(roots).unwrap_or_default();
        let [found, shown] = parts.as_slice() else { return Err(malformed()) };
        let root = |bytes| decode_snapshot(bytes).map(|snapshot| snapshot.root).map_err(|_| malformed());
        self.set_metadata(&TreePath::root(), &root(found)?, &root(shown)?)
    }

    fn directory(
        &mut self,
        path: &TreePath,
        upper: Tree,
        below: &Tree,
        mut files: impl Iterator<Item = File>,
    ) -> Result<()> {
        for (name, found) in upper {
            let (path, shown) = (path.join(&name), below.get(&name));
            match &found.kind {
                kind if *kind == WHITEOUT => drop(self.editor.remove(&path)?),
                Kind::Directory(_) => self.subdirectory(&path, found, shown)?,
                Kind::File { size, .. } => {
                    let file = if *size > 0 { Some(files.next().ok_or_else(malformed)?) } else { None };
                    let kept = folder::keep(self.store, file, *size, self.stopped);
                    self.check_stopped()?;
                    let object = kept.map_err(|error| keeping(&path, error))?;
                    let kind = self.stood_for(&found).unwrap_or(Kind::File { object, size: *size });
                    self.name(&path, Entry { kind, ..found }, shown)?;
                }
                _ => {
                    let kind = self.stood_for(&found).unwrap_or_else(|| found.kind.clone());
                    self.name(&path, Entry { kind, ..found }, shown)?;
                }
            }
        }
        Ok(())
    }

    fn subdirectory(&mut self, path: &TreePath, found: Entry, shown: Option<&Entry>) -> Result<()> {
        let shown = shown.filter(|shown| shown.kind.is_directory() && !is_opaque(&found));
        match shown {
            Some(shown) if self.editor.get(path)?.is_some() => {
                self.set_metadata(path, &found.metadata, &shown.metadata)
            }
            // Only what is put into it makes it a part of the tree.
            Some(_) => {
                let metadata = self.written(&found.metadata);
                self.lent.insert(path.clone(), metadata);
                Ok(())
            }
            None => self.insert(path, &found),
        }
    }

    fn name(&mut self, path: &TreePath, found: Entry, shown: Option<&Entry>) -> Result<()> {
        let xattrs = &found.metadata.xattrs;
        if xattrs.contains_key(INODE) && xattrs.contains_key(ORIGIN) && self.editor.get(path)?.is_none() {
            self.new_names.push((path.clone(), found));
            return Ok(());
        }
        self.leaf(path, found, shown)
    }

    fn leaf(&mut self, path: &TreePath, found: Entry, shown: Option<&Entry>) -> Result<()> {
        if let Some(inode) = found.metadata.xattrs.get(INODE) {
            if let Some(first) = self.inodes.get(inode).cloned() {
                self.make_parents(path)?;
                return Ok(self.editor.link(&first, path)?);
            }
            self.inodes.insert(inode.clone(), path.clone());
        }
        if let Some(place) = self.moved_from(path, &found)? {
            return self.moved(path, found, &place);
        }
        let is_empty = matches!(found.kind, Kind::File { size: 0, .. });
        let (was, shown) = match (self.editor.get(path)?, shown) {
            (Some(was), Some(shown)) => (was, shown),
            // A place for a mount that is as it was lent.
            (None, Some(_)) if is_empty && self.lent.contains_key(path) => return Ok(()),
            _ => return self.insert(path, &found),
        };
        let FoundKind::Leaf(kind) = &was.kind else { return self.insert(path, &found) };
        let is_copied_up = found.metadata.xattrs.contains_key(ORIGIN);
        let is_linked = !self.keeps_links && !self.editor.linked(path).is_empty();
        match (kind, &found.kind) {
            (Kind::CharDevice(_) | Kind::BlockDevice(_), Kind::File { size: 0, .. }) if is_copied_up => {}
            (Kind::File { .. }, Kind::File { .. }) if is_copied_up && kind != &found.kind => {
                let metadata = self.left(&was.metadata, &found.metadata, &shown.metadata);
                return Ok(self.editor.insert(path, Entry { metadata, kind: found.kind })?);
            }
            (Kind::File { .. }, _) if !(is_copied_up || is_linked) => return self.insert(path, &found),
            (old, new) if old != new => return self.insert(path, &found),
            _ => {}
        }
        self.set_metadata(path, &found.metadata, &shown.metadata)
    }

    /// Puts what is new.
    fn insert(&mut self, path: &TreePath, found: &Entry) -> Result<()> {
        self.make_parents(path)?;
        let metadata = self.written(&found.metadata);
        Ok(self.editor.insert(path, Entry { metadata, kind: found.kind.clone() })?)
    }

    /// Makes the directories above a path that were only lent.
    fn make_parents(&mut self, path: &TreePath) -> Result<()> {
        let mut here = TreePath::root();
        for name in path.parent().unwrap_or_default().names() {
            here.push(name);
            // Of many levels few are lent, and each look goes down all of them.
            if let Some(metadata) = self.lent.get(&here)
                && self.editor.get(&here)?.is_none()
            {
                let kind = Kind::Directory(Tree::default().id());
                self.editor.insert(&here, Entry { metadata: metadata.clone(), kind })?;
            }
        }
        Ok(())
    }

    /// Gives what was there the metadata that it has now, under all its names.
    fn set_metadata(&mut self, path: &TreePath, found: &Metadata, shown: &Metadata) -> Result<()> {
        let Some(was) = self.editor.get(path)? else { return Err(malformed()) };
        let metadata = self.left(&was.metadata, found, shown);
        if metadata != was.metadata {
            self.editor.set_metadata(path, metadata)?;
        }
        Ok(())
    }

    /// What the table knows of something that was found.
    fn owned(&self, found: &Metadata) -> Option<Owned> {
        let (number, born) = found.xattrs.get(IDENTITY)?.split_first_chunk()?;
        let (seconds, nanoseconds) = born.split_first_chunk()?;
        let seconds = i64::from_le_bytes(*seconds);
        let nanoseconds = u32::from_le_bytes(nanoseconds.try_into().ok()?);
        self.owners?.of(u64::from_le_bytes(*number), Timestamp { seconds, nanoseconds })
    }

    /// The device that an empty file or a socket stands for.
    fn stood_for(&self, found: &Entry) -> Option<Kind> {
        let may_stand = matches!(found.kind, Kind::Socket | Kind::File { size: 0, .. });
        self.owned(&found.metadata).filter(|_| may_stand)?.device
    }

    /// As [`folder::written`].
    fn written(&self, found: &Metadata) -> Metadata {
        self.told(folder::written(found, self.epoch), found)
    }

    /// As [`folder::left`].
    fn left(&self, was: &Metadata, found: &Metadata, shown: &Metadata) -> Metadata {
        self.told(folder::left(was, found, shown, self.epoch), found)
    }

    /// What the table says of something that was found, in the place of what the folder shows.
    fn told(&self, mut metadata: Metadata, found: &Metadata) -> Metadata {
        if let Some(owned) = self.owned(found) {
            owned.tell(&mut metadata);
        }
        metadata
    }

    fn check_stopped(&self) -> Result<()> {
        if self.stopped.load(Ordering::SeqCst) { Err(Error::interrupted()) } else { Ok(()) }
    }
}

fn keeping(path: &TreePath, error: io::Error) -> Error {
    Error::environment(format!("can't keep {path} in the store")).caused_by(error)
}
