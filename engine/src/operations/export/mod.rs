//! Trees go back to the caller: artifacts into the workspace, and whole trees as `dir` outputs.
//!
//! What is written belongs to the caller and has the mode and time it has in the tree, but no set-id bits, no owner, no
//! extended attributes, no hard links; a directory can always be changed by its owner, so that it can be removed again.
//! Devices, fifos and sockets are left out with a warning. A file appears whole under its name or not at all.
//!
//! A build file may be a stranger's and the workspace may hold anything: a symbolic link in it is replaced where a file
//! goes and refused on the way, never followed (folder.rs).

mod claim;
mod folder;
mod state;
mod write;

pub use state::{file_state, folder_state};

use super::{
    Context, Warning,
    error::{OperationError, Result},
    place::{Landing, place},
    select::{Reading, Selection, select_from},
};
use crate::{
    error::Error,
    spec::{
        Spanned,
        types::{Artifact, Destination},
    },
};
use folder::{Folder, display};
use rbuild_tree::{Snapshot, TreePath};
use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};
use write::Writer;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Where: the destination, absolute if the workspace is.
    pub path: PathBuf,
    /// How many files and links.
    pub files: u64,
    /// What was left out.
    pub warnings: Vec<Warning>,
    /// Of a whole tree: what [`folder_state`] says of it for as long as nobody changes it.
    pub state: Option<String>,
}

/// Writes an artifact into the workspace.
///
/// # Errors
/// `no-match`, `type-conflict`; what the machine says of a file, by its path.
pub fn export(context: &Context<'_>, artifact: &Artifact, workspace: &Path) -> Result<Exported> {
    let dest = destination(&artifact.dest)?;
    let reading = Reading { follow: false, parents: false, optional: artifact.optional };
    let Selection { list, .. } = select_from(context, &artifact.from, &artifact.path, reading)?;
    let placements = place(list, &artifact.path, &dest, false)?;
    let is_whole_workspace = artifact.mirror && dest.path.is_root();
    if is_whole_workspace {
        let error =
            OperationError::new("type-conflict", "`mirror` would remove everything else in the workspace");
        return Err(error.at(dest.span).hint("give `dest` a folder of its own"));
    }
    let workspace = Folder::open(workspace)?;
    let mut writer = Writer::new(context.store);
    for placement in &placements {
        let entry = &placement.selected.entry;
        let written = match placement.landing {
            Landing::Content => writer.content(&workspace, &placement.target, entry),
            Landing::Entry => writer.entry(&workspace, &placement.target, entry),
        };
        written.map_err(|error| error.at(dest.span))?;
    }
    // A destination that is one file has nothing beside it.
    let is_directory = dest.directory || placements.iter().any(|one| one.landing == Landing::Content);
    if artifact.mirror && is_directory {
        writer.remove_others(&workspace, &dest.path).map_err(|error| error.at(dest.span))?;
    }
    Ok(writer.exported(workspace.path_of(&dest.path)))
}

/// Writes a whole tree as the folder `folder`, which is new, empty, or one that an earlier call made: that one is
/// replaced. It appears at once.
///
/// # Errors
/// `type-conflict` if something else is there; what the machine says of a file, by its path.
pub fn export_directory(context: &Context<'_>, tree: &Snapshot, folder: &Path) -> Result<Exported> {
    let (Some(parent), Some(name)) = (folder.parent(), folder.file_name()) else {
        return Err(Error::environment(format!("{} can't be an output folder", folder.display())).into());
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    fs::create_dir_all(parent).map_err(|error| Error::io("make", parent, error))?;
    let parent = Folder::open(parent)?;
    let name = name.as_bytes();
    let mut writer = Writer::new(context.store);
    let unfinished = claim::unfinished_name(name);
    // Open, and so locked, until all is done: another build of this folder waits for it.
    let claimed = parent.claim_folder(&unfinished)?;
    let mut state = None;
    let mut write = || -> Result<Option<Folder>> {
        // Asked only now: who had the claim before may have made it.
        let old = own_folder(&parent, name)?;
        writer.root(&claimed, tree)?;
        claimed.mark()?;
        // Before anybody can know it by its name. Without a state it is written again, no more.
        state = folder_state(&parent.path_of_name(&unfinished)).ok().flatten();
        match &old {
            Some(old) => {
                // It gets the unfinished name, which is nobody else's while it is locked.
                old.lock()?;
                parent.exchange(&unfinished, name)?;
            }
            None => parent.rename(&unfinished, name)?,
        }
        Ok(old)
    };
    let written = write();
    // Under that name is now the old folder, or one that was not finished; else nothing, or another build's.
    if !matches!(written, Ok(None)) {
        parent.remove(&unfinished)?;
    }
    written?;
    Ok(Exported { state, ..writer.exported(folder.to_owned()) })
}

/// The folder of our own, or empty, that is there; none if nothing is.
fn own_folder(parent: &Folder, name: &[u8]) -> Result<Option<Folder>> {
    let Some(kind) = parent.look(name)? else { return Ok(None) };
    let path = parent.path_of_name(name);
    let conflict =
        |reason: String| OperationError::new("type-conflict", format!("{} {reason}", path.display()));
    if !kind.is_dir() {
        return Err(conflict(format!("is a {}, so it can't become an output folder", folder::word(kind))));
    }
    let there = parent.enter(name)?;
    if there.is_marked()? || there.names()?.is_empty() {
        return Ok(Some(there));
    }
    let error = conflict("is a folder that rbuild did not make, and it is not empty".to_owned());
    Err(error.hint("remove it, or choose another folder: everything in an output folder is replaced"))
}

/// Makes the folders that `relative` lies in, inside `workspace`, and gives the path to write an output to.
///
/// # Errors
/// `type-conflict` if it leads out of the workspace, through a symbolic link, or is one.
pub fn output_path(workspace: &Path, relative: &Path) -> Result<PathBuf> {
    let path = inside(relative)?;
    let folder = Folder::open(workspace)?;
    if let (Some(parent), Some(name)) = (path.parent(), path.name()) {
        let parent = folder.descend(&parent)?;
        if let Some(kind) = parent.look(name)?.filter(|kind| kind.is_symlink()) {
            let message = format!("{} is a {}", parent.path_of_name(name).display(), folder::word(kind));
            let error = OperationError::new("type-conflict", message);
            return Err(error.hint("outputs are never written through links of the workspace: remove it"));
        }
    }
    Ok(folder.path_of(&path))
}

/// `dest` of an artifact as a path below the workspace.
fn destination(dest: &Spanned<String>) -> Result<Spanned<Destination>> {
    let path = inside(Path::new(&dest.value)).map_err(|error| error.at(dest.span))?;
    let directory = dest.ends_with('/') || path.is_root();
    Ok(Spanned::new(Destination { path, directory }, dest.span))
}

/// A path that stays in its folder, its `..` taken away: no link is followed, so that is what they mean.
fn inside(path: &Path) -> Result<TreePath> {
    let outside = || {
        let message =
            format!("{} leads out of the folder of the build file", display(path.as_os_str().as_bytes()));
        OperationError::new("type-conflict", message)
    };
    let mut inside = TreePath::root();
    for component in path.components() {
        match component {
            Component::Normal(name) => inside.push(name.as_bytes()),
            Component::CurDir => {}
            Component::ParentDir => inside = inside.parent().ok_or_else(outside)?,
            Component::RootDir | Component::Prefix(_) => return Err(outside()),
        }
    }
    // Too long a name, or a NUL byte.
    Ok(TreePath::parse(inside.as_bytes())?)
}

/// A path of a tree as one of this machine.
fn to_path(path: &TreePath) -> &Path {
    Path::new(OsStr::from_bytes(path.as_bytes()))
}
