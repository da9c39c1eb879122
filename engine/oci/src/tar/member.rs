//! What an entry of an archive says, all its extensions applied.
//!
//! `tar-core` joins the headers of an entry; numbers, times and attributes are read here from the PAX records
//! themselves, since it knows no fractions, no times before 1970, and takes what is malformed for absent.

use super::{display, pax, sparse::Sparse};
use crate::{Error, Result};
use rbuild_tree::{
    Device, Metadata, Timestamp, Xattrs,
    entry::{image_value, is_kept_xattr},
};
use std::borrow::Cow;
use tar_core::{EntryType, SparseEntry, parse::ParsedEntry};

// No file of Linux can have more (linux/limits.h).
const LONGEST_ATTRIBUTE_NAME: usize = 255;
const LARGEST_ATTRIBUTE: usize = 64 << 10;
const LARGEST_ATTRIBUTE_LIST: usize = 64 << 10;

/// Bytes of a path or a link's target that every entry may have.
const USUAL_PATH: usize = 255;

/// What an entry of an archive is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum MemberKind {
    File,
    Directory,
    Symlink(Vec<u8>),
    /// The path of another entry, as the archive says it.
    HardLink(Vec<u8>),
    CharDevice(Device),
    BlockDevice(Device),
    Fifo,
}

/// One entry of an archive, all extensions applied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Member {
    /// As the archive says it: perhaps absolute, perhaps with `..`.
    pub path: Vec<u8>,
    pub kind: MemberKind,
    pub metadata: Metadata,
    /// Bytes of content in the archive; 0 for everything but a file.
    pub stored: u64,
    /// Where these bytes belong, if the file has holes.
    pub sparse: Option<Sparse>,
}

impl Member {
    /// Its path for messages.
    pub fn name(&self) -> String {
        display(&self.path)
    }

    /// Bytes of the file with its holes.
    pub fn size(&self) -> u64 {
        self.sparse.as_ref().map_or(self.stored, |sparse| sparse.size)
    }

    /// Bytes that it says of itself beyond what is usual: attributes, and what is long of its paths.
    pub fn extra(&self) -> u64 {
        let target = match &self.kind {
            MemberKind::Symlink(target) | MemberKind::HardLink(target) => target.len(),
            _ => 0,
        };
        let paths = [self.path.len(), target].map(|length| length.saturating_sub(USUAL_PATH));
        let attributes = self.metadata.xattrs.iter().map(|(name, value)| name.len() + value.len());
        attributes.chain(paths).sum::<usize>() as u64
    }

    /// An error about this entry.
    pub fn refuse(&self, reason: impl Into<String>) -> Error {
        Error::Entry { entry: self.name(), reason: reason.into() }
    }
}

type Reason = Cow<'static, str>;

/// Reads an entry; the map and the size of the whole are there if it is sparse. The error is a sentence about it.
pub(super) fn member(
    entry: &ParsedEntry<'_>,
    sparse: Option<(Vec<SparseEntry>, u64)>,
) -> Result<Member, Reason> {
    let records = pax::records(entry.pax.unwrap_or_default())?;
    let record = |key: &[u8]| records.iter().rev().find(|record| record.0 == key).map(|record| record.1);
    let number = |key: &[u8], otherwise: u64| match record(key) {
        None | Some(b"") => Ok(otherwise),
        Some(value) => {
            pax::parse_number(value).ok_or_else(|| format!("its PAX {} is no number", display(key)))
        }
    };
    let mtime = match record(b"mtime") {
        // A negative base-256 number comes as its two's complement.
        None | Some(b"") => Timestamp::from_seconds(entry.mtime as i64),
        Some(value) => pax::parse_time(value).ok_or("its PAX mtime is no time")?,
    };
    let id = |value: u64| u32::try_from(value).map_err(|_| "its owner is beyond 32 bits");
    let kind = kind(entry)?;
    let is_file = kind == MemberKind::File;
    let stored = if is_file { number(b"size", entry.size)? } else { 0 };
    if i64::try_from(stored).is_err() {
        return Err("its size is beyond 63 bits".into());
    }
    let sparse = match sparse {
        Some(_) if record(b"size").is_some() => {
            return Err("a sparse file with a PAX size is not supported".into());
        }
        Some((regions, size)) if is_file => Some(Sparse::new(regions, size, stored)?),
        _ => None,
    };
    let mode = if matches!(kind, MemberKind::Symlink(_)) { 0o777 } else { entry.mode & 0o7777 };
    let (uid, gid) = (id(number(b"uid", entry.uid)?)?, id(number(b"gid", entry.gid)?)?);
    let metadata = Metadata { mode, uid, gid, mtime, xattrs: xattrs(&records)? };
    Ok(Member { path: entry.path.to_vec(), kind, metadata, stored, sparse })
}

fn kind(entry: &ParsedEntry<'_>) -> Result<MemberKind, Reason> {
    let target = || entry.link_target.as_ref().map(|target| target.to_vec()).ok_or("a link without a target");
    let device = || Device { major: entry.dev_major.unwrap_or(0), minor: entry.dev_minor.unwrap_or(0) };
    Ok(match entry.entry_type {
        // Before ustar, a directory was a file whose name ends in a slash.
        EntryType::Regular | EntryType::Continuous if entry.path.ends_with(b"/") => MemberKind::Directory,
        EntryType::Regular | EntryType::Continuous | EntryType::GnuSparse => MemberKind::File,
        EntryType::Directory => MemberKind::Directory,
        EntryType::Symlink => MemberKind::Symlink(target()?),
        EntryType::Link => MemberKind::HardLink(target()?),
        EntryType::Char => MemberKind::CharDevice(device()),
        EntryType::Block => MemberKind::BlockDevice(device()),
        EntryType::Fifo => MemberKind::Fifo,
        other => {
            let letter = char::from(other.to_byte()).escape_default();
            return Err(format!("its type '{letter}' is not supported").into());
        }
    })
}

/// The attributes that a tree keeps. A name is what it is: GNU tar writes `=` and `%` in it as `%3D` and `%25`, nobody
/// else does or reads that.
fn xattrs(records: &[pax::Record<'_>]) -> Result<Xattrs, Reason> {
    let named = records.iter().filter_map(|(key, value)| Some((key.strip_prefix(pax::XATTR)?, *value)));
    let mut kept = Xattrs::new();
    for (name, value) in named.filter(|(name, _)| is_kept_xattr(name)) {
        if name.len() > LONGEST_ATTRIBUTE_NAME {
            return Err("the name of one of its attributes is longer than 255 bytes".into());
        }
        if value.len() > LARGEST_ATTRIBUTE {
            return Err(format!("its attribute {} is larger than 64 KiB", display(name)).into());
        }
        kept.insert(name.into(), image_value(name, value).into());
    }
    if kept.keys().map(|name| name.len() + 1).sum::<usize>() > LARGEST_ATTRIBUTE_LIST {
        return Err("the names of its attributes are longer than 64 KiB together".into());
    }
    Ok(kept)
}
