//! A folder as the kernel shows it, for comparing one with another.

use rustix::fs::{FileType, Stat, lgetxattr, llistxattr, lstat};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// What there is below a folder and the folder itself: by path, everything an image keeps of an entry, as text.
///
/// ```text
/// /          40755 0:0 @1764000000.000000000
/// /bin/greet 100755 0:0 @1764000000.000000000 size 12 holds 4f9b… xattr user.note=hello
/// /bin/hi    120777 0:0 @1764000000.000000000 to greet
/// /dev/null  20666 0:0 @0.000000000 device 1:3
/// /two       the same file as /one
/// ```
pub fn entries(folder: &Path) -> BTreeMap<String, String> {
    let mut reader = Reader { folder, first_names: HashMap::new(), entries: BTreeMap::new() };
    reader.read(Path::new("/"));
    reader.entries
}

/// As an assertion on two maps, but one line an entry.
#[track_caller]
pub fn same_entries(what: &str, ours: &BTreeMap<String, String>, theirs: &BTreeMap<String, String>) {
    let paths: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let differ = paths.into_iter().filter(|path| ours.get(*path) != theirs.get(*path));
    let lines: Vec<String> = differ
        .map(|path| format!("{path}\n  ours   {:?}\n  theirs {:?}", ours.get(path), theirs.get(path)))
        .collect();
    assert!(lines.is_empty(), "{what}:\n{}", lines.join("\n"));
}

struct Reader<'a> {
    folder: &'a Path,
    first_names: HashMap<(u64, u64), String>,
    entries: BTreeMap<String, String>,
}

impl Reader<'_> {
    fn read(&mut self, path: &Path) {
        let at = self.folder.join(path.strip_prefix("/").expect("paths begin with a slash"));
        let stat = lstat(&at).unwrap_or_else(|error| panic!("{}: {error}", at.display()));
        let name = path.as_os_str().as_bytes().escape_ascii().to_string();
        let kind = FileType::from_raw_mode(stat.st_mode);
        let earlier =
            self.first_names.get(&(stat.st_dev, stat.st_ino)).filter(|_| kind != FileType::Directory);
        let line = match earlier {
            Some(first) => format!("the same file as {first}"),
            None => describe(&at, &stat, kind),
        };
        self.first_names.entry((stat.st_dev, stat.st_ino)).or_insert_with(|| name.clone());
        self.entries.insert(name, line);
        if kind == FileType::Directory {
            for name in names(&at) {
                self.read(&path.join(name));
            }
        }
    }
}

/// Sorted, so that of several names of a file the same one comes first everywhere.
fn names(folder: &Path) -> Vec<OsString> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<OsString> =
        entries.map(|entry| entry.expect("an entry of a folder").file_name()).collect();
    names.sort_unstable();
    names
}

fn describe(path: &Path, stat: &Stat, kind: FileType) -> String {
    let mut line = format!(
        "{:o} {}:{} @{}.{:09}",
        stat.st_mode, stat.st_uid, stat.st_gid, stat.st_mtime, stat.st_mtime_nsec
    );
    match kind {
        FileType::RegularFile => {
            let content = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let hash = blake3::hash(&content).to_hex();
            line += &format!(" size {} holds {}", stat.st_size, &hash.as_str()[..16]);
        }
        FileType::Symlink => {
            let target: PathBuf = fs::read_link(path).expect("a link");
            line += &format!(" to {}", target.as_os_str().as_bytes().escape_ascii());
        }
        FileType::CharacterDevice | FileType::BlockDevice => {
            let device = stat.st_rdev;
            line += &format!(" device {}:{}", rustix::fs::major(device), rustix::fs::minor(device));
        }
        _ => {}
    }
    line + &xattrs(path)
}

fn xattrs(path: &Path) -> String {
    let mut list = vec![0; 1 << 16];
    let length = llistxattr(path, &mut list[..]).unwrap_or(0);
    let mut names: Vec<&[u8]> =
        list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    let mut text = String::new();
    for name in names {
        let mut value = vec![0; 1 << 16];
        let length =
            lgetxattr(path, OsStr::from_bytes(name), &mut value[..]).expect("the value of an attribute");
        text += &format!(" xattr {}={}", name.escape_ascii(), value[..length].escape_ascii());
    }
    text
}
