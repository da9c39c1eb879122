//! An entry of an archive into the tree.

use super::{changeset::Layer, queue::Stored};
use crate::{
    Error, ObjectStore, Result,
    tar::{
        display,
        member::{Member, MemberKind},
    },
};
use rbuild_tree::{
    Editor, Entry, Error as TreeError, FoundKind, Kind, Metadata, Resolved, Snapshot, Timestamp, Tree,
    TreePath,
};

/// Longer link targets can't be made on Linux.
const LONGEST_TARGET: usize = 4095;

/// A path of an archive, of a layer or not, as one of the tree.
pub(super) fn parse(path: &[u8], is_layer: bool) -> rbuild_tree::Result<TreePath> {
    if is_layer { Layer::parse(path) } else { TreePath::parse(path) }
}

/// Whether this is a path of a layer that says something and is no file.
pub(super) fn is_marker(path: &TreePath, is_layer: bool) -> bool {
    is_layer && Layer::is_marker(path)
}

/// Places entries, one after the other.
pub(super) struct Placer<'s> {
    pub(super) editor: Editor<'s>,
    /// There if the archive is a layer.
    layer: Option<Layer>,
}

/// What a directory without an entry is.
pub(super) fn implied_directory() -> Metadata {
    Metadata::root(0o755, Timestamp::default())
}

impl<'s> Placer<'s> {
    /// Starts from `base`.
    pub fn new(store: &'s dyn ObjectStore, base: &Snapshot, is_layer: bool) -> Self {
        Self { editor: Editor::new(store, base), layer: is_layer.then(Layer::default) }
    }

    /// Places one entry, whose content is in the store.
    pub fn place(&mut self, path: &TreePath, member: Member, object: Option<Stored>) -> Result<()> {
        let placed = match self.layer.take() {
            None => self.place_entry(path, &member, object, None),
            Some(mut layer) => {
                let placed = layer.place(self, path, &member, object);
                self.layer = Some(layer);
                placed
            }
        };
        placed.map_err(|error| about(&member, error))
    }

    /// Writes the tree.
    pub fn finish(self) -> Result<Snapshot> {
        Ok(self.editor.finish()?)
    }

    /// Places an entry that is no whiteout; returns nothing but errors.
    pub(super) fn place_entry(
        &mut self,
        path: &TreePath,
        member: &Member,
        object: Option<Stored>,
        layer: Option<&mut Layer>,
    ) -> Result<()> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else { return self.place_root(member) };
        let target = self.make_parent(&parent, layer.as_deref())?.join(name);
        if let Some(layer) = layer {
            // No layer could ever hold what would be there.
            if Layer::is_marker(&target) {
                return Err(member.refuse("a symbolic link leads it below the name of a whiteout"));
            }
            layer.note(&target);
        }
        let kind = match &member.kind {
            MemberKind::Directory => return self.place_directory(&target, &member.metadata),
            MemberKind::HardLink(existing) => return self.place_link(&target, existing, member),
            MemberKind::Symlink(target) => Kind::Symlink(checked_target(target, member)?.into()),
            MemberKind::CharDevice(device) => Kind::CharDevice(*device),
            MemberKind::BlockDevice(device) => Kind::BlockDevice(*device),
            MemberKind::Fifo => Kind::Fifo,
            MemberKind::File => {
                let (object, size) = object.ok_or_else(|| member.refuse("its content was not stored"))?;
                Kind::File { object, size }
            }
        };
        Ok(self.editor.insert(&target, Entry { metadata: member.metadata.clone(), kind })?)
    }

    fn place_root(&mut self, member: &Member) -> Result<()> {
        if member.kind != MemberKind::Directory {
            return Err(member.refuse("the root can only be a directory"));
        }
        Ok(self.editor.set_metadata(&TreePath::root(), member.metadata.clone())?)
    }

    /// A directory that is there keeps what is in it.
    fn place_directory(&mut self, target: &TreePath, metadata: &Metadata) -> Result<()> {
        if self.is_directory(target)? {
            return Ok(self.editor.set_metadata(target, metadata.clone())?);
        }
        let kind = Kind::Directory(Tree::default().id());
        Ok(self.editor.insert(target, Entry { metadata: metadata.clone(), kind })?)
    }

    fn place_link(&mut self, target: &TreePath, existing: &[u8], member: &Member) -> Result<()> {
        let Resolved { path, found } = self.editor.resolve(existing, false)?;
        let shown = display(existing);
        match found.map(|found| found.kind) {
            None => Err(member.refuse(format!("its hard link's target {shown:?} does not exist"))),
            Some(FoundKind::Directory) => {
                Err(member.refuse(format!("its hard link's target {shown:?} is a directory")))
            }
            Some(FoundKind::Leaf(_)) => Ok(self.editor.link(&path, target)?),
        }
    }

    /// The directory an entry goes into, symbolic links resolved, made if it is missing.
    fn make_parent(&mut self, parent: &TreePath, layer: Option<&Layer>) -> Result<TreePath> {
        let obstacle = match self.editor.resolve(parent.as_bytes(), true) {
            Ok(Resolved { path, found: Some(found) }) if !found.is_directory() => {
                TreeError::At { path, reason: format!("is a {}, not a directory", found.word()) }
            }
            Ok(Resolved { path, .. }) => {
                let metadata = implied_directory();
                self.editor.make_directories(&path, &metadata, &metadata)?;
                return Ok(path);
            }
            Err(error) => error,
        };
        match (&obstacle, layer) {
            // The layer says that it is a directory now: what is in the way lay below the layer.
            (TreeError::At { path, .. }, Some(layer)) if !layer.holds(path) && self.is_file(path)? => {
                self.editor.remove(path)?;
                self.make_parent(parent, Some(layer))
            }
            _ => Err(obstacle.into()),
        }
    }

    /// Whether something is there that is neither a directory nor leads anywhere.
    fn is_file(&mut self, path: &TreePath) -> Result<bool> {
        let found = self.editor.get(path)?.map(|found| found.kind);
        Ok(found
            .is_some_and(|kind| !matches!(kind, FoundKind::Directory | FoundKind::Leaf(Kind::Symlink(_)))))
    }

    pub(super) fn is_directory(&mut self, path: &TreePath) -> Result<bool> {
        Ok(self.editor.get(path)?.is_some_and(|found| found.is_directory()))
    }
}

fn checked_target<'m>(target: &'m [u8], member: &Member) -> Result<&'m [u8]> {
    if target.is_empty() || target.contains(&0) {
        return Err(member.refuse("a symbolic link's target can't be empty or hold a NUL byte"));
    }
    if target.len() > LONGEST_TARGET {
        return Err(member.refuse("its symbolic link's target is longer than 4095 bytes"));
    }
    Ok(target)
}

/// Names the entry where the tree only knows a path.
fn about(member: &Member, error: Error) -> Error {
    match error {
        Error::Tree(error @ (TreeError::At { .. } | TreeError::BadPath { .. })) => {
            member.refuse(error.to_string())
        }
        other => other,
    }
}
