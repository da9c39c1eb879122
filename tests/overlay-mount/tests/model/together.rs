//! Two programs at once.

use crate::{
    client::{Answer, Client},
    operations::Op,
};
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat},
    io::Errno,
};
use std::{
    collections::BTreeMap,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Barrier,
    thread,
};

/// Where each program works, the first in the first; and where both do.
pub const OWN: [&str; 2] = ["one", "two"];
pub const SHARED: &str = "shared";

/// An operation, and whether it is done where both work.
type Step = (Op, bool);

/// Runs both at once; gives what each was answered in its own directory.
pub fn run(at: &Path, steps: &[Vec<Step>; 2]) -> [Vec<Answer>; 2] {
    let start = Barrier::new(2);
    let work = |number: usize| {
        let (mut own, mut shared) = (Client::new(&at.join(OWN[number])), Client::new(&at.join(SHARED)));
        let mut answers = Vec::new();
        start.wait();
        for (op, is_shared) in &steps[number] {
            if !is_shared {
                answers.push(own.run(op));
            } else if let Err(cause) = shared.run(op) {
                // Whatever the other one does, a filesystem says none of these.
                assert!(![Errno::IO, Errno::STALE, Errno::NOSYS].contains(&cause), "{op:?}: {cause}");
            }
        }
        answers
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| work(1));
        [work(0), other.join().unwrap()]
    })
}

/// What each is answered alone, in its own directory.
pub fn alone(at: &Path, steps: &[Vec<Step>; 2]) -> [Vec<Answer>; 2] {
    [0, 1].map(|number| {
        let mut own = Client::new(&at.join(OWN[number]));
        steps[number].iter().filter(|(_, is_shared)| !is_shared).map(|(op, _)| own.run(op)).collect()
    })
}

/// What a directory lists.
struct Listed {
    name: Vec<u8>,
    inode: u64,
    kind: FileType,
}

/// What contradicts itself: listings and stat(2), link counts and the names that are there.
pub fn contradictions(root: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut names: BTreeMap<u64, (u64, u64, PathBuf)> = BTreeMap::new();
    let mut pending = vec![(root.to_path_buf(), stat(root).st_ino)];
    while let Some((path, above)) = pending.pop() {
        let (own, listed) = (stat(&path), list(&path));
        let mut subdirectories = 0;
        for entry in &listed {
            let at = path.join(std::ffi::OsStr::from_bytes(&entry.name));
            let found = stat(&at);
            let is_above = entry.name == b"..";
            // The kernel lists a directory that moved from memory, with the number of what was above it.
            let listed = if is_above { found.st_ino } else { entry.inode };
            if (found.st_ino, FileType::from_raw_mode(found.st_mode)) != (listed, entry.kind) {
                wrong.push(format!("{} is listed as something else", at.display()));
            }
            if is_above && path != root && found.st_ino != above {
                wrong.push(format!("{} is not the directory above", at.display()));
            }
            if is_above || entry.name == b"." {
                continue;
            }
            if entry.kind == FileType::Directory {
                subdirectories += 1;
                pending.push((at, own.st_ino));
            } else {
                names.entry(found.st_ino).or_insert((0, found.st_nlink, at)).0 += 1;
            }
        }
        let mut different: Vec<&[u8]> = listed.iter().map(|entry| &*entry.name).collect();
        different.sort();
        different.dedup();
        if different.len() != listed.len() {
            wrong.push(format!("{} lists a name twice", path.display()));
        }
        if own.st_nlink != 2 + subdirectories {
            wrong.push(format!("{} has {} links", path.display(), own.st_nlink));
        }
    }
    let miscounted = names.into_values().filter(|(there, links, _)| there != links);
    wrong.extend(
        miscounted.map(|(there, links, at)| format!("{} has {there} names, {links} links", at.display())),
    );
    wrong
}

fn stat(path: &Path) -> Stat {
    rustix::fs::statat(rustix::fs::CWD, path, AtFlags::SYMLINK_NOFOLLOW).unwrap()
}

fn list(path: &Path) -> Vec<Listed> {
    let directory = rustix::fs::open(path, OFlags::DIRECTORY, Mode::empty()).unwrap();
    let entries = Dir::new(directory).unwrap().map(|entry| {
        let entry = entry.unwrap();
        Listed { name: entry.file_name().to_bytes().to_vec(), inode: entry.ino(), kind: entry.file_type() }
    });
    entries.collect()
}
