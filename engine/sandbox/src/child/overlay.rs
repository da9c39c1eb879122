//! The kernel's overlay filesystem in the sandbox's user namespace.
//!
//! Its directories are named by descriptors that were opened before the ids changed: they lie where an id of the sandbox
//! may not go. `userxattr` keeps the kernel's marks in attributes that a user namespace may write, `volatile` spares the
//! disk: what is left after a crash is never used.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use rustix::fs::{XattrFlags, removexattr, setxattr};

use crate::error::{Named, Outcome};
use crate::{Memory, Mount, Part};

use super::staging::make_directory;

/// Any that is not the kernel's own.
const TRIAL: &str = "user.rbuild";

/// The directories of one [`Mount::Overlay`], open only to name them.
pub(super) struct Directories {
    lower: Vec<OwnedFd>,
    data: Option<OwnedFd>,
    /// For changes, and the kernel's own.
    upper: Option<(OwnedFd, OwnedFd)>,
}

impl Directories {
    /// Opens those of a mount; none for any other kind. It takes what it asks for of `memories`.
    pub(super) fn open(step: &Mount, memories: &mut impl Iterator<Item = Memory>) -> Outcome<Option<Self>> {
        let Mount::Overlay { lower, data, memory, upper, .. } = step else { return Ok(None) };
        let open = |path: &Path| {
            let file =
                OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(path);
            file.map(OwnedFd::from).named(Part::OverlayMount, || format!("open {}", path.display()))
        };
        let mut lower = lower.iter().map(|path| open(path)).collect::<Outcome<Vec<_>>>()?;
        if *memory {
            let memory =
                memories.next().ok_or(io::ErrorKind::NotFound.into()).and_then(|memory| memory.copy());
            lower.push(memory.named(Part::OverlayMount, || "copy the mount of a filesystem in memory")?);
        }
        let upper =
            upper.as_ref().map(|upper| Ok((open(&upper.changes)?, open(&upper.work)?))).transpose()?;
        let data = data.as_deref().map(open).transpose()?;
        Ok(Some(Self { lower, data, upper }))
    }

    /// Mounts them at `place`, which is made.
    pub(super) fn mount(&self, step: &Mount, place: &str) -> Outcome<()> {
        make_directory(place, step)?;
        let lower: Vec<String> = self.lower.iter().map(by_descriptor).collect();
        let data = self.data.as_ref().map_or_else(String::new, |data| format!("::{}", by_descriptor(data)));
        let mut options = format!("lowerdir={}{data},userxattr", lower.join(":"));
        if matches!(step, Mount::Overlay { memory: true, .. }) {
            // Else its files would seem to be of another filesystem than their directories, which `du -x` leaves out.
            options += ",xino=on";
        }
        // A file's time of reading is the caller's: it goes along when the kernel copies it up.
        let mut flags = MsFlags::MS_NODEV | MsFlags::MS_NOATIME;
        match (&self.upper, step) {
            (Some((changes, work)), Mount::Overlay { upper: Some(upper), .. }) => {
                // Without them the kernel mounts, and then can't replace a directory.
                try_attribute(changes).named(Part::OverlayMount, || {
                    format!("set an extended attribute of {}", upper.changes.display())
                })?;
                let (changes, work) = (by_descriptor(changes), by_descriptor(work));
                options += &format!(",upperdir={changes},workdir={work},volatile");
            }
            _ => flags |= MsFlags::MS_RDONLY,
        }
        mount(Some("rbuild"), place, Some("overlay"), flags, Some(options.as_str()))
            .named(Part::OverlayMount, || step.to_string())
    }
}

fn by_descriptor(descriptor: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd())
}

fn try_attribute(directory: &OwnedFd) -> io::Result<()> {
    let path = by_descriptor(directory);
    setxattr(&path, TRIAL, b"1", XattrFlags::empty())?;
    Ok(removexattr(&path, TRIAL)?)
}
