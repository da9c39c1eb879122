//! Files that a step moved: their mark tells where they were.

use super::{Replay, malformed};
use crate::{
    checkout::wire::{ORIGIN, READ_AT, place_mark},
    error::Result,
};
use rbuild_tree::{Entry, Kind, TreePath, encoding::decode_tree, lookup, walk};
use std::collections::HashMap;

impl Replay<'_> {
    /// Where a file was, if it was somewhere else.
    pub(super) fn moved_from(&mut self, path: &TreePath, found: &Entry) -> Result<Option<TreePath>> {
        let read_at = found.metadata.xattrs.get(READ_AT).and_then(|time| time.split_first_chunk());
        let Some((seconds, mark)) = read_at else { return Ok(None) };
        if !found.metadata.xattrs.contains_key(ORIGIN) && self.owned(&found.metadata).is_some() {
            return Ok(None);
        }
        let mark = u32::from_le_bytes(mark.try_into().map_err(|_| malformed())?);
        let first = self.first_names.get(path).copied().unwrap_or(path);
        if mark == place_mark(first.as_bytes()) && self.was_there(first, seconds)? {
            return Ok(None);
        }
        if self.places.is_none() {
            self.places = Some(self.all_places()?);
        }
        match self.places.as_ref().and_then(|places| places.get(&mark)).cloned() {
            Some(place) if self.was_there(&place, seconds)? => Ok(Some(place)),
            _ => Ok(None),
        }
    }

    /// Whether there was something whose file had this time of reading.
    fn was_there(&self, path: &TreePath, seconds: &[u8; 8]) -> Result<bool> {
        let was = lookup(self.store, self.before, path)?;
        Ok(was.is_some_and(|was| was.metadata.mtime.seconds.to_le_bytes() == *seconds))
    }

    fn all_places(&self) -> Result<HashMap<u32, TreePath>> {
        let mut places = HashMap::new();
        walk(self.store, &self.before.tree, &mut |path, entry| {
            let is_leaf = !entry.kind.is_directory();
            if is_leaf && self.first_names.get(path).is_none_or(|first| *first == path) {
                places.insert(place_mark(path.as_bytes()), path.clone());
            }
            Ok(())
        })?;
        Ok(places)
    }

    /// Puts what was in another place.
    pub(super) fn moved(&mut self, path: &TreePath, found: Entry, place: &TreePath) -> Result<()> {
        let (answer, _) = self.hand.ask(&[b"look", place.as_bytes()], &[])?;
        let below = decode_tree(&answer).map_err(|_| malformed())?;
        let shown = place.name().and_then(|name| below.get(name));
        let (Some(was), Some(shown)) = (lookup(self.store, self.before, place)?, shown) else {
            return self.insert(path, &found);
        };
        let kind = match (was.kind, found.kind) {
            // An empty file stood for it.
            (device @ (Kind::CharDevice(_) | Kind::BlockDevice(_)), Kind::File { size: 0, .. }) => device,
            (_, kind) => kind,
        };
        self.make_parents(path)?;
        let metadata = self.left(&was.metadata, &found.metadata, &shown.metadata);
        Ok(self.editor.insert(path, Entry { metadata, kind })?)
    }
}
