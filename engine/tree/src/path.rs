//! Paths inside a tree.

use crate::{Error, Result};
use std::fmt;

/// A path inside a tree: names joined by `/`, without a leading one; the root is empty. Bytes, not text.
///
/// ```
/// use rbuild_tree::TreePath;
/// let path = TreePath::parse(b"/usr//lib/./x/")?;
/// assert_eq!(path.as_bytes(), b"usr/lib/x");
/// assert!(TreePath::parse(b"/usr/../etc").is_err());
/// # Ok::<(), rbuild_tree::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TreePath(Vec<u8>);

impl TreePath {
    /// The root directory.
    pub fn root() -> Self {
        Self::default()
    }

    /// Reads a path as a person writes it: `//` and `.` vanish, a missing first `/` is the same.
    ///
    /// # Errors
    /// `..`, a NUL byte, and names of more than 255 bytes are refused.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let refuse = |reason| Error::BadPath { path: String::from_utf8_lossy(text).into_owned(), reason };
        let mut path = Self::root();
        for name in text.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => {}
                b".." => return Err(refuse("`..` is not allowed in a path of a tree")),
                name if name.contains(&0) => return Err(refuse("a path can't hold a NUL byte")),
                name if name.len() > 255 => return Err(refuse("a name is longer than 255 bytes")),
                name => path.push(name),
            }
        }
        Ok(path)
    }

    /// Its bytes, without a leading `/`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root directory.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Goes down into `name`, which must be a single valid name.
    pub fn push(&mut self, name: &[u8]) {
        debug_assert!(!name.is_empty() && !name.contains(&b'/'));
        if !self.0.is_empty() {
            self.0.push(b'/');
        }
        self.0.extend_from_slice(name);
    }

    /// The path of `name` in this directory.
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Self {
        let mut path = self.clone();
        path.push(name);
        path
    }

    /// This path with all of `tail` below it.
    #[must_use]
    pub fn join_path(&self, tail: &Self) -> Self {
        let mut path = self.clone();
        tail.names().for_each(|name| path.push(name));
        path
    }

    /// The names from the root down.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
    }

    /// The last name; none for the root.
    pub fn name(&self) -> Option<&[u8]> {
        self.names().next_back()
    }

    /// The directory it stands in; none for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let end = self.0.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        Some(Self(self.0[..end].to_vec()))
    }

    /// Whether it is `ancestor` or lies below it.
    pub fn starts_with(&self, ancestor: &Self) -> bool {
        self.strip_prefix(ancestor).is_some()
    }

    /// What remains below `ancestor`; none if it does not lie there.
    pub fn strip_prefix(&self, ancestor: &Self) -> Option<Self> {
        if ancestor.is_root() {
            return Some(self.clone());
        }
        let tail = self.0.strip_prefix(ancestor.0.as_slice())?;
        match tail {
            [] => Some(Self::root()),
            [b'/', tail @ ..] => Some(Self(tail.to_vec())),
            _ => None,
        }
    }
}

impl std::borrow::Borrow<[u8]> for TreePath {
    /// Its bytes; same order and hash, so maps of paths can be searched by bytes (all below `a/` in one range).
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for TreePath {
    /// As a person reads it: absolute, bytes that are not UTF-8 replaced, control characters escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("/")?;
        for character in String::from_utf8_lossy(&self.0).chars() {
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                write!(f, "{character}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}
