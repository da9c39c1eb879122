//! The bytes of regular files.

use super::attributes::kill_privileges;
use crate::{
    Errno, NodeId, Overlay,
    content::{Data, Reader, file_data, file_data_mut},
    copy::copy_range,
    error::errno,
    node::{Body, Inode, now},
};
use rustix::fs::{FallocateFlags, SeekFrom};
use std::fs::File;

/// How much one copy_file_range does at most: short answers are allowed, and nobody shall wait long.
const COPY_LIMIT: u64 = 64 << 20;
/// Bytes that go through memory at a time.
const PIECE: u64 = 1 << 20;

impl Overlay {
    /// At most `length` bytes from `offset` on; fewer only at the end.
    ///
    /// # Errors
    /// EISDIR, EINVAL if it holds no bytes, ESTALE; EACCES and EIO if the lower can't be read.
    pub fn read(&self, id: NodeId, offset: u64, length: usize) -> Result<Vec<u8>, Errno> {
        let node = self.node(id)?;
        let reader = {
            let mut inode = node.lock();
            self.saw_content(&mut inode);
            self.reader(&inode, offset, length)?
        };
        reader.read(offset, length)
    }

    /// Writes all of `bytes` at `offset`. `kill` clears the set-id bits; the capability goes in any case.
    ///
    /// # Errors
    /// EISDIR, EINVAL, EROFS, ESTALE, EFBIG, ENOSPC, EIO.
    pub fn write(&self, id: NodeId, offset: u64, bytes: &[u8], kill: bool) -> Result<usize, Errno> {
        self.write_at(id, offset, bytes, kill, false)
    }

    /// Writes what the page cache held back: bytes that a program stored through mmap(2) some time ago. A date that
    /// was set since the last [`write`](Self::write) stays.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_cached(&self, id: NodeId, offset: u64, bytes: &[u8], kill: bool) -> Result<usize, Errno> {
        self.write_at(id, offset, bytes, kill, true)
    }

    fn write_at(
        &self,
        id: NodeId,
        offset: u64,
        bytes: &[u8],
        kill: bool,
        cached: bool,
    ) -> Result<usize, Errno> {
        self.check_writable()?;
        let node = self.node(id)?;
        let mut inode = node.lock();
        let end = end_of(offset, bytes.len() as u64)?;
        let size = file_data(&inode)?.size();
        if bytes.is_empty() {
            return Ok(0); // makes no file longer, wherever it is
        }
        self.begin_change(&node, &mut inode);
        // What is written over whole need not be copied first.
        let keep = if offset == 0 && end >= size { 0 } else { size };
        let before = self.written(self.own(&mut inode, keep, end.max(size)))?;
        if let Err(cause) = self.written(self.store_bytes(&mut inode, offset, bytes)) {
            // What was not copied must not be lost.
            if let Some(before) = before {
                inode.body = Body::File(before);
            }
            return Err(cause);
        }
        kill_privileges(&mut inode, kill);
        if cached && inode.dated {
            inode.ctime = now();
        } else {
            inode.touch();
        }
        Ok(bytes.len())
    }

    /// fallocate(2) with its flags: allocate, keep the size, punch a hole, or zero a range. `kill` as for
    /// [`write`](Self::write).
    ///
    /// # Errors
    /// EOPNOTSUPP for other flags or if the filesystem of the scratch folder can't; as [`write`](Self::write).
    pub fn fallocate(
        &self,
        id: NodeId,
        offset: u64,
        length: u64,
        mode: u32,
        kill: bool,
    ) -> Result<(), Errno> {
        self.check_writable()?;
        let flags = FallocateFlags::from_bits_retain(mode);
        let (keep, punch, zero) =
            (FallocateFlags::KEEP_SIZE, FallocateFlags::PUNCH_HOLE, FallocateFlags::ZERO_RANGE);
        if ![FallocateFlags::empty(), keep, keep | punch, zero, keep | zero].contains(&flags) {
            return Err(Errno::OPNOTSUPP);
        }
        let node = self.node(id)?;
        let mut inode = node.lock();
        let end = end_of(offset, length)?;
        let size = file_data(&inode)?.size();
        if length == 0 {
            return Err(Errno::INVAL);
        }
        self.begin_change(&node, &mut inode);
        let grown = if flags.contains(keep) { size } else { size.max(end) };
        self.written(self.own(&mut inode, size, grown))?;
        if grown > size {
            self.written(self.resize(&mut inode, grown))?;
        }
        if let Err(cause) = self.written(allocate(&mut inode, offset, length, flags)) {
            let _ = self.resize(&mut inode, size);
            return Err(cause);
        }
        kill_privileges(&mut inode, kill);
        inode.touch();
        Ok(())
    }

    /// lseek(2) to data or a hole.
    ///
    /// # Errors
    /// ENXIO if there is none behind `offset`; as [`read`](Self::read).
    pub fn lseek(&self, id: NodeId, offset: u64, hole: bool) -> Result<u64, Errno> {
        let node = self.node(id)?;
        let (size, reader) = {
            let mut inode = node.lock();
            self.saw_content(&mut inode);
            (file_data(&inode)?.size(), self.reader(&inode, 0, 0)?)
        };
        if offset >= size {
            return Err(Errno::NXIO);
        }
        match reader {
            Reader::Bytes(_) => Ok(if hole { size } else { offset }),
            Reader::File { file, .. } => seek(&file, offset, size, hole),
        }
    }

    /// Copies bytes from one file to another, or within one, without the caller seeing them; says how many. `kill` as
    /// for [`write`](Self::write).
    ///
    /// # Errors
    /// As [`read`](Self::read) and [`write`](Self::write).
    pub fn copy_file_range(
        &self,
        (from, start): (NodeId, u64),
        (to, target): (NodeId, u64),
        length: u64,
        kill: bool,
    ) -> Result<u64, Errno> {
        self.check_writable()?;
        let length = length.min(COPY_LIMIT);
        end_of(target, length)?;
        let mut done = 0;
        if from != to {
            done = self.copy_between_files((from, start), (to, target), length, kill)?;
        }
        while done < length {
            let wanted = usize::try_from((length - done).min(PIECE)).unwrap_or(0);
            let bytes = self.read(from, start.saturating_add(done), wanted);
            match bytes.and_then(|bytes| self.write(to, target + done, &bytes, kill)) {
                Ok(0) => break,
                Ok(count) => done += count as u64,
                // What is there already is the answer; the next call gets the error.
                Err(_) if done > 0 => break,
                Err(cause) => return Err(cause),
            }
        }
        Ok(done)
    }

    /// The part that goes from file to file without us; nothing if one of them is in memory.
    fn copy_between_files(
        &self,
        (from, start): (NodeId, u64),
        (to, target): (NodeId, u64),
        length: u64,
        kill: bool,
    ) -> Result<u64, Errno> {
        let source = self.node(from)?;
        let (file, size) = {
            let mut inode = source.lock();
            self.saw_content(&mut inode);
            match self.reader(&inode, 0, 0)? {
                Reader::File { file, size, .. } => (file, size),
                Reader::Bytes(_) => return Ok(0),
            }
        };
        let length = length.min(size.saturating_sub(start));
        let sink = self.node(to)?;
        let mut inode = sink.lock();
        let old = file_data(&inode)?.size();
        if length == 0 || target.max(length).max(old) <= self.0.inline_limit as u64 {
            return Ok(0);
        }
        self.begin_change(&sink, &mut inode);
        self.written(self.own(&mut inode, old, (target + length).max(old)))?;
        let Data::Scratch { file: scratch, size } = file_data_mut(&mut inode)? else { return Ok(0) };
        let open = scratch.open().map_err(|cause| errno(&cause))?;
        let done = copy_range(&file, start, &open, target, length).map_err(|cause| errno(&cause));
        let done = self.written(done).inspect_err(|_| {
            let _ = open.set_len(*size); // as in `store_bytes`
        })?;
        *size = (*size).max(if done > 0 { target + done } else { 0 });
        kill_privileges(&mut inode, kill);
        inode.touch();
        Ok(done)
    }
}

fn end_of(offset: u64, length: u64) -> Result<u64, Errno> {
    offset.checked_add(length).filter(|end| i64::try_from(*end).is_ok()).ok_or(Errno::FBIG)
}

fn allocate(inode: &mut Inode, offset: u64, length: u64, flags: FallocateFlags) -> Result<(), Errno> {
    match file_data_mut(inode)? {
        Data::Inline(inline) => {
            if flags.intersects(FallocateFlags::PUNCH_HOLE | FallocateFlags::ZERO_RANGE) {
                let bytes = inline.bytes_mut();
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let end = usize::try_from(offset + length).unwrap_or(usize::MAX).min(bytes.len());
                bytes[start..end].fill(0);
            }
            Ok(())
        }
        Data::Scratch { file, .. } => {
            let open = file.open().map_err(|cause| errno(&cause))?;
            rustix::fs::fallocate(&*open, flags, offset, length)
        }
        Data::Lower { .. } => Err(Errno::IO),
    }
}

fn seek(file: &File, offset: u64, size: u64, hole: bool) -> Result<u64, Errno> {
    let to = if hole { SeekFrom::Hole(offset) } else { SeekFrom::Data(offset) };
    match rustix::fs::seek(file, to) {
        Ok(at) => Ok(at.min(size)),
        Err(Errno::NXIO) => Err(Errno::NXIO),
        // Not every filesystem can tell: all is data, then.
        Err(_) => Ok(if hole { size } else { offset }),
    }
}
