//! What the engine and its worker say to each other: a list of byte strings, the first of which says what it is about.
//!
//! Trees go in their canonical encoding. What they have no room for goes along as attributes of names that no
//! filesystem gives out.

use rbuild_tree::{Device, Entry, Kind, ObjectId};

/// Which inode it is, of what has several names: 8 bytes.
pub(super) const INODE: &[u8] = b"rbuild.inode";
/// When a file that bears [`ORIGIN`], or what can't bear it, was read last: 8 bytes of seconds, 4 of nanoseconds.
pub(super) const READ_AT: &[u8] = b"rbuild.read-at";
/// Which file it is, where that is asked for: 8 bytes of its number; when it was born, 8 bytes of seconds, 4 of nanoseconds.
pub(super) const IDENTITY: &[u8] = b"rbuild.identity";
/// The kernel's mark of a directory that hides what lies below it.
pub(super) const OPAQUE: &[u8] = b"user.overlay.opaque";
/// The kernel's mark of what it copied up, where a file has one name only.
pub(super) const ORIGIN: &[u8] = b"user.overlay.origin";

/// How a directory of an overlay says that a name of those below it is gone.
pub(super) const WHITEOUT: Kind = Kind::CharDevice(Device { major: 0, minor: 0 });

/// The kernel's marks of a file whose bytes are another one's, and of that one's path.
pub(super) const NO_BYTES: &[u8] = b"user.overlay.metacopy";
/// See [`NO_BYTES`].
pub(super) const BYTES: &[u8] = b"user.overlay.redirect";

/// Entries that go in one message: each may be a descriptor, of which a message carries 253.
pub(super) const MOST_ENTRIES: usize = 100;

/// Why an entry can't be told.
pub(super) const TOO_LARGE: &str = "tell of an entry: with its extended attributes it has more than 64 MiB";

/// A message is sent when its entries have that many bytes.
pub(super) const MANY_BYTES: usize = 1 << 20;

/// The nanoseconds of the time at which a file of a folder was read last: they tell where it was, since the kernel takes
/// them along when it copies a file up, and its own mark has no room for that in a user namespace. Of a file of several
/// names the first counts. Never 0, which programs use.
pub(super) fn place_mark(path: &[u8]) -> u32 {
    let digest = ObjectId::of(path);
    let start = digest.as_bytes().first_chunk().copied().unwrap_or_default();
    u32::from_le_bytes(start) % 999_999_999 + 1
}

/// About how many bytes an entry takes in a message.
pub(super) fn weight(name: &[u8], entry: &Entry) -> usize {
    let attributes = entry.metadata.xattrs.iter().map(|(name, value)| name.len() + value.len() + 16);
    let target = if let Kind::Symlink(target) = &entry.kind { target.len() } else { 0 };
    name.len() + 128 + target + attributes.sum::<usize>()
}

/// No message has more.
pub(super) const MOST_BYTES: usize = 64 << 20;

/// A message of these parts: of each a little-endian u32 length, and the bytes.
pub(super) fn join(parts: &[&[u8]]) -> Vec<u8> {
    let mut message = Vec::with_capacity(parts.iter().map(|part| part.len() + 4).sum());
    for part in parts {
        // A message of more than 64 MiB is refused where it is sent.
        message.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
        message.extend_from_slice(part);
    }
    message
}

/// The parts of a message; none if it is no message.
pub(super) fn split(mut message: &[u8]) -> Option<Vec<&[u8]>> {
    let mut parts = Vec::new();
    while !message.is_empty() {
        let (length, rest) = message.split_first_chunk()?;
        let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        parts.push(part);
        message = rest;
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn parts_come_back_and_garbage_does_not() {
        for parts in [&[][..], &[&b"fill"[..], b"", b"a/\xff"]] {
            assert_eq!(split(&join(parts)).unwrap(), parts);
        }
        for garbage in [&b"\x01\0\0"[..], b"\x02\0\0\0x"] {
            assert_eq!(split(garbage), None);
        }
    }
}
