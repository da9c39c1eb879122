//! The memory of a process that waits for an answer: its arguments, and where it wants the results.

use nix::{
    sys::uio::{RemoteIoVec, process_vm_readv},
    unistd::Pid,
};
use rustix::io::Errno;
use std::{
    fs::{File, OpenOptions},
    io::IoSliceMut,
    os::unix::fs::FileExt,
    sync::Arc,
};

/// The kernel's PATH_MAX, with the NUL.
const LONGEST_PATH: usize = 4096;

/// Reads of a string end where a page does: what follows may be nobody's.
const PAGE: u64 = 4096;
/// Most paths are shorter.
const FIRST: usize = 256;

/// A process's memory. It stays that of the program it was opened for.
#[derive(Clone, Debug)]
pub(crate) struct Memory(Arc<File>);

impl Memory {
    /// That of a process or thread.
    ///
    /// # Errors
    /// It is gone, or not of our sandbox.
    pub(crate) fn open(pid: u32) -> Result<Self, Errno> {
        let file = OpenOptions::new().read(true).write(true).open(format!("/proc/{pid}/mem"));
        file.map(|file| Self(Arc::new(file)))
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }

    /// The `length` bytes at an address.
    ///
    /// # Errors
    /// EFAULT.
    pub(crate) fn read(&self, address: u64, length: usize) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0; length];
        self.0.read_exact_at(&mut bytes, address).map_err(|_| Errno::FAULT)?;
        Ok(bytes)
    }

    /// The path at an address, without its NUL.
    ///
    /// # Errors
    /// EFAULT, ENAMETOOLONG.
    pub(crate) fn path(&self, address: u64) -> Result<Vec<u8>, Errno> {
        let mut path = Vec::new();
        while path.len() < LONGEST_PATH {
            let at = address.checked_add(path.len() as u64).ok_or(Errno::FAULT)?;
            let to_page = usize::try_from(PAGE - at % PAGE).map_err(|_| Errno::FAULT)?;
            let wanted = if path.is_empty() { FIRST } else { LONGEST_PATH - path.len() };
            let bytes = self.read(at, wanted.min(to_page))?;
            if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
                path.extend_from_slice(&bytes[..end]);
                return Ok(path);
            }
            path.extend_from_slice(&bytes);
        }
        Err(Errno::NAMETOOLONG)
    }

    /// The 32-bit numbers at an address.
    ///
    /// # Errors
    /// EFAULT.
    pub(crate) fn numbers(&self, address: u64, count: usize) -> Result<Vec<u32>, Errno> {
        let bytes = self.read(address, count * 4)?;
        Ok(bytes
            .chunks_exact(4)
            .map(|four| u32::from_ne_bytes([four[0], four[1], four[2], four[3]]))
            .collect())
    }

    /// Writes to an address.
    ///
    /// # Errors
    /// EFAULT.
    pub(crate) fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.0.write_all_at(bytes, address).map_err(|_| Errno::FAULT)
    }
}

/// The path at an address of a process or thread, if it is short and the kernel lets us look; it may be a later process
/// with that number.
pub(crate) fn peek_path(pid: u32, address: u64) -> Option<Vec<u8>> {
    let base = usize::try_from(address).ok()?;
    let mut path = vec![0; FIRST.min(usize::try_from(PAGE - address % PAGE).ok()?)];
    let remote = [RemoteIoVec { base, len: path.len() }];
    let read = process_vm_readv(Pid::from_raw(pid.cast_signed()), &mut [IoSliceMut::new(&mut path)], &remote)
        .ok()?;
    let end = path[..read].iter().position(|byte| *byte == 0)?;
    path.truncate(end);
    Some(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn paths_are_read_to_their_end() {
        let own = Memory::open(std::process::id()).unwrap();
        for length in [0, 1, 255, 256, 257, 4000, 4095] {
            let mut text = vec![b'x'; length];
            text.extend([0, b'y']);
            let address = text.as_ptr() as u64;
            assert_eq!(own.path(address).unwrap().len(), length);
            let peeked = peek_path(std::process::id(), address);
            assert!(peeked.is_none_or(|path| path.len() == length && length < FIRST));
        }
        let long = vec![b'x'; 5000];
        assert_eq!(own.path(long.as_ptr() as u64), Err(Errno::NAMETOOLONG));
        for nowhere in [0, 1, u64::MAX] {
            assert_eq!(own.path(nowhere), Err(Errno::FAULT));
            assert_eq!(peek_path(std::process::id(), nowhere), None);
        }
        // In one page.
        #[repr(align(8))]
        struct Short([u8; 6]);
        let short = Short(*b"short\0");
        assert_eq!(peek_path(std::process::id(), short.0.as_ptr() as u64).unwrap(), b"short");
    }

    #[test]
    fn numbers_are_read_and_bytes_written() {
        let own = Memory::open(std::process::id()).unwrap();
        let numbers = [1_u32, u32::MAX];
        assert_eq!(own.numbers(numbers.as_ptr() as u64, 2).unwrap(), numbers);
        let place = Box::into_raw(Box::new([0_u8; 4]));
        own.write(place as u64, b"abcd").unwrap();
        assert_eq!(own.read(place as u64, 4).unwrap(), b"abcd");
        assert_eq!(own.write(8, b"x"), Err(Errno::FAULT));
    }
}
