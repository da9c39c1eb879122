//! Times of files for steps with a cache mount.
//!
//! Everything local is normalised to one time, and what comes from elsewhere keeps its own, which may be old: make,
//! cargo and maven with a kept target folder would take a changed source for older than what they built from another
//! one, and silently give yesterday's program. A step with a cache mount therefore sees, as the time of a file, when the
//! content at that path last differed from what this cache's steps saw there before; a return to older content is a
//! change too, and so is a file that was away. Kept beside the cache, in no key and in no snapshot.
//!
//! Shown so is every file of a `from` mount; of the root the files that have the epoch (local ones, and what earlier
//! steps wrote) and those that the step's own tree operations put there. What else is in a root keeps its time: it is
//! installed there, and the byte code of Python and its like would not be valid beside another one.
//!
//! What is remembered of a target is what its last step saw there, all of it and nothing else. Of a shared cache that
//! may be two steps at once: each forgets at its end what the other saw otherwise, since its own may be in the cache.
//!
//! **Limits.** Steps that see their sources at different targets don't know of each other: a folder that programs write
//! to and compare times with is to be no other step's. Of steps that *run* at once with a shared one, a program that
//! takes no lock of its own may take what the other one just wrote.

use super::{
    Cancel,
    cache_mount::{CacheDirectory, Caches, suffixed},
    lock::Lock,
};
use crate::{
    error::{Error, Result},
    store::Store,
};
use rbuild_tree::{
    Change, Delta, Editor, Kind, Metadata, ObjectId, Snapshot, Timestamp, TreePath, diff, walk,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// What the steps of a cache saw last: by target, by path below it.
type Remembered = BTreeMap<String, BTreeMap<String, Seen>>;

/// What a step with caches sees.
pub(super) struct SeenTimes {
    /// The files beside the caches, and whether other steps use the cache meanwhile.
    caches: Vec<(PathBuf, bool)>,
    epoch: Timestamp,
    /// The content of what this step sees, by target, by path below it.
    views: BTreeMap<String, BTreeMap<String, String>>,
    /// What is shown of the root, and each file's own time.
    root: BTreeMap<TreePath, (Timestamp, Timestamp)>,
    /// The same by content and shown time, for files that the step moves or links.
    moved: HashMap<(ObjectId, Timestamp), Timestamp>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Seen {
    content: String,
    seconds: i64,
    nanoseconds: u32,
}

/// A file of a tree.
struct File {
    path: TreePath,
    object: ObjectId,
    mtime: Timestamp,
}

impl SeenTimes {
    /// For a step with these caches.
    pub(super) fn new(caches: &Caches, epoch: Timestamp) -> Self {
        let beside = |cache: &CacheDirectory| (suffixed(&cache.path, "times"), cache.lock.is_none());
        let caches = caches.values().map(beside).collect();
        Self { caches, epoch, views: BTreeMap::new(), root: BTreeMap::new(), moved: HashMap::new() }
    }

    /// A tree as the step sees it at `target`.
    ///
    /// # Errors
    /// Those of the store; the file beside a cache can't be written.
    pub(super) fn mount(&mut self, store: &Store, target: &TreePath, tree: Snapshot) -> Result<Snapshot> {
        if self.caches.is_empty() {
            return Ok(tree);
        }
        let files = files(store, &tree, &|_| true)?;
        let times = self.see(store, target, &files)?;
        set_times(store, &tree, files.into_iter().map(|file| file.path).zip(times))
    }

    /// The root as the step sees it: `base` after the step's tree operations, which gave `tree`.
    ///
    /// # Errors
    /// As [`SeenTimes::mount`].
    pub(super) fn root(&mut self, store: &Store, base: &Snapshot, tree: &Snapshot) -> Result<Snapshot> {
        if self.caches.is_empty() {
            return Ok(tree.clone());
        }
        let put = put(&diff(store, base, tree)?);
        let files = files(store, tree, &|file| file.mtime == self.epoch || is_within(&file.path, &put))?;
        let times = self.see(store, &TreePath::root(), &files)?;
        for (file, time) in files.iter().zip(&times) {
            self.root.insert(file.path.clone(), (*time, file.mtime));
            self.moved.entry((file.object, *time)).or_insert(file.mtime);
        }
        set_times(store, tree, files.into_iter().map(|file| file.path).zip(times))
    }

    /// What a step left of the root, with the times that it was shown put back.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) fn restore(&self, store: &Store, left: Snapshot) -> Result<Snapshot> {
        if self.root.is_empty() {
            return Ok(left);
        }
        let shown: BTreeSet<Timestamp> = self.moved.keys().map(|(_, time)| *time).collect();
        let own = |file: &File| match self.root.get(&file.path) {
            Some((time, own)) if *time == file.mtime => *own,
            // Moved or linked; or new, and the step gave it the time of another file.
            _ => self.moved.get(&(file.object, file.mtime)).copied().unwrap_or(self.epoch),
        };
        let files = files(store, &left, &|file| shown.contains(&file.mtime))?;
        let times: Vec<Timestamp> = files.iter().map(own).collect();
        set_times(store, &left, files.into_iter().map(|file| file.path).zip(times))
    }

    /// Forgets what other steps of a shared cache saw otherwise meanwhile: what is in the cache may be of either. To be
    /// called when the step has ended, well or not.
    ///
    /// # Errors
    /// The file beside a cache can't be written.
    pub(super) fn settle(&self, store: &Store) -> Result<()> {
        for (path, _) in self.caches.iter().filter(|(_, shared)| *shared) {
            let _lock = lock(path)?;
            let mut remembered = read(path);
            let count = |all: &Remembered| all.values().map(BTreeMap::len).sum::<usize>();
            let before = count(&remembered);
            for (target, view) in &self.views {
                if let Some(known) = remembered.get_mut(target) {
                    known.retain(|name, seen| view.get(name) == Some(&seen.content));
                }
            }
            if count(&remembered) != before {
                write(store, path, &remembered)?;
            }
        }
        Ok(())
    }

    /// When the content of each file last changed for these caches: the latest, if they differ. From now on this is
    /// what was seen at the target.
    fn see(&mut self, store: &Store, target: &TreePath, files: &[File]) -> Result<Vec<Timestamp>> {
        let mut times = vec![Timestamp::default(); files.len()];
        for (path, _) in &self.caches {
            let _lock = lock(path)?;
            // Under the lock: nothing that another step made of what it saw before is younger.
            let now = now();
            let mut remembered = read(path);
            let known = remembered.remove(&target.to_string()).unwrap_or_default();
            let mut view = BTreeMap::new();
            for (file, latest) in files.iter().zip(&mut times) {
                let (name, content) = (file.path.to_string(), file.object.to_string());
                let seen = match known.get(&name).filter(|seen| seen.content == content) {
                    Some(seen) => seen.clone(),
                    None => Seen { content, seconds: now.seconds, nanoseconds: now.nanoseconds },
                };
                let time = Timestamp { seconds: seen.seconds, nanoseconds: seen.nanoseconds };
                *latest = time.max(*latest);
                view.insert(name, seen);
            }
            remembered.insert(target.to_string(), view);
            write(store, path, &remembered)?;
        }
        let view = files.iter().map(|file| (file.path.to_string(), file.object.to_string())).collect();
        self.views.insert(target.to_string(), view);
        Ok(times)
    }
}

/// Held for moments only, so that nobody need be able to interrupt the waiting.
fn lock(path: &Path) -> Result<Lock> {
    Lock::wait(&suffixed(path, "lock"), &Cancel::default())
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp { seconds: since.as_secs() as i64, nanoseconds: since.subsec_nanos() }
}

/// A file that is not there, or damaged: nothing was seen, so all is new.
fn read(path: &Path) -> Remembered {
    serde_json::from_str(&fs::read_to_string(path).unwrap_or_default()).unwrap_or_default()
}

fn write(store: &Store, path: &Path, remembered: &Remembered) -> Result<()> {
    let fresh = store.scratch().write(serde_json::to_string(remembered).unwrap_or_default().as_bytes())?;
    fs::rename(&fresh, path).map_err(|error| Error::io("write", path, error))
}

fn files(store: &Store, tree: &Snapshot, is_wanted: &dyn Fn(&File) -> bool) -> Result<Vec<File>> {
    let mut files = Vec::new();
    walk(store, &tree.tree, &mut |path, entry| {
        if let Kind::File { object, .. } = &entry.kind {
            let file = File { path: path.clone(), object: *object, mtime: entry.metadata.mtime };
            files.extend(Some(file).filter(is_wanted));
        }
        Ok(())
    })?;
    Ok(files)
}

/// The paths that a difference put something at.
fn put(delta: &Delta) -> BTreeSet<TreePath> {
    let (mut put, mut open) = (BTreeSet::new(), vec![(TreePath::root(), &delta.root)]);
    while let Some((path, directory)) = open.pop() {
        for (name, change) in &directory.children {
            match change {
                Change::Removed => {}
                Change::Replaced(_) => drop(put.insert(path.join(name))),
                Change::Directory(below) => open.push((path.join(name), below)),
            }
        }
    }
    put
}

/// Whether a path is one of these or below one.
fn is_within(path: &TreePath, above: &BTreeSet<TreePath>) -> bool {
    let mut path = Some(path.clone()).filter(|_| !above.is_empty());
    while let Some(here) = path {
        if above.contains(&here) {
            return true;
        }
        path = here.parent();
    }
    false
}

fn set_times(
    store: &Store,
    tree: &Snapshot,
    times: impl IntoIterator<Item = (TreePath, Timestamp)>,
) -> Result<Snapshot> {
    let mut editor = Editor::new(store, tree);
    for (path, mtime) in times {
        if let Some(found) = editor.get(&path)? {
            editor.set_metadata(&path, Metadata { mtime, ..found.metadata })?;
        }
    }
    Ok(editor.finish()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rbuild_tree::Entry;
    use std::sync::Arc;

    const EPOCH: Timestamp = Timestamp { seconds: 1_000, nanoseconds: 0 };
    const OLD: Timestamp = Timestamp { seconds: 500, nanoseconds: 0 };

    struct Test {
        folder: tempfile::TempDir,
        store: Arc<Store>,
    }

    impl Test {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(&folder.path().join("store")).unwrap();
            Self { folder, store }
        }

        /// A step with these caches that begins.
        fn step(&self, caches: &[&str]) -> SeenTimes {
            let shared = |cache: &&str| CacheDirectory { path: self.folder.path().join(cache), lock: None };
            let caches = caches.iter().map(|cache| ((*cache).to_owned(), shared(cache))).collect();
            SeenTimes::new(&caches, EPOCH)
        }

        /// A tree of files with contents and times.
        fn tree(&self, files: &[(&str, &str, Timestamp)]) -> Snapshot {
            let mut editor = Editor::new(&*self.store, &Snapshot::scratch());
            for (name, content, mtime) in files {
                let (path, above) = (path(name), Metadata::root(0o755, EPOCH));
                editor.make_directories(&path.parent().unwrap(), &above, &above).unwrap();
                let kind = Kind::File { object: ObjectId::of(content.as_bytes()), size: 1 };
                editor.insert(&path, Entry { metadata: Metadata::root(0o644, *mtime), kind }).unwrap();
            }
            editor.finish().unwrap()
        }

        fn times(&self, tree: &Snapshot) -> BTreeMap<String, Timestamp> {
            let all = files(&self.store, tree, &|_| true).unwrap();
            all.into_iter().map(|file| (file.path.to_string(), file.mtime)).collect()
        }

        /// What a whole step sees at /src of files that have an old time.
        fn run(&self, caches: &[&str], files: &[(&str, &str)]) -> BTreeMap<String, Timestamp> {
            let mut step = self.step(caches);
            let seen = self.begin(&mut step, files);
            step.settle(&self.store).unwrap();
            seen
        }

        fn begin(&self, step: &mut SeenTimes, files: &[(&str, &str)]) -> BTreeMap<String, Timestamp> {
            let files: Vec<_> = files.iter().map(|(name, content)| (*name, *content, OLD)).collect();
            let shown = step.mount(&self.store, &path("src"), self.tree(&files)).unwrap();
            self.times(&shown)
        }
    }

    fn path(text: &str) -> TreePath {
        TreePath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_change_is_new_whatever_time_the_file_has() {
        let test = Test::new();
        let one = test.run(&["c"], &[("f", "1"), ("g", "1")]);
        assert!(one["/f"] > EPOCH);
        assert_eq!(test.run(&["c"], &[("f", "1"), ("g", "1")]), one);
        let two = test.run(&["c"], &[("f", "2"), ("g", "1")]);
        assert!(two["/f"] > one["/f"]);
        assert_eq!(two["/g"], one["/g"]);
        let back = test.run(&["c"], &[("f", "1"), ("g", "1")]);
        assert!(back["/f"] > two["/f"], "a return is a change");
    }

    #[test]
    fn a_file_that_was_away_is_new() {
        let test = Test::new();
        let one = test.run(&["c"], &[("f", "1"), ("g", "1")]);
        test.run(&["c"], &[("f", "1")]);
        let three = test.run(&["c"], &[("f", "1"), ("g", "1")]);
        assert_eq!(three["/f"], one["/f"]);
        assert!(three["/g"] > one["/g"]);
    }

    #[test]
    fn of_several_caches_the_last_to_see_a_change_counts() {
        let test = Test::new();
        let one = test.run(&["a"], &[("f", "1")]);
        let both = test.run(&["a", "b"], &[("f", "1")]);
        assert!(both["/f"] > one["/f"]);
        assert_eq!(test.run(&["a"], &[("f", "1")]), one);
    }

    #[test]
    fn of_two_steps_at_once_neither_is_believed() {
        let test = Test::new();
        let content = [[("f", "1"), ("g", "1")], [("f", "2"), ("g", "1")]];
        for (first, last) in [(0, 1), (1, 0)] {
            let mut steps = [test.step(&["c"]), test.step(&["c"])];
            let seen = [0, 1].map(|which| test.begin(&mut steps[which], &content[which]));
            steps[first].settle(&test.store).unwrap();
            steps[last].settle(&test.store).unwrap();
            let next = test.run(&["c"], &content[0]);
            assert!(next["/f"] > seen[0]["/f"].max(seen[1]["/f"]), "{first} ended first");
            assert_eq!(next["/g"], seen[1]["/g"], "they saw the same");
        }
    }

    #[test]
    fn of_a_root_what_is_installed_keeps_its_time_and_all_times_come_back() {
        let test = Test::new();
        let installed = [("usr/tool", "t", OLD), ("usr/twin", "x", OLD), ("made", "m", EPOCH)];
        let base = test.tree(&installed);
        let tree =
            test.tree(&[installed.as_slice(), &[("src/twin", "x", EPOCH), ("src/f", "1", OLD)]].concat());
        let mut step = test.step(&["c"]);
        let shown = step.root(&test.store, &base, &tree).unwrap();
        let times = test.times(&shown);
        assert_eq!((times["/usr/tool"], times["/usr/twin"]), (OLD, OLD));
        assert!(["/made", "/src/twin", "/src/f"].iter().all(|name| times[*name] > EPOCH), "{times:?}");
        assert_eq!(step.restore(&test.store, shown.clone()).unwrap(), tree);
        // Moved by the step: the same content, its time as it was shown.
        let mut editor = Editor::new(&*test.store, &shown);
        let found = editor.get(&path("src/f")).unwrap().unwrap();
        let rbuild_tree::FoundKind::Leaf(kind) = found.kind else { panic!("a file") };
        editor.insert(&path("moved"), Entry { metadata: found.metadata, kind }).unwrap();
        let left = step.restore(&test.store, editor.finish().unwrap()).unwrap();
        assert_eq!(test.times(&left)["/moved"], OLD);
    }

    #[test]
    fn without_a_cache_all_times_are_the_files_own() {
        let test = Test::new();
        let tree = test.tree(&[("f", "1", OLD)]);
        let mut step = test.step(&[]);
        assert_eq!(step.mount(&test.store, &path("src"), tree.clone()).unwrap(), tree);
        assert_eq!(step.root(&test.store, &Snapshot::scratch(), &tree).unwrap(), tree);
    }
}
