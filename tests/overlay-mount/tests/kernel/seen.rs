//! Everything that can be seen of a tree through system calls.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
    fs::{self, Metadata},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

/// A line per path.
#[derive(Debug)]
pub struct Seen(BTreeMap<PathBuf, String>);

impl Seen {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn has(&self, path: &str) -> bool {
        self.0.contains_key(Path::new(path))
    }

    /// Both lines of what differs.
    pub fn diff(&self, other: &Self) -> Vec<String> {
        let mut paths: Vec<&PathBuf> = self.0.keys().chain(other.0.keys()).collect();
        paths.sort();
        paths.dedup();
        let line = |seen: &Self, path: &PathBuf| seen.0.get(path).cloned();
        let differs = |path: &&&PathBuf| self.0.get(**path) != other.0.get(**path);
        let both =
            |path: &&PathBuf| format!("{}: {:?} | {:?}", path.display(), line(self, path), line(other, path));
        paths.iter().filter(differs).map(both).collect()
    }
}

/// Kind, mode, owner, size, time, device, target, content, attributes, and the first path that is the same inode.
pub fn see(root: &Path) -> Seen {
    see_with(root, exact_time)
}

fn exact_time(found: &Metadata) -> String {
    format!("{}.{:09}", found.mtime(), found.mtime_nsec())
}

/// The same with something else in the place of the time.
pub fn see_with(root: &Path, time: impl Fn(&Metadata) -> String) -> Seen {
    let mut lines = BTreeMap::new();
    let mut first: HashMap<u64, PathBuf> = HashMap::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(path) = pending.pop() {
        let at = if path.as_os_str().is_empty() { root.to_owned() } else { root.join(&path) };
        let found = fs::symlink_metadata(&at).unwrap();
        let (mode, uid, gid) = (found.mode(), found.uid(), found.gid());
        let mut line = format!("{mode:o} {uid}:{gid} {}", time(&found));
        if found.is_dir() {
            let mut names: Vec<PathBuf> =
                fs::read_dir(&at).unwrap().map(|entry| path.join(entry.unwrap().file_name())).collect();
            names.sort();
            pending.extend(names.into_iter().rev());
        } else {
            let same = first.entry(found.ino()).or_insert_with(|| path.clone());
            write!(line, " is {} device {}", same.display(), found.rdev()).unwrap();
        }
        if found.is_symlink() {
            write!(line, " to {:?}", fs::read_link(&at).unwrap()).unwrap();
        }
        if found.is_file() {
            let bytes = fs::read(&at).unwrap();
            let sum = bytes.iter().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
            write!(line, " {} bytes {sum:x}", bytes.len()).unwrap();
        }
        for (name, value) in attributes(&at) {
            write!(line, " {}={value:?}", String::from_utf8_lossy(&name)).unwrap();
        }
        lines.insert(path, line);
    }
    Seen(lines)
}

fn attributes(at: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0_u8; 64 << 10];
    let length = rustix::fs::llistxattr(at, &mut names[..]).unwrap();
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0_u8; 64 << 10];
        let length = rustix::fs::lgetxattr(at, name, &mut value[..]).unwrap();
        value[..length].to_vec()
    };
    assert!(at.as_os_str().as_bytes().len() < 4000);
    names.map(|name| (name.to_vec(), value(name))).collect()
}
