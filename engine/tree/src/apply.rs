//! Carrying out a difference.

use crate::{Change, Delta, DirectoryChange, Editor, Result, Snapshot, TreePath, TreeStore, edit::at};

/// What `base` becomes by `delta`; `apply(base, diff(base, result))` is `result`.
///
/// `base` need not be the snapshot that the delta was made from. Removing what is not there is no error.
///
/// # Errors
/// [`Error::At`](crate::Error::At) where the delta does not fit: a directory it changes is none here, or the files of
/// a link group are not there or not equal. Those of the store.
pub fn apply(store: &dyn TreeStore, base: &Snapshot, delta: &Delta) -> Result<Snapshot> {
    let mut editor = Editor::new(store, base);
    apply_change(&mut editor, &delta.root)?;
    for group in delta.links.groups() {
        editor.regroup(group)?;
    }
    editor.finish()
}

/// Carries out a change of the root directory and below.
pub(crate) fn apply_change(editor: &mut Editor<'_>, root: &DirectoryChange) -> Result<()> {
    let mut pending = vec![(TreePath::root(), root)];
    while let Some((path, directory)) = pending.pop() {
        match editor.get(&path)? {
            Some(found) if found.is_directory() => {}
            Some(found) => return Err(at(&path, format!("is a {}, not a directory", found.word()))),
            None => return Err(at(&path, "does not exist")),
        }
        if let Some(metadata) = &directory.metadata {
            editor.set_metadata(&path, metadata.clone())?;
        }
        for (name, change) in &directory.children {
            let path = path.join(name);
            match change {
                Change::Removed => {
                    editor.remove(&path)?;
                }
                Change::Replaced(entry) => editor.insert(&path, entry.clone())?,
                Change::Directory(below) => pending.push((path, below)),
            }
        }
    }
    Ok(())
}
