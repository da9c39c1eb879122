//! The store of one mount: trees in memory or in the index, files where the layers have them, written ones in a folder.

use crate::{
    error::{Error, Result},
    folder::Folder,
    index::{Index, Key, LOWER, ROOT},
};
use rbuild_overlay::{Store, hash_file};
use rbuild_tree::{ObjectId, Snapshot, Tree, TreeId, TreePath, TreeStore, encoding};
use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsStr,
    fs::{self, File},
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Where a layer has a file.
#[derive(Clone, Debug)]
pub struct Reference {
    /// The layer.
    pub root: PathBuf,
    /// The path in it.
    pub path: TreePath,
}

impl Reference {
    /// Opens it.
    pub fn open(&self) -> io::Result<File> {
        let (above, name) = self.split();
        let other = |error: Error| match error {
            Error::Io { source, .. } => source,
            other => io::Error::other(other),
        };
        let direct = self.root.join(OsStr::from_bytes(self.path.as_bytes()));
        match File::open(&direct) {
            Err(cause) if cause.kind() == io::ErrorKind::InvalidFilename => {
                File::open(Folder::reach(&self.root, &above).map_err(other)?.at(&name))
            }
            opened => opened,
        }
    }

    /// The directory and the name.
    pub fn split(&self) -> (TreePath, Vec<u8>) {
        (self.path.parent().unwrap_or_default(), self.path.name().unwrap_or_default().to_vec())
    }
}

/// See the module.
#[derive(Default)]
pub struct ReferenceStore {
    trees: Mutex<HashMap<TreeId, Vec<u8>>>,
    references: Mutex<HashMap<ObjectId, Reference>>,
    index: Option<Index>,
    objects: PathBuf,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ReferenceStore {
    /// An empty one that keeps what is written in the folder `objects`.
    pub fn new(objects: PathBuf) -> Self {
        Self { objects, ..Self::default() }
    }

    /// Remembers where an object is.
    pub fn refer(&self, id: ObjectId, root: &Path, path: &TreePath) {
        lock(&self.references).insert(id, Reference { root: root.into(), path: path.clone() });
    }

    /// Where a layer has an object; none for what was written.
    pub fn reference(&self, id: &ObjectId) -> io::Result<Option<Reference>> {
        if let Some(known) = lock(&self.references).get(id) {
            return Ok(Some(known.clone()));
        }
        let Some(index) = &self.index else { return Ok(None) };
        let Some(value) = index.get(id.as_bytes())? else { return Ok(None) };
        let (root, path) = value.split_at(value.iter().position(|byte| *byte == 0).unwrap_or(value.len()));
        let path = path.split_first().map_or(&[][..], |(_, path)| path);
        let path = TreePath::parse(path).map_err(io::Error::other)?;
        Ok(Some(Reference { root: OsStr::from_bytes(root).into(), path }))
    }

    /// Where a written object is.
    pub fn object(&self, id: &ObjectId) -> PathBuf {
        self.objects.join(id.to_string())
    }

    /// Uses the index at `path`, if there is one, and says which snapshot it is of.
    ///
    /// # Errors
    /// It can't be read, or is one of other directories than `lower`.
    pub fn open_index(&mut self, path: &Path, lower: &[PathBuf]) -> Result<Option<Snapshot>> {
        let read = |key: &Key, index: &Index| index.get(key).map_err(Error::io("read", &path.display()));
        let Some(index) = Index::open(path)? else { return Ok(None) };
        if read(&LOWER, &index)? != Some(names(lower)) {
            let path = path.display();
            return Err(Error::Layer(format!(
                "{path} is the index of other lower directories: give them one of their own"
            )));
        }
        let snapshot = read(&ROOT, &index)?.map(|bytes| encoding::decode_snapshot(&bytes)).transpose()?;
        self.index = Some(index);
        Ok(snapshot)
    }

    /// Moves all that is known so far into an index.
    pub fn save_index(&mut self, path: &Path, lower: &[PathBuf], snapshot: &Snapshot) -> Result<()> {
        let mut values: BTreeMap<Key, Vec<u8>> = BTreeMap::new();
        values.insert(ROOT, encoding::encode_snapshot(snapshot));
        values.insert(LOWER, names(lower));
        values.extend(lock(&self.trees).drain().map(|(id, bytes)| (*id.as_bytes(), bytes)));
        values.extend(lock(&self.references).drain().map(|(id, Reference { root, path })| {
            (*id.as_bytes(), [root.as_os_str().as_bytes(), &[0], path.as_bytes()].concat())
        }));
        Index::write(path, &values)?;
        self.index = Index::open(path)?;
        Ok(())
    }
}

fn names(lower: &[PathBuf]) -> Vec<u8> {
    lower.iter().flat_map(|path| path.as_os_str().as_bytes().iter().copied().chain([0])).collect()
}

impl TreeStore for ReferenceStore {
    fn tree(&self, id: &TreeId) -> rbuild_tree::Result<Arc<Tree>> {
        if *id == Tree::default().id() {
            return Ok(Arc::default());
        }
        if let Some(bytes) = lock(&self.trees).get(id) {
            return encoding::decode_tree(bytes).map(Arc::new);
        }
        let found = self.index.as_ref().map(|index| index.get(id.as_bytes())).transpose();
        let missing = || rbuild_tree::Error::Missing { what: "tree", id: id.to_string() };
        let bytes = found.ok().flatten().flatten().ok_or_else(missing)?;
        encoding::decode_tree(&bytes).map(Arc::new)
    }

    fn put_tree(&self, tree: &Tree) -> rbuild_tree::Result<TreeId> {
        let bytes = encoding::encode_tree(tree);
        let id = TreeId::of(&bytes);
        lock(&self.trees).insert(id, bytes);
        Ok(id)
    }
}

impl Store for ReferenceStore {
    fn open(&self, id: &ObjectId) -> io::Result<File> {
        match self.reference(id)? {
            Some(reference) => reference.open(),
            None => File::open(self.object(id)),
        }
    }

    fn put_bytes(&self, bytes: &[u8]) -> io::Result<ObjectId> {
        let id = ObjectId::of(bytes);
        fs::write(self.object(&id), bytes)?;
        Ok(id)
    }

    fn put_file(&self, path: &Path) -> io::Result<(ObjectId, u64)> {
        let file = File::open(path)?;
        let id = hash_file(&file)?;
        fs::rename(path, self.object(&id))?;
        Ok((id, file.metadata()?.len()))
    }
}
