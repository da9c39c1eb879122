//! What a step does to a tree without running anything: `groups`, `users`, `dirs`, `copy`, `files`, `links`, `attrs`
//! before its command and `remove` after it; and how trees go back to the caller as files.
//!
//! All of it works on digests: a copy of a gigabyte costs the directories on the way. Nothing is mounted and no owner
//! of this machine matters. Every path is followed inside its tree; nothing outside can be named.
//!
//! | module | what |
//! |---|---|
//! | [`accounts`] | /etc/passwd and /etc/group of a tree, for names of owners |
//! | `account_files` | lines put into them: `groups`, `users` |
//! | `entries` | `dirs`, `files`, `links`, `remove` |
//! | `attributes` | owner, mode and capabilities of what is there: `attrs`, and their rules for all |
//! | `select` | what `src` patterns take of a tree |
//! | `place` | under which names that lands: the table of `copy` |
//! | `adjust` | a taken entry with `exclude`, `owner` and modes applied, before it lands |
//! | `copy` | landing: merging, replacing, refusing; hard links |
//! | `digest` | what a copy or mount takes, as one digest for the key |
//! | [`mod@export`] | artifacts and `dir` outputs |
//!
//! **Times.** What is made here, and directories whose names change, get the epoch; copied entries keep theirs.
//! **Errors** carry the field (`copy[2]`), the place in the build file where one is known, and the path.

mod account_files;
pub mod accounts;
mod adjust;
mod attributes;
mod copy;
mod digest;
mod entries;
mod error;
pub mod export;
mod place;
mod select;
mod work;

#[cfg(test)]
mod tests;

pub use digest::{copy_digest, reference_digest};
pub use error::OperationError;
pub use export::{Exported, export, export_directory, file_state, folder_state, output_path};
pub use select::{Taken, taken};

use crate::{
    error::Error,
    spec::{
        Span, Spanned,
        types::{Body, Reference},
    },
    store::Store,
};
use rbuild_tree::{Snapshot, Timestamp};
use work::Work;

/// Gives the trees that references name.
pub trait Trees {
    /// The whole tree of `reference.name`; its path is not looked at.
    ///
    /// # Errors
    /// There is no such tree, or nothing can be taken from it.
    fn tree(&self, reference: &Reference) -> Result<Snapshot, Error>;
}

/// What every operation needs.
pub struct Context<'a> {
    /// Where trees and file bytes are.
    pub store: &'a Store,
    /// The trees that `copy` takes from.
    pub trees: &'a dyn Trees,
    /// The time of what is made.
    pub epoch: Timestamp,
}

/// What came out.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The tree.
    pub snapshot: Snapshot,
    /// What only speaks.
    pub warnings: Vec<Warning>,
}

/// Something that does not end the build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// A code that `rbuild explain` knows.
    pub code: &'static str,
    /// One clause, lower case, no full stop.
    pub message: String,
    /// Where in the build file.
    pub span: Option<Span>,
}

/// Does what a step does before its command: `groups` to `attrs`, in that order.
///
/// # Errors
/// `no-match`, `type-conflict`, `unknown-owner`, with the field, its place and the path; those of the store.
pub fn apply(context: &Context<'_>, body: &Body, base: &Snapshot) -> Result<Applied, OperationError> {
    let mut work = Work::new(context, base);
    each("groups", &body.groups, |group| account_files::add_group(&mut work, group))?;
    each("users", &body.users, |user| account_files::add_user(&mut work, user))?;
    each("dirs", &body.dirs, |directory| entries::make_directory(&mut work, directory))?;
    each("copy", &body.copy, |copy| copy::copy(&mut work, copy))?;
    each("files", &body.files, |file| entries::write_file(&mut work, file))?;
    each("links", &body.links, |link| entries::make_link(&mut work, link))?;
    each("attrs", &body.attrs, |attr| attributes::change(&mut work, attr))?;
    work.finish()
}

/// Does what a step does after its command.
///
/// # Errors
/// A pattern that names the root; those of the store.
pub fn remove(
    context: &Context<'_>,
    patterns: &[Spanned<String>],
    base: &Snapshot,
) -> Result<Applied, OperationError> {
    let mut work = Work::new(context, base);
    each("remove", patterns, |pattern| entries::remove(&mut work, pattern))?;
    work.finish()
}

/// One after the other, each error told with the field and the index.
fn each<T>(
    field: &str,
    list: &[T],
    mut operation: impl FnMut(&T) -> Result<(), OperationError>,
) -> Result<(), OperationError> {
    list.iter().enumerate().try_for_each(|(index, item)| {
        operation(item).map_err(|error| error.within(&format!("{field}[{index}]")))
    })
}
