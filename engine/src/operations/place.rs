//! Where things land: the table of `copy`, which artifacts share.
//!
//! | `src` | `dest` | lands as |
//! |---|---|---|
//! | a file | `/d/` | an entry, `/d/NAME` |
//! | a file | `/d` | an entry, `/d` |
//! | a directory | `/d/` | an entry, `/d/NAME` |
//! | a directory | `/d` | content of `/d` |
//! | a directory with a final `/`, a whole tree | either | content of `/d` |
//! | several, a pattern | `/d/` | entries, each under its own name |
//! | any, with `parents` | `/d/` | entries, each under its whole path |
//!
//! A final `/` means the content among several, too.

use super::{
    error::{OperationError, Result},
    select::Selected,
};
use crate::spec::{
    Spanned,
    types::{CopySource, Destination},
};
use rbuild_tree::TreePath;
use std::collections::BTreeMap;

/// How something lands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Landing {
    /// At the target itself.
    Entry,
    /// What is in it, in the target, which is a directory.
    Content,
}

/// Something that is taken, and where it goes.
#[derive(Debug)]
pub(super) struct Placement {
    pub(super) selected: Selected,
    /// In the tree it goes into, as written.
    pub(super) target: TreePath,
    pub(super) landing: Landing,
}

/// Places what was selected.
///
/// # Errors
/// Two of one name; a destination that must end in `/` and does not.
pub(super) fn place(
    list: Vec<Selected>,
    src: &[Spanned<CopySource>],
    dest: &Spanned<Destination>,
    parents: bool,
) -> Result<Vec<Placement>> {
    let single = matches!(src, [one] if one.literal) && !parents;
    if !single && !dest.directory {
        let error = OperationError::new(
            "type-conflict",
            "several entries go into a directory, whose path ends in `/`",
        );
        return Err(error.at(dest.span).hint(format!("write dest = \"{}/\"", dest.path)));
    }
    let mut placements = Vec::with_capacity(list.len());
    for selected in list {
        let (target, landing) = match selected.path.name() {
            _ if parents && !selected.path.is_root() => (dest.path.join_path(&selected.path), Landing::Entry),
            Some(name) if !selected.content && dest.directory => (dest.path.join(name), Landing::Entry),
            _ if selected.content || selected.entry.kind.is_directory() => {
                (dest.path.clone(), Landing::Content)
            }
            _ => (dest.path.clone(), Landing::Entry),
        };
        placements.push(Placement { selected, target, landing });
    }
    check_names(&placements)?;
    Ok(placements)
}

fn check_names(placements: &[Placement]) -> Result<()> {
    let mut targets: BTreeMap<&TreePath, &Placement> = BTreeMap::new();
    for placement in placements.iter().filter(|placement| placement.landing == Landing::Entry) {
        if let Some(first) = targets.insert(&placement.target, placement)
            && first.selected.path != placement.selected.path
        {
            let message = format!(
                "{} and {} would both become {}",
                first.selected.path, placement.selected.path, placement.target
            );
            let error = OperationError::new("type-conflict", message).at(placement.selected.span);
            return Err(error.hint("`parents = true` keeps their whole paths; two copies can rename them"));
        }
    }
    Ok(())
}
