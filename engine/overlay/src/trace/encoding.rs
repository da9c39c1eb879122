//! A trace as bytes, for records.
//!
//! ```text
//! trace       "rbR" 1, count, (path, seen)*        paths strictly ascending bytewise by name
//! path        shared (bytes in common with the path before), length and bytes of the rest
//! seen        flags (1 attributes, 2 absent, 4 listing, 8 content), then attributes, listing (32), content (32)
//! attributes  kind, mode, uid, gid, flags (1 time, 2 xattrs, 4 links), seconds (8), nanoseconds (4),
//!             xattrs digest (32), links digest (32)
//! kind        0 file: size | 1 directory | 2 symbolic link: target | 3, 4 devices: major, minor | 5 fifo | 6 socket
//! ```
//! Fixed numbers are little-endian, others LEB128 in their shortest form. Any change needs new magic bytes.

use super::{
    Seen, Trace,
    wire::{Reader, Writer},
};
use rbuild_tree::{Error, TreePath};

const MAGIC: [u8; 4] = *b"rbR\x01";

impl Trace {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer(MAGIC.to_vec());
        out.number(self.entries.len() as u64);
        let mut last: &[u8] = &[];
        for (path, seen) in &self.entries {
            let path = path.as_bytes();
            let shared = path.iter().zip(last).take_while(|(a, b)| a == b).count();
            out.number(shared as u64);
            out.bytes(&path[shared..]);
            seen.encode(&mut out);
            last = path;
        }
        out.0
    }

    /// Reads what [`Trace::encode`] wrote.
    ///
    /// # Errors
    /// [`Error::Encoding`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        decode(bytes).map_err(|reason| Error::Encoding { what: "trace", reason: reason.to_owned() })
    }
}

fn decode(bytes: &[u8]) -> Result<Trace, &'static str> {
    let mut input = Reader(bytes);
    if input.take(4)? != MAGIC {
        return Err("it does not start with the magic bytes of this version");
    }
    let mut trace = Trace::default();
    let mut last = Vec::new();
    for _ in 0..input.number()? {
        let shared = usize::try_from(input.number()?).map_err(|_| "a path is too long")?;
        if shared > last.len() {
            return Err("a path shares more than there is");
        }
        last.truncate(shared);
        last.extend_from_slice(input.bytes()?);
        let path = TreePath::parse(&last).map_err(|_| "a path is not valid")?;
        if path.as_bytes() != last
            || trace.entries.last_key_value().is_some_and(|(before, _)| *before >= path)
        {
            return Err("paths are not ascending");
        }
        trace.entries.insert(path, Seen::decode(&mut input)?);
    }
    if input.0.is_empty() { Ok(trace) } else { Err("bytes are left over") }
}

impl Seen {
    fn encode(&self, out: &mut Writer) {
        let flags = [self.attributes.is_some(), self.absent, self.listing.is_some(), self.content.is_some()];
        out.byte(flags.iter().rev().fold(0, |byte, flag| byte << 1 | u8::from(*flag)));
        if let Some(attributes) = &self.attributes {
            out.attributes(attributes);
        }
        out.digests(&[self.listing, self.content]);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, &'static str> {
        let flags = input.byte()?;
        if flags > 15 {
            return Err("an entry has unknown parts");
        }
        let attributes = if flags & 1 == 0 { None } else { Some(input.attributes()?) };
        let (listing, content) = (input.digest(flags & 4 != 0)?, input.digest(flags & 8 != 0)?);
        Ok(Self { attributes, absent: flags & 2 != 0, listing, content })
    }
}
