//! Two differences, one after the other, as one; for a base that nobody can look at.

use crate::{
    Change, Delta, DirectoryChange, Editor, Entry, Kind, Result, TreePath, TreeStore,
    apply::apply_change,
    diff::is_touched,
    edit::{LinkTable, at},
};

/// The delta that does what `first` and then `second` do: `apply(apply(base, first), second)` is
/// `apply(base, compose(first, second))`.
///
/// It holds for deltas of real changes, where paths that neither replaces stay linked as they were to each other.
///
/// # Errors
/// [`Error::At`](crate::Error::At) if `second` changes a directory that `first` took away. Those of the store, which
/// is needed where `second` changes something inside a directory that `first` replaced.
pub fn compose(store: &dyn TreeStore, first: &Delta, second: &Delta) -> Result<Delta> {
    let mut root = first.root.clone();
    let mut pending = vec![(TreePath::root(), &second.root)];
    while let Some((path, change)) = pending.pop() {
        let Some(directory) = directory_at(&mut root, &path) else {
            return Err(at(&path, "is changed by the later difference but gone by the earlier"));
        };
        if let Some(metadata) = &change.metadata {
            directory.metadata = Some(metadata.clone());
        }
        for (name, later) in &change.children {
            let path = path.join(name);
            match (directory.children.get_mut(name), later) {
                (Some(Change::Directory(_)), Change::Directory(below)) => pending.push((path, below)),
                (Some(earlier), Change::Directory(below)) => change_replaced(store, &path, earlier, below)?,
                (_, later) => {
                    directory.children.insert(name.clone(), later.clone());
                }
            }
        }
    }
    Ok(Delta { root, links: compose_links(first, second) })
}

/// Changes something inside a directory that the first difference brought whole.
fn change_replaced(
    store: &dyn TreeStore,
    path: &TreePath,
    earlier: &mut Change,
    below: &DirectoryChange,
) -> Result<()> {
    let Change::Replaced(Entry { metadata, kind: Kind::Directory(tree) }) = earlier else {
        return Err(at(path, "is changed as a directory by the later difference but is none by the earlier"));
    };
    let mut editor = Editor::without_links(store, metadata.clone(), *tree);
    apply_change(&mut editor, below)?;
    let changed = editor.finish()?;
    *earlier = Change::Replaced(Entry { metadata: changed.root, kind: Kind::Directory(changed.tree) });
    Ok(())
}

fn compose_links(first: &Delta, second: &Delta) -> crate::Links {
    let mut links = LinkTable::default();
    for group in first.links.groups() {
        links.regroup(group.iter().filter(|path| !is_touched(&second.root, path)).cloned());
    }
    for group in second.links.groups() {
        links.regroup(group.iter().cloned());
    }
    links.into_links()
}

fn directory_at<'a>(root: &'a mut DirectoryChange, path: &TreePath) -> Option<&'a mut DirectoryChange> {
    let mut directory = root;
    for name in path.names() {
        match directory.children.get_mut(name)? {
            Change::Directory(below) => directory = below,
            Change::Removed | Change::Replaced(_) => return None,
        }
    }
    Some(directory)
}
