//! Copying the bytes of one file of this machine into another.

use rustix::{
    fs::{SeekFrom, copy_file_range, ioctl_ficlone, seek},
    io::Errno,
};
use std::{fs::File, io, os::unix::fs::FileExt};

const PIECE: u64 = 1 << 20;

/// Makes `to`, which is empty, the first `length` bytes of `from`: by reference where the filesystem can, else only
/// the parts that are not holes.
///
/// # Errors
/// Reading or writing failed, or `from` is shorter: a hole in place of bytes that should be there is never right.
pub fn clone_prefix(from: &File, to: &File, length: u64) -> io::Result<()> {
    if from.metadata()?.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if ioctl_ficlone(to, from).is_err() {
        copy_data(from, to, length)?;
    }
    to.set_len(length)
}

fn copy_data(from: &File, to: &File, length: u64) -> io::Result<()> {
    let mut at = 0;
    while at < length {
        // A filesystem that can't tell holes answers the offset itself.
        let start = match seek(from, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(()),
            Err(_) => at,
        };
        let end = seek(from, SeekFrom::Hole(start)).unwrap_or(length).min(length);
        if start >= end {
            return Ok(());
        }
        // Few bytes may mean that no more fit: only the next try says so.
        match copy_range(from, start, to, start, end - start)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => at = start + count,
        }
    }
    Ok(())
}

/// Copies a range as far as there are bytes; says how many there were.
///
/// # Errors
/// Reading or writing failed.
pub(crate) fn copy_range(from: &File, start: u64, to: &File, target: u64, length: u64) -> io::Result<u64> {
    let mut done = 0;
    while done < length {
        let (mut source, mut sink) = (start + done, target + done);
        let piece = usize::try_from(length - done).unwrap_or(usize::MAX).min(1 << 30);
        match copy_file_range(from, Some(&mut source), to, Some(&mut sink), piece) {
            Ok(0) => return Ok(done),
            Ok(count) => done += count as u64,
            Err(Errno::NOSPC | Errno::DQUOT | Errno::IO | Errno::FBIG) if done > 0 => return Ok(done),
            Err(cause @ (Errno::NOSPC | Errno::DQUOT | Errno::IO | Errno::FBIG)) => return Err(cause.into()),
            // Not between these two filesystems, or not at all here.
            Err(_) => return Ok(done + copy_by_hand(from, start + done, to, target + done, length - done)?),
        }
    }
    Ok(done)
}

fn copy_by_hand(from: &File, start: u64, to: &File, target: u64, length: u64) -> io::Result<u64> {
    let mut piece = vec![0; usize::try_from(length.min(PIECE)).unwrap_or(0)];
    let mut done = 0;
    while done < length {
        let wanted = usize::try_from((length - done).min(PIECE)).unwrap_or(0);
        let count = from.read_at(&mut piece[..wanted], start + done)?;
        if count == 0 {
            break;
        }
        to.write_all_at(&piece[..count], target + done)?;
        done += count as u64;
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn holes_stay_holes_and_a_prefix_is_cut() {
        let (from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        from.set_len(32 << 20).unwrap();
        from.write_all_at(b"middle", 16 << 20).unwrap();
        clone_prefix(&from, &to, (16 << 20) + 3).unwrap();
        assert_eq!(to.metadata().unwrap().len(), (16 << 20) + 3);
        assert!(to.metadata().unwrap().blocks() * 512 < 1 << 20);
        let mut bytes = [1; 5];
        to.read_exact_at(&mut bytes, (16 << 20) - 2).unwrap();
        assert_eq!(&bytes, b"\0\0mid");
        assert!(clone_prefix(&from, &to, (32 << 20) + 1).is_err());
    }

    #[test]
    fn a_range_ends_where_the_source_does() {
        let (from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        from.write_all_at(b"0123456789", 0).unwrap();
        assert_eq!(copy_range(&from, 4, &to, 1, 100).unwrap(), 6);
        assert_eq!(copy_by_hand(&from, 0, &to, 7, 3).unwrap(), 3);
        let mut bytes = [9; 10];
        to.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"\x00456789012");
    }
}
