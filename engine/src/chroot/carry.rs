//! A directory on another filesystem, where it can't be renamed to.

use super::{
    lay, look,
    stamps::{Stamp, list},
};
use crate::{
    error::{Error, Result},
    folder::attributes,
};
use rbuild_overlay::clone_prefix;
use rbuild_tree::Kind;
use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::{self, File},
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// Copies a directory with all in it to a path where nothing is. What was made is removed if that fails.
pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = all(from, to);
    if copied.is_err() {
        let _ = super::remove_all(to);
    }
    copied
}

fn all(from: &Path, to: &Path) -> Result<()> {
    let look =
        |path: &Path| fs::symlink_metadata(path).map_err(|error| super::failed("look at", path, error));
    let mut linked: HashMap<(u64, u64), PathBuf> = HashMap::new();
    let (mut open, mut directories) =
        (vec![(from.to_owned(), to.to_owned(), Stamp::of(&look(from)?))], Vec::new());
    while let Some((from, to, stamp)) = open.pop() {
        if !stamp.is_directory() && stamp.links > 1 {
            if let Some(first) = linked.get(&stamp.file()) {
                fs::hard_link(first, &to).map_err(|error| super::failed("link", &to, error))?;
                continue;
            }
            linked.insert(stamp.file(), to.clone());
        }
        one(&from, &to, &stamp).map_err(|error| copying(&from, error))?;
        if stamp.is_directory() {
            for (name, stamp) in list(&from)? {
                let name = OsStr::from_bytes(&name);
                open.push((from.join(name), to.join(name), stamp));
            }
            directories.push((from, to, stamp));
        }
    }
    for (from, to, stamp) in directories.iter().rev() {
        give(from, to, stamp).map_err(|error| copying(from, error))?;
    }
    Ok(())
}

fn one(from: &Path, to: &Path, stamp: &Stamp) -> io::Result<()> {
    match look::kind(from, stamp)? {
        // What is in it changes its time.
        Kind::Directory(_) => return fs::create_dir(to),
        Kind::File { size, .. } => clone_prefix(&File::open(from)?, &File::create_new(to)?, size)?,
        kind => lay::make_special(to, &kind)?,
    }
    give(from, to, stamp)
}

fn give(from: &Path, to: &Path, stamp: &Stamp) -> io::Result<()> {
    let is_link = stamp.kind() == rustix::fs::FileType::Symlink;
    lay::give(to, &stamp.metadata(&attributes(from)?), is_link)
}

fn copying(path: &Path, error: io::Error) -> Error {
    super::failed("copy", path, error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn all_of_a_directory_is_copied() {
        let folder = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::write(from.join("a/b/file"), "content").unwrap();
        fs::hard_link(from.join("a/b/file"), from.join("other")).unwrap();
        symlink("a/b", from.join("link")).unwrap();
        fs::set_permissions(from.join("a"), fs::Permissions::from_mode(0o750)).unwrap();
        copy(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("link/file")).unwrap(), "content");
        let [one, other] = ["a/b/file", "other"].map(|path| fs::metadata(to.join(path)).unwrap().ino());
        assert_eq!(one, other);
        for path in ["", "a", "a/b", "other", "link"] {
            let [was, is] = [&from, &to].map(|folder| fs::symlink_metadata(folder.join(path)).unwrap());
            assert_eq!(
                (was.mode(), was.mtime(), was.mtime_nsec()),
                (is.mode(), is.mtime(), is.mtime_nsec()),
                "{path}"
            );
        }
        assert!(copy(&folder.path().join("none"), &folder.path().join("new")).is_err());
    }
}
