//! Steps in the place of a container's own files: for kernels where nobody can answer for /proc, and set-id programs.
//!
//! The directory of a step is on the filesystem of `/`, and trades places with the container's files while the command
//! runs ([`Swap`]). What can't move, and the stores, stay the container's: a step's tree has nothing there meanwhile, as
//! if something were mounted. Working directories of those who wait for rbuild stay too, but what is in them moves.
//!
//! One step at a time, and nothing else of a build, since all that others look for is aside.

use super::{failed, ground::Ground, times::Times};
use crate::{
    error::{Error, Result},
    store::{Scratch, Store},
};
use rbuild_sandbox::{Facts, Mount, Place, Process, Swap, mount_points};
use rbuild_tree::TreePath;
use rustix::{
    fs::{FlockOperation, Mode, OFlags, flock},
    io::Errno,
};
use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs, io,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, fs::DirBuilderExt},
    },
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// Where it is done. A name that everybody knows, so that a later run finds what an earlier one did not end.
pub const FOLDER: &str = "/.rbuild-in-place";

/// What every engine puts into a container.
const EXPECTED: [&str; 6] = ["/proc", "/sys", "/dev", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];

/// The name of the process beside a command, which puts back what it has moved.
const RESTORER: &str = "rbuild-sandbox";

/// For its end: a disk may be slow.
const PATIENCE: Duration = Duration::from_secs(120);

/// A container's root that steps run in.
pub(super) struct InPlace {
    /// None while this is dropped.
    scratch: Option<Scratch>,
    /// What stays; nothing is below another.
    kept: Vec<TreePath>,
    mounts: BTreeSet<TreePath>,
    /// Directories that stay, while what is in them moves.
    held: Vec<TreePath>,
    /// Says to others that somebody is at it.
    _lock: OwnedFd,
}

/// Puts back what an earlier run left aside, if there is something; says whether there was.
///
/// # Errors
/// Somebody is at it, or it can't be done.
pub fn put_back() -> Result<bool> {
    let folder = Path::new(FOLDER);
    if !Swap::is_under_way(folder) {
        return Ok(false);
    }
    let put = || {
        let _lock = lock()?;
        // Of a run that was killed a moment ago somebody may be at it.
        let start = Instant::now();
        while let Some(other) = Process::others().first() {
            if other.name != RESTORER || start.elapsed() > PATIENCE {
                return Err(format!("process {} ({}) runs: end it, and try again", other.id, other.name));
            }
            thread::sleep(Duration::from_millis(10));
        }
        // That it is done by somebody else is as good.
        Swap::restore(folder).map(|_| true).map_err(|error| error.to_string())
    };
    put().map_err(|why| Error::environment(not_back(&why)))
}

fn lock() -> Result<OwnedFd, String> {
    let locked = rustix::fs::open(FOLDER, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|folder| flock(&folder, FlockOperation::NonBlockingLockExclusive).map(|()| folder));
    locked.map_err(|errno| match errno {
        Errno::WOULDBLOCK => "another rbuild runs steps in the place of this container's files".to_owned(),
        errno => format!("--in-place moves what is in /: cannot open {FOLDER}: {errno}"),
    })
}

impl InPlace {
    /// Looks whether it can be done.
    ///
    /// # Errors
    /// Why it can't be done, in one sentence.
    pub(super) fn open(store: &Store) -> Result<Self, String> {
        let facts = Facts::load();
        if let Some(refusal) = refusal(facts.place, facts.root, &Process::others()) {
            return Err(refusal);
        }
        let found = look_at_root().map_err(|error| format!("--in-place moves what is in /: {error}"))?;
        let made =
            fs::DirBuilder::new().mode(0o700).recursive(true).create(FOLDER).and_then(|()| found.restore());
        made.map_err(|error| match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem => {
                "--in-place moves what is in /, which is read-only here: start the container without --read-only".to_owned()
            }
            _ => format!("--in-place moves what is in /: cannot make {FOLDER}: {error}"),
        })?;
        let _lock = lock()?;
        let open = || -> Result<Self> {
            let temporary = Path::new(FOLDER).join("tmp");
            fs::create_dir_all(&temporary).map_err(|error| failed("make", &temporary, error))?;
            let scratch = Some(Scratch::open(&temporary)?);
            let mounts = mount_points().iter().filter_map(|path| tree_path(path)).collect();
            Ok(Self { scratch, kept: kept(&mounts, store), mounts, held: held(), _lock })
        };
        open().map_err(|error| error.to_string())
    }

    pub(super) fn scratch(&self) -> Option<&Scratch> {
        self.scratch.as_ref()
    }

    /// Where a volume of the container stays.
    pub(super) fn volumes(&self) -> Vec<String> {
        let is_expected = |path: &String| EXPECTED.contains(&path.as_str()) || path == FOLDER;
        self.kept.iter().map(ToString::to_string).filter(|path| !is_expected(path)).collect()
    }

    /// Whether the container's own stands for a mount.
    ///
    /// # Errors
    /// It does not, and stays.
    pub(super) fn stands_for(&self, mount: &Mount, target: &TreePath) -> Result<bool> {
        let Some(kept) = self.kept.iter().find(|kept| target.starts_with(kept)) else { return Ok(false) };
        match mount {
            Mount::Proc | Mount::Sys | Mount::Dev => Ok(true),
            Mount::Tmpfs { .. } | Mount::File { .. } if self.mounts.contains(target) => Ok(true),
            _ => {
                let message =
                    format!("nothing can be shown at {target} in place: {kept} stays the container's");
                Err(Error::step("type-conflict", message))
            }
        }
    }

    /// Prepares the directory of a step: where something stays, it holds nothing. Gives what trades places, and where the
    /// tree has something that is not seen.
    pub(super) fn swap(&self, ground: &mut Ground<'_>, tree: &Path) -> Result<(Swap, Vec<String>)> {
        let (mut kept, mut covered): (Vec<TreePath>, Vec<String>) = Default::default();
        for path in &self.kept {
            if kept.iter().any(|kept| path.starts_with(kept)) {
                continue;
            }
            let (path, is_covered) = ground.keep(path)?;
            let shown = path.to_string();
            if is_covered && !EXPECTED.contains(&shown.as_str()) {
                covered.push(shown);
            }
            kept.push(path);
        }
        let mut open: BTreeSet<TreePath> = kept.iter().flat_map(above).collect();
        for path in &self.held {
            if !kept.iter().any(|kept| path.starts_with(kept)) && ground.hold(path)? {
                open.extend(above(path).chain([path.clone()]));
            }
        }
        let paths = |paths: Vec<&TreePath>| {
            paths.into_iter().map(|path| OsStr::from_bytes(path.as_bytes()).into()).collect()
        };
        let swap = Swap {
            root: "/".into(),
            tree: tree.to_owned(),
            folder: FOLDER.into(),
            kept: paths(kept.iter().collect()),
            open: paths(open.iter().collect()),
        };
        Ok((swap, covered))
    }

    /// Puts the container's files back if that was not done by whom it is to be done.
    ///
    /// # Errors
    /// It can't be done.
    pub(super) fn settle(&self) -> Result<()> {
        let restored = Swap::restore(Path::new(FOLDER)).map(drop);
        restored.map_err(|error| Error::environment(not_back(&error.to_string())))
    }
}

impl Drop for InPlace {
    fn drop(&mut self) {
        self.scratch.take();
        // Now there is room again.
        let _ = self.settle();
        let Ok(found) = look_at_root() else { return };
        // Only what is empty: files of the container never go.
        let folder = Path::new(FOLDER);
        let _ = fs::remove_dir(folder.join("tmp"))
            .and_then(|()| fs::remove_dir(folder))
            .and_then(|()| found.restore());
    }
}

fn not_back(why: &str) -> String {
    format!(
        "files of the container are in {FOLDER}/aside still: {why}; run rbuild apply --in-place again when that is mended, \
         which puts them back first"
    )
}

/// Why nothing may be moved.
fn refusal(place: Place, is_root: bool, others: &[Process]) -> Option<String> {
    if !place.is_container() {
        let place = place.described();
        return Some(format!(
            "--in-place moves the files of a container aside, and this is {place}: leave the option out"
        ));
    }
    if !is_root {
        return Some(
            "--in-place takes root of the container: run rbuild as root, such as with docker run --user 0"
                .to_owned(),
        );
    }
    let other = others.first()?;
    Some(format!(
        "--in-place moves the files of the container aside, and process {} ({}) runs in it: end it, or have the container run \
         rbuild itself",
        other.id, other.name
    ))
}

fn look_at_root() -> io::Result<Times> {
    Times::above(Path::new("/x"))
}

fn tree_path(path: &Path) -> Option<TreePath> {
    TreePath::parse(path.as_os_str().as_bytes()).ok().filter(|path| !path.is_root())
}

/// All that stays: mounts that are there, the stores, and the folder that this is done in.
fn kept(mounts: &BTreeSet<TreePath>, store: &Store) -> Vec<TreePath> {
    let mut all = BTreeSet::from_iter(tree_path(Path::new(FOLDER)));
    let is_there = |path: &&TreePath| {
        fs::symlink_metadata(Path::new("/").join(OsStr::from_bytes(path.as_bytes()))).is_ok()
    };
    all.extend(mounts.iter().filter(is_there).cloned());
    for root in store.roots() {
        all.extend(tree_path(root));
    }
    let mut kept: Vec<TreePath> = Vec::new();
    for path in all {
        if !kept.iter().any(|kept| path.starts_with(kept)) {
            kept.push(path);
        }
    }
    kept
}

/// Working directories of this process and of those above it.
fn held() -> Vec<TreePath> {
    let directories =
        Process::line().into_iter().filter_map(|id| fs::read_link(format!("/proc/{id}/cwd")).ok());
    let mut held: Vec<_> =
        directories.filter(|path| path.is_dir()).filter_map(|path| tree_path(&path)).collect();
    held.dedup();
    held
}

/// The directories that a path lies in.
fn above(path: &TreePath) -> impl Iterator<Item = TreePath> + use<> {
    std::iter::successors(path.parent(), TreePath::parent)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_no_container_of_ours_is_refused() {
        let other = |id, name: &str| Process { id, parent: 1, name: name.to_owned() };
        for (place, is_root, others, expected) in [
            (Place::Docker, true, vec![], None),
            (Place::Host, true, vec![], Some("this is a machine of its own")),
            (Place::Chroot, true, vec![], Some("this is a chroot")),
            (Place::Kubernetes, false, vec![], Some("docker run --user 0")),
            (Place::Podman, true, vec![other(17, "sshd"), other(18, "sh")], Some("process 17 (sshd) runs")),
        ] {
            let refusal = refusal(place, is_root, &others);
            assert_eq!(refusal.is_some(), expected.is_some(), "{refusal:?}");
            assert!(refusal.unwrap_or_default().contains(expected.unwrap_or_default()));
        }
    }

    #[test]
    fn paths_above() {
        let path = TreePath::parse(b"/a/b/c").unwrap();
        let names: Vec<_> = above(&path).map(|path| path.to_string()).collect();
        assert_eq!(names, ["/a/b", "/a", "/"]);
    }
}
