//! What a step saw of its lower, and whether that is still so.
//!
//! A trace is keyed by paths of the *lower*: where an input stood when the mount began, whatever the step called it
//! later. What it holds of a path, and what it stands for:
//!
//! | part | recorded when | covers |
//! |---|---|---|
//! | attributes | a name was looked up | all of them, and which names are the same file; of a directory not its time and link count |
//! | absent | a name was looked up in vain | that there is nothing |
//! | listing | a directory was listed or found empty | names, their attributes, time and link count |
//! | content | bytes were read; or the input reappears in the result | a file's bytes; of anything else all metadata |
//!
//! An input that reappears in the difference - moved, linked, or with changed metadata - counts as read whole, with
//! everything below it: otherwise the difference would put old bytes back over new ones. **Limit:** a directory's
//! time and link count as a look-up of it shows them are not recorded.

mod encoding;
pub(crate) mod groups;
pub mod input;
pub(crate) mod recorder;
mod wire;

use input::Input;
use rbuild_tree::{Device, Kind, Metadata, ObjectId, Timestamp, TreePath};
use std::{collections::BTreeMap, fmt, io};
use wire::Writer;

/// Everything a step saw.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trace {
    /// By path of the lower.
    pub entries: BTreeMap<TreePath, Seen>,
}

/// What was seen of one path.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// What a look-up showed; none if it was only listed or read.
    pub attributes: Option<Attributes>,
    /// A look-up found nothing.
    pub absent: bool,
    /// Digest of the directory's listing.
    pub listing: Option<ObjectId>,
    /// Digest of the bytes.
    pub content: Option<ObjectId>,
}

/// What a look-up shows of an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attributes {
    /// What it is.
    pub kind: SeenKind,
    /// Permission, set-id and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time of a regular file; nothing else's counts.
    pub mtime: Option<Timestamp>,
    /// Digest of the extended attributes, if there are any.
    pub xattrs: Option<ObjectId>,
    /// Tells which names are this file, if it has several: their paths; in a live directory only how many.
    pub links: Option<ObjectId>,
}

/// What an entry is, as far as a look-up shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SeenKind {
    /// A regular file of so many bytes.
    File(u64),
    /// A directory.
    Directory,
    /// A symbolic link and its target.
    Symlink(Box<[u8]>),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
    /// A socket's name.
    Socket,
}

impl Attributes {
    /// Those of an entry; see [`Attributes::links`] for the last.
    pub fn of(metadata: &Metadata, kind: &Kind, links: Option<ObjectId>) -> Self {
        let kind = match kind {
            Kind::File { size, .. } => SeenKind::File(*size),
            Kind::Directory(_) => SeenKind::Directory,
            Kind::Symlink(target) => SeenKind::Symlink(target.clone()),
            Kind::CharDevice(device) => SeenKind::CharDevice(*device),
            Kind::BlockDevice(device) => SeenKind::BlockDevice(*device),
            Kind::Fifo => SeenKind::Fifo,
            Kind::Socket => SeenKind::Socket,
        };
        Self::from_parts(metadata, kind, links)
    }

    pub(crate) fn from_parts(metadata: &Metadata, kind: SeenKind, links: Option<ObjectId>) -> Self {
        let mtime = matches!(kind, SeenKind::File(_)).then_some(metadata.mtime);
        let xattrs = (!metadata.xattrs.is_empty()).then(|| {
            let mut out = Writer::default();
            metadata.xattrs.iter().for_each(|(name, value)| {
                out.bytes(name);
                out.bytes(value);
            });
            out.digest()
        });
        Self { kind, mode: metadata.mode, uid: metadata.uid, gid: metadata.gid, mtime, xattrs, links }
    }
}

/// Digest of all metadata of what is no regular file: what stands for its content. Its names are no part of that.
pub(crate) fn whole(attributes: Attributes, mtime: Timestamp) -> ObjectId {
    let mut out = Writer::default();
    out.attributes(&Attributes { links: None, ..attributes });
    out.time(mtime);
    out.digest()
}

/// Digest of a directory's listing; `entries` sorted by name.
pub(crate) fn listing(
    mtime: Timestamp,
    links: u32,
    entries: impl ExactSizeIterator<Item = (Box<[u8]>, Attributes)>,
) -> ObjectId {
    let mut out = Writer::default();
    out.time(mtime);
    out.number(links.into());
    out.number(entries.len() as u64);
    for (name, attributes) in entries {
        out.bytes(&name);
        out.attributes(&attributes);
    }
    out.digest()
}

/// The first thing that is not as it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mismatch {
    /// Where.
    pub path: TreePath,
    /// `attributes`, `listing` or `content`.
    pub what: &'static str,
    /// As the step saw it.
    pub old: String,
    /// As it is now.
    pub new: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}: was {}, is {}", self.what, self.path, self.old, self.new)
    }
}

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            SeenKind::File(size) => write!(f, "file of {size} bytes")?,
            SeenKind::Directory => f.write_str("directory")?,
            SeenKind::Symlink(target) => write!(f, "link to {:?}", String::from_utf8_lossy(target))?,
            SeenKind::CharDevice(device) => write!(f, "character device {}:{}", device.major, device.minor)?,
            SeenKind::BlockDevice(device) => write!(f, "block device {}:{}", device.major, device.minor)?,
            SeenKind::Fifo => f.write_str("fifo")?,
            SeenKind::Socket => f.write_str("socket")?,
        }
        write!(f, ", mode {:04o}, owner {}:{}", self.mode, self.uid, self.gid)?;
        if let Some(time) = self.mtime {
            write!(f, ", time {}.{:09}", time.seconds, time.nanoseconds)?;
        }
        let digest = |digest: Option<ObjectId>| digest.map(|digest| digest.short());
        digest(self.xattrs).map_or(Ok(()), |xattrs| write!(f, ", attributes {xattrs}"))?;
        digest(self.links).map_or(Ok(()), |links| write!(f, ", linked {links}"))
    }
}

impl Trace {
    /// The first difference between what was seen and what `input` shows now; none if all is as it was.
    ///
    /// # Errors
    /// The input can't be read.
    pub fn check(&self, input: &dyn Input) -> io::Result<Option<Mismatch>> {
        for (path, seen) in &self.entries {
            if let Some(mismatch) = seen.check(path, input)? {
                return Ok(Some(mismatch));
            }
        }
        Ok(None)
    }
}

impl Seen {
    fn check(&self, path: &TreePath, input: &dyn Input) -> io::Result<Option<Mismatch>> {
        let differs = |what, old: String, new: String| Some(Mismatch { path: path.clone(), what, old, new });
        let absent = || "absent".to_owned();
        if self.absent || self.attributes.is_some() {
            let now = input.look(path)?;
            if now != self.attributes {
                let text = |seen: &Option<Attributes>| seen.as_ref().map_or_else(absent, ToString::to_string);
                return Ok(differs("attributes", text(&self.attributes), text(&now)));
            }
        }
        let short = |digest: Option<ObjectId>| digest.map_or_else(absent, |digest| digest.short());
        if self.listing.is_some() {
            let now = input.listing(path)?;
            if now != self.listing {
                return Ok(differs("listing", short(self.listing), short(now)));
            }
        }
        if self.content.is_some() {
            let now = input.content(path)?;
            if now != self.content {
                return Ok(differs("content", short(self.content), short(now)));
            }
        }
        Ok(None)
    }
}
