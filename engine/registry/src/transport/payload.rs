//! What is sent: nothing, bytes, or a part of a blob, read while it goes out.

use super::Cancel;
use crate::{Error, Result, error::io_error};
use std::{
    fs::File,
    io::{self, Read, Seek},
    path::{Path, PathBuf},
};

/// A body of so many bytes is sent when the server has seen the head of its request and agrees: a refusal (401, 413)
/// comes before them, and not as a connection that breaks off under them. Servers that say nothing get it a second
/// later.
const ASKED_FIRST: u64 = 1 << 20;

/// Bytes that can be read again from anywhere: a push starts over where the registry lost them.
pub trait BlobSource: Send + Sync {
    /// A reader from this byte on.
    ///
    /// # Errors
    /// What opening or seeking gave.
    fn open_at(&self, offset: u64) -> io::Result<Box<dyn Read + Send + '_>>;

    /// The file they are in, for errors.
    fn file(&self) -> Option<&Path> {
        None
    }
}

impl BlobSource for [u8] {
    fn open_at(&self, offset: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        Ok(Box::new(self.get(offset..).unwrap_or_default()))
    }
}

impl BlobSource for Vec<u8> {
    fn open_at(&self, offset: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        self.as_slice().open_at(offset)
    }
}

impl BlobSource for Path {
    fn open_at(&self, offset: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        let mut file = File::open(self)?;
        file.seek(io::SeekFrom::Start(offset))?;
        Ok(Box::new(file))
    }

    fn file(&self) -> Option<&Path> {
        Some(self)
    }
}

impl BlobSource for PathBuf {
    fn open_at(&self, offset: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        self.as_path().open_at(offset)
    }

    fn file(&self) -> Option<&Path> {
        Some(self)
    }
}

/// What is sent with a request.
#[derive(Clone, Copy)]
pub(crate) enum Payload<'a> {
    None,
    Bytes(&'a [u8]),
    Part(Part<'a>),
}

/// A part of a blob.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    pub source: &'a dyn BlobSource,
    pub offset: u64,
    pub length: u64,
    /// The blob, for errors.
    pub what: &'a str,
    /// Is told how far into the blob it got.
    pub sent: &'a dyn Fn(u64),
}

impl<'a> Part<'a> {
    pub(super) fn is_asked_first(&self) -> bool {
        self.length >= ASKED_FIRST
    }

    pub fn open(&self, cancel: &'a Cancel) -> Result<PartReader<'a>> {
        let file = self.source.file().map(|file| format!(" ({})", file.display())).unwrap_or_default();
        let context = format!("reading {}, which is to be pushed{file}", self.what);
        let inner = self.source.open_at(self.offset).map_err(io_error(context.as_str()))?;
        Ok(PartReader { inner, offset: self.offset, left: self.length, context, sent: self.sent, cancel })
    }
}

/// A part of a blob on its way out. Its errors are this machine's, not the connection's.
pub(crate) struct PartReader<'a> {
    inner: Box<dyn Read + Send + 'a>,
    /// Of the next byte in the blob.
    offset: u64,
    left: u64,
    context: String,
    sent: &'a dyn Fn(u64),
    cancel: &'a Cancel,
}

impl Read for PartReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.cancel.check().map_err(Error::into_io)?;
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let count = match self.inner.read(&mut buffer[..most]) {
            Ok(0) => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it has fewer bytes than were announced"))
            }
            result => result,
        };
        let count = count.map_err(|error| io_error(self.context.as_str())(error).into_io())?;
        self.left -= count as u64;
        self.offset += count as u64;
        (self.sent)(self.offset);
        Ok(count)
    }
}
