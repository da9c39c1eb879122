//! `dirs`, `files`, `links` and `remove`: what is made of the build file alone, and what goes.
//!
//! Directories on the way are followed through links of the tree, missing ones are made root:root 0755. The last part
//! is not followed, except by `dirs`, where a link to a directory is as good as the directory.

use super::{
    Warning,
    attributes::{Rules, Sort},
    error::{OperationError, Result},
    work::{Work, no_match, not_directory, type_conflict},
};
use crate::spec::{
    Spanned,
    types::{Dir, FileText, Link},
};
use rbuild_tree::{Entry, Found, FoundKind, Kind, Pattern, TreePath, find};

pub(super) fn make_directory(work: &mut Work<'_>, directory: &Dir) -> Result<()> {
    let span = directory.path.span;
    let owner = work.owner_if_said(directory.owner.as_ref())?;
    let rules = Rules { owner, directory_mode: directory.mode.as_ref(), mode: None };
    let resolved = work.follow(&directory.path).map_err(|error| error.at(span))?;
    match resolved.found {
        Some(found) if found.is_directory() => {
            let metadata = rules.apply(&found.metadata, Sort::Directory);
            if metadata != found.metadata {
                work.editor.set_metadata(&resolved.path, metadata)?;
            }
        }
        Some(found) => return Err(not_directory(&resolved.path, &found).at(span)),
        None => {
            let fresh = rules.apply(&work.fresh(0o755, None), Sort::Directory);
            work.ensure_directory(&resolved.path, Some(fresh)).map_err(|error| error.at(span))?;
        }
    }
    Ok(())
}

pub(super) fn write_file(work: &mut Work<'_>, file: &FileText) -> Result<()> {
    let owner = work.owner_if_said(file.owner.as_ref())?;
    let (path, _) = replaceable(work, &file.path, "file")?;
    let object = work.context.store.put_object(file.content.as_bytes())?;
    let kind = Kind::File { object, size: file.content.len() as u64 };
    work.editor.insert(&path, Entry { metadata: work.fresh(file.mode, owner), kind })?;
    work.forget_accounts();
    Ok(())
}

pub(super) fn make_link(work: &mut Work<'_>, link: &Link) -> Result<()> {
    if link.hard {
        return make_hard_link(work, link);
    }
    let (path, _) = replaceable(work, &link.path, "symbolic link")?;
    let kind = Kind::Symlink(link.target.as_bytes().into());
    work.editor.insert(&path, Entry { metadata: work.fresh(0o777, None), kind })?;
    work.forget_accounts();
    Ok(())
}

fn make_hard_link(work: &mut Work<'_>, link: &Link) -> Result<()> {
    let at = |error: OperationError| error.at(link.target.span);
    let target = work.editor.resolve(link.target.as_bytes(), false).map_err(|error| at(error.into()))?;
    match target.found {
        None => Err(at(no_match(format!("{} does not exist, so it can't be linked to", target.path)))),
        Some(Found { kind: FoundKind::Directory, .. }) => {
            Err(at(type_conflict(&target.path, "is a directory, which can't have a hard link")))
        }
        Some(_) => {
            let (path, _) = replaceable(work, &link.path, "hard link")?;
            work.editor.link(&target.path, &path)?;
            work.forget_accounts();
            Ok(())
        }
    }
}

/// Where something is to be put that is no directory, and must not take the place of one.
fn replaceable(
    work: &mut Work<'_>,
    path: &Spanned<TreePath>,
    what: &str,
) -> Result<(TreePath, Option<Found>)> {
    let (real, found) = work.ensure_parent(path, None).map_err(|error| error.at(path.span))?;
    if found.as_ref().is_some_and(Found::is_directory) {
        return Err(
            type_conflict(&real, format_args!("is a directory; a {what} can't take its place")).at(path.span)
        );
    }
    Ok((real, found))
}

pub(super) fn remove(work: &mut Work<'_>, text: &Spanned<String>) -> Result<()> {
    let pattern = Pattern::parse(text).map_err(|reason| no_match(reason).at(text.span))?;
    let found = find(&mut work.editor, &pattern)?;
    if found.is_empty() && pattern.literal().is_some() {
        let message = format!("{text} is not in the tree, so there is nothing to remove");
        work.warn(Warning { code: "remove-nothing", message, span: Some(text.span) });
    }
    for path in found {
        if path.is_root() {
            let error = type_conflict(&path, "is the root of the tree and can't be removed");
            return Err(error.at(text.span).hint("\"/*\" removes everything in it"));
        }
        // What lies below a directory that has gone is gone already.
        work.editor.remove(&path)?;
    }
    Ok(())
}
