//! Reading an archive entry by entry, from a stream.
//!
//! Memory is bounded whatever the archive says: headers (with PAX, long names and sparse maps) may take
//! [`LARGEST_HEADERS`] bytes together, content is handed through. What an entry may mean for a tree (paths, links)
//! is not judged here.

use super::{
    BLOCK, display,
    member::{Member, member},
    pax,
    sparse::{Expanded, Sparse},
};
use crate::{Error, Result, error::after};
use std::io::{self, Read};
use tar_core::{
    EntryType, Header, HeaderError, SparseEntry,
    parse::{Limits, ParseError, ParseEvent, ParsedEntry, Parser},
};

/// PAX records, long names and sparse maps of one entry.
const LARGEST_METADATA: u32 = 1 << 20;
const LARGEST_HEADERS: usize = 3 << 20;
const CHUNK: usize = 1 << 16;

/// An archive being read.
pub(crate) struct Archive<'r> {
    reader: &'r mut dyn Read,
    parser: Parser,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes handed out of the buffer since the beginning of the archive.
    position: u64,
    /// Content of the current entry not read yet, and the padding behind it.
    content: u64,
    padding: u64,
    last: String,
}

/// What the parser said, freed from the buffer it borrowed.
enum Step {
    Need(usize),
    Skip(usize),
    Member(usize, Box<Member>),
    End(usize),
}

impl<'r> Archive<'r> {
    /// Starts at the beginning of an uncompressed archive.
    pub fn new(reader: &'r mut dyn Read) -> Self {
        let limits =
            Limits { max_metadata_size: LARGEST_METADATA, max_sparse_entries: 100_000, ..Limits::default() };
        let mut parser = Parser::new(limits);
        // It reads times without fraction or sign only; `Member`s are read from the records themselves.
        parser.set_ignore_pax_errors(true);
        Self {
            reader,
            parser,
            buffer: vec![0; CHUNK],
            start: 0,
            end: 0,
            position: 0,
            content: 0,
            padding: 0,
            last: String::new(),
        }
    }

    /// The next entry; none at the end, up to which everything was then read. Skips content that was not read.
    ///
    /// # Errors
    /// [`Error::Archive`], [`Error::Entry`] for what is malformed, [`Error::Truncated`], [`Error::Io`].
    pub fn next(&mut self) -> Result<Option<Member>> {
        self.skip_content()?;
        loop {
            match self.step()? {
                Step::Need(bytes) => {
                    if !self.fill(bytes)? {
                        return self.end_without_marker();
                    }
                }
                Step::Skip(consumed) => self.consume(consumed),
                Step::Member(consumed, member) => {
                    self.consume(consumed);
                    self.last = member.name();
                    self.content = member.stored;
                    self.padding = member.stored.next_multiple_of(BLOCK as u64) - member.stored;
                    return Ok(Some(*member));
                }
                Step::End(consumed) => {
                    self.consume(consumed);
                    self.drain()?;
                    return Ok(None);
                }
            }
        }
    }

    /// The content of the entry that [`Self::next`] gave last, as stored.
    pub fn content(&mut self) -> Content<'_, 'r> {
        Content(self)
    }

    /// The same with holes as zeros.
    pub fn expanded(&mut self, member: &Member) -> Expanded<Content<'_, 'r>> {
        let sparse = member.sparse.clone().unwrap_or_else(|| Sparse::solid(member.stored));
        sparse.expand(Content(self))
    }

    /// Where the content of the current entry starts, counted from the beginning of the archive.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// What an error met while reading this entry's content means.
    pub fn content_error(&self, error: io::Error) -> Error {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Error::Truncated { last: self.last.clone() };
        }
        Error::Io { context: format!("archive entry {:?}", self.last), source: error }
    }

    /// What an error met while reading between contents means.
    fn stream_error(&self, error: io::Error) -> Error {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Error::Truncated { last: self.last.clone() };
        }
        Error::Io { context: format!("the archive {}", after(&self.last)), source: error }
    }

    fn step(&mut self) -> Result<Step> {
        if claims_too_much(&self.buffer[self.start..self.end]) {
            return Err(self.malformed("metadata exceeds limit"));
        }
        let last = &self.last;
        let event = self.parser.parse(&self.buffer[self.start..self.end]);
        let event = event.map_err(|e| Error::Archive { last: last.clone(), reason: reason_of(&e) })?;
        Ok(match event {
            ParseEvent::NeedData { min_bytes } => Step::Need(min_bytes),
            ParseEvent::Entry { consumed, entry } => step_of(consumed, &entry, None)?,
            ParseEvent::SparseEntry { consumed, entry, sparse_map, real_size } => {
                step_of(consumed, &entry, Some((sparse_map, real_size)))?
            }
            ParseEvent::GlobalExtensions { consumed, pax_data } => {
                check_global(pax_data).map_err(|reason| Error::Archive { last: last.clone(), reason })?;
                Step::Skip(consumed)
            }
            ParseEvent::End { consumed } => Step::End(consumed),
        })
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
        self.position += count as u64;
    }

    /// Buffers `bytes` at least, more than now; says whether the archive has as many.
    fn fill(&mut self, bytes: usize) -> Result<bool> {
        let have = self.end - self.start;
        // The parser may ask for what it has already seen (a sparse map without a line end): always go forward.
        let least = bytes.max(have + BLOCK);
        if least > LARGEST_HEADERS {
            return Err(self.malformed("its headers are larger than 3 MiB"));
        }
        // It starts again at the first header each time, so what it gets must grow by a share of what it had.
        let want = least.max(have + have / 2);
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, have);
        if self.buffer.len() < want {
            self.buffer.resize(want.next_multiple_of(CHUNK), 0);
        }
        while self.end < want {
            match self.read_once()? {
                0 => break,
                count => self.end += count,
            }
        }
        Ok(self.end >= least)
    }

    fn read_once(&mut self) -> Result<usize> {
        loop {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map_err(|error| self.stream_error(error)),
            }
        }
    }

    /// The stream is over but no marker said so. Many writers leave it (or its second block) out, so a stop between
    /// two entries counts as the end; whoever needs more has a digest.
    fn end_without_marker(&self) -> Result<Option<Member>> {
        let rest = &self.buffer[self.start..self.end];
        let lone_zero_block = rest.len() == BLOCK && rest.iter().all(|byte| *byte == 0);
        let between = rest.is_empty() && self.position > 0;
        if lone_zero_block || between { Ok(None) } else { Err(Error::Truncated { last: self.last.clone() }) }
    }

    fn skip_content(&mut self) -> Result<()> {
        let mut left = self.content + self.padding;
        (self.content, self.padding) = (0, 0);
        while left > 0 {
            if self.start == self.end {
                self.fill(1)?; // less than it wants is enough here
            }
            if self.start == self.end {
                return Err(Error::Truncated { last: self.last.clone() });
            }
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(self.end - self.start);
            self.consume(count);
            left -= count as u64;
        }
        Ok(())
    }

    /// Reads what follows the end marker, so that checks at the end of the stream (digest, checksum) happen.
    fn drain(&mut self) -> Result<()> {
        (self.start, self.end) = (0, 0);
        while self.read_once()? > 0 {}
        Ok(())
    }

    fn malformed(&self, reason: &str) -> Error {
        Error::Archive { last: self.last.clone(), reason: reason.to_owned() }
    }
}

/// What the parser found, in words.
fn reason_of(error: &ParseError) -> String {
    match error {
        ParseError::Header(HeaderError::InvalidOctal(bytes)) => {
            format!("header error: not an octal number: {:?}", String::from_utf8_lossy(bytes))
        }
        other => other.to_string(),
    }
}

/// The content of the current entry.
pub(crate) struct Content<'a, 'r>(&'a mut Archive<'r>);

impl Read for Content<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let archive = &mut *self.0;
        let room = usize::try_from(archive.content).unwrap_or(usize::MAX).min(buffer.len());
        if room == 0 {
            return Ok(0);
        }
        let buffered = archive.end - archive.start;
        let count = if buffered > 0 {
            let count = room.min(buffered);
            buffer[..count].copy_from_slice(&archive.buffer[archive.start..archive.start + count]);
            archive.start += count;
            count
        } else {
            archive.reader.read(&mut buffer[..room])?
        };
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive is cut off"));
        }
        archive.position += count as u64;
        archive.content -= count as u64;
        Ok(count)
    }
}

/// Whether an extension header at the front claims to be larger than any may be. The parser adds such claims up
/// before it judges them, which overflows for the largest.
fn claims_too_much(mut headers: &[u8]) -> bool {
    use EntryType::{GnuLongLink, GnuLongName, XGlobalHeader, XHeader};
    while let Some((block, rest)) = headers.split_first_chunk::<BLOCK>() {
        let header = Header::from_bytes(block);
        let is_extension = matches!(header.entry_type(), GnuLongName | GnuLongLink | XHeader | XGlobalHeader);
        if !is_extension && !header.is_empty() {
            return false;
        }
        let size = header.entry_size().unwrap_or(0);
        if size > LARGEST_METADATA.into() {
            return true;
        }
        headers = rest.get((size as usize).next_multiple_of(BLOCK)..).unwrap_or_default();
    }
    false
}

/// Global PAX headers give defaults for all entries. A comment (git puts the commit there) means nothing; the rest
/// is refused, since ignoring it would give another tree than the archive's author meant.
fn check_global(data: &[u8]) -> Result<(), String> {
    for (key, _) in pax::records(data)? {
        if !matches!(key, b"comment" | b"charset" | b"hdrcharset" | b"atime" | b"ctime") {
            return Err(format!("a global PAX header sets {:?}, which is not supported", display(key)));
        }
    }
    Ok(())
}

fn step_of(
    consumed: usize,
    entry: &ParsedEntry<'_>,
    sparse: Option<(Vec<SparseEntry>, u64)>,
) -> Result<Step> {
    if entry.entry_type == EntryType::Other(b'V') {
        return Ok(Step::Skip(consumed)); // GNU's label of the volume
    }
    let member = member(entry, sparse)
        .map_err(|reason| Error::Entry { entry: display(&entry.path), reason: reason.into_owned() })?;
    Ok(Step::Member(consumed, Box::new(member)))
}
