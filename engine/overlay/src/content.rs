//! The bytes of one file: where they are, and moving them as late as possible.
//!
//! A file of the lower is read in place until its first write. Then as much of it as survives the write is copied:
//! into memory if it is small, else into a scratch file, by reference where the filesystem can.

use crate::{
    Errno, FileKey, Overlay, Stamp, Store as _,
    copy::clone_prefix,
    error::errno,
    node::{Body, Inode},
    place::Place,
    scratch::{Inline, ScratchFile},
};
use rbuild_tree::ObjectId;
use rustix::fs::{SeekFrom, seek};
use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc};

/// Where the bytes are.
pub(crate) enum Data {
    /// In the lower.
    Lower { source: Source, size: u64, blocks: u64 },
    /// In memory.
    Inline(Inline),
    /// In a scratch file, whose length is always the size.
    Scratch { file: ScratchFile, size: u64 },
}

/// Which file of the lower.
#[derive(Clone)]
pub(crate) enum Source {
    Object(ObjectId),
    Live { place: Arc<Place>, stamp: Stamp },
}

impl Data {
    pub fn size(&self) -> u64 {
        match self {
            Self::Lower { size, .. } | Self::Scratch { size, .. } => *size,
            Self::Inline(inline) => inline.bytes().len() as u64,
        }
    }

    /// Units of 512 bytes, as [`blocks`] counts them.
    pub fn blocks(&self) -> u64 {
        match self {
            Self::Lower { blocks, .. } => *blocks,
            Self::Inline(_) => full_blocks(self.size()),
            Self::Scratch { file, size } => match file.open() {
                Ok(file) if *size >= WORTH_ASKING => blocks(&file, *size),
                _ => full_blocks(*size),
            },
        }
    }
}

/// Files from this size on are asked for their holes, so that copying tools know that a file is sparse.
pub(crate) const WORTH_ASKING: u64 = 1 << 20;
/// Pieces of data that are looked for; what is behind them counts as data.
const MOST_PIECES: usize = 64;
/// What is stored at a time.
const PAGE: u64 = 4096;

/// Units of 512 bytes of a file without holes: a function of its size, so that a step sees the same on every machine,
/// whatever the filesystem of the store makes of it.
pub(crate) fn full_blocks(size: u64) -> u64 {
    size.div_ceil(PAGE) * (PAGE / 512)
}

/// Units of 512 bytes of a file of the store or a scratch file: fewer only if it has holes.
pub(crate) fn blocks(file: &File, size: u64) -> u64 {
    let (mut at, mut data) = (0, 0);
    for _ in 0..MOST_PIECES {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start.min(size),
            Err(Errno::NXIO) => return data,
            Err(_) => at, // this filesystem can't tell
        };
        at = seek(file, SeekFrom::Hole(start)).map_or(size, |end| end.min(size));
        data += full_blocks(at - start);
        if at == size {
            return data;
        }
    }
    data + full_blocks(size - at)
}

/// A file's bytes as they can be read without its lock.
pub(crate) enum Reader {
    Bytes(Vec<u8>),
    /// The first so many bytes of a file; it has them all, unless it is damaged or still changes.
    File {
        file: Arc<File>,
        size: u64,
        fixed: bool,
    },
}

impl Overlay {
    /// Opens a file of the lower.
    pub(crate) fn open_lower(&self, source: &Source) -> io::Result<Arc<File>> {
        match source {
            Source::Object(id) => self.0.files.get(&FileKey::Object(*id), || self.0.store.open(id)),
            Source::Live { place, stamp } => {
                let key = FileKey::Host(stamp.device, stamp.inode);
                let live = || self.0.base.live().ok_or_else(|| io::Error::from(Errno::IO));
                self.0.files.get(&key, || live()?.file(&place.path()))
            }
        }
    }

    /// What a reader needs, while the inode is locked.
    pub(crate) fn reader(&self, inode: &Inode, offset: u64, length: usize) -> Result<Reader, Errno> {
        let data = file_data(inode)?;
        let io = |cause: io::Error| errno(&cause);
        Ok(match data {
            Data::Inline(inline) => {
                let bytes = inline.bytes();
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let end = start.saturating_add(length).min(bytes.len());
                Reader::Bytes(bytes[start..end].to_vec())
            }
            Data::Scratch { file, size } => {
                Reader::File { file: file.open().map_err(io)?, size: *size, fixed: false }
            }
            // Nothing to look for.
            Data::Lower { size: 0, .. } => Reader::Bytes(Vec::new()),
            Data::Lower { source, size, .. } => {
                let fixed = matches!(source, Source::Object(_));
                Reader::File { file: self.open_lower(source).map_err(io)?, size: *size, fixed }
            }
        })
    }

    /// Makes the bytes the mount's own, with room for `room` of them: the first `keep` as they are, then zeroes. The
    /// caller sets the size it wants next. Gives what was there, if that was replaced.
    pub(crate) fn own(&self, inode: &mut Inode, keep: u64, room: u64) -> Result<Option<Data>, Errno> {
        let reads = matches!(file_data(inode)?, Data::Lower { size, .. } if keep > 0 && *size > 0);
        if reads {
            self.saw_content(inode);
        }
        let fits = room.max(keep) <= self.0.inline_limit as u64;
        let owned = match file_data(inode)? {
            Data::Inline(_) if fits => None,
            Data::Inline(inline) => Some(self.spill(inline.bytes())?),
            Data::Scratch { .. } => None,
            Data::Lower { source, size, .. } => Some(self.copy_up(source, keep.min(*size), fits)?),
        };
        let Some(owned) = owned else { return Ok(None) };
        Ok(Some(std::mem::replace(file_data_mut(inode)?, owned)))
    }

    fn copy_up(&self, source: &Source, keep: u64, fits: bool) -> Result<Data, Errno> {
        let io = |cause: io::Error| errno(&cause);
        let length = usize::try_from(keep).map_err(|_| Errno::FBIG)?;
        let mut inline = Inline::new(&self.0.budget);
        if fits && inline.resize(length) {
            if length > 0 {
                self.open_lower(source)
                    .and_then(|file| file.read_exact_at(inline.bytes_mut(), 0))
                    .map_err(io)?;
            }
            return Ok(Data::Inline(inline));
        }
        drop(inline);
        let file = self.0.scratch.create().map_err(io)?;
        if keep > 0 {
            let lower = self.open_lower(source).map_err(io)?;
            clone_prefix(&lower, &*file.open().map_err(io)?, keep).map_err(io)?;
        }
        Ok(Data::Scratch { file, size: keep })
    }

    fn spill(&self, bytes: &[u8]) -> Result<Data, Errno> {
        let file = self.0.scratch.create().map_err(|cause| errno(&cause))?;
        file.open().and_then(|open| open.write_all_at(bytes, 0)).map_err(|cause| errno(&cause))?;
        Ok(Data::Scratch { file, size: bytes.len() as u64 })
    }

    /// Changes the size of bytes that are the mount's own; new ones are zero.
    pub(crate) fn resize(&self, inode: &mut Inode, length: u64) -> Result<(), Errno> {
        if let Data::Inline(inline) = file_data_mut(inode)? {
            let wanted = usize::try_from(length).map_err(|_| Errno::FBIG)?;
            if wanted <= self.0.inline_limit && inline.resize(wanted) {
                return Ok(());
            }
            let spilled = self.spill(inline.bytes())?;
            inode.body = Body::File(spilled);
        }
        if let Data::Scratch { file, size } = file_data_mut(inode)? {
            file.open().and_then(|open| open.set_len(length)).map_err(|cause| errno(&cause))?;
            *size = length;
        }
        Ok(())
    }

    /// Writes into bytes that are the mount's own.
    pub(crate) fn store_bytes(&self, inode: &mut Inode, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        let end = offset.checked_add(bytes.len() as u64).ok_or(Errno::FBIG)?;
        if end > file_data(inode)?.size() && matches!(file_data(inode)?, Data::Inline(_)) {
            self.resize(inode, end)?;
        }
        match file_data_mut(inode)? {
            Data::Inline(inline) => {
                let start = usize::try_from(offset).map_err(|_| Errno::FBIG)?;
                inline.bytes_mut()[start..start + bytes.len()].copy_from_slice(bytes);
            }
            Data::Scratch { file, size } => {
                let open = file.open().map_err(|cause| errno(&cause))?;
                if let Err(cause) = open.write_all_at(bytes, offset) {
                    let _ = open.set_len(*size); // part of it may be there: nobody shall see that
                    return Err(errno(&cause));
                }
                *size = end.max(*size);
            }
            Data::Lower { .. } => return Err(Errno::IO),
        }
        Ok(())
    }
}

/// The bytes of a regular file.
pub(crate) fn file_data(inode: &Inode) -> Result<&Data, Errno> {
    match &inode.body {
        Body::File(data) => Ok(data),
        Body::Directory(_) => Err(Errno::ISDIR),
        _ => Err(Errno::INVAL),
    }
}

/// The same, to change them.
pub(crate) fn file_data_mut(inode: &mut Inode) -> Result<&mut Data, Errno> {
    match &mut inode.body {
        Body::File(data) => Ok(data),
        Body::Directory(_) => Err(Errno::ISDIR),
        _ => Err(Errno::INVAL),
    }
}

impl Reader {
    /// At most `length` bytes from `offset` on.
    pub fn read(self, offset: u64, length: usize) -> Result<Vec<u8>, Errno> {
        let (file, size, fixed) = match self {
            Self::Bytes(bytes) => return Ok(bytes),
            Self::File { file, size, fixed } => (file, size, fixed),
        };
        let length = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX).min(length);
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let at = offset + bytes.len() as u64;
            match rustix::io::pread(&*file, rustix::buffer::spare_capacity(&mut bytes), at) {
                Ok(0) if fixed => return Err(Errno::IO), // an object that is shorter than its entry says
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(cause) => return Err(cause),
            }
        }
        bytes.truncate(length);
        Ok(bytes)
    }
}
