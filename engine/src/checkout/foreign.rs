//! What of a tree folders of one id can't show: owners, devices, ACLs that name others.

use super::{layer::Trees, locked, wire::place_mark};
use rbuild_supervisor::{Foreign, Owned};
use rbuild_tree::{
    Entry, Kind, Result, Snapshot, Timestamp, Tree, TreeId, TreePath, TreeStore, encoding::MAX_DEPTH,
};
use std::{
    collections::{HashMap, HashSet},
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::DirEntryExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// Trees in which there is none: most of them, and the same in step after step.
pub(super) type Plain = Mutex<HashSet<TreeId>>;

/// A directory being looked through.
struct Level {
    path: TreePath,
    id: TreeId,
    tree: Arc<Tree>,
    next: usize,
    is_plain: bool,
}

/// All entries; with `keeps_links` files of several names lie in the folder of changes.
///
/// # Errors
/// Those of the store.
pub(super) fn all(
    trees: &Trees<'_>,
    snapshot: &Snapshot,
    keeps_links: bool,
    plain: &Plain,
) -> Result<Vec<Foreign>> {
    let groups = snapshot.links.groups().iter();
    let first_names: HashMap<&TreePath, &TreePath> =
        groups.flat_map(|group| group.iter().map(|name| (name, &group[0]))).collect();
    let mut found = Vec::new();
    let mut find = |path: &TreePath, entry: &Entry| {
        let Some(owned) = Owned::of(entry) else { return false };
        let first = first_names.get(path);
        let mark = place_mark(first.copied().unwrap_or(path).as_bytes());
        let read = Timestamp { nanoseconds: mark, ..entry.metadata.mtime };
        let read = (!entry.kind.is_directory()).then_some(read);
        let (path, is_copy) = (path.clone(), keeps_links && first.is_some());
        found.push(Foreign { path, owned, read, number: None, is_copy });
        true
    };
    let root = Entry { metadata: snapshot.root.clone(), kind: Kind::Directory(snapshot.tree) };
    find(&TreePath::root(), &root);
    let empty = Tree::default().id();
    let enter = |path: TreePath, id: TreeId| {
        let tree = if id == empty { Arc::default() } else { trees.tree(&id)? };
        Ok::<_, rbuild_tree::Error>(Level { path, id, tree, next: 0, is_plain: true })
    };
    let mut plain = locked(plain);
    let mut open = vec![enter(TreePath::root(), snapshot.tree)?];
    while let Some(level) = open.last_mut() {
        let Some((name, entry)) = level.tree.nth(level.next) else {
            let (id, is_plain) = (level.id, level.is_plain);
            open.pop();
            match open.last_mut() {
                _ if is_plain => drop(plain.insert(id)),
                Some(above) => above.is_plain = false,
                None => {}
            }
            continue;
        };
        level.next += 1;
        let path = level.path.join(name);
        level.is_plain &= !find(&path, entry);
        if let Kind::Directory(id) = entry.kind
            && !plain.contains(&id)
            && open.len() <= MAX_DEPTH
        {
            open.push(enter(path, id)?);
        }
    }
    Ok(found)
}

/// Finds out the numbers of what is no directory, by the listings of a stack's folders: thousands of looks through a new
/// mount would take longer than many a step.
pub(super) fn number(stack: &[PathBuf], found: &mut [Foreign]) {
    let mut directories: HashMap<TreePath, HashMap<Vec<u8>, &mut Foreign>> = HashMap::new();
    for entry in found.iter_mut().filter(|entry| entry.read.is_some() && !entry.is_copy) {
        if let (Some(directory), Some(name)) = (entry.path.parent(), entry.path.name().map(<[u8]>::to_vec)) {
            directories.entry(directory).or_default().insert(name, entry);
        }
    }
    for (directory, mut wanted) in directories {
        let inside = Path::new(OsStr::from_bytes(directory.as_bytes()));
        let inside = inside.strip_prefix("/").unwrap_or(inside);
        // The uppermost of a name is the one that is seen.
        for folder in stack {
            for listed in fs::read_dir(folder.join(inside)).into_iter().flatten().flatten() {
                if let Some(entry) = wanted.remove(listed.file_name().as_bytes()) {
                    entry.number = Some(listed.ino());
                }
            }
            if wanted.is_empty() {
                break;
            }
        }
    }
}
