//! A change in overlayfs's own form: what is gone is a whiteout, a directory that replaces something is opaque, all
//! else is itself. A new directory is filled and takes the old one's place in one step at the end.

use crate::{
    error::{Error, Result},
    folder::{Folder, metadata},
    layers::{MARKS, WHITEOUT, kept},
    store::{Reference, ReferenceStore},
    warn,
};
use rbuild_overlay::{Store as _, clone_prefix};
use rbuild_tree::{
    Change, Device, DirectoryChange, Entry, Kind, ObjectId, Snapshot, Tree, TreeId, TreePath, TreeStore,
    diff, lookup,
};
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, RenameFlags, XattrFlags, renameat_with},
    io::Errno,
};
use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    os::fd::AsFd,
    path::Path,
    sync::Arc,
};

/// Makes `upper` what makes `base`, the lower directories alone, show `result`. `work` is an existing directory on the
/// same filesystem.
///
/// # Errors
/// Something can't be read or written. `upper` is as it was then.
pub fn write_upper(
    store: &ReferenceStore,
    base: &Snapshot,
    result: &Snapshot,
    upper: &Path,
    work: &Path,
    user_xattr: bool,
) -> Result<()> {
    let new = work.join("upper");
    fs::create_dir(&new).map_err(Error::io("make", &new.display()))?;
    let delta = diff(store, base, result)?;
    let mut groups = HashMap::new();
    for (number, group) in delta.links.groups().iter().enumerate() {
        groups.extend(group.iter().map(|path| (path.clone(), number)));
    }
    let mark = MARKS[usize::from(user_xattr)];
    let mut writer = Writer {
        store,
        base,
        result,
        old: upper,
        root: &new,
        groups,
        first: HashMap::new(),
        placed: HashSet::new(),
        mark,
    };
    writer.change(&Folder::open(&new)?, &TreePath::root(), &delta.root)?;
    Folder::open(&new)?.set_metadata(b"", &result.root, false)?;
    renameat_with(CWD, &new, CWD, upper, RenameFlags::EXCHANGE)
        .map_err(Error::io("put a new directory in the place of", &upper.display()))?;
    fs::remove_dir_all(&new).map_err(Error::io("remove the old content of", &upper.display()))
}

struct Writer<'a> {
    store: &'a ReferenceStore,
    base: &'a Snapshot,
    result: &'a Snapshot,
    /// The upper directory as it was.
    old: &'a Path,
    /// The new one.
    root: &'a Path,
    /// Which link group a path belongs to.
    groups: HashMap<TreePath, usize>,
    /// The path of each group that was written first.
    first: HashMap<usize, TreePath>,
    /// Objects that a file was made of already.
    placed: HashSet<ObjectId>,
    mark: &'static str,
}

impl Writer<'_> {
    /// A directory of the lower that stays.
    fn change(&mut self, folder: &Folder, path: &TreePath, change: &DirectoryChange) -> Result<()> {
        let below = self.base_tree(path)?;
        let goes =
            |name: &[u8]| matches!(change.children.get(name), Some(Change::Removed | Change::Replaced(_)));
        // Of the root, overlayfs looks at no mark.
        let opaque = !path.is_root() && !below.is_empty() && below.iter().all(|(name, _)| goes(name));
        if opaque {
            self.mark_opaque(folder)?;
        }
        for (name, change) in &change.children {
            let path = path.join(name);
            match change {
                Change::Removed if opaque => {}
                Change::Removed => make_node(folder, name, FileType::CharacterDevice, WHITEOUT)?,
                Change::Replaced(entry) => {
                    self.put(folder, &path, name, entry, !opaque && below.get(name).is_some())?;
                }
                Change::Directory(change) => {
                    let inner = make_directory(folder, name)?;
                    self.change(&inner, &path, change)?;
                    let entry = lookup(self.store, self.result, &path)?;
                    let metadata =
                        entry.map(|entry| entry.metadata).unwrap_or_else(|| self.result.root.clone());
                    folder.set_metadata(name, &metadata, false)?;
                }
            }
        }
        Ok(())
    }

    fn base_tree(&self, path: &TreePath) -> Result<Arc<Tree>> {
        match lookup(self.store, self.base, path)? {
            Some(Entry { kind: Kind::Directory(id), .. }) => Ok(self.store.tree(&id)?),
            _ => Ok(Arc::default()),
        }
    }

    /// Something that the lower has not got, or not so.
    fn put(
        &mut self,
        folder: &Folder,
        path: &TreePath,
        name: &[u8],
        entry: &Entry,
        hides: bool,
    ) -> Result<()> {
        if let Kind::Directory(tree) = &entry.kind {
            self.put_directory(&make_directory(folder, name)?, path, tree, hides)?;
            return folder.set_metadata(name, &entry.metadata, false);
        }
        if let Some(group) = self.groups.get(path) {
            if let Some(first) = self.first.get(group) {
                return self.link(folder, name, first);
            }
            self.first.insert(*group, path.clone());
        }
        match &entry.kind {
            Kind::Directory(_) => return Ok(()),
            Kind::File { object, size } => {
                if self.place(folder, path, entry, object, *size)? {
                    return Ok(());
                }
            }
            Kind::Symlink(target) => {
                rustix::fs::symlinkat(&**target, folder, name).map_err(folder.error("make", name))?;
            }
            Kind::CharDevice(WHITEOUT) => {
                warn(&format!("{path} is left out: a character device 0/0 is a whiteout to overlayfs"));
                return if hides {
                    make_node(folder, name, FileType::CharacterDevice, WHITEOUT)
                } else {
                    Ok(())
                };
            }
            Kind::CharDevice(device) => make_node(folder, name, FileType::CharacterDevice, *device)?,
            Kind::BlockDevice(device) => make_node(folder, name, FileType::BlockDevice, *device)?,
            Kind::Fifo => make_node(folder, name, FileType::Fifo, WHITEOUT)?,
            Kind::Socket => make_node(folder, name, FileType::Socket, WHITEOUT)?,
        }
        folder.set_metadata(name, &entry.metadata, matches!(entry.kind, Kind::Symlink(_)))
    }

    fn put_directory(&mut self, folder: &Folder, path: &TreePath, tree: &TreeId, hides: bool) -> Result<()> {
        if hides {
            self.mark_opaque(folder)?;
        }
        for (name, entry) in self.store.tree(tree)?.iter() {
            self.put(folder, &path.join(name), name, entry, false)?;
        }
        Ok(())
    }

    fn link(&self, folder: &Folder, name: &[u8], first: &TreePath) -> Result<()> {
        let above = Folder::reach(self.root, &first.parent().unwrap_or_default())?;
        let known = first.name().unwrap_or_default();
        match rustix::fs::linkat(&above, known, folder, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()), // it was left out
            linked => linked.map_err(folder.error("link", name)),
        }
    }

    /// Puts a file's bytes there: moved if they were written in this mount, linked if they are a file of the old upper
    /// directory that nothing else is to be made of, else copied. Says whether its metadata is right already.
    fn place(
        &mut self,
        folder: &Folder,
        path: &TreePath,
        entry: &Entry,
        object: &ObjectId,
        size: u64,
    ) -> Result<bool> {
        let name = path.name().unwrap_or_default();
        let target = folder.at(name);
        if size == 0 {
            File::create_new(&target).map_err(folder.error("make", name))?;
            return Ok(false);
        }
        let reference = self.store.reference(object).map_err(folder.error("find the bytes of", name))?;
        let fresh = self.placed.insert(*object);
        match reference {
            None if fresh => {
                // Copied from here if there is a second file of these bytes.
                let moved = fs::rename(self.store.object(object), &target);
                moved.map_err(folder.error("make", name))?;
                self.store.refer(*object, self.root, path);
                Ok(false)
            }
            Some(old) if fresh && old.root == self.old && link_same(folder, name, entry, &old)? => Ok(true),
            _ => {
                let from = self.store.open(object).map_err(folder.error("open the bytes of", name))?;
                let to = File::create_new(&target).map_err(folder.error("make", name))?;
                clone_prefix(&from, &to, size).map_err(folder.error("copy the bytes of", name))?;
                Ok(false)
            }
        }
    }

    fn mark_opaque(&mut self, folder: &Folder) -> Result<()> {
        loop {
            let name = format!("{}opaque", self.mark);
            match rustix::fs::fsetxattr(folder.as_fd(), name, b"y", XattrFlags::empty()) {
                // Inside a user namespace.
                Err(Errno::PERM) if self.mark == MARKS[0] => self.mark = MARKS[1],
                set => return set.map_err(folder.error("mark as opaque", b"")),
            }
        }
    }
}

/// Links a file that is to be had with the same metadata; says whether it is.
fn link_same(folder: &Folder, name: &[u8], entry: &Entry, old: &Reference) -> Result<bool> {
    let (above, old_name) = old.split();
    let above = Folder::reach(&old.root, &above)?;
    if metadata(&above.stat(&old_name)?, kept(above.xattrs(&old_name)?)) != entry.metadata {
        return Ok(false);
    }
    rustix::fs::linkat(&above, &*old_name, folder, name, AtFlags::empty())
        .map_err(folder.error("link", name))?;
    Ok(true)
}

fn make_directory(folder: &Folder, name: &[u8]) -> Result<Folder> {
    rustix::fs::mkdirat(folder, name, Mode::RWXU).map_err(folder.error("make", name))?;
    folder.enter(name)
}

fn make_node(folder: &Folder, name: &[u8], kind: FileType, device: Device) -> Result<()> {
    let device = rustix::fs::makedev(device.major, device.minor);
    rustix::fs::mknodat(folder, name, kind, Mode::empty(), device).map_err(folder.error("make", name))
}
