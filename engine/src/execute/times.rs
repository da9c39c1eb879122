//! Times of files for steps with a cache mount.
//!
//! Everything local is normalised to one time, so make, cargo and maven with a kept target folder would take every
//! source for older than what they built from another one, and silently give yesterday's program. A step with a cache
//! mount therefore sees, as the time of a normalised file, when the content at that path last differed from what this
//! cache's steps saw there before; a return to older content is a change too. Kept beside the cache, in no key and in
//! no snapshot.

use super::cache_mount::suffixed;
use crate::{
    error::{Error, Result},
    store::Store,
};
use rbuild_tree::{Editor, Kind, Metadata, ObjectId, Snapshot, Timestamp, TreePath, walk};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

/// What the steps of some caches saw, and now see.
pub(super) struct SeenTimes {
    caches: Vec<(PathBuf, BTreeMap<String, Seen>)>,
    /// The times that were shown, to be told from those of the tree.
    shown: HashSet<Timestamp>,
    epoch: Timestamp,
    now: Timestamp,
}

#[derive(Clone, Serialize, Deserialize)]
struct Seen {
    content: String,
    seconds: i64,
    nanoseconds: u32,
}

impl SeenTimes {
    /// Of the caches in these folders.
    pub(super) fn load(folders: impl IntoIterator<Item = PathBuf>, epoch: Timestamp) -> Self {
        let read = |folder: PathBuf| {
            let path = suffixed(&folder, "times");
            let text = fs::read_to_string(&path).unwrap_or_default();
            (path, serde_json::from_str(&text).unwrap_or_default())
        };
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Timestamp { seconds: since.as_secs() as i64, nanoseconds: since.subsec_nanos() };
        Self { caches: folders.into_iter().map(read).collect(), shown: HashSet::new(), epoch, now }
    }

    /// `snapshot` as the step sees it at `target`.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) fn apply(&mut self, store: &Store, target: &TreePath, snapshot: Snapshot) -> Result<Snapshot> {
        if self.caches.is_empty() {
            return Ok(snapshot);
        }
        let mut changed = Vec::new();
        walk(store, &snapshot.tree, &mut |path, entry| {
            if let Kind::File { object, .. } = &entry.kind
                && entry.metadata.mtime == self.epoch
            {
                let time = self.see(&target.join_path(path), object);
                changed.push((path.clone(), time));
            }
            Ok(())
        })?;
        set_times(store, &snapshot, changed)
    }

    /// What a step left, with the times that it was shown put back: a file that it moved or linked has kept its own.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) fn restore(&self, store: &Store, snapshot: Snapshot) -> Result<Snapshot> {
        if self.shown.is_empty() {
            return Ok(snapshot);
        }
        let mut shown = Vec::new();
        walk(store, &snapshot.tree, &mut |path, entry| {
            if matches!(entry.kind, Kind::File { .. }) && self.shown.contains(&entry.metadata.mtime) {
                shown.push((path.clone(), self.epoch));
            }
            Ok(())
        })?;
        set_times(store, &snapshot, shown)
    }

    /// When the content of this path last changed for these caches: the latest, if they differ.
    fn see(&mut self, path: &TreePath, object: &ObjectId) -> Timestamp {
        let (name, content) = (path.to_string(), object.to_string());
        let mut latest = None;
        for (_, seen) in &mut self.caches {
            let known = seen.get(&name).filter(|seen| seen.content == content);
            let time = known
                .map_or(self.now, |seen| Timestamp { seconds: seen.seconds, nanoseconds: seen.nanoseconds });
            let fresh =
                Seen { content: content.clone(), seconds: time.seconds, nanoseconds: time.nanoseconds };
            seen.insert(name.clone(), fresh);
            latest = latest.max(Some(time));
        }
        let time = latest.unwrap_or(self.epoch);
        self.shown.insert(time);
        time
    }

    /// Remembers what the step is going to see.
    ///
    /// # Errors
    /// The file beside the cache can't be written.
    pub(super) fn save(&self, store: &Store) -> Result<()> {
        for (path, seen) in &self.caches {
            let fresh = store.scratch().write(serde_json::to_string(seen).unwrap_or_default().as_bytes())?;
            fs::rename(&fresh, path).map_err(|error| Error::io("write", path, error))?;
        }
        Ok(())
    }
}

fn set_times(store: &Store, snapshot: &Snapshot, times: Vec<(TreePath, Timestamp)>) -> Result<Snapshot> {
    let mut editor = Editor::new(store, snapshot);
    for (path, mtime) in times {
        if let Some(found) = editor.get(&path)? {
            editor.set_metadata(&path, Metadata { mtime, ..found.metadata })?;
        }
    }
    Ok(editor.finish()?)
}
