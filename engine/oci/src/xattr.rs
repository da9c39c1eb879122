//! Extended attributes on their way in and out of archives.

use std::borrow::Cow;

/// File capabilities; the one attribute whose value depends on where it was made.
const CAPABILITY: &[u8] = b"security.capability";
const REVISION_MASK: u32 = 0xff00_0000;
const REVISION_2: u32 = 0x0200_0000;
const REVISION_3: u32 = 0x0300_0000;
/// Magic, then permitted and inheritable words twice; revision 3 adds the root's uid of the user namespace.
const SIZE_2: usize = 20;
const SIZE_3: usize = 24;

/// The value as an image holds it: capabilities made inside a user namespace (revision 3) lose the uid of that
/// namespace's root, which means nothing in an image.
pub(crate) fn image_value<'a>(name: &[u8], value: &'a [u8]) -> Cow<'a, [u8]> {
    if name != CAPABILITY || value.len() != SIZE_3 {
        return Cow::Borrowed(value);
    }
    let magic = u32::from_le_bytes([value[0], value[1], value[2], value[3]]);
    if magic & REVISION_MASK != REVISION_3 {
        return Cow::Borrowed(value);
    }
    let mut converted = value[..SIZE_2].to_vec();
    converted[..4].copy_from_slice(&(magic & !REVISION_MASK | REVISION_2).to_le_bytes());
    Cow::Owned(converted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_of_a_user_namespace_become_plain_ones() {
        let mut third = vec![1, 0, 0, 3];
        third.extend_from_slice(&[0xff; 16]);
        third.extend_from_slice(&1000_u32.to_le_bytes());
        let mut second = vec![1, 0, 0, 2];
        second.extend_from_slice(&[0xff; 16]);
        assert_eq!(image_value(CAPABILITY, &third), second);
        assert_eq!(image_value(CAPABILITY, &second), second);
        assert_eq!(image_value(b"user.x", &third), third);
        assert_eq!(image_value(CAPABILITY, b"short"), &b"short"[..]);
    }
}
