//! A private tmpfs where every mount is made before it is attached to the new root.
//!
//! Mount `i` of the set-up is made at `i` of the tmpfs, the current directory, with paths that no image has a say in.
//! Attaching then happens inside a chroot to the new root, so that a symbolic link in an image cannot lead a target
//! outside, on kernels without openat2 too; a mount that is moved to an odd place is still read-only, masked and
//! inside a mount namespace that dies with the step. Last the chroot is left and pivot_root makes it final.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, chroot, fchdir, pivot_root};

use crate::error::{Named, Outcome};
use crate::{Mount, Part, Setup};

use super::{Sources, open_directory};

/// What the set-up reads until its end.
const NEEDED: [&str; 3] = ["/dev", "/proc", "/sys"];

pub(crate) const NO_DATA: Option<&str> = None;

/// The tmpfs; it is the current directory.
pub(crate) struct Staging {
    old_root: File,
    /// Where it is in the old root.
    pub(crate) place: PathBuf,
}

impl Staging {
    /// Cuts this mount namespace off from its origin, then mounts the tmpfs and enters it.
    pub(crate) fn make() -> Outcome<Self> {
        make_private()?;
        let old_root = open_directory("/")?;
        let place = hideable().named(Part::Mount, || "find a place for a private tmpfs")?;
        let name = || format!("mount a private tmpfs on {}", place.display());
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("rbuild"), &place, Some("tmpfs"), flags, Some("mode=700")).named(Part::Mount, name)?;
        // Else a recursive bind of `/` would hold the staging area with all that waits in it.
        mount(NO_DATA, &place, NO_DATA, MsFlags::MS_UNBINDABLE, NO_DATA).named(Part::Mount, name)?;
        chdir(&place).named(Part::Mount, name)?;
        Ok(Self { old_root, place })
    }

    /// Mounts the filesystems that need no server, or wait for theirs, in order.
    pub(crate) fn mount_filesystems(&self, setup: &Setup, sources: &Sources) -> Outcome<()> {
        let (mut devices, mut overlays) = (sources.fuse.iter(), sources.overlays.iter());
        for (index, step) in setup.mounts.iter().enumerate() {
            let place = index.to_string();
            match step {
                Mount::Fuse { read_only, .. } => {
                    let Some(device) = devices.next() else { continue };
                    mount_fuse(setup, step, device, &place, *read_only)?;
                }
                Mount::Overlay { .. } => {
                    let Some(directories) = overlays.next() else { continue };
                    directories.mount(step, &place)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Moves every mount to its target in the new root, then makes that the root.
    pub(crate) fn attach(&self, setup: &Setup) -> Outcome<()> {
        let new_root = open_directory("0")?;
        chroot("0").named(Part::Mount, || "chroot to the new root")?;
        for (index, step) in setup.mounts.iter().enumerate().skip(1) {
            if let Some(target) = step.target() {
                let source = place_of(index, step);
                if lies_in_earlier(setup, index, target) {
                    ensure(&source, target).named(Part::Mount, || format!("make {target} for: {step}"))?;
                }
                move_mount(&source, target).named(Part::Mount, || step.to_string())?;
            }
        }
        self.pivot(&new_root).named(Part::Mount, || "pivot_root to the new root")
    }

    fn pivot(&self, new_root: &File) -> nix::Result<()> {
        fchdir(&self.old_root)?;
        chroot(".")?;
        fchdir(new_root)?;
        // The old root ends up on top of the new one, from where it is taken away with all below it.
        pivot_root(".", ".")?;
        fchdir(&self.old_root)?;
        umount2(".", MntFlags::MNT_DETACH)?;
        chdir("/")
    }
}

fn mount_fuse(setup: &Setup, step: &Mount, device: &OwnedFd, place: &str, read_only: bool) -> Outcome<()> {
    make_directory(place, step)?;
    // allow_other lets in all ids of this user namespace, and nobody else. With one id it would keep the engine, which
    // is outside, from its own files.
    let allow_other = if setup.ids.is_single() { "" } else { ",allow_other" };
    let options = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,default_permissions{allow_other}",
        device.as_raw_fd()
    );
    let flags = if read_only { MsFlags::MS_RDONLY } else { MsFlags::empty() } | MsFlags::MS_NODEV;
    mount(Some("rbuild"), place, Some("fuse.rbuild"), flags, Some(options.as_str()))
        .named(Part::FuseMount, || step.to_string())
}

/// Where mount `index` waits to be attached.
pub(crate) fn place_of(index: usize, step: &Mount) -> String {
    match step {
        // The filesystem itself is at `index` and stays there; a part of it is what moves.
        Mount::Fuse { source, .. } | Mount::Overlay { source, .. } if !source.is_empty() => {
            format!("{index}.part")
        }
        _ => index.to_string(),
    }
}

/// Cuts this mount namespace off from its origin.
pub(crate) fn make_private() -> Outcome<()> {
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(NO_DATA, "/", NO_DATA, private, NO_DATA).named(Part::Mount, || "make the mounts private")
}

/// A directory that the set-up can do without: /tmp, else the first of `/` (an image may have nothing but its program).
/// What binds need is open already.
fn hideable() -> io::Result<PathBuf> {
    let is_directory = |path: &Path| fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    let mut places: Vec<_> = fs::read_dir("/")?.flatten().map(|entry| entry.path()).collect();
    places.sort();
    places.retain(|path| !NEEDED.iter().any(|needed| path == Path::new(needed)));
    let mut places = [PathBuf::from("/tmp")].into_iter().chain(places);
    places.find(|path| is_directory(path)).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
}

/// Whether the target lies in memory or a directory that an earlier mount brought; the root's own are the caller's.
fn lies_in_earlier(setup: &Setup, index: usize, target: &str) -> bool {
    setup.mounts[1..index].iter().any(|earlier| match earlier {
        Mount::Bind { target: place, .. } | Mount::Tmpfs { target: place, .. } => {
            Path::new(target).starts_with(place)
        }
        _ => false,
    })
}

/// Makes what a mount stands on where it is missing: in memory or a directory that an earlier mount brought.
fn ensure(source: &str, target: &str) -> io::Result<()> {
    let target = Path::new(target);
    if fs::symlink_metadata(target).is_ok() {
        return Ok(());
    }
    if fs::metadata(source)?.is_dir() {
        return fs::create_dir_all(target);
    }
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::File::create_new(target).map(drop)
}

fn move_mount(source: &str, target: &str) -> nix::Result<()> {
    match mount(Some(source), target, NO_DATA, MsFlags::MS_MOVE, NO_DATA) {
        // The kernel has one errno for all that does not fit.
        Err(Errno::EINVAL) => match (Path::new(source).is_dir(), Path::new(target).is_dir()) {
            (true, false) => Err(Errno::ENOTDIR),
            (false, true) => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        },
        other => other,
    }
}

pub(crate) fn make_directory(path: &str, step: &Mount) -> Outcome<()> {
    fs::create_dir(path).named(Part::Mount, || step.to_string())
}
