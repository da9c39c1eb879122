//! File capabilities.
//!
//! Inside a user namespace the kernel may hand out and take them in version 3, which names the namespace's root; in a
//! tree they are version 2, which means the same in every image.

use std::borrow::Cow;

/// The attribute.
pub(crate) const NAME: &[u8] = b"security.capability";

const VERSION_2: u8 = 2;
const VERSION_3: u8 = 3;
/// Magic and flags, then two pairs of 32-bit sets.
const LENGTH_2: usize = 20;
/// And the id of the namespace's root.
const LENGTH_3: usize = 24;

/// The value to keep for an attribute: a capability in version 2, anything else as it is.
pub(crate) fn without_namespace<'a>(name: &[u8], value: &'a [u8]) -> Cow<'a, [u8]> {
    // The version is the highest byte of a little-endian number.
    if name == NAME && value.len() == LENGTH_3 && value[3] == VERSION_3 {
        let mut value = value[..LENGTH_2].to_vec();
        value[3] = VERSION_2;
        return Cow::Owned(value);
    }
    Cow::Borrowed(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_3_becomes_version_2_and_nothing_else_changes() {
        let mut third = vec![1, 0, 0, 3];
        third.extend([7; 16]);
        third.extend([0, 0, 1, 0]);
        let mut second = vec![1, 0, 0, 2];
        second.extend([7; 16]);
        assert_eq!(*without_namespace(NAME, &third), *second);
        for (name, value) in [(NAME, &second[..]), (b"user.x", &third), (NAME, b"junk"), (NAME, b"")] {
            assert_eq!(*without_namespace(name, value), *value);
        }
    }
}
