//! What a directory says of one name.

use crate::{ObjectId, TreeId};
use std::{borrow::Cow, collections::BTreeMap};

/// A point in time, seconds and nanoseconds since 1970; may lie before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug)]
pub struct Timestamp {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// 0 to 999,999,999, always counted forward.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// A whole second.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self { seconds, nanoseconds: 0 }
    }
}

/// Extended attributes, sorted by name; only those that [`is_kept_xattr`] lets through.
pub type Xattrs = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// The attributes that are part of a tree: `user.*` (but not those of overlays), `security.capability`, POSIX ACLs.
pub fn is_kept_xattr(name: &[u8]) -> bool {
    match name {
        b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default" => true,
        name => {
            name.starts_with(b"user.")
                && !name.starts_with(b"user.overlay.")
                && !name.starts_with(b"user.fuseoverlayfs.")
        }
    }
}

/// File capabilities; the one attribute whose value depends on where it was made.
pub const CAPABILITY: &[u8] = b"security.capability";

/// Version 2 of a capability: magic and flags, then two pairs of 32-bit sets.
const VERSION_2: (u8, usize) = (2, 20);
/// Version 3 adds the id of a user namespace's root.
const VERSION_3: (u8, usize) = (3, 24);

/// The value of an attribute as a tree holds it. Inside a user namespace the kernel may hand out and take capabilities
/// in version 3, which names the namespace's root; in a tree they are version 2, which means the same in every image.
pub fn image_value<'a>(name: &[u8], value: &'a [u8]) -> Cow<'a, [u8]> {
    // The version is the highest byte of a little-endian number.
    if name == CAPABILITY && value.len() == VERSION_3.1 && value[3] == VERSION_3.0 {
        let mut value = value[..VERSION_2.1].to_vec();
        value[3] = VERSION_2.0;
        return Cow::Owned(value);
    }
    Cow::Borrowed(value)
}

/// Metadata that every kind of entry has.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Metadata {
    /// Permission, set-id and sticky bits: `0o7777` at most. A symbolic link has `0o777`.
    pub mode: u32,
    /// Owner, as a number of the image.
    pub uid: u32,
    /// Group, as a number of the image.
    pub gid: u32,
    /// Last change of content.
    pub mtime: Timestamp,
    /// Extended attributes.
    pub xattrs: Xattrs,
}

impl Metadata {
    /// `root:root` with these permission bits and this time.
    pub fn root(mode: u32, mtime: Timestamp) -> Self {
        Self { mode, uid: 0, gid: 0, mtime, xattrs: Xattrs::new() }
    }
}

/// Number of a device.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Device {
    /// Which driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}

/// What an entry is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// A regular file.
    File {
        /// Its bytes.
        object: ObjectId,
        /// How many.
        size: u64,
    },
    /// A directory.
    Directory(TreeId),
    /// A symbolic link and its target as stored.
    Symlink(Box<[u8]>),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
    /// A socket's name; stays in trees, is left out of layers.
    Socket,
}

impl Kind {
    /// The word for it in messages.
    pub fn word(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Directory(_) => "directory",
            Self::Symlink(_) => "symbolic link",
            Self::CharDevice(_) => "character device",
            Self::BlockDevice(_) => "block device",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
        }
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self, Self::Directory(_))
    }
}

/// One name's content and metadata.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Entry {
    /// Owner, mode, time, extended attributes.
    pub metadata: Metadata,
    /// What it is.
    pub kind: Kind,
}
