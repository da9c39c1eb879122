//! `/proc`, with what a build has no business with hidden or read-only.
//!
//! Most of it is owned by the machine's root, who is nobody inside; the masks matter where ids are mapped as they
//! are, and for the settings that belong to the sandbox's own namespaces.

use std::fs;

use nix::mount::{MsFlags, mount};

use crate::Part;
use crate::error::{Named, Outcome};

use super::mounts::{Maker, bind_path, mount_new};
use super::staging::NO_DATA;

/// Hidden: a file reads empty, a directory is empty.
const HIDDEN: [&str; 11] = [
    "acpi",
    "asound",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
    "timer_stats",
    "key-users",
];

/// Shown, but not to be written.
const READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// Told where the outer one is shown; the engine knows what helps.
pub(crate) const SHARED: &str = "the machine's own /proc is shown inside, with the process numbers outside, so that what \
                                 uses pid files, ps or pkill fails: parts of it are hidden here, and the kernel refuses a \
                                 fresh one";

pub(crate) fn make(maker: &mut Maker<'_>, place: &str) -> Outcome<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if let Err(errno) = mount_new(place, "proc", flags, "") {
        // Refused where the outer one has hidden parts, as in most containers.
        bind_path("/proc", place, true).map_err(|_| errno).named(Part::Mount, || "mount proc on /proc")?;
        maker.warnings.push(SHARED.to_owned());
    }
    for name in HIDDEN {
        hide(&format!("{place}/{name}")).named(Part::Mount, || format!("hide /proc/{name}"))?;
    }
    for name in READ_ONLY {
        protect(maker, &format!("{place}/{name}"))
            .named(Part::Mount, || format!("make /proc/{name} read-only"))?;
    }
    Ok(())
}

fn hide(path: &str) -> nix::Result<()> {
    match fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(metadata) if metadata.is_dir() => {
            mount(Some("rbuild"), path, Some("tmpfs"), MsFlags::MS_RDONLY, Some("mode=555"))
        }
        Ok(_) => mount(Some("/dev/null"), path, NO_DATA, MsFlags::MS_BIND, NO_DATA),
    }
}

fn protect(maker: &Maker<'_>, path: &str) -> nix::Result<()> {
    if fs::symlink_metadata(path).is_err() {
        return Ok(());
    }
    mount(Some(path), path, NO_DATA, MsFlags::MS_BIND | MsFlags::MS_REC, NO_DATA)?;
    maker.set_read_only(path, true)
}
