//! What a step is and what it was given, as a list of named ingredients; its digest is the key of the cache.
//!
//! What is in the list, by kind of node, is written where the list is made (`plan/ingredients.rs`). The names and
//! values are kept with the last build's history, so that a miss can say which ingredient differs.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Changes when the meaning of an ingredient or the way a step is run changes: nothing older is used any more.
const FORMAT: &str = "rbuild step 1";

/// The digest of a list of ingredients.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key([u8; 32]);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// Named values, in the order they were added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ingredients {
    list: Vec<(String, String)>,
    /// In no key: what helps to say how a value differs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    notes: Vec<(String, String)>,
}

/// The first ingredient in which two lists differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its name, as a field of the build file.
    pub field: String,
    /// What it was; none if it was not there.
    pub old: Option<String>,
    /// What it is; none if it is gone.
    pub new: Option<String>,
}

impl Ingredients {
    /// Adds one.
    pub fn add(&mut self, field: impl Into<String>, value: impl Into<String>) {
        self.list.push((field.into(), value.into()));
    }

    /// Notes what a value was made of; it changes no key.
    pub fn note(&mut self, field: impl Into<String>, value: impl Into<String>) {
        self.notes.push((field.into(), value.into()));
    }

    /// What was noted.
    pub fn noted(&self, field: &str) -> Option<&str> {
        self.notes.iter().find(|(name, _)| name == field).map(|(_, value)| value.as_str())
    }

    /// Each name with its value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.list.iter().map(|(field, value)| (field.as_str(), value.as_str()))
    }

    /// Its value, if it is there.
    pub fn get(&self, field: &str) -> Option<&str> {
        self.list.iter().find(|(name, _)| name == field).map(|(_, value)| value.as_str())
    }

    /// The key: blake3 over the format and each name and value, every one preceded by its length as u64 LE.
    pub fn key(&self) -> Key {
        let mut hasher = blake3::Hasher::new();
        let mut text = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        text(FORMAT);
        for (field, value) in &self.list {
            text(field);
            text(value);
        }
        Key(*hasher.finalize().as_bytes())
    }

    /// The first difference to an older list, in the order of this one, then what only the older one had.
    pub fn difference(&self, old: &Self) -> Option<Difference> {
        let changed = self.list.iter().find(|(field, value)| old.get(field) != Some(value));
        if let Some((field, value)) = changed {
            let old = old.get(field).map(str::to_owned);
            return Some(Difference { field: field.clone(), old, new: Some(value.clone()) });
        }
        let gone = old.list.iter().find(|(field, _)| self.get(field).is_none())?;
        Some(Difference { field: gone.0.clone(), old: Some(gone.1.clone()), new: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(pairs: &[(&str, &str)]) -> Ingredients {
        let mut ingredients = Ingredients::default();
        pairs.iter().for_each(|(field, value)| ingredients.add(*field, *value));
        ingredients
    }

    #[test]
    fn the_key_tells_names_values_and_their_borders_apart() {
        let keys = [
            list(&[]),
            list(&[("a", "b")]),
            list(&[("ab", "")]),
            list(&[("", "ab")]),
            list(&[("a", "b"), ("c", "d")]),
            list(&[("a", "bc"), ("", "d")]),
        ]
        .map(|list| list.key());
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key), "{at}");
        }
        assert_eq!(list(&[("a", "b")]).key(), keys[1]);
    }

    #[test]
    fn a_difference_names_the_field_with_both_values() {
        let old = list(&[("from", "1"), ("run", "make"), ("env.A", "x")]);
        let found = list(&[("from", "1"), ("run", "make all"), ("env.A", "x")]).difference(&old);
        let expected =
            Difference { field: "run".into(), old: Some("make".into()), new: Some("make all".into()) };
        assert_eq!(found, Some(expected));
        let gone = list(&[("from", "1"), ("run", "make")]).difference(&old);
        assert_eq!(gone, Some(Difference { field: "env.A".into(), old: Some("x".into()), new: None }));
        assert_eq!(old.difference(&old), None);
    }
}
