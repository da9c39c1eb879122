//! Trees by the names people give them.

use crate::{
    error::{Error, Result},
    paths::absolute,
    spec,
    store::Store,
};
use rbuild_oci::{ImageSource, Import, Platform};
use rbuild_overlay::{Live, Lower};
use rbuild_tree::{Snapshot, SnapshotId};
use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

/// Finds trees in a store, in the last build of a file, and in the file system.
pub struct Named<'a> {
    /// Where snapshots are.
    pub store: &'a Store,
    /// Whose last build is meant; none: the build file of this folder.
    pub file: Option<&'a Path>,
}

impl Named<'_> {
    /// The tree of this name: a path if it has a `/`, else a digest, else a name of the last build.
    ///
    /// # Errors
    /// There is none.
    pub fn lower(&self, tree: &str) -> Result<Lower> {
        if tree.contains('/') {
            return self.at_path(tree);
        }
        if tree.len() == 64
            && let Ok(id) = tree.parse::<SnapshotId>()
        {
            return self.store.snapshot(&id).map(Lower::Snapshot).map_err(|error| match error {
                rbuild_tree::Error::Missing { .. } => {
                    Error::usage(format!("the store has no snapshot {tree}"))
                        .hint("`rbuild inspect step.NAME` says those of the last build")
                }
                error => error.into(),
            });
        }
        self.of_last_build(tree).map(Lower::Snapshot)
    }

    /// A directory as it is; an image layout, an archive of one, or a tar of a root filesystem, read into the store.
    fn at_path(&self, text: &str) -> Result<Lower> {
        let path = Path::new(text);
        // PATH:REFERENCE, as an `oci` source has it, unless there is a file of that name.
        if !path.exists()
            && let Some((path, reference)) = text.rsplit_once(':')
            && Path::new(path).exists()
        {
            return self.unpacked(&ImageSource::open(Path::new(path), Some(reference), &Platform::host())?);
        }
        let image = path.is_file() || path.join("oci-layout").is_file();
        if !image {
            let root = std::fs::canonicalize(path).map_err(|error| Error::io("find", path, error))?;
            let exclude = crate::source::never_seen(&root, self.store.root());
            return Ok(Lower::Live(Live { root, exclude, delta: None }));
        }
        match ImageSource::open(path, None, &Platform::host()) {
            Ok(image) => self.unpacked(&image),
            // Not an image: then a root filesystem, unless it is a folder.
            Err(error) if path.is_dir() => Err(error.into()),
            Err(_) => {
                let file = File::open(path).map_err(|error| Error::io("open", path, error))?;
                let mut tar = rbuild_oci::decompress(Box::new(BufReader::new(file)))
                    .map_err(|error| Error::io("read", path, error))?;
                let imported = rbuild_oci::import(&mut tar, self.store, &Import::default());
                imported.map(Lower::Snapshot).map_err(|error| {
                    let told = format!("{} can't be read as a folder, a tar or an image", path.display());
                    Error::source("source-failed", told).caused_by(error)
                })
            }
        }
    }

    fn unpacked(&self, image: &ImageSource) -> Result<Lower> {
        let mut snapshot = Snapshot::scratch();
        for index in 0..image.layers.len() {
            snapshot = rbuild_oci::apply_layer(&mut image.open_tar(index)?, &snapshot, self.store)?;
        }
        Ok(Lower::Snapshot(snapshot))
    }

    fn of_last_build(&self, name: &str) -> Result<Snapshot> {
        let file: PathBuf = match self.file {
            Some(file) => file.to_owned(),
            None => spec::find(Path::new("."))?,
        };
        let build = self.store.history().load(&absolute(&file)?);
        let names =
            [name.to_owned(), format!("image.{name}"), format!("step.{name}"), format!("source.{name}")];
        let node = names.iter().find_map(|name| build.nodes.get(name));
        let unknown = || {
            Error::usage(format!("the last build of {} has nothing called `{name}`", file.display()))
                .hint(format!(
                    "a tree is step.NAME or image.NAME of what was built, a snapshot (64 hexadecimal digits, as \
                     `rbuild inspect step.NAME` says it), or a path with a `/`, as ./{name}"
                ))
        };
        let hex = node.ok_or_else(unknown)?.snapshot.as_ref();
        let hex = hex.ok_or_else(|| no_tree(name, node.is_some_and(|node| node.passed)))?;
        Ok(self.store.snapshot(&hex.parse()?)?)
    }
}

/// Why a node of the last build has no tree.
pub fn no_tree(name: &str, passed: bool) -> Error {
    let error = Error::usage(format!("`{name}` left no tree of its own in the last build"));
    if passed {
        error.hint("it stands on this machine's files and keeps only what it changed: copy that into a step of its own")
    } else {
        error.hint("it failed")
    }
}
