//! Directories of overlayfs as one snapshot, by reference.
//!
//! Layers are put on top of each other from the lowest up: what a layer has replaces what is there, directories join,
//! a whiteout (character device 0/0) takes a name away, and a directory marked opaque joins nothing. A file's object
//! is named after its device and inode; the store remembers where it is. Files that are one inode become a link group.

use crate::{
    error::{Error, Result},
    folder::{Folder, device, metadata},
    store::ReferenceStore,
};
use rayon::prelude::*;
use rbuild_tree::{
    Device, Entry, Kind, Links, ObjectId, Snapshot, Tree, TreeId, TreePath, TreeStore, Xattrs,
    entry::is_kept_xattr, lookup, tree::Name,
};
use rustix::fs::{FileType, Stat};
use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

/// Where overlayfs keeps its marks: the kernel's, and what is left to user namespaces.
pub const MARKS: [&str; 2] = ["trusted.overlay.", "user.overlay."];

/// Whether an attribute of a file is one for programs, not a mark.
pub fn is_kept(name: &[u8]) -> bool {
    is_kept_xattr(name) || name.starts_with(b"trusted.") && !name.starts_with(MARKS[0].as_bytes())
}

/// The device number of a whiteout.
pub const WHITEOUT: Device = Device { major: 0, minor: 0 };

/// One directory of a layer that is to be read.
struct Pending {
    path: TreePath,
    /// The entry it becomes: directory (by its place in the list) and name. None for the root.
    parent: Option<(usize, Name)>,
    /// What it joins.
    base: TreeId,
}

/// What was found in one.
#[derive(Default)]
struct Scanned {
    /// None for a whiteout. Trees of directories are not known yet.
    entries: BTreeMap<Name, Option<Entry>>,
    directories: Vec<(Name, TreeId)>,
    /// Names of files that have more: device and inode, path.
    linked: Vec<((u64, u64), TreePath)>,
}

/// What `base` becomes by the layer at `root`.
///
/// # Errors
/// Something can't be read, or was made by overlayfs with `redirect_dir` or `metacopy`.
pub fn add_layer(store: &ReferenceStore, base: &Snapshot, root: &Path) -> Result<Snapshot> {
    let mut all = vec![Pending { path: TreePath::root(), parent: None, base: base.tree }];
    let mut scans: Vec<Scanned> = Vec::new();
    // Level by level: no directory stays open, and nothing recurses.
    while scans.len() < all.len() {
        let first = scans.len();
        let level: Vec<Scanned> =
            all[first..].par_iter().map(|pending| scan(store, root, pending)).collect::<Result<_>>()?;
        for (offset, scanned) in level.iter().enumerate() {
            let above = all[first + offset].path.clone();
            all.extend(scanned.directories.iter().map(|(name, base)| Pending {
                path: above.join(name),
                parent: Some((first + offset, name.clone())),
                base: *base,
            }));
        }
        scans.extend(level);
    }
    let groups = link_groups(&mut scans);
    let tree = join(store, &all, scans)?;
    let folder = Folder::open(root)?;
    let xattrs = kept(folder.xattrs(b"")?);
    let mut links = groups;
    links.extend(surviving_groups(store, base, &tree)?);
    Ok(Snapshot { root: metadata(&folder.stat(b"")?, xattrs), tree, links: Links::new(links) })
}

/// Makes trees of what was found, the innermost first.
fn join(store: &ReferenceStore, all: &[Pending], mut scans: Vec<Scanned>) -> Result<TreeId> {
    let mut root = TreeId::from_bytes([0; 32]);
    for (place, pending) in all.iter().enumerate().rev() {
        let found = std::mem::take(&mut scans[place].entries);
        let id = if found.is_empty() { pending.base } else { joined(store, &pending.base, found)? };
        match &pending.parent {
            None => root = id,
            Some((above, name)) => {
                if let Some(Some(entry)) = scans[*above].entries.get_mut(name) {
                    entry.kind = Kind::Directory(id);
                }
            }
        }
    }
    Ok(root)
}

fn joined(store: &ReferenceStore, base: &TreeId, found: BTreeMap<Name, Option<Entry>>) -> Result<TreeId> {
    let base = store.tree(base)?;
    let mut entries: BTreeMap<Name, Entry> =
        base.iter().map(|(name, entry)| (name.into(), entry.clone())).collect();
    for (name, entry) in found {
        match entry {
            Some(entry) => drop(entries.insert(name, entry)),
            None => drop(entries.remove(&name)),
        }
    }
    Ok(store.put_tree(&Tree::from_entries(entries))?)
}

fn scan(store: &ReferenceStore, root: &Path, pending: &Pending) -> Result<Scanned> {
    let folder = Folder::reach(root, &pending.path)?;
    let mut scanned = Scanned::default();
    let base = store.tree(&pending.base)?;
    for name in folder.names()? {
        let stat = folder.stat(&name)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::CharacterDevice && device(&stat) == WHITEOUT {
            scanned.entries.insert(name, None);
            continue;
        }
        let xattrs = folder.xattrs(&name)?;
        refuse_redirected(&xattrs, root, &pending.path.join(&name))?;
        if kind == FileType::Directory {
            let below = match base.get(&name) {
                Some(Entry { kind: Kind::Directory(id), .. }) if !is_opaque(&xattrs) => *id,
                _ => Tree::default().id(),
            };
            scanned.directories.push((name.clone(), below));
        } else if stat.st_nlink > 1 {
            scanned.linked.push(((stat.st_dev, stat.st_ino), pending.path.join(&name)));
        }
        let kind = entry_kind(store, root, &folder, pending, &name, &stat)?;
        scanned.entries.insert(name, Some(Entry { metadata: metadata(&stat, kept(xattrs)), kind }));
    }
    Ok(scanned)
}

fn entry_kind(
    store: &ReferenceStore,
    root: &Path,
    folder: &Folder,
    pending: &Pending,
    name: &Name,
    stat: &Stat,
) -> Result<Kind> {
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            let object = ObjectId::of(format!("file {} {}", stat.st_dev, stat.st_ino).as_bytes());
            let size = u64::try_from(stat.st_size).unwrap_or_default();
            store.refer(object, root, &pending.path.join(name));
            Kind::File { object, size }
        }
        FileType::Directory => Kind::Directory(Tree::default().id()),
        FileType::Symlink => {
            let target =
                rustix::fs::readlinkat(folder, &**name, Vec::new()).map_err(folder.error("read", name))?;
            Kind::Symlink(target.into_bytes().into())
        }
        FileType::CharacterDevice => Kind::CharDevice(device(stat)),
        FileType::BlockDevice => Kind::BlockDevice(device(stat)),
        FileType::Fifo => Kind::Fifo,
        _ => Kind::Socket,
    })
}

/// Those of a file that are not marks.
pub fn kept(mut xattrs: Xattrs) -> Xattrs {
    xattrs.retain(|name, _| is_kept(name));
    xattrs
}

fn mark<'a>(xattrs: &'a Xattrs, name: &str) -> Option<&'a [u8]> {
    MARKS.iter().find_map(|prefix| xattrs.get(format!("{prefix}{name}").as_bytes())).map(|value| &**value)
}

fn is_opaque(xattrs: &Xattrs) -> bool {
    mark(xattrs, "opaque") == Some(b"y")
}

fn refuse_redirected(xattrs: &Xattrs, root: &Path, path: &TreePath) -> Result<()> {
    let Some(feature) = ["redirect", "metacopy"].into_iter().find(|name| mark(xattrs, name).is_some()) else {
        return Ok(());
    };
    let root = root.display();
    Err(Error::Layer(format!(
        "{root}{path} was written by overlayfs with {feature}, which is not understood here: \
         mount that layer with redirect_dir=off,metacopy=off and write it again"
    )))
}

/// The paths that are one inode of this layer.
fn link_groups(scans: &mut [Scanned]) -> Vec<Vec<TreePath>> {
    let mut groups: HashMap<(u64, u64), Vec<TreePath>> = HashMap::new();
    for (inode, path) in scans.iter_mut().flat_map(|scanned| std::mem::take(&mut scanned.linked)) {
        groups.entry(inode).or_default().push(path);
    }
    groups.into_values().collect()
}

/// What is left of the groups of the layers below.
fn surviving_groups(store: &ReferenceStore, base: &Snapshot, tree: &TreeId) -> Result<Vec<Vec<TreePath>>> {
    if base.tree == *tree {
        return Ok(base.links.groups().to_vec());
    }
    let above = Snapshot { tree: *tree, ..base.clone() };
    let mut groups = Vec::new();
    for group in base.links.groups() {
        let mut left = Vec::new();
        for path in group {
            if lookup(store, base, path)? == lookup(store, &above, path)? {
                left.push(path.clone());
            }
        }
        groups.push(left);
    }
    Ok(groups)
}
