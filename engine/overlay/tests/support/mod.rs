//! A store in a folder, and mounting without a sandbox.
#![allow(dead_code, clippy::unwrap_used)]

pub mod mounts;
pub mod random;
pub mod view;

use nix::mount::{MntFlags, MsFlags};
use rbuild_overlay::{Live, Lower, Options, Overlay, Session, Store};
use rbuild_tree::{Delta, Error, ObjectId, Tree, TreeId, TreeStore, encoding};
use std::{
    fs::{self, File},
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Trees and objects, a file each.
pub struct FolderStore(PathBuf);

impl FolderStore {
    pub fn open(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        Self(folder.into())
    }

    /// As a disk does.
    pub fn lose_tree(&self, id: &TreeId) {
        fs::remove_file(self.path("tree", id)).unwrap();
    }

    fn path(&self, kind: &str, id: impl ToString) -> PathBuf {
        self.0.join(format!("{kind}-{}", id.to_string()))
    }
}

impl TreeStore for FolderStore {
    fn tree(&self, id: &TreeId) -> Result<Arc<Tree>, Error> {
        if *id == Tree::default().id() {
            return Ok(Arc::default());
        }
        let bytes = fs::read(self.path("tree", id));
        let bytes = bytes.map_err(|_| Error::Missing { what: "tree", id: id.to_string() })?;
        encoding::decode_tree(&bytes).map(Arc::new)
    }

    fn put_tree(&self, tree: &Tree) -> Result<TreeId, Error> {
        let bytes = encoding::encode_tree(tree);
        let id = TreeId::of(&bytes);
        fs::write(self.path("tree", id), bytes)
            .map_err(|source| Error::Io { context: "write a tree".to_owned(), source })?;
        Ok(id)
    }
}

impl Store for FolderStore {
    fn open(&self, id: &ObjectId) -> io::Result<File> {
        File::open(self.path("object", id))
    }

    fn put_bytes(&self, bytes: &[u8]) -> io::Result<ObjectId> {
        let id = ObjectId::of(bytes);
        fs::write(self.path("object", id), bytes)?;
        Ok(id)
    }

    fn put_file(&self, path: &Path) -> io::Result<(ObjectId, u64)> {
        let file = File::open(path)?;
        let id = rbuild_overlay::hash_file(&file)?;
        fs::rename(path, self.path("object", id))?;
        Ok((id, file.metadata()?.len()))
    }
}

/// A served mount; unmounted when dropped.
pub struct Mounted {
    pub path: PathBuf,
    session: Option<Session>,
}

/// Opens `/dev/fuse` and mounts it; none if this process may not.
pub fn mount_device(target: &Path) -> io::Result<OwnedFd> {
    let device = OwnedFd::from(File::options().read(true).write(true).open("/dev/fuse")?);
    let options = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other",
        device.as_raw_fd()
    );
    nix::mount::mount(Some("rbuild"), target, Some("fuse.rbuild"), MsFlags::empty(), Some(options.as_str()))?;
    Ok(device)
}

impl Mounted {
    pub fn new(overlay: &Overlay, target: &Path) -> io::Result<Self> {
        Self::serve(target, |device| overlay.serve(device, 2))
    }

    /// Mounts on `target`, served by a session of another kind.
    pub fn serve(
        target: &Path,
        serve: impl FnOnce(OwnedFd) -> Result<Session, rbuild_overlay::Error>,
    ) -> io::Result<Self> {
        let session = serve(mount_device(target)?).map_err(io::Error::other)?;
        Ok(Self { path: target.into(), session: Some(session) })
    }

    /// Unmounts and waits for the end.
    pub fn end(mut self) {
        self.unmount();
    }

    fn unmount(&mut self) {
        if let Some(session) = self.session.take() {
            nix::mount::umount2(&self.path, MntFlags::MNT_DETACH).unwrap();
            session.join().unwrap();
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.unmount();
    }
}

/// A store and folders for one test.
pub struct Bench {
    pub folder: tempfile::TempDir,
    pub store: Arc<FolderStore>,
}

impl Bench {
    pub fn new() -> Self {
        // A real filesystem where there is one: not every tmpfs keeps user attributes.
        let folder =
            option_env!("CARGO_TARGET_TMPDIR").map_or_else(tempfile::tempdir, tempfile::tempdir_in).unwrap();
        let store = Arc::new(FolderStore::open(&folder.path().join("store")));
        Self { folder, store }
    }

    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    pub fn overlay(&self, scratch: &str, lower: Lower) -> Overlay {
        let mut options = Options::new(self.folder(scratch));
        // Small, so that files move between memory and scratch.
        (options.inline_limit, options.inline_total) = (100, 300);
        options.record = true;
        Overlay::new(self.store.clone(), lower, options).unwrap()
    }

    pub fn live(&self, root: &Path, delta: Option<Delta>) -> Lower {
        Lower::Live(Live { root: root.into(), exclude: Vec::new(), delta })
    }
}
