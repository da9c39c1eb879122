//! `/dev`: a tmpfs with the few devices that every program expects, taken from the machine.

use std::os::unix::fs::symlink;
use std::path::Path;

use nix::mount::MsFlags;

use crate::error::{Named, Outcome};
use crate::{Mount, Part};

use super::mounts::{Maker, bind_path, mount_new};

/// A user namespace may not make devices, so they are bound.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// The group `tty`, which owns terminals everywhere.
const TTY_GROUP: u32 = 5;

pub(crate) fn make(maker: &mut Maker<'_>, place: &str) -> Outcome<()> {
    let step = Mount::Dev;
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount_new(place, "tmpfs", MsFlags::MS_NOSUID, "mode=755,size=64m")
        .named(Part::Mount, || step.to_string())?;
    for name in DEVICES {
        let source = format!("/dev/{name}");
        if Path::new(&source).exists() {
            // Read-only: the device can be written all the same, but not its owner, mode and times on the machine.
            let place = format!("{place}/{name}");
            bind_path(&source, &place, false)
                .and_then(|()| maker.set_read_only(&place, false))
                .named(Part::Mount, || format!("bind {source} on {source}"))?;
        } else {
            maker.warnings.push(format!("{source} is missing: this machine has none"));
        }
    }
    for (name, target) in LINKS {
        symlink(target, format!("{place}/{name}"))
            .named(Part::Mount, || format!("link /dev/{name} to {target}"))?;
    }
    let group = if maker.setup.ids.host_gid(TTY_GROUP).is_some() { ",gid=5" } else { "" };
    let options = format!("newinstance,ptmxmode=0666,mode=0620{group}");
    mount_below(place, "pts", ("devpts", quiet, &options))?;
    // As large as half of the memory, the kernel's default: browsers and databases need more than a fixed 64 MiB.
    mount_below(place, "shm", ("tmpfs", quiet | MsFlags::MS_NODEV, "mode=1777"))?;
    mount_below(place, "mqueue", ("mqueue", quiet | MsFlags::MS_NODEV, ""))
}

fn mount_below(place: &str, name: &str, (kind, flags, options): (&str, MsFlags, &str)) -> Outcome<()> {
    let mounted = mount_new(&format!("{place}/{name}"), kind, flags, options);
    mounted.named(Part::Mount, || format!("mount {kind} on /dev/{name}"))
}
