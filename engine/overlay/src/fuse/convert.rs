//! Between the values of the protocol library and ours.

use crate::{
    Errno, FileKind, NodeId, Stat,
    ops::{SetTime, Special},
};
use fuser::{FileAttr, FileType, INodeNo, TimeOrNow};
use rbuild_tree::{Device, Timestamp};
use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

pub(super) fn system_time(time: Timestamp) -> SystemTime {
    let seconds = Duration::from_secs(time.seconds.unsigned_abs());
    let whole =
        if time.seconds < 0 { UNIX_EPOCH.checked_sub(seconds) } else { UNIX_EPOCH.checked_add(seconds) };
    let nanoseconds = Duration::from_nanos(time.nanoseconds.into());
    whole.and_then(|whole| whole.checked_add(nanoseconds)).unwrap_or(UNIX_EPOCH)
}

/// The time of a request. Before 1970 fuser 0.18 counts the nanoseconds in the wrong direction; this undoes it.
pub(super) fn timestamp(time: SystemTime) -> Timestamp {
    let (seconds, distance) = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (0_i64.saturating_add_unsigned(after.as_secs()), after),
        Err(before) => (0_i64.saturating_sub_unsigned(before.duration().as_secs()), before.duration()),
    };
    Timestamp { seconds, nanoseconds: distance.subsec_nanos() }
}

pub(super) fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::File => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::CharDevice => FileType::CharDevice,
        FileKind::BlockDevice => FileType::BlockDevice,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::Socket => FileType::Socket,
    }
}

pub(super) fn attributes(stat: &Stat) -> FileAttr {
    FileAttr {
        ino: INodeNo(stat.id.0),
        size: stat.size,
        blocks: stat.blocks,
        atime: system_time(stat.atime),
        mtime: system_time(stat.mtime),
        ctime: system_time(stat.ctime),
        crtime: UNIX_EPOCH,
        kind: file_type(stat.kind),
        perm: u16::try_from(stat.mode & 0o7777).unwrap_or(0),
        nlink: stat.links,
        uid: stat.uid,
        gid: stat.gid,
        rdev: encode_device(stat.device),
        blksize: 4096,
        flags: 0,
    }
}

/// No node: the kernel remembers that a name does not exist.
pub(super) fn nothing() -> FileAttr {
    attributes(&Stat::unknown(NodeId(0), FileKind::File))
}

/// The 32-bit form of the protocol: 12 bits of major, 20 of minor.
pub(super) fn encode_device(device: Device) -> u32 {
    device.minor & 0xff | (device.major & 0xfff) << 8 | (device.minor & 0xfff00) << 12
}

pub(super) fn decode_device(number: u32) -> Device {
    Device { major: number >> 8 & 0xfff, minor: number & 0xff | number >> 12 & 0xfff00 }
}

pub(super) fn special(mode: u32, device: u32) -> Result<Special, Errno> {
    Ok(match mode & libc::S_IFMT {
        0 | libc::S_IFREG => Special::File,
        libc::S_IFCHR => Special::CharDevice(decode_device(device)),
        libc::S_IFBLK => Special::BlockDevice(decode_device(device)),
        libc::S_IFIFO => Special::Fifo,
        libc::S_IFSOCK => Special::Socket,
        _ => return Err(Errno::INVAL),
    })
}

pub(super) fn set_time(time: Option<TimeOrNow>) -> Option<SetTime> {
    time.map(|time| match time {
        TimeOrNow::Now => SetTime::Now,
        TimeOrNow::SpecificTime(time) => SetTime::At(timestamp(time)),
    })
}

pub(super) fn name(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_and_times_survive_the_protocol() {
        for (major, minor) in [(0, 0), (1, 3), (8, 1 << 19), (4095, (1 << 20) - 1)] {
            let device = Device { major, minor };
            assert_eq!(decode_device(encode_device(device)), device);
        }
        for (seconds, nanoseconds) in [(0, 0), (5, 999_999_999), (-1, 0), (-3, 0)] {
            let time = Timestamp { seconds, nanoseconds };
            assert_eq!(timestamp(system_time(time)), time);
        }
        let before = UNIX_EPOCH - Duration::new(2, 500_000_000);
        assert_eq!(system_time(Timestamp { seconds: -3, nanoseconds: 500_000_000 }), before);
    }
}
