//! Devices: data in our overlay, which a user namespace could not make.

use crate::{
    Caller, Files, Supervisor,
    resolve::{Name, look},
};
use rbuild_overlay::{Caller as Maker, Errno, NodeId, ops::Special};
use rbuild_sandbox::notify::Call;
use rbuild_tree::Device;
use rustix::fs::{AtFlags, StatxFlags};
use std::fs;

impl Supervisor {
    /// mknod(2) of a device.
    pub(crate) fn make_device(&self, caller: &Caller<'_>) -> Result<i64, Errno> {
        let (directory, at) = match caller.notification.call {
            Call::Mknod => (libc::AT_FDCWD, 0),
            _ => (caller.number(0).cast_signed(), 1),
        };
        let path = caller.path(caller.address(at))?;
        let (mode, device) = (caller.number(at + 1), decode(caller.number(at + 2)));
        let special = match mode & libc::S_IFMT {
            libc::S_IFCHR => Special::CharDevice(device),
            libc::S_IFBLK => Special::BlockDevice(device),
            _ => return Err(Errno::INVAL),
        };
        let (above, name) = split(&path)?;
        let above = Name { directory, path: above.to_vec(), follow: true }.open(caller.pid())?;
        let stat = look(&above, AtFlags::empty(), StatxFlags::TYPE | StatxFlags::INO)?;
        let maker = self.maker(caller)?;
        let Some(Files::Served { overlay, notifier }) = self.mount(&stat).map(|mounted| &mounted.files)
        else {
            return Err(Errno::PERM);
        };
        let above = NodeId(stat.stx_ino);
        caller.still_waits()?;
        let made = overlay.mknod(above, name, special, mode, &maker)?;
        // The kernel was not told, and perhaps remembers that there is nothing.
        overlay.forget(made.id, 1);
        notifier.forget_name(above, name)?;
        Ok(0)
    }

    /// Who makes something, if he may make devices.
    fn maker(&self, caller: &Caller<'_>) -> Result<Maker, Errno> {
        let who = self.credentials(caller);
        if !who.is_privileged() {
            return Err(Errno::PERM);
        }
        let (uid, gid, pid) = (who.user.filesystem, who.group.filesystem, caller.pid());
        Ok(Maker { uid, gid, umask: umask(pid)?, pid })
    }
}

/// The directory of a path and the name in it.
pub(crate) fn split(path: &[u8]) -> Result<(&[u8], &[u8]), Errno> {
    let at = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    match path.split_at(at) {
        (_, b"") => Err(Errno::NOENT),
        (_, b"." | b"..") => Err(Errno::EXIST),
        found => Ok(found),
    }
}

/// The device of mknod(2)'s argument (linux/kdev_t.h).
pub(crate) fn decode(number: u32) -> Device {
    Device { major: number >> 8 & 0xfff, minor: number & 0xff | number >> 12 & 0xfff00 }
}

/// The file mode creation mask of a process (proc(5)).
pub(crate) fn umask(pid: u32) -> Result<u32, Errno> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|_| Errno::SRCH)?;
    mask(&status).ok_or(Errno::SRCH)
}

fn mask(status: &str) -> Option<u32> {
    let value = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(value.trim(), 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_directory_and_a_name() {
        for (path, expected) in [
            (&b"null"[..], Ok((&b""[..], &b"null"[..]))),
            (b"/null", Ok((b"/", b"null"))),
            (b"a//b/c", Ok((b"a//b/", b"c"))),
            (b"a/", Err(Errno::NOENT)),
            (b"", Err(Errno::NOENT)),
            (b"a/..", Err(Errno::EXIST)),
        ] {
            assert_eq!(split(path), expected);
        }
    }

    #[test]
    fn arguments_are_read() {
        assert_eq!(decode(0x0103), Device { major: 1, minor: 3 });
        assert_eq!(decode(0xfff0_08ff), Device { major: 8, minor: 0xfffff });
        assert_eq!(mask("Name:\tsh\nUmask:\t0027\nState:\tR\n"), Some(0o27));
        assert_eq!(mask("Name:\tsh\n"), None);
    }
}
