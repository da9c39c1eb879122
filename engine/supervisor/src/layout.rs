//! What stat(2) and statx(2) write, byte for byte as the kernel's headers lay it out (asm/stat.h, linux/stat.h).

use rustix::fs::{Statx, StatxTimestamp};

/// Which structure a caller wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `struct stat` of the architecture.
    Stat,
    /// `struct stat64` of 32-bit x86.
    Stat64,
    /// `struct statx`.
    Statx,
}

impl Layout {
    /// The structure with what is known of a file.
    pub(crate) fn bytes(self, stat: &Statx) -> Vec<u8> {
        match self {
            Self::Stat => native(stat),
            Self::Stat64 => compatible(stat),
            Self::Statx => extended(stat),
        }
    }
}

/// The bytes of a structure, field after field.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn u16(mut self, value: u16) -> Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    fn time(self, seconds: i64, nanoseconds: u32) -> Self {
        self.u64(seconds.cast_unsigned()).u64(nanoseconds.into())
    }

    fn zeroes(mut self, count: usize) -> Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }
}

/// The form of device numbers in `struct stat`.
fn device(major: u32, minor: u32) -> u64 {
    (minor & 0xff | major << 8 | (minor & !0xff) << 12).into()
}

#[cfg(target_arch = "x86_64")]
fn native(stat: &Statx) -> Vec<u8> {
    let fields = Fields::default()
        .u64(device(stat.stx_dev_major, stat.stx_dev_minor))
        .u64(stat.stx_ino)
        .u64(stat.stx_nlink.into())
        .u32(stat.stx_mode.into())
        .u32(stat.stx_uid)
        .u32(stat.stx_gid)
        .u32(0)
        .u64(device(stat.stx_rdev_major, stat.stx_rdev_minor))
        .u64(stat.stx_size)
        .u64(stat.stx_blksize.into())
        .u64(stat.stx_blocks);
    times(fields, stat).zeroes(24).0
}

/// The generic structure of 64-bit architectures.
#[cfg(not(target_arch = "x86_64"))]
fn native(stat: &Statx) -> Vec<u8> {
    let fields = Fields::default()
        .u64(device(stat.stx_dev_major, stat.stx_dev_minor))
        .u64(stat.stx_ino)
        .u32(stat.stx_mode.into())
        .u32(stat.stx_nlink)
        .u32(stat.stx_uid)
        .u32(stat.stx_gid)
        .u64(device(stat.stx_rdev_major, stat.stx_rdev_minor))
        .u64(0)
        .u64(stat.stx_size)
        .u32(stat.stx_blksize)
        .u32(0)
        .u64(stat.stx_blocks);
    times(fields, stat).zeroes(8).0
}

fn times(fields: Fields, stat: &Statx) -> Fields {
    fields
        .time(stat.stx_atime.tv_sec, stat.stx_atime.tv_nsec)
        .time(stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec)
        .time(stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec)
}

/// Packed, and with times of 32 bits.
fn compatible(stat: &Statx) -> Vec<u8> {
    let time = |fields: Fields, time: &StatxTimestamp| fields.u32(time.tv_sec as u32).u32(time.tv_nsec);
    let fields = Fields::default()
        .u64(device(stat.stx_dev_major, stat.stx_dev_minor))
        .u32(0)
        .u32(stat.stx_ino as u32)
        .u32(stat.stx_mode.into())
        .u32(stat.stx_nlink)
        .u32(stat.stx_uid)
        .u32(stat.stx_gid)
        .u64(device(stat.stx_rdev_major, stat.stx_rdev_minor))
        .u32(0)
        .u64(stat.stx_size)
        .u32(stat.stx_blksize)
        .u64(stat.stx_blocks);
    [&stat.stx_atime, &stat.stx_mtime, &stat.stx_ctime].into_iter().fold(fields, time).u64(stat.stx_ino).0
}

/// The same on all architectures, 256 bytes.
fn extended(stat: &Statx) -> Vec<u8> {
    let time = |fields: Fields, time: &StatxTimestamp| {
        fields.u64(time.tv_sec.cast_unsigned()).u32(time.tv_nsec).u32(0)
    };
    let fields = Fields::default()
        .u32(stat.stx_mask)
        .u32(stat.stx_blksize)
        .u64(stat.stx_attributes.bits())
        .u32(stat.stx_nlink)
        .u32(stat.stx_uid)
        .u32(stat.stx_gid)
        .u16(stat.stx_mode)
        .u16(0)
        .u64(stat.stx_ino)
        .u64(stat.stx_size)
        .u64(stat.stx_blocks)
        .u64(stat.stx_attributes_mask.bits());
    let times = [&stat.stx_atime, &stat.stx_btime, &stat.stx_ctime, &stat.stx_mtime];
    let fields = times.into_iter().fold(fields, time);
    fields
        .u32(stat.stx_rdev_major)
        .u32(stat.stx_rdev_minor)
        .u32(stat.stx_dev_major)
        .u32(stat.stx_dev_minor)
        .u64(stat.stx_mnt_id)
        .u32(stat.stx_dio_mem_align)
        .u32(stat.stx_dio_offset_align)
        .u64(stat.stx_subvol)
        .u32(stat.stx_atomic_write_unit_min)
        .u32(stat.stx_atomic_write_unit_max)
        .u32(stat.stx_atomic_write_segments_max)
        .u32(stat.stx_dio_read_offset_align)
        .u32(stat.stx_atomic_write_unit_max_opt)
        .zeroes(4 + 64)
        .0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rustix::fs::{AtFlags, CWD, StatxFlags, fstat, statx};
    use std::fs::File;

    /// What the C library declares is what the kernel writes.
    #[test]
    fn the_layouts_are_the_kernels() {
        let path = "/proc/self/exe";
        let extended = statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS).unwrap();
        let bytes = Layout::Stat.bytes(&extended);
        let stat = fstat(File::open(path).unwrap()).unwrap();
        assert_eq!(bytes.len(), size_of_val(&stat));
        let number = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
        let half = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        let places = if cfg!(target_arch = "x86_64") { (24, 28, 32, 64, 88) } else { (16, 24, 28, 64, 88) };
        let (mode, uid, gid, blocks, mtime) = places;
        assert_eq!((number(0), number(8)), (stat.st_dev, stat.st_ino));
        assert_eq!((half(mode), half(uid), half(gid)), (stat.st_mode, stat.st_uid, stat.st_gid));
        assert_eq!(number(48), u64::try_from(stat.st_size).unwrap());
        assert_eq!(number(blocks), u64::try_from(stat.st_blocks).unwrap());
        assert_eq!((number(mtime), number(mtime + 8)), (stat.st_mtime as u64, stat.st_mtime_nsec as u64));

        let bytes = Layout::Stat64.bytes(&extended);
        assert_eq!(bytes.len(), 96);
        assert_eq!(u32::from_ne_bytes(bytes[24..28].try_into().unwrap()), stat.st_uid);
        assert_eq!(u64::from_ne_bytes(bytes[44..52].try_into().unwrap()), stat.st_size as u64);
        assert_eq!(u64::from_ne_bytes(bytes[88..96].try_into().unwrap()), stat.st_ino);

        let bytes = Layout::Statx.bytes(&extended);
        assert_eq!(bytes.len(), size_of::<Statx>());
        assert_eq!(u32::from_ne_bytes(bytes[20..24].try_into().unwrap()), stat.st_uid);
        assert_eq!(u64::from_ne_bytes(bytes[40..48].try_into().unwrap()), stat.st_size as u64);
        assert_eq!(i64::from_ne_bytes(bytes[112..120].try_into().unwrap()), stat.st_mtime);
    }
}
