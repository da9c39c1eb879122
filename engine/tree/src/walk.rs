//! Reading a root filesystem: every entry of it, one path, or a directory as a root of its own.

use crate::{
    Editor, Entry, Kind, Links, Resolved, Result, Snapshot, Tree, TreeId, TreePath, TreeStore,
    edit::{at, check_depth},
};
use std::sync::{Arc, LazyLock};

/// The digest of the empty directory.
pub(crate) static EMPTY: LazyLock<TreeId> = LazyLock::new(|| Tree::default().id());

/// A directory from the store; the empty one need not be in it.
pub(crate) fn fetch(store: &dyn TreeStore, id: &TreeId) -> Result<Arc<Tree>> {
    if *id == *EMPTY { Ok(Arc::default()) } else { store.tree(id) }
}

/// Visits everything below the root of `tree`: a directory before what is in it, the names of a directory in order.
///
/// # Errors
/// Those of the store, the visitor's, and [`Error::At`](crate::Error::At) for directories nested beyond
/// [`MAX_DEPTH`](crate::encoding::MAX_DEPTH).
pub fn walk(
    store: &dyn TreeStore,
    tree: &TreeId,
    visit: &mut dyn FnMut(&TreePath, &Entry) -> Result<()>,
) -> Result<()> {
    let mut open = vec![(TreePath::root(), fetch(store, tree)?, 0)];
    while let Some((directory, tree, next)) = open.last_mut() {
        let Some((name, entry)) = tree.nth(*next) else {
            open.pop();
            continue;
        };
        *next += 1;
        let path = directory.join(name);
        visit(&path, entry)?;
        if let Kind::Directory(id) = &entry.kind {
            let tree = fetch(store, id)?;
            check_depth(&path)?;
            open.push((path, tree, 0));
        }
    }
    Ok(())
}

/// What is at `path`, no link followed; the root directory too.
///
/// # Errors
/// Those of the store.
pub fn lookup(store: &dyn TreeStore, snapshot: &Snapshot, path: &TreePath) -> Result<Option<Entry>> {
    if path.is_root() {
        let kind = Kind::Directory(snapshot.tree);
        return Ok(Some(Entry { metadata: snapshot.root.clone(), kind }));
    }
    lookup_below(store, &snapshot.tree, path)
}

/// What is at `path` below a directory; nothing for that directory itself.
pub(crate) fn lookup_below(store: &dyn TreeStore, tree: &TreeId, path: &TreePath) -> Result<Option<Entry>> {
    let mut names = path.names().peekable();
    let mut tree = *tree;
    while let Some(name) = names.next() {
        let directory = fetch(store, &tree)?;
        match directory.get(name) {
            Some(entry) if names.peek().is_none() => return Ok(Some(entry.clone())),
            Some(Entry { kind: Kind::Directory(below), .. }) => tree = *below,
            _ => return Ok(None),
        }
    }
    Ok(None)
}

/// Where `path` leads, as [`Editor::resolve`] says it.
///
/// # Errors
/// As [`Editor::resolve`].
pub fn resolve(
    store: &dyn TreeStore,
    snapshot: &Snapshot,
    path: &[u8],
    follow_last: bool,
) -> Result<Resolved> {
    Editor::without_links(store, snapshot.root.clone(), snapshot.tree).resolve(path, follow_last)
}

/// The directory at `path` as a root of its own, with the hard links that lie within it.
///
/// # Errors
/// [`Error::At`](crate::Error::At) if there is no directory.
pub fn subtree(store: &dyn TreeStore, snapshot: &Snapshot, path: &TreePath) -> Result<Snapshot> {
    match lookup(store, snapshot, path)? {
        Some(Entry { metadata, kind: Kind::Directory(tree) }) => {
            let within =
                |group: &Vec<TreePath>| group.iter().filter_map(|member| member.strip_prefix(path)).collect();
            let links = Links::from_disjoint(snapshot.links.groups().iter().map(within));
            Ok(Snapshot { root: metadata, tree, links })
        }
        Some(other) => Err(at(path, format!("is a {}, not a directory", other.kind.word()))),
        None => Err(at(path, "does not exist")),
    }
}
