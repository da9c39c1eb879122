//! Tables: which keys they have, which come later, which exclude one another.
//!
//! The lists of keys ([`Words`]) are data: the JSON Schema is checked against the same lists.

use super::read::{Sink, refuse, wrong_type};
use crate::spec::{
    Diagnostic, Span,
    suggest::{list as list_of, nearest},
    value::{Key, Node, Value},
    words::Refusal,
};

/// The keys of one kind of table. `description` is a key of all of them.
#[derive(Debug)]
pub struct Words {
    /// The kind, with an article: `a step`.
    pub what: &'static str,
    /// Keys of this version.
    pub known: &'static [&'static str],
    /// Keys of later versions.
    pub later: &'static [&'static str],
}

/// A table that is being read.
#[derive(Clone, Copy)]
pub struct Table<'a> {
    /// What a message about the whole table points at: its name, or its braces.
    pub at: Span,
    words: &'static Words,
    entries: &'a [(Key, Node)],
}

impl<'a> Table<'a> {
    /// A table whose keys are all known; the others are told.
    pub fn open(node: &'a Node, at: Span, words: &'static Words, sink: &mut Sink) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            wrong_type(node, "a table", sink);
            return None;
        };
        let table = Self { at, words, entries };
        entries.iter().for_each(|(key, _)| table.check_key(key, sink));
        if let Some(description) = table.get("description") {
            super::read::content(description, sink);
        }
        Some(table)
    }

    fn check_key(&self, key: &Key, sink: &mut Sink) {
        let text = key.text.as_str();
        let known = self.words.known;
        if text == "description" || known.contains(&text) {
            return;
        }
        if self.words.later.contains(&text) {
            return refuse(Refusal::not_yet(&format!("`{text}` of {}", self.words.what)), key.span, sink);
        }
        let message = format!("`{text}` is not a key of {}", self.words.what);
        let diagnostic = Diagnostic::error("unknown-key", message).at(key.span, "");
        let candidates = known.iter().chain(self.words.later).chain(&["description"]).copied();
        let help = match nearest(text, candidates) {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                let mut keys: Vec<&str> = known.to_vec();
                keys.sort_unstable();
                format!("its keys are {}", list_all(&keys))
            }
        };
        sink.push(diagnostic.help(help));
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&'a Node> {
        debug_assert!(
            key == "description" || self.words.known.contains(&key),
            "`{key}` is not declared for {}",
            self.words.what
        );
        self.entries.iter().find(|(known, _)| known.text == key).map(|(_, node)| node)
    }

    /// Where a key stands.
    pub fn key(&self, key: &str) -> Option<Span> {
        self.entries.iter().find(|(known, _)| known.text == key).map(|(known, _)| known.span)
    }

    /// The value of a key that must be there.
    pub fn require(&self, key: &str, sink: &mut Sink) -> Option<&'a Node> {
        let node = self.get(key);
        if node.is_none() {
            let message = format!("{} needs `{key}`", self.words.what);
            sink.push(Diagnostic::error("missing-field", message).at(self.at, format!("`{key}` is missing")));
        }
        node
    }

    /// A key that must be there, read.
    pub fn required<T>(
        &self,
        key: &str,
        sink: &mut Sink,
        read: impl FnOnce(&Node, &mut Sink) -> Option<T>,
    ) -> Option<T> {
        let node = self.require(key, sink)?;
        read(node, sink)
    }

    /// A key that may be there, read.
    pub fn optional<T>(
        &self,
        key: &str,
        sink: &mut Sink,
        read: impl FnOnce(&Node, &mut Sink) -> Option<T>,
    ) -> Option<T> {
        self.get(key).and_then(|node| read(node, sink))
    }

    /// An array that may be there, read.
    pub fn array<T>(
        &self,
        key: &str,
        sink: &mut Sink,
        each: impl FnMut(&Node, &mut Sink) -> Option<T>,
    ) -> Vec<T> {
        self.get(key).map_or_else(Vec::new, |node| super::read::list(node, sink, each))
    }

    /// A switch that is off unless said.
    pub fn flag(&self, key: &str, sink: &mut Sink) -> bool {
        self.optional(key, sink, super::read::boolean).unwrap_or(false)
    }

    /// `description`.
    pub fn description(&self) -> Option<String> {
        self.get("description").and_then(Node::text).map(str::to_owned)
    }

    /// Tells `one-of` if two of these keys are there.
    pub fn exclusive(&self, keys: &[&str], sink: &mut Sink) {
        exclusive(self.entries, keys, sink);
    }
}

/// Those of `keys` that are there, at most two; that there are two is told.
fn exclusive<'k>(entries: &[(Key, Node)], keys: &[&'k str], sink: &mut Sink) -> Vec<&'k str> {
    let known = |key: &Key| keys.iter().copied().find(|known| *known == key.text);
    let there: Vec<(&str, Span)> =
        entries.iter().filter_map(|(key, _)| Some((known(key)?, key.span))).take(2).collect();
    if let [(first, first_span), (second, second_span)] = there.as_slice() {
        let message = format!("`{first}` and `{second}` exclude one another");
        sink.push(Diagnostic::error("one-of", message).at(*second_span, "").at(*first_span, "the other one"));
    }
    there.into_iter().map(|(key, _)| key).collect()
}

/// Which of `kinds` a table is; none or several are told, and one of a later version is.
pub fn kind<'k>(node: &Node, at: Span, kinds: &Kinds<'k>, sink: &mut Sink) -> Option<&'k str> {
    let Value::Map(entries) = &node.value else {
        wrong_type(node, "a table", sink);
        return None;
    };
    let found = only_kind(entries, at, kinds, sink);
    if found.is_none() {
        // Nobody opens a table of no kind: what no kind has is told here.
        entries.iter().for_each(|(key, _)| kinds.check_key(key, sink));
    }
    found
}

fn only_kind<'k>(entries: &[(Key, Node)], at: Span, kinds: &Kinds<'k>, sink: &mut Sink) -> Option<&'k str> {
    if let Some((key, _)) = entries.iter().find(|(key, _)| kinds.later.contains(&key.text.as_str())) {
        refuse(Refusal::not_yet(&format!("`{}` of {}", key.text, kinds.what)), key.span, sink);
        return None;
    }
    match exclusive(entries, kinds.known, sink).as_slice() {
        [one] => Some(one),
        [] => {
            let message = format!("{} needs exactly one of {}", kinds.what, list_of(kinds.known));
            let diagnostic = Diagnostic::error("one-of", message).at(at, "none is here");
            let near = entries.iter().find_map(|(key, _)| {
                let near = kinds.near(key)?;
                Some(format!("did you mean `{near}` instead of `{}`?", key.text))
            });
            sink.push(near.into_iter().fold(diagnostic, Diagnostic::help));
            None
        }
        _ => None,
    }
}

/// Keys of which a table has exactly one, which says what kind it is.
pub struct Kinds<'k> {
    /// The table, with an article.
    pub what: &'static str,
    /// Those of this version.
    pub known: &'k [&'k str],
    /// Those of later versions.
    pub later: &'k [&'k str],
    /// The keys of each kind.
    pub tables: &'k [&'static Words],
}

impl<'k> Kinds<'k> {
    /// The kind that a key is most likely a slip of.
    fn near(&self, key: &Key) -> Option<&'k str> {
        let text = key.text.as_str();
        let is_known = self.tables.iter().any(|table| table.known.contains(&text));
        if is_known { None } else { nearest(text, self.known.iter().copied()) }
    }

    /// Tells a key that no kind has, unless it was told as a slip of one.
    fn check_key(&self, key: &Key, sink: &mut Sink) {
        let text = key.text.as_str();
        let words = || self.tables.iter().flat_map(|table| table.known.iter().chain(table.later)).copied();
        let is_word = text == "description" || self.later.contains(&text) || words().any(|word| word == text);
        if is_word || self.near(key).is_some() {
            return;
        }
        let message = format!("`{text}` is not a key of {}", self.what);
        let mut diagnostic = Diagnostic::error("unknown-key", message).at(key.span, "");
        if let Some(near) = nearest(text, words().chain(self.later.iter().copied())) {
            diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
        }
        sink.push(diagnostic);
    }
}

fn list_all(keys: &[&str]) -> String {
    keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}
