//! What mounts would show, put in place by renaming and taken out again.
//!
//! What lies at a target is put aside, so that what the step does there never meets it. A cache is moved in and out: two
//! steps can't use one at the same time.

use super::{carry, devices, failed, in_place::InPlace, lay::below, times::Times};
use crate::{
    error::{Error, Result},
    store::{Scratch, remove_all},
};
use rbuild_sandbox::Mount;
use rbuild_tree::{Metadata, Timestamp, TreePath};
use std::{
    collections::{HashMap, HashSet},
    fs, io,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt, chown},
    },
    path::{Path, PathBuf},
};

/// What can be undone.
enum Done {
    /// It was made here, and goes.
    Made(PathBuf),
    /// A directory on the way to a target, which goes if nothing is in it.
    OnTheWay(PathBuf),
    /// What was at a target.
    Aside { place: PathBuf, aside: PathBuf },
    /// What belongs elsewhere, and which inode it is.
    Moved { place: PathBuf, home: PathBuf, inode: u64 },
    /// What belongs on another filesystem, where it is what it was.
    Copied { place: PathBuf, home: PathBuf },
}

impl Done {
    fn place(&self) -> &Path {
        match self {
            Self::Made(place) | Self::OnTheWay(place) => place,
            Self::Aside { place, .. } | Self::Moved { place, .. } | Self::Copied { place, .. } => place,
        }
    }
}

/// The mounts of a step in its directory.
pub(super) struct Ground<'a> {
    scratch: &'a Scratch,
    folder: PathBuf,
    in_place: Option<&'a InPlace>,
    epoch: Timestamp,
    done: Vec<Done>,
    /// Targets.
    pub(super) hidden: HashSet<TreePath>,
    /// Directories that were made on the way to them, and their times.
    pub(super) lent: HashMap<TreePath, Timestamp>,
}

impl<'a> Ground<'a> {
    /// None yet, in this directory.
    pub(super) fn new(
        scratch: &'a Scratch,
        folder: &Path,
        in_place: Option<&'a InPlace>,
        epoch: Timestamp,
    ) -> Self {
        let (done, hidden, lent) = Default::default();
        Self { scratch, folder: folder.to_owned(), in_place, epoch, done, hidden, lent }
    }

    /// Puts one in place; `from` is what a filesystem of ours shows there.
    ///
    /// # Errors
    /// The disk is full, or what the machine says.
    pub(super) fn put(&mut self, mount: &Mount, from: Option<&Path>) -> Result<()> {
        let Some(target) = mount.target() else { return own(mount) };
        let target = TreePath::parse(target.as_bytes())?;
        if let Some(in_place) = self.in_place
            && in_place.stands_for(mount, &target)?
        {
            return Ok(());
        }
        let (place, _) = self.clear(&target)?;
        let times = Times::above(&place).map_err(|error| failed("look at", &place, error))?;
        self.place(mount, from, &place)?;
        times.restore().map_err(|error| failed("set the time of", &times.place, error))?;
        self.hidden.insert(target);
        Ok(())
    }

    fn place(&mut self, mount: &Mount, from: Option<&Path>, place: &Path) -> Result<()> {
        let made = |error| failed("make", place, error);
        match (mount, from) {
            (_, Some(from)) => self.bring(place, from),
            (Mount::Dev, _) => self.directory(place, 0o755).and_then(|()| devices::make(place)),
            (Mount::Tmpfs { mode, .. }, _) => self.directory(place, *mode),
            (Mount::Bind { source, .. }, _) => self.bring(place, source),
            (Mount::File { content, executable, .. }, _) => {
                self.done.push(Done::Made(place.to_owned()));
                fs::write(place, content.as_bytes()).map_err(made)?;
                let mode = if *executable { 0o755 } else { 0o644 };
                fs::set_permissions(place, fs::Permissions::from_mode(mode)).map_err(made)
            }
            _ => self.directory(place, 0o555),
        }
    }

    /// Makes room for what stays of the container: at the path, or above it where the tree has something else than a
    /// directory. Gives that path, and whether the tree has something there.
    ///
    /// # Errors
    /// What the machine says.
    pub(super) fn keep(&mut self, path: &TreePath) -> Result<(TreePath, bool)> {
        let path = self.hindrance(path).unwrap_or_else(|| path.clone());
        // They are there for the step, and have the times that it would have given them.
        self.make_way(&path.parent().unwrap_or_default(), self.epoch)?;
        let (_, was_there) = self.clear(&path)?;
        self.hidden.insert(path.clone());
        Ok((path, was_there))
    }

    /// Lends a directory; false if the tree has something else there.
    ///
    /// # Errors
    /// What the machine says.
    pub(super) fn hold(&mut self, path: &TreePath) -> Result<bool> {
        let is_free = self.hindrance(&path.join(b".")).is_none();
        if is_free {
            self.make_way(path, self.epoch)?;
        }
        Ok(is_free)
    }

    /// What is above a path without being a directory.
    fn hindrance(&self, path: &TreePath) -> Option<TreePath> {
        let mut here = TreePath::root();
        path.parent().unwrap_or_default().names().find_map(|name| {
            here.push(name);
            let found = fs::symlink_metadata(below(&self.folder, &here));
            found.is_ok_and(|found| !found.is_dir()).then(|| here.clone())
        })
    }

    /// Makes the directories of a path.
    fn make_way(&mut self, path: &TreePath, time: Timestamp) -> Result<()> {
        let mut here = TreePath::root();
        for name in path.names() {
            here.push(name);
            let place = below(&self.folder, &here);
            if fs::symlink_metadata(&place).is_err() {
                self.lend(&place, time).map_err(|error| failed("make", &place, error))?;
                self.lent.insert(here.clone(), time);
            }
        }
        Ok(())
    }

    /// Makes the way to a target, and puts aside what is there; says too whether there was something.
    fn clear(&mut self, target: &TreePath) -> Result<(PathBuf, bool)> {
        self.make_way(&target.parent().unwrap_or_default(), Timestamp::default())?;
        let place = below(&self.folder, target);
        let was_there = fs::symlink_metadata(&place).is_ok();
        if was_there {
            let aside = self.scratch.fresh();
            let put = || {
                let times = Times::above(&place)?;
                fs::rename(&place, &aside)?;
                times.restore()
            };
            put().map_err(|error| failed("put aside", &place, error))?;
            self.done.push(Done::Aside { place: place.clone(), aside });
        }
        Ok((place, was_there))
    }

    /// Makes a directory as other tiers show what is lent.
    fn lend(&mut self, place: &Path, time: Timestamp) -> io::Result<()> {
        let times = Times::above(place)?;
        fs::create_dir(place)?;
        self.done.push(Done::OnTheWay(place.to_owned()));
        fs::set_permissions(place, fs::Permissions::from_mode(0o755))?;
        super::lay::set_time(place, &Metadata::root(0o755, time))?;
        times.restore()
    }

    fn bring(&mut self, place: &Path, home: &Path) -> Result<()> {
        let is_taken = |done: &Done| match done {
            Done::Moved { home: other, .. } | Done::Copied { home: other, .. } => other == home,
            _ => false,
        };
        if self.done.iter().any(is_taken) {
            let message = "the tier `chroot` can't show one cache at two targets: they would need a mount";
            return Err(Error::step("type-conflict", message));
        }
        let moved = |error| failed("move into the step", home, error);
        let inode = fs::symlink_metadata(home).map_err(moved)?.ino();
        let (place, home) = (place.to_owned(), home.to_owned());
        self.done.push(match fs::rename(&home, &place) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                carry::copy(&home, &place)?;
                Done::Copied { place, home }
            }
            renamed => {
                renamed.map_err(moved)?;
                Done::Moved { place, home, inode }
            }
        });
        Ok(())
    }

    fn directory(&mut self, place: &Path, mode: u32) -> Result<()> {
        let made = |error| failed("make", place, error);
        self.done.push(Done::Made(place.to_owned()));
        fs::create_dir(place).map_err(made)?;
        fs::set_permissions(place, fs::Permissions::from_mode(mode)).map_err(made)
    }

    /// Takes all out, and puts back what was there; the step must have ended.
    ///
    /// # Errors
    /// What the machine says; the rest is done all the same.
    pub(super) fn clear_all(&mut self) -> Result<()> {
        let mut outcome = Ok(());
        for done in std::mem::take(&mut self.done).into_iter().rev() {
            let place = done.place();
            // The step may have removed what it lies in.
            let times = Times::above(place).ok();
            let taken = |error| failed("take out of the step", place, error);
            let undone = match &done {
                Done::Copied { place, home } => copy_home(place, home),
                done => self.undo(done).map_err(taken),
            };
            let undone = undone.and_then(|()| times.map_or(Ok(()), |times| times.restore().map_err(taken)));
            outcome = outcome.and(undone);
        }
        outcome
    }

    fn undo(&self, done: &Done) -> io::Result<()> {
        match done {
            Done::Made(place) => remove(place),
            // The step may have put something into it, or have removed it.
            Done::OnTheWay(place) => fs::remove_dir(place).or(Ok(())),
            Done::Aside { place, aside } => remove(place).and_then(|()| fs::rename(aside, place)),
            // The step may have moved what it lies in.
            Done::Moved { place, home, inode } => fs::rename(place, home)
                .or_else(|error| fs::rename(find(&self.folder, *inode).ok_or(error)?, home)),
            Done::Copied { .. } => Ok(()),
        }
    }
}

impl Drop for Ground<'_> {
    fn drop(&mut self) {
        // What can't be put back is in the scratch folder, which goes with the build.
        let _ = self.clear_all();
    }
}

/// Has what is at a place take the place of what is at home, on another filesystem; what a step removed stays there.
fn copy_home(place: &Path, home: &Path) -> Result<()> {
    if !place.is_dir() {
        return Ok(());
    }
    let mut new = home.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let failed = |error| failed("take out of the step", place, error);
    // Of a build that was killed.
    remove(&new).map_err(failed)?;
    carry::copy(place, &new)?;
    remove(home).and_then(|()| fs::rename(&new, home)).and_then(|()| remove(place)).map_err(failed)
}

/// The directory of an inode, below a folder.
fn find(folder: &Path, inode: u64) -> Option<PathBuf> {
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.metadata().is_ok_and(|found| found.ino() == inode) {
                    return Some(entry.path());
                }
                open.push(entry.path());
            }
        }
    }
    None
}

fn remove(place: &Path) -> io::Result<()> {
    match fs::symlink_metadata(place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if found.is_dir() => remove_all(place),
        Ok(_) => fs::remove_file(place),
    }
}

/// Gives away a cache, whose place is said next.
fn own(mount: &Mount) -> Result<()> {
    let Mount::Own { path, uid, gid, mode } = mount else { return Ok(()) };
    let given = fs::create_dir_all(path)
        .and_then(|()| chown(path, Some(*uid), Some(*gid)))
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(*mode)));
    given.map_err(|error| failed("give away", path, error))
}
