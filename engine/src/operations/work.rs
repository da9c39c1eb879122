//! A step's tree while operations change it.

use super::{
    Applied, Context, Warning,
    accounts::Accounts,
    error::{OperationError, Result},
};
use crate::spec::{
    Spanned,
    types::{Id, Owner},
};
use rbuild_tree::{Editor, Found, FoundKind, Kind, Metadata, Resolved, Snapshot, TreePath};

/// Owner and group, numbers of the image.
pub(super) type Ids = (u32, u32);

/// The tree of a step, and what has been said about it.
pub(super) struct Work<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) editor: Editor<'a>,
    warnings: Vec<Warning>,
    /// Read when a name is first asked for, and again after they may have changed.
    accounts: Option<Accounts>,
}

impl<'a> Work<'a> {
    pub(super) fn new(context: &'a Context<'a>, base: &Snapshot) -> Self {
        let editor = Editor::new(context.store, base).touching(context.epoch);
        Self { context, editor, warnings: Vec::new(), accounts: None }
    }

    pub(super) fn finish(self) -> Result<Applied> {
        Ok(Applied { snapshot: self.editor.finish()?, warnings: self.warnings })
    }

    pub(super) fn warn(&mut self, warning: Warning) {
        self.warnings.push(warning);
    }

    /// What is there was changed: names of owners are looked up anew.
    pub(super) fn forget_accounts(&mut self) {
        self.accounts = None;
    }

    /// The numbers of an owner.
    pub(super) fn owner(&mut self, owner: &Spanned<Owner>) -> Result<Ids> {
        // Numbers need no list, and work where the tree's is broken.
        match (&owner.user, &owner.group) {
            (Id::Number(uid), None) => return Ok((*uid, *uid)),
            (Id::Number(uid), Some(Id::Number(gid))) => return Ok((*uid, *gid)),
            _ => {}
        }
        let accounts = match self.accounts.take() {
            Some(known) => known,
            None => Accounts::of(self.context.store, &mut self.editor)?,
        };
        let found = accounts.resolve(owner);
        self.accounts = Some(accounts);
        found.map_err(|reason| unknown_owner(reason).at(owner.span))
    }

    /// As [`Work::owner`]; none stays none.
    pub(super) fn owner_if_said(&mut self, owner: Option<&Spanned<Owner>>) -> Result<Option<Ids>> {
        owner.map(|owner| self.owner(owner)).transpose()
    }

    /// Metadata of something made here.
    pub(super) fn fresh(&self, mode: u32, owner: Option<Ids>) -> Metadata {
        let (uid, gid) = owner.unwrap_or((0, 0));
        Metadata { uid, gid, ..Metadata::root(mode, self.context.epoch) }
    }

    /// Where a path leads, its last part too, through links of the tree.
    pub(super) fn follow(&mut self, path: &TreePath) -> Result<Resolved> {
        Ok(self.editor.resolve(path.as_bytes(), true)?)
    }

    /// The real path of a directory that must be one; missing ones are made root:root 0755, the last with `last`.
    pub(super) fn ensure_directory(&mut self, path: &TreePath, last: Option<Metadata>) -> Result<TreePath> {
        let resolved = self.follow(path)?;
        match resolved.found {
            Some(found) if found.is_directory() => {}
            Some(found) => return Err(not_directory(&resolved.path, &found)),
            None => {
                let missing = self.fresh(0o755, None);
                let last = last.unwrap_or_else(|| missing.clone());
                self.editor.make_directories(&resolved.path, &missing, &last)?;
            }
        }
        Ok(resolved.path)
    }

    /// The real path of something that is to stand at `path`: its directory is followed and made if missing, the last
    /// part is not followed. What is there now comes along.
    pub(super) fn ensure_parent(
        &mut self,
        path: &TreePath,
        last: Option<Metadata>,
    ) -> Result<(TreePath, Option<Found>)> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            return Ok((TreePath::root(), self.editor.get(&TreePath::root())?));
        };
        let real = self.ensure_directory(&parent, last)?.join(name);
        let found = self.editor.get(&real)?;
        Ok((real, found))
    }
}

/// Whether it is a symbolic link.
pub(super) fn is_link(found: &Found) -> bool {
    matches!(found.kind, FoundKind::Leaf(Kind::Symlink(_)))
}

pub(super) fn unknown_owner(reason: impl Into<String>) -> OperationError {
    OperationError::new("unknown-owner", reason)
}

pub(super) fn type_conflict(path: &TreePath, reason: impl std::fmt::Display) -> OperationError {
    OperationError::new("type-conflict", format!("{path} {reason}"))
}

pub(super) fn no_match(reason: impl Into<String>) -> OperationError {
    OperationError::new("no-match", reason)
}

pub(super) fn not_directory(path: &TreePath, found: &Found) -> OperationError {
    type_conflict(path, format_args!("is a {}, not a directory", found.word()))
}
