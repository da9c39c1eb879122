//! The mounts that a command sees which has none of its own: those of this machine that its paths lead to, with its root
//! as the first.

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
    io::Errno,
};
use std::{fs::File, io::Seek, io::Write, os::fd::OwnedFd};

/// Where the machine's own filesystem is shown.
const SHOWN: [&str; 5] = ["/proc", "/sys", "/dev", "/dev/pts", "/sys/fs/cgroup"];

/// The names of files that tell mounts.
pub(crate) const FILES: [&str; 2] = ["mounts", "mountinfo"];

/// A file with what `mountinfo` or `mounts` of this machine tells of these.
///
/// # Errors
/// No memory.
pub(crate) fn file(table: &str, is_information: bool) -> Result<OwnedFd, Errno> {
    let text = if is_information { information(table) } else { mounts(table) };
    let memory = memfd_create("mounts", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(memory);
    let written = file.write_all(text.as_bytes()).and_then(|()| file.rewind());
    written.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK)?;
    Ok(file.into())
}

/// See proc_pid_mountinfo(5): `id parent device root place options [tags] - type source options`.
fn information(table: &str) -> String {
    let line = |line: &str| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let fields: Vec<_> = mount.split(' ').collect();
        let [id, parent, device, root, place, options, ..] = fields[..] else { return None };
        let (kind, rest) = filesystem.split_once(' ')?;
        match place {
            "/" => Some(format!("{id} {parent} {device} / / rw,relatime - {kind} rbuild rw\n")),
            place if is_shown(place) => {
                Some(format!("{id} {parent} {device} {root} {place} {options} - {kind} {rest}\n"))
            }
            _ => None,
        }
    };
    table.lines().filter_map(line).collect()
}

/// See fstab(5).
fn mounts(table: &str) -> String {
    let line = |line: &str| {
        let fields: Vec<_> = line.split(' ').collect();
        let [_, place, kind, ..] = fields[..] else { return None };
        match place {
            "/" => Some(format!("rbuild / {kind} rw,relatime 0 0\n")),
            place => is_shown(place).then(|| format!("{line}\n")),
        }
    };
    table.lines().filter_map(line).collect()
}

fn is_shown(place: &str) -> bool {
    let is_control_group = place.starts_with("/sys/fs/cgroup/");
    SHOWN.contains(&place) || is_control_group
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_a_neutral_one_and_volumes_are_left_out() {
        let table = "\
             1 0 0:30 / / rw,relatime master:1 - overlay overlay rw,lowerdir=/secret\n\
             2 1 0:31 / /proc rw,nosuid - proc proc rw\n\
             3 1 8:1 /x /data rw - ext4 /dev/sda rw\n\
             4 1 0:32 /docker/x /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        assert_eq!(
            information(table),
            "1 0 0:30 / / rw,relatime - overlay rbuild rw\n2 1 0:31 / /proc rw,nosuid - proc proc rw\n4 1 0:32 /docker/x \
             /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
        );
        let table =
            "overlay / overlay rw,lowerdir=/secret 0 0\nproc /proc proc rw 0 0\n/dev/sda /data ext4 rw 0 0\n";
        assert_eq!(mounts(table), "rbuild / overlay rw,relatime 0 0\nproc /proc proc rw 0 0\n");
    }
}
