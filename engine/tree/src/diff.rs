//! The difference of two root filesystems: a walk of two trees that skips equal digests.
//!
//! What a tree can't say, links, follows from the two link tables once the trees are compared. Paths of a group that
//! are the same in both trees stay linked to each other; if the result says otherwise of one (it was linked to
//! another file, or cut loose) all of them are given as replaced, though their entries are equal. So every group that
//! is new in a delta is whole in it, which is what a layer needs: there a hard link can only name a file of the same layer.

use crate::{
    Change, Delta, DirectoryChange, Entry, Kind, Links, Result, Snapshot, Tree, TreeId, TreePath, TreeStore,
    edit::too_deep,
    encoding::MAX_DEPTH,
    tree::Name,
    walk::{fetch, lookup_below},
};
use std::{cmp::Ordering, collections::BTreeSet};

/// What must happen to `base` to make it `result`.
///
/// # Errors
/// Those of the store, and [`Error::At`](crate::Error::At) where directories nest beyond [`MAX_DEPTH`].
pub fn diff(store: &dyn TreeStore, base: &Snapshot, result: &Snapshot) -> Result<Delta> {
    let mut root = diff_trees(store, &base.tree, &result.tree)?;
    if base.root != result.root {
        root.metadata = Some(result.root.clone());
    }
    let mut delta = Delta { root, links: Links::default() };
    if base.links != result.links || !delta.root.is_empty() {
        for path in relinked(&delta.root, &base.links, &result.links) {
            if let Some(entry) = lookup_below(store, &result.tree, path)? {
                replace(&mut delta.root, path, entry);
            }
        }
        delta.links = changed_groups(&delta.root, &base.links, &result.links);
    }
    Ok(delta)
}

/// Two directories of the same path.
struct Pair {
    parent: usize,
    name: Name,
    depth: usize,
    base: TreeId,
    result: TreeId,
    change: DirectoryChange,
}

/// Compares level by level, then hands each directory's change up to its parent: nothing here recurses.
fn diff_trees(store: &dyn TreeStore, base: &TreeId, result: &TreeId) -> Result<DirectoryChange> {
    let name = Name::default();
    let mut pairs = vec![Pair {
        parent: 0,
        name,
        depth: 0,
        base: *base,
        result: *result,
        change: DirectoryChange::default(),
    }];
    let mut next = 0;
    while next < pairs.len() {
        if pairs[next].base != pairs[next].result {
            compare(store, &mut pairs, next)?;
        }
        next += 1;
    }
    while let Some(pair) = pairs.pop() {
        match pairs.get_mut(pair.parent) {
            None => return Ok(pair.change),
            Some(_) if pair.change.is_empty() => {}
            Some(parent) => {
                parent.change.children.insert(pair.name, Change::Directory(pair.change));
            }
        }
    }
    Ok(DirectoryChange::default())
}

/// Compares two directories; sub-directories that are in both become pairs of their own.
fn compare(store: &dyn TreeStore, pairs: &mut Vec<Pair>, at_pair: usize) -> Result<()> {
    let (base, result) = (fetch(store, &pairs[at_pair].base)?, fetch(store, &pairs[at_pair].result)?);
    let depth = pairs[at_pair].depth + 1;
    for (name, old, new) in both(&base, &result) {
        let change = match (old, new) {
            (Some(old), Some(new)) if old == new => continue,
            (Some(Entry { kind: Kind::Directory(from), metadata }), Some(new)) if new.kind.is_directory() => {
                let Kind::Directory(to) = new.kind else { continue };
                if depth > MAX_DEPTH {
                    return Err(too_deep(&top_of(pairs, at_pair)));
                }
                let metadata = (*metadata != new.metadata).then(|| new.metadata.clone());
                let change = DirectoryChange { metadata, ..DirectoryChange::default() };
                pairs.push(Pair {
                    parent: at_pair,
                    name: name.into(),
                    depth,
                    base: *from,
                    result: to,
                    change,
                });
                continue;
            }
            (_, Some(new)) => Change::Replaced(new.clone()),
            (_, None) => Change::Removed,
        };
        pairs[at_pair].change.children.insert(name.into(), change);
    }
    Ok(())
}

/// The uppermost directory that a pair lies in.
fn top_of(pairs: &[Pair], mut at_pair: usize) -> TreePath {
    while pairs[at_pair].depth > 1 {
        at_pair = pairs[at_pair].parent;
    }
    TreePath::root().join(&pairs[at_pair].name)
}

/// The names of two directories in order, with what each says of them.
fn both<'a>(
    base: &'a Tree,
    result: &'a Tree,
) -> impl Iterator<Item = (&'a [u8], Option<&'a Entry>, Option<&'a Entry>)> {
    let (mut base, mut result) = (base.iter().peekable(), result.iter().peekable());
    std::iter::from_fn(move || {
        let order = match (base.peek(), result.peek()) {
            (Some((old, _)), Some((new, _))) => old.cmp(new),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        let old = if order.is_le() { base.next() } else { None };
        let new = if order.is_ge() { result.next() } else { None };
        let name = old.or(new)?.0;
        Some((name, old.map(|(_, entry)| entry), new.map(|(_, entry)| entry)))
    })
}

/// Whether a change replaces or removes this path, or something above it.
pub fn is_touched(root: &DirectoryChange, path: &TreePath) -> bool {
    let mut directory = root;
    for name in path.names() {
        match directory.children.get(name) {
            Some(Change::Directory(below)) => directory = below,
            Some(Change::Removed | Change::Replaced(_)) => return true,
            None => return false,
        }
    }
    false
}

/// The paths whose entries are equal on both sides but whose links are not.
fn relinked<'a>(root: &DirectoryChange, base: &'a Links, result: &'a Links) -> BTreeSet<&'a TreePath> {
    let group_of = result.by_path();
    let known = base.by_path();
    let mut relinked = BTreeSet::new();
    for group in base.groups() {
        let survivors: Vec<&TreePath> = group.iter().filter(|path| !is_touched(root, path)).collect();
        let Some(first) = survivors.first() else { continue };
        // One look is enough: if they are a group, they are the group of each of them.
        let same = match group_of.get(first) {
            Some(place) => result.groups()[*place].iter().eq(survivors.iter().copied()),
            None => survivors.len() == 1,
        };
        if !same {
            relinked.extend(survivors);
        }
    }
    let alone_before = result.groups().iter().flatten().filter(|path| !known.contains_key(path));
    relinked.extend(alone_before.filter(|path| !is_touched(root, path)));
    relinked
}

/// The groups of the result that have a touched path or gained or lost one.
fn changed_groups(root: &DirectoryChange, base: &Links, result: &Links) -> Links {
    let known: BTreeSet<&Vec<TreePath>> = base.groups().iter().collect();
    let changed =
        |group: &&Vec<TreePath>| !known.contains(group) || group.iter().any(|path| is_touched(root, path));
    Links::from_disjoint(result.groups().iter().filter(changed).cloned())
}

/// Notes an entry as replaced; all above it are directories on both sides.
fn replace(root: &mut DirectoryChange, path: &TreePath, entry: Entry) {
    let (Some(parent), Some(name)) = (path.parent(), path.name()) else { return };
    let mut directory = root;
    for above in parent.names() {
        let change = directory
            .children
            .entry(above.into())
            .or_insert_with(|| Change::Directory(DirectoryChange::default()));
        let Change::Directory(below) = change else { return };
        directory = below;
    }
    directory.children.insert(name.into(), Change::Replaced(entry));
}
