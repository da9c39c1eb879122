//! From the difference of two trees to a layer: an uncompressed OCI changeset.
//!
//! The same two snapshots always give the same bytes. In a directory whiteouts come first, then entries by name, each
//! directory before what is in it. Only explicit whiteouts are written (opaque ones are read), one for a directory
//! that is gone. Every directory that holds a change has an entry with its own metadata, but the root only if its own
//! metadata changed. Of names that are one file the first has the content, the others are links to it.
//!
//! Not in a layer: sockets, which tar can't say (they are reported), and names that begin with `.wh.`, which would
//! mean something else (they are an error, as are extended attributes with `=` in their name).

use crate::{
    Error, ObjectStore, Result,
    error::io_error,
    tar::write::{Item, Writer},
};
use rbuild_tree::{
    Change, Delta, DirectoryChange, Entry, Kind, Metadata, ObjectId, Snapshot, Timestamp, Tree, TreeId,
    TreePath, diff,
};
use std::{
    collections::HashMap,
    io::{self, Read, Write},
    sync::Arc,
};

const WHITEOUT: &[u8] = b".wh.";
const CHUNK: usize = 1 << 17;

/// What was written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LayerSummary {
    /// Entries, whiteouts among them. With none the layer says nothing and can be left out.
    pub entries: u64,
    /// Whiteouts. Without any, `whiteout_time` is not in the layer.
    pub whiteouts: u64,
    /// Size of the archive.
    pub bytes: u64,
    /// Sockets that are in the tree and not in the layer, in order.
    pub skipped_sockets: Vec<TreePath>,
}

/// Writes what makes `result` of `base` (of nothing, if there is none) as an uncompressed tar.
///
/// `whiteout_time` is the time of whiteouts: they have no other. Objects are checked while they are read; after an
/// error what was written so far is worthless.
///
/// # Errors
/// [`Error::NotInLayer`], [`Error::Object`], [`Error::Io`], [`Error::Tree`].
pub fn write_layer(
    store: &dyn ObjectStore,
    base: Option<&Snapshot>,
    result: &Snapshot,
    whiteout_time: Timestamp,
    out: &mut dyn Write,
) -> Result<LayerSummary> {
    let scratch = Snapshot::scratch();
    let base = base.unwrap_or(&scratch);
    let delta = diff(store, base, result)?;
    let mut layer = LayerWriter {
        store,
        writer: Writer::new(out),
        whiteout: Metadata::root(0, whiteout_time),
        groups: groups(&delta),
        first_names: HashMap::new(),
        skipped_sockets: Vec::new(),
        whiteouts: 0,
        buffer: vec![0; CHUNK],
    };
    layer.walk(Directory {
        path: TreePath::root(),
        metadata: result.root.clone(),
        change: Some(&delta.root),
        base: Some(base.tree),
        result: result.tree,
    })?;
    let LayerWriter { writer, skipped_sockets, whiteouts, .. } = layer;
    let entries = writer.entries();
    let bytes = writer.finish().map_err(io_error("writing a layer"))?;
    Ok(LayerSummary { entries, whiteouts, bytes, skipped_sockets })
}

fn groups(delta: &Delta) -> HashMap<TreePath, usize> {
    let groups = delta.links.groups().iter().enumerate();
    groups.flat_map(|(number, group)| group.iter().map(move |path| (path.clone(), number))).collect()
}

/// What is still to be written.
enum Task<'d> {
    Directory(Directory<'d>),
    Leaf(TreePath, Entry),
}

struct Directory<'d> {
    path: TreePath,
    metadata: Metadata,
    /// What changed in it; all of it is new if nothing is said.
    change: Option<&'d DirectoryChange>,
    /// It as it was, where it was a directory.
    base: Option<TreeId>,
    result: TreeId,
}

struct LayerWriter<'a> {
    store: &'a dyn ObjectStore,
    writer: Writer<'a>,
    whiteout: Metadata,
    /// The link group of each path that is in one.
    groups: HashMap<TreePath, usize>,
    /// The name of each group that was written first, with the content.
    first_names: HashMap<usize, TreePath>,
    skipped_sockets: Vec<TreePath>,
    whiteouts: u64,
    buffer: Vec<u8>,
}

impl LayerWriter<'_> {
    /// Goes down without recursion: a tree may be as deep as it likes. The next task is on top.
    fn walk(&mut self, root: Directory<'_>) -> Result<()> {
        let mut tasks = vec![Task::Directory(root)];
        while let Some(task) = tasks.pop() {
            match task {
                Task::Leaf(path, entry) => self.leaf(path, &entry)?,
                Task::Directory(directory) => {
                    let root_is_same = directory.change.is_some_and(|change| change.metadata.is_none());
                    if !(directory.path.is_root() && root_is_same) {
                        self.entry(&directory.path, Item::Directory, &directory.metadata)?;
                    }
                    let children = self.names(&directory)?;
                    tasks.extend(children.into_iter().rev());
                }
            }
        }
        Ok(())
    }

    /// Stores need not hold the empty directory.
    fn tree(&self, id: &TreeId) -> Result<Arc<Tree>> {
        if *id == Tree::default().id() { Ok(Arc::default()) } else { Ok(self.store.tree(id)?) }
    }

    /// Writes the whiteouts of a directory; gives what else is to be written, in order.
    fn names<'d>(&mut self, directory: &Directory<'d>) -> Result<Vec<Task<'d>>> {
        let result = self.tree(&directory.result)?;
        let Some(change) = directory.change else {
            let all = result.iter().map(|(name, entry)| new_entry(directory.path.join(name), entry));
            return Ok(all.collect());
        };
        let base = directory.base.map(|base| self.tree(&base)).transpose()?.unwrap_or_default();
        let mut tasks = Vec::with_capacity(change.children.len());
        for (name, change) in &change.children {
            let path = directory.path.join(name);
            match change {
                Change::Removed => self.hide(&path, base.get(name))?,
                Change::Replaced(entry) => {
                    if entry.kind == Kind::Socket {
                        self.hide(&path, base.get(name))?;
                    }
                    tasks.push(new_entry(path, entry));
                }
                Change::Directory(inner) => {
                    let missing = || Error::NotInLayer {
                        path: path.clone(),
                        reason: "its difference names no directory",
                    };
                    let entry = result.get(name).ok_or_else(missing)?;
                    let Kind::Directory(result) = entry.kind else { return Err(missing()) };
                    let base = base.get(name).and_then(|entry| match entry.kind {
                        Kind::Directory(tree) => Some(tree),
                        _ => None,
                    });
                    let (metadata, change) = (entry.metadata.clone(), Some(inner));
                    tasks.push(Task::Directory(Directory { path, metadata, change, base, result }));
                }
            }
        }
        Ok(tasks)
    }

    /// Hides what lower layers hold at `path`; a socket is in none.
    fn hide(&mut self, path: &TreePath, base: Option<&Entry>) -> Result<()> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else { return Ok(()) };
        if base.is_none_or(|entry| entry.kind == Kind::Socket) {
            return Ok(());
        }
        check_name(path, name)?;
        self.whiteouts += 1;
        let whiteout = parent.join(&[WHITEOUT, name].concat());
        let written = self.writer.entry(whiteout.as_bytes(), Item::File(0), &self.whiteout);
        written.map_err(io_error(format!("writing the whiteout of {path} to a layer")))
    }

    fn leaf(&mut self, path: TreePath, entry: &Entry) -> Result<()> {
        let group = self.groups.get(&path).copied();
        let first = group.and_then(|group| self.first_names.get(&group)).cloned();
        let item = match (&first, &entry.kind) {
            (_, Kind::Socket) => {
                self.skipped_sockets.push(path);
                return Ok(());
            }
            (Some(first), _) => Item::HardLink(first.as_bytes()),
            (None, Kind::File { size, .. }) => Item::File(*size),
            (None, Kind::Symlink(target)) => Item::Symlink(target),
            (None, Kind::CharDevice(device)) => Item::CharDevice(*device),
            (None, Kind::BlockDevice(device)) => Item::BlockDevice(*device),
            (None, Kind::Fifo) => Item::Fifo,
            (None, Kind::Directory(_)) => Item::Directory,
        };
        self.entry(&path, item, &entry.metadata)?;
        if let (None, Kind::File { object, size }) = (&first, &entry.kind) {
            self.content(&path, object, *size)?;
        }
        if let (None, Some(group)) = (first, group) {
            self.first_names.insert(group, path);
        }
        Ok(())
    }

    fn entry(&mut self, path: &TreePath, item: Item<'_>, metadata: &Metadata) -> Result<()> {
        let bytes = match path.name() {
            None => b".",
            Some(name) => {
                check_name(path, name)?;
                path.as_bytes()
            }
        };
        if metadata.xattrs.keys().any(|name| name.contains(&b'=')) {
            let reason = "`=` in the name of an extended attribute is where the name ends in an archive";
            return Err(Error::NotInLayer { path: path.clone(), reason });
        }
        self.writer.entry(bytes, item, metadata).map_err(io_error(format!("writing {path} to a layer")))
    }

    /// Copies an object and makes sure that it is what its identity says.
    fn content(&mut self, path: &TreePath, object: &ObjectId, size: u64) -> Result<()> {
        let damaged = |reason: String| Error::Object { id: *object, path: path.clone(), reason };
        let writing = || format!("writing {path} to a layer");
        let mut reader = self.store.open(object).map_err(|error| damaged(error.to_string()))?;
        let mut hasher = blake3::Hasher::new();
        let mut left = size;
        loop {
            let count = match reader.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(damaged(error.to_string())),
            };
            left = left
                .checked_sub(count as u64)
                .ok_or_else(|| damaged(format!("it has more than {size} bytes")))?;
            hasher.update(&self.buffer[..count]);
            self.writer.data(&self.buffer[..count]).map_err(io_error(writing()))?;
        }
        if left > 0 {
            return Err(damaged(format!("it lacks {left} of its {size} bytes")));
        }
        if ObjectId::from(hasher.finalize()) != *object {
            return Err(damaged("its bytes have another digest".to_owned()));
        }
        self.writer.end_file().map_err(io_error(writing()))
    }
}

fn new_entry<'d>(path: TreePath, entry: &Entry) -> Task<'d> {
    match entry.kind {
        Kind::Directory(result) => {
            let metadata = entry.metadata.clone();
            Task::Directory(Directory { path, metadata, change: None, base: None, result })
        }
        _ => Task::Leaf(path, entry.clone()),
    }
}

fn check_name(path: &TreePath, name: &[u8]) -> Result<()> {
    if name.starts_with(WHITEOUT) {
        let reason = "names that begin with `.wh.` mean that something was removed";
        return Err(Error::NotInLayer { path: path.clone(), reason });
    }
    Ok(())
}
