//! The canonical encoding: one value, one sequence of bytes, for ever.
//!
//! Every encoding starts with four magic bytes whose last is the version. Numbers are LEB128 (shortest form), signed
//! ones zig-zag; byte strings are a length and the bytes; lists are a count and the items.
//!
//! ```text
//! tree      "rbt" 1, count, (name, entry)*                 names strictly ascending bytewise
//! snapshot  "rbs" 1, metadata, tree id (32), links
//! delta     "rbd" 1, directory change, links
//! entry     metadata, kind
//! metadata  mode, uid, gid, seconds (signed), nanoseconds, count, (xattr name, value)*   names strictly ascending
//! kind      0 file: object id (32), size | 1 directory: tree id (32) | 2 symbolic link: target
//!           3 character device: major, minor | 4 block device: major, minor | 5 fifo | 6 socket
//! links     count, (count, path*)*                         as ordered by `Links`
//! directory change   0 | 1 metadata, count, (name, change)*
//! change    0 removed | 1 replaced: entry | 2 directory: directory change
//! ```
//!
//! Decoding accepts nothing but canonical bytes. Changing any of this is a format break: new magic, CHANGELOG entry.

use crate::{
    Change, Delta, Device, DirectoryChange, Entry, Error, Kind, Links, Metadata, ObjectId, Result, Snapshot,
    Timestamp, Tree, TreeId, TreePath, Xattrs,
    tree::{Name, is_valid_name},
};
use std::collections::BTreeMap;

const TREE: [u8; 4] = *b"rbt\x01";
const SNAPSHOT: [u8; 4] = *b"rbs\x01";
const DELTA: [u8; 4] = *b"rbd\x01";
/// Directory changes nest, and decoding them recurses; the overlay refuses to make directories deeper than this.
pub const MAX_DEPTH: usize = 2_000;

/// The canonical bytes of a tree.
pub fn encode_tree(tree: &Tree) -> Vec<u8> {
    let mut out = Writer::new(TREE, 64 * tree.len());
    out.number(tree.len() as u64);
    for (name, entry) in tree.iter() {
        out.bytes(name);
        out.entry(entry);
    }
    out.0
}

/// Reads what [`encode_tree`] wrote.
///
/// # Errors
/// [`Error::Encoding`] for anything else.
pub fn decode_tree(bytes: &[u8]) -> Result<Tree> {
    let mut input = Reader::new("tree", bytes, TREE)?;
    let count = input.count()?;
    let mut entries: Vec<(Name, Entry)> = Vec::with_capacity(count.min(bytes.len() / 8));
    for _ in 0..count {
        let name = input.name()?;
        if entries.last().is_some_and(|(last, _)| **last >= *name) {
            return Err(input.refuse("names are not ascending"));
        }
        entries.push((name, input.entry()?));
    }
    input.end()?;
    Ok(Tree::from_sorted(entries))
}

/// The canonical bytes of a snapshot.
pub fn encode_snapshot(snapshot: &Snapshot) -> Vec<u8> {
    let mut out = Writer::new(SNAPSHOT, 128);
    out.metadata(&snapshot.root);
    out.0.extend_from_slice(snapshot.tree.as_bytes());
    out.links(&snapshot.links);
    out.0
}

/// Reads what [`encode_snapshot`] wrote.
///
/// # Errors
/// [`Error::Encoding`] for anything else.
pub fn decode_snapshot(bytes: &[u8]) -> Result<Snapshot> {
    let mut input = Reader::new("snapshot", bytes, SNAPSHOT)?;
    let snapshot = Snapshot {
        root: input.metadata()?,
        tree: TreeId::from_bytes(input.digest()?),
        links: input.links()?,
    };
    input.end()?;
    Ok(snapshot)
}

/// The canonical bytes of a delta.
pub fn encode_delta(delta: &Delta) -> Vec<u8> {
    let mut out = Writer::new(DELTA, 256);
    out.directory_change(&delta.root);
    out.links(&delta.links);
    out.0
}

/// Reads what [`encode_delta`] wrote.
///
/// # Errors
/// [`Error::Encoding`] for anything else.
pub fn decode_delta(bytes: &[u8]) -> Result<Delta> {
    let mut input = Reader::new("delta", bytes, DELTA)?;
    let delta = Delta { root: input.directory_change(0)?, links: input.links()? };
    input.end()?;
    Ok(delta)
}

struct Writer(Vec<u8>);

impl Writer {
    fn new(magic: [u8; 4], capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity + 16);
        bytes.extend_from_slice(&magic);
        Self(bytes)
    }

    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn signed(&mut self, value: i64) {
        self.number(((value << 1) ^ (value >> 63)) as u64);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn metadata(&mut self, metadata: &Metadata) {
        for value in [metadata.mode, metadata.uid, metadata.gid] {
            self.number(value.into());
        }
        self.signed(metadata.mtime.seconds);
        self.number(metadata.mtime.nanoseconds.into());
        self.number(metadata.xattrs.len() as u64);
        for (name, value) in &metadata.xattrs {
            self.bytes(name);
            self.bytes(value);
        }
    }

    fn entry(&mut self, entry: &Entry) {
        self.metadata(&entry.metadata);
        match &entry.kind {
            Kind::File { object, size } => {
                self.0.push(0);
                self.0.extend_from_slice(object.as_bytes());
                self.number(*size);
            }
            Kind::Directory(tree) => {
                self.0.push(1);
                self.0.extend_from_slice(tree.as_bytes());
            }
            Kind::Symlink(target) => {
                self.0.push(2);
                self.bytes(target);
            }
            Kind::CharDevice(device) => self.device(3, *device),
            Kind::BlockDevice(device) => self.device(4, *device),
            Kind::Fifo => self.0.push(5),
            Kind::Socket => self.0.push(6),
        }
    }

    fn device(&mut self, tag: u8, device: Device) {
        self.0.push(tag);
        self.number(device.major.into());
        self.number(device.minor.into());
    }

    fn links(&mut self, links: &Links) {
        self.number(links.groups().len() as u64);
        for group in links.groups() {
            self.number(group.len() as u64);
            group.iter().for_each(|path| self.bytes(path.as_bytes()));
        }
    }

    fn directory_change(&mut self, change: &DirectoryChange) {
        match &change.metadata {
            None => self.0.push(0),
            Some(metadata) => {
                self.0.push(1);
                self.metadata(metadata);
            }
        }
        self.number(change.children.len() as u64);
        for (name, child) in &change.children {
            self.bytes(name);
            match child {
                Change::Removed => self.0.push(0),
                Change::Replaced(entry) => {
                    self.0.push(1);
                    self.entry(entry);
                }
                Change::Directory(inner) => {
                    self.0.push(2);
                    self.directory_change(inner);
                }
            }
        }
    }
}

struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(what: &'static str, bytes: &'a [u8], magic: [u8; 4]) -> Result<Self> {
        let mut input = Self { what, rest: bytes };
        if input.take(4)? != magic {
            return Err(input.refuse("it does not start with the magic bytes of this version"));
        }
        Ok(input)
    }

    fn refuse(&self, reason: &str) -> Error {
        Error::Encoding { what: self.what, reason: reason.to_owned() }
    }

    fn end(&self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.refuse("bytes are left over")) }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (head, rest) =
            self.rest.split_at_checked(count).ok_or_else(|| self.refuse("it ends too early"))?;
        self.rest = rest;
        Ok(head)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits || (byte == 0 && shift > 0) {
                return Err(self.refuse("a number is not in its shortest form"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.refuse("a number is too long"))
    }

    fn small(&mut self) -> Result<u32> {
        let value = self.number()?;
        u32::try_from(value).map_err(|_| self.refuse("a number is too large"))
    }

    fn signed(&mut self) -> Result<i64> {
        let value = self.number()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A count of items, each of which takes a byte at least: bounded by what is left.
    fn count(&mut self) -> Result<usize> {
        let count = self.number()?;
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= self.rest.len())
            .ok_or_else(|| self.refuse("it ends too early"))
    }

    fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.count()?;
        self.take(length)
    }

    fn digest(&mut self) -> Result<[u8; 32]> {
        let bytes = self.take(32)?;
        bytes.try_into().map_err(|_| self.refuse("it ends too early"))
    }

    fn name(&mut self) -> Result<Name> {
        let name = self.bytes()?;
        if is_valid_name(name) { Ok(name.into()) } else { Err(self.refuse("a name is not valid")) }
    }

    fn metadata(&mut self) -> Result<Metadata> {
        let (mode, uid, gid) = (self.small()?, self.small()?, self.small()?);
        let mtime = Timestamp { seconds: self.signed()?, nanoseconds: self.small()? };
        if mode > 0o7777 || mtime.nanoseconds > 999_999_999 {
            return Err(self.refuse("mode or time is out of range"));
        }
        let mut xattrs = Xattrs::new();
        for _ in 0..self.count()? {
            let (name, value) = (self.bytes()?, self.bytes()?);
            if xattrs.last_key_value().is_some_and(|(last, _)| **last >= *name) {
                return Err(self.refuse("extended attributes are not ascending"));
            }
            xattrs.insert(name.into(), value.into());
        }
        Ok(Metadata { mode, uid, gid, mtime, xattrs })
    }

    fn entry(&mut self) -> Result<Entry> {
        let metadata = self.metadata()?;
        let kind = match self.byte()? {
            0 => Kind::File { object: ObjectId::from_bytes(self.digest()?), size: self.number()? },
            1 => Kind::Directory(TreeId::from_bytes(self.digest()?)),
            2 => Kind::Symlink(self.bytes()?.into()),
            3 => Kind::CharDevice(self.device()?),
            4 => Kind::BlockDevice(self.device()?),
            5 => Kind::Fifo,
            6 => Kind::Socket,
            _ => return Err(self.refuse("an entry is of no known kind")),
        };
        Ok(Entry { metadata, kind })
    }

    fn device(&mut self) -> Result<Device> {
        Ok(Device { major: self.small()?, minor: self.small()? })
    }

    fn links(&mut self) -> Result<Links> {
        let mut groups = Vec::new();
        for _ in 0..self.count()? {
            let mut group = Vec::new();
            for _ in 0..self.count()? {
                group.push(self.path()?);
            }
            groups.push(group);
        }
        let links = Links::new(groups.iter().cloned());
        if links.groups() == groups { Ok(links) } else { Err(self.refuse("the link table is not in order")) }
    }

    /// A path as it is kept: neither `a//b` nor the root, which has no other name.
    fn path(&mut self) -> Result<TreePath> {
        let bytes = self.bytes()?;
        match TreePath::parse(bytes) {
            Ok(path) if path.as_bytes() == bytes && !path.is_root() => Ok(path),
            _ => Err(self.refuse("a path in the link table is not valid")),
        }
    }

    fn directory_change(&mut self, depth: usize) -> Result<DirectoryChange> {
        if depth > MAX_DEPTH {
            return Err(self.refuse("it nests too deep"));
        }
        let metadata = match self.byte()? {
            0 => None,
            1 => Some(self.metadata()?),
            _ => return Err(self.refuse("a directory's change is of no known kind")),
        };
        let mut children: BTreeMap<Name, Change> = BTreeMap::new();
        for _ in 0..self.count()? {
            let name = self.name()?;
            if children.last_key_value().is_some_and(|(last, _)| **last >= *name) {
                return Err(self.refuse("names are not ascending"));
            }
            let change = match self.byte()? {
                0 => Change::Removed,
                1 => Change::Replaced(self.entry()?),
                2 => Change::Directory(self.directory_change(depth + 1)?),
                _ => return Err(self.refuse("a change is of no known kind")),
            };
            children.insert(name, change);
        }
        Ok(DirectoryChange { metadata, children })
    }
}
