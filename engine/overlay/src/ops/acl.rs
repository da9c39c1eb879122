//! POSIX access control lists, as the kernel keeps them in attributes: a version (2), then entries of tag, permissions
//! and id, all little-endian. Ids are those of the image, as everywhere here.
//!
//! The kernel checks permissions with them; what is left to a filesystem is that mode bits and ACL agree, and that new
//! files inherit.

use crate::{Caller, node::Inode};
use rbuild_tree::Xattrs;

/// Who may do what.
pub const ACCESS: &[u8] = b"system.posix_acl_access";
/// What new entries of a directory start with.
pub const DEFAULT: &[u8] = b"system.posix_acl_default";

const VERSION: [u8; 4] = [2, 0, 0, 0];
const ENTRY: usize = 8;

const USER_OBJECT: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJECT: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

const SET_GROUP: u32 = 0o2000;

/// Tag, permissions and id of each entry.
struct Acl(Vec<(u16, u16, u32)>);

impl Acl {
    fn parse(value: &[u8]) -> Option<Self> {
        let entries = value.strip_prefix(&VERSION)?;
        if entries.len() % ENTRY != 0 {
            return None;
        }
        let entry = |bytes: &[u8]| {
            let (tag, permissions) =
                (u16::from_le_bytes([bytes[0], bytes[1]]), u16::from_le_bytes([bytes[2], bytes[3]]));
            (tag, permissions, u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]))
        };
        Some(Self(entries.chunks_exact(ENTRY).map(entry).collect()))
    }

    fn bytes(&self) -> Box<[u8]> {
        let mut bytes = VERSION.to_vec();
        for (tag, permissions, id) in &self.0 {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(permissions.to_le_bytes());
            bytes.extend(id.to_le_bytes());
        }
        bytes.into()
    }

    fn find(&mut self, wanted: u16) -> Option<&mut u16> {
        self.0.iter_mut().find(|(tag, ..)| *tag == wanted).map(|(_, permissions, _)| permissions)
    }

    /// The entry that the group bits of a mode stand for.
    fn group_class(&mut self) -> Option<&mut u16> {
        let tag = if self.find(MASK).is_some() { MASK } else { GROUP_OBJECT };
        self.find(tag)
    }

    /// Whether it says no more than nine mode bits do.
    fn is_plain(&self) -> bool {
        self.0.iter().all(|(tag, ..)| [USER_OBJECT, GROUP_OBJECT, OTHER].contains(tag))
    }

    fn mode(&mut self) -> u32 {
        let bits = |permissions: Option<&mut u16>| u32::from(permissions.map_or(0, |bits| *bits & 7));
        bits(self.find(USER_OBJECT)) << 6 | bits(self.group_class()) << 3 | bits(self.find(OTHER))
    }

    fn each_class(&mut self, mut change: impl FnMut(&mut u16, u32)) {
        self.find(USER_OBJECT).into_iter().for_each(|bits| change(bits, 6));
        self.group_class().into_iter().for_each(|bits| change(bits, 3));
        self.find(OTHER).into_iter().for_each(|bits| change(bits, 0));
    }
}

fn bits(mode: u32, shift: u32) -> u16 {
    u16::try_from(mode >> shift & 7).unwrap_or(0)
}

/// Whether a value is an ACL that a kernel would accept: known tags in order, one of each that is no list, a mask if
/// somebody is named.
pub fn is_valid(value: &[u8]) -> bool {
    let Some(acl) = Acl::parse(value) else { return false };
    let count = |wanted: u16| acl.0.iter().filter(|(tag, ..)| *tag == wanted).count();
    let named = count(USER) + count(GROUP);
    acl.0.iter().all(|(tag, permissions, _)| {
        [USER_OBJECT, USER, GROUP_OBJECT, GROUP, MASK, OTHER].contains(tag) && *permissions <= 7
    }) && acl.0.is_sorted_by_key(|(tag, ..)| *tag)
        && [USER_OBJECT, GROUP_OBJECT, OTHER].into_iter().all(|tag| count(tag) == 1)
        && count(MASK) <= 1
        && (named == 0 || count(MASK) == 1)
}

/// Sets the access ACL, which is valid: the mode follows, and an ACL that says no more is not kept. Somebody outside
/// of the group loses the set-group bit, as at chmod(2).
pub(super) fn set_access(inode: &mut Inode, value: &[u8], caller: &Caller) {
    let Some(mut acl) = Acl::parse(value) else { return };
    inode.mode = inode.mode & !0o777 | acl.mode();
    // Only the first group is known here; the kernel tells nobody the others.
    if caller.uid != 0 && caller.gid != inode.gid {
        inode.mode &= !SET_GROUP;
    }
    if acl.is_plain() {
        inode.xattrs.remove(ACCESS);
    } else {
        inode.xattrs.insert(ACCESS.into(), value.into());
    }
}

/// Lets the access ACL follow a mode that was just set.
pub(super) fn change_mode(inode: &mut Inode) {
    let mode = inode.mode;
    if let Some(value) = inode.xattrs.get_mut(ACCESS) {
        *value = with_mode(value, mode);
    }
}

/// An access ACL that agrees with a mode.
pub fn with_mode(value: &[u8], mode: u32) -> Box<[u8]> {
    let Some(mut acl) = Acl::parse(value) else { return value.into() };
    acl.each_class(|permissions, shift| *permissions = bits(mode, shift));
    acl.bytes()
}

/// What a new entry gets from its directory's default ACL and the mode that was asked for: the access ACL, unless the
/// mode says it all, and the mode.
pub(super) fn inherit(default: &[u8], mode: u32, xattrs: &mut Xattrs) -> u32 {
    let Some(mut acl) = Acl::parse(default) else { return mode };
    acl.each_class(|permissions, shift| *permissions &= bits(mode, shift));
    let mode = mode & !0o777 | acl.mode();
    if !acl.is_plain() {
        xattrs.insert(ACCESS.into(), acl.bytes());
    }
    mode
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn acl(entries: &[(u16, u16, u32)]) -> Box<[u8]> {
        Acl(entries.to_vec()).bytes()
    }

    const NOBODY: u32 = u32::MAX;

    #[test]
    fn only_what_a_kernel_accepts_is_valid() {
        let base = [(USER_OBJECT, 6, NOBODY), (GROUP_OBJECT, 4, NOBODY), (OTHER, 4, NOBODY)];
        let named = [base[0], (USER, 7, 88), base[1], (MASK, 7, NOBODY), base[2]];
        assert!(is_valid(&acl(&base)) && is_valid(&acl(&named)));
        let no_mask = [named[0], named[1], named[2], named[4]];
        let unsorted = [base[1], base[0], base[2]];
        let twice = [base[0], base[0], base[1], base[2]];
        for bad in [&no_mask[..], &unsorted, &twice, &base[..2], &[]] {
            assert!(!is_valid(&acl(bad)), "{bad:?}");
        }
        assert!(!is_valid(b"") && !is_valid(b"\x02\0\0\0\x01") && !is_valid(b"\x03\0\0\0"));
        assert!(!is_valid(&acl(&[(USER_OBJECT, 9, NOBODY), base[1], base[2]])));
    }

    #[test]
    fn inheritance_masks_by_the_mode() {
        let default = acl(&[
            (USER_OBJECT, 7, NOBODY),
            (USER, 7, 88),
            (GROUP_OBJECT, 7, NOBODY),
            (MASK, 7, NOBODY),
            (OTHER, 7, NOBODY),
        ]);
        let mut xattrs = Xattrs::new();
        assert_eq!(inherit(&default, 0o640, &mut xattrs), 0o640);
        let mut access = Acl::parse(&xattrs[ACCESS]).unwrap();
        assert_eq!((*access.find(MASK).unwrap(), *access.find(USER).unwrap()), (4, 7));
        assert_eq!((*access.find(GROUP_OBJECT).unwrap(), *access.find(OTHER).unwrap()), (7, 0));

        let plain = acl(&[(USER_OBJECT, 7, NOBODY), (GROUP_OBJECT, 5, NOBODY), (OTHER, 0, NOBODY)]);
        let mut xattrs = Xattrs::new();
        assert_eq!(inherit(&plain, 0o2666, &mut xattrs), 0o2640);
        assert!(xattrs.is_empty());
    }
}
