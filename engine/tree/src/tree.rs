//! One directory.

use crate::{Entry, TreeId, encoding};

/// A name in a directory: 1 to 255 bytes, no `/`, no NUL, neither `.` nor `..`.
pub type Name = Box<[u8]>;

/// Whether these bytes can be a name.
pub fn is_valid_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && name.len() <= 255 && !name.iter().any(|b| matches!(b, 0 | b'/'))
}

/// The entries of one directory, sorted bytewise by name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tree {
    entries: Vec<(Name, Entry)>,
}

impl Tree {
    /// A directory of these entries; a later one of the same name wins.
    pub fn from_entries(entries: impl IntoIterator<Item = (Name, Entry)>) -> Self {
        let sorted: std::collections::BTreeMap<Name, Entry> = entries.into_iter().collect();
        Self { entries: sorted.into_iter().collect() }
    }

    /// For callers that have them sorted and unique already.
    pub(crate) fn from_sorted(entries: Vec<(Name, Entry)>) -> Self {
        debug_assert!(entries.is_sorted_by(|a, b| a.0 < b.0));
        Self { entries }
    }

    /// What `name` is here.
    pub fn get(&self, name: &[u8]) -> Option<&Entry> {
        self.position(name).ok().map(|at| &self.entries[at].1)
    }

    /// The entries in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &Entry)> + ExactSizeIterator {
        self.entries.iter().map(|(name, entry)| (&**name, entry))
    }

    /// The entry at this place of the order.
    pub fn nth(&self, at: usize) -> Option<(&[u8], &Entry)> {
        self.entries.get(at).map(|(name, entry)| (&**name, entry))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Puts an entry in, in place of one of that name.
    pub fn insert(&mut self, name: &[u8], entry: Entry) {
        match self.position(name) {
            Ok(at) => self.entries[at].1 = entry,
            Err(at) => self.entries.insert(at, (name.into(), entry)),
        }
    }

    /// Takes an entry out.
    pub fn remove(&mut self, name: &[u8]) -> Option<Entry> {
        self.position(name).ok().map(|at| self.entries.remove(at).1)
    }

    /// Its identity.
    pub fn id(&self) -> TreeId {
        TreeId::of(&encoding::encode_tree(self))
    }

    /// The place of a name in the order.
    ///
    /// # Errors
    /// It is not here; where it would be.
    pub fn position(&self, name: &[u8]) -> Result<usize, usize> {
        self.entries.binary_search_by(|(known, _)| (**known).cmp(name))
    }
}

impl IntoIterator for Tree {
    type Item = (Name, Entry);
    type IntoIter = std::vec::IntoIter<Self::Item>;
    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}
