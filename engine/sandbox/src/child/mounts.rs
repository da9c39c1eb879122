//! Making the mounts of a set-up in the staging tmpfs.
//!
//! What does not need a FUSE server is made while the engine starts one; parts of FUSE filesystems come after it.

use std::ffi::{CString, OsString};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;

use crate::error::{Named, Outcome};
use crate::text::unescape_octal;
use crate::{Mount, Network, Part, Setup, sys};

use super::staging::{NO_DATA, Staging, place_of};
use super::{devices, procfs};

/// Where files wait that are lent.
const FILES: &str = "files";

/// Makes the mounts of a set-up.
pub(crate) struct Maker<'a> {
    pub(crate) setup: &'a Setup,
    pub(crate) staging: &'a Staging,
    /// What could not be had as wished.
    pub(crate) warnings: Vec<String>,
}

impl Maker<'_> {
    /// Everything that can be made without looking into a FUSE filesystem.
    pub(crate) fn make(&mut self, binds: Vec<OwnedFd>) -> Outcome<()> {
        let mut binds = binds.into_iter();
        for (index, step) in self.setup.mounts.iter().enumerate() {
            let place = index.to_string();
            match step {
                Mount::Chroot { .. }
                | Mount::InPlace(_)
                | Mount::Fuse { .. }
                | Mount::Overlay { .. }
                | Mount::Own { .. } => {}
                Mount::Bind { .. } => {
                    let Some(source) = binds.next() else { continue };
                    self.bind(step, &source, &place)?;
                }
                Mount::File { content, executable, .. } => {
                    let made = self.file(content.as_bytes(), *executable, &place);
                    made.named(Part::Mount, || step.to_string())?;
                }
                Mount::Tmpfs { size, mode, .. } => {
                    let options = format!("size={size},mode={mode:o}");
                    mount_new(&place, "tmpfs", MsFlags::MS_NOSUID | MsFlags::MS_NODEV, &options)
                        .named(Part::Mount, || step.to_string())?;
                }
                Mount::Proc => procfs::make(self, &place)?,
                Mount::Sys => self.sysfs(&place)?,
                Mount::Dev => devices::make(self, &place)?,
            }
        }
        Ok(())
    }

    /// The single directories and files of filesystems, which by now are served.
    pub(crate) fn make_parts(&self) -> Outcome<()> {
        for (index, step) in self.setup.mounts.iter().enumerate() {
            let (Mount::Fuse { source, .. } | Mount::Overlay { source, .. }) = step else { continue };
            if !source.is_empty() {
                let part = open_inside(&index.to_string(), source).named(Part::Mount, || step.to_string())?;
                let place = place_of(index, step);
                bind_descriptor(&part, &place, false).named(Part::Mount, || step.to_string())?;
            }
        }
        Ok(())
    }

    /// The device numbers of the FUSE and overlay filesystems, as stat(2) shows them of their files.
    pub(crate) fn devices(&self) -> Outcome<Vec<u64>> {
        let mounts = self.setup.mounts.iter().enumerate();
        let own = mounts.filter(|(_, step)| matches!(step, Mount::Fuse { .. } | Mount::Overlay { .. }));
        let device = |(index, step): (usize, &Mount)| {
            fs::metadata(index.to_string()).map(|root| root.dev()).named(Part::Mount, || step.to_string())
        };
        own.map(device).collect()
    }

    fn bind(&self, step: &Mount, source: &OwnedFd, place: &str) -> Outcome<()> {
        let Mount::Bind { read_only, recursive, .. } = step else { return Ok(()) };
        bind_descriptor(source, place, *recursive).named(Part::Mount, || step.to_string())?;
        if *read_only {
            self.set_read_only(place, *recursive).named(Part::Mount, || format!("make read-only: {step}"))?;
        }
        Ok(())
    }

    /// In a filesystem of its own, since nothing of the staging tmpfs can be bound.
    fn file(&self, content: &[u8], executable: bool, place: &str) -> io::Result<()> {
        if !Path::new(FILES).exists() {
            mount_new(FILES, "tmpfs", MsFlags::MS_NOSUID | MsFlags::MS_NODEV, "mode=700")?;
        }
        let path = format!("{FILES}/{place}");
        fs::write(&path, content)?;
        fs::set_permissions(&path, Permissions::from_mode(if executable { 0o755 } else { 0o644 }))?;
        bind_path(&path, place, false)?;
        Ok(self.set_read_only(place, false)?)
    }

    /// A fresh one belongs to a network namespace, so only its owner may mount one; it is also refused where the
    /// outer one has hidden parts.
    fn sysfs(&mut self, place: &str) -> Outcome<()> {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY;
        if self.setup.network != Network::Host && mount_new(place, "sysfs", flags, "").is_ok() {
            return Ok(());
        }
        if Path::new("/sys/kernel").exists() {
            let bound = bind_path("/sys", place, true).and_then(|()| self.set_read_only(place, true));
            return bound.named(Part::Mount, || "bind the outer /sys on /sys");
        }
        self.warnings.push("/sys is empty: this machine shows none".to_owned());
        mount_new(place, "tmpfs", flags, "").named(Part::Mount, || "mount an empty /sys")
    }

    /// Makes the mount at `place` read-only, keeping flags that may be locked.
    pub(crate) fn set_read_only(&self, place: &str, recursive: bool) -> nix::Result<()> {
        set_read_only(&self.staging.place.join(place), recursive)
    }
}

/// Makes the mount at `path`, an absolute one, read-only, keeping flags that may be locked.
pub(crate) fn set_read_only(path: &Path, recursive: bool) -> nix::Result<()> {
    let text = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    match sys::set_mount_read_only(&text, recursive) {
        Err(Errno::ENOSYS | Errno::EPERM) => remount_read_only(path, recursive),
        other => other,
    }
}

/// Kernels before 5.12: one mount after the other, all flags said again.
fn remount_read_only(top: &Path, recursive: bool) -> nix::Result<()> {
    let table = fs::read("/proc/self/mountinfo").map_err(|error| errno_of(&error))?;
    for (target, flags) in table.split(|byte| *byte == b'\n').filter_map(target_and_flags) {
        if target == top || recursive && target.starts_with(top) {
            let flags = flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
            match mount(NO_DATA, &target, NO_DATA, flags, NO_DATA) {
                // A place where these ids can't come, such as a container engine's: no step does.
                Err(Errno::EACCES) if target != top => {}
                other => other?,
            }
        }
    }
    Ok(())
}

/// The mount point and the flags of a line of /proc/self/mountinfo. Asking the mount itself is no way: another user's
/// FUSE filesystem would refuse to answer.
fn target_and_flags(line: &[u8]) -> Option<(PathBuf, MsFlags)> {
    const KNOWN: [(&[u8], MsFlags); 6] = [
        (b"nosuid", MsFlags::MS_NOSUID),
        (b"nodev", MsFlags::MS_NODEV),
        (b"noexec", MsFlags::MS_NOEXEC),
        (b"noatime", MsFlags::MS_NOATIME),
        (b"nodiratime", MsFlags::MS_NODIRATIME),
        (b"relatime", MsFlags::MS_RELATIME),
    ];
    let mut fields = line.split(|byte| *byte == b' ').skip(4);
    let (target, options) = (fields.next()?, fields.next()?);
    let has = |name: &[u8]| options.split(|byte| *byte == b',').any(|option| option == name);
    let flags = KNOWN.iter().filter(|(name, _)| has(name)).map(|(_, flag)| *flag);
    Some((OsString::from_vec(unescape_octal(target)).into(), flags.collect()))
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

/// Makes the directory `place` and mounts a new filesystem there.
pub(crate) fn mount_new(place: &str, kind: &str, flags: MsFlags, options: &str) -> nix::Result<()> {
    match fs::create_dir(place) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(errno_of(&error)),
        _ => {}
    }
    mount(Some("rbuild"), place, Some(kind), flags, Some(options))
}

/// Makes `place` and binds what is open as `source` there.
pub(crate) fn bind_descriptor(source: &OwnedFd, place: &str, recursive: bool) -> nix::Result<()> {
    bind_path(&format!("/proc/self/fd/{}", source.as_raw_fd()), place, recursive)
}

/// Makes `place`, a directory or a file as `source` is one, and binds it there.
pub(crate) fn bind_path(source: &str, place: &str, recursive: bool) -> nix::Result<()> {
    let is_directory = fs::metadata(source).map_err(|error| errno_of(&error))?.is_dir();
    let made = if is_directory { fs::create_dir(place) } else { File::create_new(place).map(drop) };
    match made {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(errno_of(&error)),
        _ => {}
    }
    let flags = if recursive { MsFlags::MS_BIND | MsFlags::MS_REC } else { MsFlags::MS_BIND };
    mount(Some(source), place, NO_DATA, flags, NO_DATA)
}

/// Opens `path` inside the filesystem at `place`. Symbolic links are refused, not followed: here, outside the chroot,
/// one of an image would lead into the machine.
fn open_inside(place: &str, path: &str) -> nix::Result<OwnedFd> {
    let top = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(place);
    let mut file = OwnedFd::from(top.map_err(|error| errno_of(&error))?);
    for part in Path::new(path).components() {
        match part {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => {
                let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                file = openat(&file, name, flags, Mode::empty())?;
                let metadata =
                    rustix::fs::fstat(&file).map_err(|error| Errno::from_raw(error.raw_os_error()))?;
                if rustix::fs::FileType::from_raw_mode(metadata.st_mode) == rustix::fs::FileType::Symlink {
                    return Err(Errno::ELOOP);
                }
            }
            Component::ParentDir | Component::Prefix(_) => return Err(Errno::EINVAL),
        }
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_mount_table_is_read() {
        let line = b"36 35 98:0 /mnt1 /a\\040b ro,nosuid,noexec,relatime master:1 - ext3 /dev/root rw,errors=continue";
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_RELATIME;
        assert_eq!(target_and_flags(line), Some(("/a b".into(), flags)));
        assert_eq!(target_and_flags(b""), None);
        assert_eq!(target_and_flags(b"1 2 3:4 / /x"), None);
    }
}
