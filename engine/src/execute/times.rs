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
use rbuild_tree::{Editor, Kind, ObjectId, Snapshot, Timestamp, TreePath, walk};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

/// What the steps of some caches saw, and now see.
pub(super) struct SeenTimes {
    caches: Vec<(PathBuf, BTreeMap<String, Seen>)>,
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
        Self { caches: folders.into_iter().map(read).collect(), epoch, now }
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
        let mut editor = Editor::new(store, &snapshot);
        for (path, time) in changed {
            if let Some(found) = editor.get(&path)? {
                editor.set_metadata(&path, rbuild_tree::Metadata { mtime: time, ..found.metadata })?;
            }
        }
        Ok(editor.finish()?)
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
        latest.unwrap_or(self.epoch)
    }

    /// Remembers what the step is going to see.
    ///
    /// # Errors
    /// The file beside the cache can't be written.
    pub(super) fn save(&self) -> Result<()> {
        for (path, seen) in &self.caches {
            let fresh = suffixed(path, &std::process::id().to_string());
            let json = serde_json::to_string(seen).unwrap_or_default();
            fs::write(&fresh, json).map_err(|error| Error::io("write", &fresh, error))?;
            fs::rename(&fresh, path).map_err(|error| Error::io("write", path, error))?;
        }
        Ok(())
    }
}
