//! `path`: a local folder, or a tree of one file, normalised so that umask, user and folder never matter.
//!
//! First `only`, then every `.gitignore` from the repository's top down, then `exclude`, whose `!` can bring back what
//! git ignores. A folder that is left out is still searched if `exclude` may bring back something of it, and stays out
//! if nothing came back.
//!
//! Never part of it: `.git`; names that begin with `.rbuild-`, which are rbuild's own, half written; what this build
//! file writes, and folders that hold nothing else, so that a build does not change what the next one reads.

use super::{Surroundings, input::Input, locate};
use crate::{
    error::{Error, Result},
    spec::types::PathSource,
    store::{FileStamp, Store},
};
use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder},
};
use rayon::prelude::*;
use rbuild_tree::{
    Entry, Kind, Links, Metadata, ObjectId, Pattern, Snapshot, Timestamp, Tree, TreePath, TreeStore,
};
use std::{
    ffi::OsStr,
    fs::{self, FileType},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
    time::SystemTime,
};

/// What a killed build left half written is nobody's source.
const OWN_PREFIX: &[u8] = b".rbuild-";

pub(super) fn import(source: &PathSource, surroundings: &Surroundings<'_>) -> Result<Snapshot> {
    let root = locate(surroundings.folder, &source.path)?;
    if root.is_file() {
        // A link to a file is called what the build file calls it, not what it points to.
        let name = surroundings.folder.join(&source.path.value);
        return single_file(&root, name.file_name().unwrap_or_default(), surroundings);
    }
    let rules = Rules::new(source, &root, surroundings.written)?;
    let mut found = Vec::new();
    let above = if source.gitignore { ignores_above(&root)? } else { Vec::new() };
    let top = Folder { on_disk: &root, path: &TreePath::root(), ignores: &above, out: false };
    collect(&top, &rules, surroundings, &mut found)?;
    let digests = digest_files(&root, &found, surroundings)?;
    let mut entries = found.into_iter().zip(digests).peekable();
    let tree = build(&TreePath::root(), &mut entries, surroundings)?;
    Ok(Snapshot { root: Metadata::root(0o755, surroundings.epoch), tree, links: Links::default() })
}

fn single_file(path: &Path, name: &OsStr, surroundings: &Surroundings<'_>) -> Result<Snapshot> {
    let digest = Input::open(surroundings, path)?.digest;
    let metadata = fs::metadata(path).map_err(|error| Error::io("look at", path, error))?;
    let file = Found { path: TreePath::root(), absolute: path.to_owned(), what: What::of_file(&metadata) };
    let object = keep(surroundings.store, &file, digest)?;
    let tree = Tree::from_entries([(name.as_bytes().into(), file.entry(Some(object), surroundings.epoch))]);
    let tree = surroundings.store.put_tree(&tree)?;
    Ok(Snapshot { root: Metadata::root(0o755, surroundings.epoch), tree, links: Links::default() })
}

/// Something that is part of the tree.
struct Found {
    path: TreePath,
    absolute: PathBuf,
    what: What,
}

enum What {
    File { executable: bool, stamp: FileStamp, size: u64 },
    Directory,
    Symlink(Box<[u8]>),
}

impl What {
    fn of_file(metadata: &fs::Metadata) -> Self {
        let executable = metadata.mode() & 0o111 != 0;
        Self::File { executable, stamp: FileStamp::of(metadata), size: metadata.size() }
    }
}

impl Found {
    /// Its entry; a directory's is made by [`build`].
    fn entry(&self, object: Option<(ObjectId, u64)>, epoch: Timestamp) -> Entry {
        match (&self.what, object) {
            (What::File { executable, .. }, Some((object, size))) => {
                let mode = if *executable { 0o755 } else { 0o644 };
                Entry { metadata: Metadata::root(mode, epoch), kind: Kind::File { object, size } }
            }
            (What::Symlink(target), _) => {
                Entry { metadata: Metadata::root(0o777, epoch), kind: Kind::Symlink(target.clone()) }
            }
            _ => {
                Entry { metadata: Metadata::root(0o755, epoch), kind: Kind::Directory(Tree::default().id()) }
            }
        }
    }
}

/// What is taken and what is left out.
struct Rules {
    only: Vec<Pattern>,
    exclude: Gitignore,
    brings_back: bool,
    gitignore: bool,
    written: Vec<PathBuf>,
}

impl Rules {
    fn new(source: &PathSource, root: &Path, written: &[PathBuf]) -> Result<Self> {
        let bad =
            |text: &str, reason: String| Error::spec("bad-value", format!("pattern {text:?}: {reason}"));
        let mut only = Vec::new();
        for text in &source.only {
            only.push(Pattern::parse(text).map_err(|reason| bad(text, reason))?);
        }
        let mut exclude = GitignoreBuilder::new(root);
        for line in &source.exclude {
            exclude.add_line(None, line).map_err(|error| bad(line, error.to_string()))?;
        }
        Ok(Self {
            only,
            exclude: exclude.build().map_err(|error| Error::internal(error.to_string()))?,
            brings_back: source.exclude.iter().any(|line| line.starts_with('!')),
            gitignore: source.gitignore,
            written: written.to_vec(),
        })
    }

    /// Whether `only` takes it; a folder may also be needed on the way to what is taken.
    fn only_takes(&self, path: &TreePath) -> (bool, bool) {
        if self.only.is_empty() {
            return (true, true);
        }
        let above = std::iter::successors(Some(path.clone()), TreePath::parent);
        let taken =
            above.filter(|path| !path.is_root()).any(|path| self.only.iter().any(|only| only.matches(&path)));
        (taken, taken || self.only.iter().any(|only| only.could_match_below(path)))
    }

    /// Whether something that is written lies in this folder, or will.
    fn is_above_written(&self, folder: &Path) -> bool {
        self.written.iter().any(|path| path.starts_with(folder))
    }

    /// Whether it is left out, given whether the folder it is in is.
    fn left_out(&self, absolute: &Path, directory: bool, above: &[Gitignore], parent_out: bool) -> bool {
        match self.exclude.matched(absolute, directory) {
            Match::Ignore(_) => return true,
            Match::Whitelist(_) => return false,
            Match::None => {}
        }
        if parent_out {
            return true;
        }
        // The nearest file speaks first.
        let verdicts = above.iter().rev().map(|ignore| ignore.matched(absolute, directory));
        verdicts.into_iter().find(|verdict| !verdict.is_none()).is_some_and(|verdict| verdict.is_ignore())
    }
}

/// The `.gitignore` files from the top of the repository down to, not including, `root`.
fn ignores_above(root: &Path) -> Result<Vec<Gitignore>> {
    let Some(top) = root.ancestors().find(|folder| folder.join(".git").exists()) else {
        return Ok(Vec::new());
    };
    let folders: Vec<&Path> = root.ancestors().skip(1).take_while(|folder| folder.starts_with(top)).collect();
    folders.into_iter().rev().filter_map(|folder| ignore_of(folder).transpose()).collect()
}

fn ignore_of(folder: &Path) -> Result<Option<Gitignore>> {
    let path = folder.join(".gitignore");
    if !path.is_file() {
        return Ok(None);
    }
    let (ignore, error) = Gitignore::new(&path);
    match error {
        // Git passes over lines it can't read, and so must we; a file that can't be read is another matter.
        Some(error) if error.is_io() => {
            Err(Error::environment(format!("cannot read {}", path.display())).caused_by(error))
        }
        _ => Ok(Some(ignore)),
    }
}

/// A folder being listed.
struct Folder<'a> {
    on_disk: &'a Path,
    path: &'a TreePath,
    /// The `.gitignore` files that speak of it, the outermost first.
    ignores: &'a [Gitignore],
    /// It is left out itself: only what is brought back is of interest.
    out: bool,
}

/// Lists what is taken, in order: names sorted, each folder before what is in it.
fn collect(
    folder: &Folder<'_>,
    rules: &Rules,
    surroundings: &Surroundings<'_>,
    found: &mut Vec<Found>,
) -> Result<()> {
    surroundings.check_stopped()?;
    let own = if rules.gitignore { ignore_of(folder.on_disk)? } else { None };
    let ignores: Vec<Gitignore> = folder.ignores.iter().cloned().chain(own).collect();
    let failed = |error| Error::io("list", folder.on_disk, error);
    let mut entries =
        fs::read_dir(folder.on_disk).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (name, absolute) = (entry.file_name(), entry.path());
        let kind = entry.file_type().map_err(|error| Error::io("look at", &absolute, error))?;
        let left_over = name.as_bytes().starts_with(OWN_PREFIX);
        if name == ".git" || left_over || rules.written.contains(&absolute) {
            continue;
        }
        let path = folder.path.join(name.as_bytes());
        let out = rules.left_out(&absolute, kind.is_dir(), &ignores, folder.out);
        let (taken, on_the_way) = rules.only_takes(&path);
        if kind.is_dir() {
            if (out && !rules.brings_back) || !on_the_way {
                continue;
            }
            let place = found.len();
            found.push(Found { path: path.clone(), absolute: absolute.clone(), what: What::Directory });
            let below = Folder { on_disk: &absolute, path: &path, ignores: &ignores, out };
            collect(&below, rules, surroundings, found)?;
            if found.len() == place + 1 && (out || !taken || rules.is_above_written(&absolute)) {
                found.truncate(place);
            }
        } else if !out
            && taken
            && let Some(what) = look(&absolute, kind, surroundings)?
        {
            found.push(Found { path, absolute, what });
        }
    }
    Ok(())
}

fn look(absolute: &Path, kind: FileType, surroundings: &Surroundings<'_>) -> Result<Option<What>> {
    if kind.is_symlink() {
        let target = fs::read_link(absolute).map_err(|error| Error::io("read the link", absolute, error))?;
        return Ok(Some(What::Symlink(target.as_os_str().as_bytes().into())));
    }
    if kind.is_file() {
        let metadata =
            fs::symlink_metadata(absolute).map_err(|error| Error::io("look at", absolute, error))?;
        return Ok(Some(What::of_file(&metadata)));
    }
    let word = match kind {
        kind if kind.is_fifo() => "a fifo",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    };
    (surroundings.warn)("special-file", format!("{} is {word} and is left out", absolute.display()));
    Ok(None)
}

/// The digest of each file, none for what is no file; unknown ones are read by all processors.
fn digest_files(
    root: &Path,
    found: &[Found],
    surroundings: &Surroundings<'_>,
) -> Result<Vec<Option<(ObjectId, u64)>>> {
    let store = surroundings.store;
    tracing::debug!(?root, entries = found.len(), "collected");
    let read = SystemTime::now();
    let digests: Vec<Option<(ObjectId, u64, bool)>> = found
        .par_iter()
        .map(|file| {
            let What::File { stamp, size, .. } = &file.what else { return Ok(None) };
            let known = store.index().digest(&file.absolute, stamp).filter(|known| store.has_object(known));
            if let Some(known) = known {
                return Ok(Some((known, *size, false)));
            }
            surroundings.check_stopped()?;
            let (object, size) = read_in(store, file)?;
            Ok(Some((object, size, true)))
        })
        .collect::<Result<_>>()?;
    let fresh = found.iter().zip(&digests).filter_map(|(file, digest)| match (&file.what, digest) {
        (What::File { stamp, .. }, Some((digest, _, true))) if stamp.was_quiet(read) => {
            Some((file.absolute.as_path(), *stamp, *digest))
        }
        _ => None,
    });
    let fresh: Vec<_> = fresh.collect();
    if !fresh.is_empty() {
        store.index().remember(fresh);
    }
    Ok(digests.into_iter().map(|digest| digest.map(|(object, size, _)| (object, size))).collect())
}

/// Copies a file into the store. One that is being written meanwhile is refused: neither state would be right.
fn read_in(store: &Store, file: &Found) -> Result<(ObjectId, u64)> {
    let failed = |error| Error::io("read", &file.absolute, error);
    let mut input = fs::File::open(&file.absolute).map_err(failed)?;
    let before = FileStamp::of(&input.metadata().map_err(failed)?);
    let (object, size) = store.put_object_stream(&mut input)?;
    if FileStamp::of(&input.metadata().map_err(failed)?) != before {
        let message = format!("{} changed while it was read", file.absolute.display());
        return Err(Error::source("source-failed", message).hint("stop what writes to it, or `exclude` it"));
    }
    Ok((object, size))
}

/// The object of a file whose digest is known; read in if the store does not have it.
fn keep(store: &Store, file: &Found, digest: ObjectId) -> Result<(ObjectId, u64)> {
    match &file.what {
        What::File { size, .. } if store.has_object(&digest) => Ok((digest, *size)),
        _ => read_in(store, file),
    }
}

type Entries = std::iter::Peekable<
    std::iter::Zip<std::vec::IntoIter<Found>, std::vec::IntoIter<Option<(ObjectId, u64)>>>,
>;

/// Writes the tree of `path` from the entries that follow and lie below it.
fn build(
    path: &TreePath,
    entries: &mut Entries,
    surroundings: &Surroundings<'_>,
) -> Result<rbuild_tree::TreeId> {
    let mut tree = Vec::new();
    while let Some((found, object)) = entries.next_if(|(found, _)| found.path.parent().as_ref() == Some(path))
    {
        let mut entry = found.entry(object, surroundings.epoch);
        if matches!(found.what, What::Directory) {
            entry.kind = Kind::Directory(build(&found.path, entries, surroundings)?);
        }
        let name = found.path.name().unwrap_or_default();
        tree.push((name.into(), entry));
    }
    Ok(surroundings.store.put_tree(&Tree::from_entries(tree))?)
}
