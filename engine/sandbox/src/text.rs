//! Byte strings of the operating system as readable, lossless JSON strings.
//!
//! Valid UTF-8 stays as it is; a backslash is doubled and every other byte becomes `\xHH`. serde's own form of an
//! `OsString` is an array of numbers, which nobody can read in a log.

use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// The readable form.
pub(crate) fn escape(text: &OsStr) -> String {
    let mut out = String::with_capacity(text.len());
    for chunk in text.as_bytes().utf8_chunks() {
        for character in chunk.valid().chars() {
            if character == '\\' {
                out.push('\\');
            }
            out.push(character);
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// The bytes back; `None` if `text` is not a result of [`escape`].
pub(crate) fn unescape(text: &str) -> Option<OsString> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        match (first, tail) {
            (b'\\', [b'\\', after @ ..]) => {
                out.push(b'\\');
                rest = after;
            }
            (b'\\', [b'x', high, low, after @ ..]) => {
                let digits = [*high, *low];
                out.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
                rest = after;
            }
            (b'\\', _) => return None,
            (byte, after) => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    Some(OsString::from_vec(out))
}

fn decode<E: serde::de::Error>(text: &str) -> Result<OsString, E> {
    unescape(text).ok_or_else(|| E::custom(format!("bad escape in {text:?}")))
}

/// A path of a mount table: the kernel writes space, tab, newline and backslash as `\ooo`.
pub(crate) fn unescape_octal(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| *first == b'\\');
        out.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    out
}

pub(crate) mod one {
    use super::{OsStr, OsString, decode, escape};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(text: &OsStr, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&escape(text))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OsString, D::Error> {
        decode(&String::deserialize(deserializer)?)
    }
}

pub(crate) mod path {
    use serde::{Deserializer, Serializer};
    use std::path::{Path, PathBuf};

    pub(crate) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        super::one::serialize(path.as_os_str(), serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        super::one::deserialize(deserializer).map(PathBuf::from)
    }
}

pub(crate) mod optional_path {
    use super::{decode, escape};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::path::PathBuf;

    pub(crate) fn serialize<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
        path.as_ref().map(|path| escape(path.as_os_str())).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<PathBuf>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| decode(&text).map(PathBuf::from)).transpose()
    }
}

pub(crate) mod list {
    use super::{OsString, decode, escape};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(list: &[OsString], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.iter().map(|text| escape(text)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<OsString>, D::Error> {
        Vec::<String>::deserialize(deserializer)?.iter().map(|text| decode(text)).collect()
    }
}

pub(crate) mod paths {
    use super::{decode, escape};
    use serde::{Deserialize, Deserializer, Serializer};
    use std::path::PathBuf;

    pub(crate) fn serialize<S: Serializer>(list: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.iter().map(|path| escape(path.as_os_str())))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
        let list = Vec::<String>::deserialize(deserializer)?;
        list.iter().map(|text| decode(text).map(PathBuf::from)).collect()
    }
}

pub(crate) mod pairs {
    use super::{OsString, decode, escape};
    use serde::{Deserialize, Deserializer, Serializer};

    type Pair = (OsString, OsString);

    pub(crate) fn serialize<S: Serializer>(pairs: &[Pair], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(pairs.iter().map(|(name, value)| (escape(name), escape(value))))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Pair>, D::Error> {
        let pairs = Vec::<(String, String)>::deserialize(deserializer)?;
        pairs.iter().map(|(name, value)| Ok((decode(name)?, decode(value)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_forms() {
        for (bytes, expected) in [
            (&b"plain"[..], "plain"),
            (b"a\\b", "a\\\\b"),
            (b"\xff\x00z", "\\xff\0z"),
            ("gr\u{fc}n\n".as_bytes(), "gr\u{fc}n\n"),
        ] {
            assert_eq!(escape(OsStr::from_bytes(bytes)), expected);
        }
        for bad in ["\\", "\\q", "\\x1", "\\xzz"] {
            assert_eq!(unescape(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_survive(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let text = OsString::from_vec(bytes);
            prop_assert_eq!(unescape(&escape(&text)).unwrap(), text);
        }
    }

    #[test]
    fn paths_of_the_mount_table_are_unescaped() {
        for (text, expected) in [
            (&b"/plain"[..], &b"/plain"[..]),
            (b"/a\\040b\\011c\\134", b"/a b\tc\\"),
            (b"\\04", b"\\04"),
            (b"\\999", b"\\999"),
            (b"", b""),
        ] {
            assert_eq!(unescape_octal(text), expected);
        }
    }
}
