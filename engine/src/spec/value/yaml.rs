//! YAML to nodes, by the 1.2 core schema and with the place of everything.
//!
//! An alias is a copy of what it stands for and has the place of that, so a message shows the text that is wrong.

use super::{Key, MAX_DEPTH, MAX_NODES, Node, Value};
use crate::spec::{Diagnostic, Span, span::FileId};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::{
    Error, Location, Options, Spanned, Tagged,
    options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy},
};
use std::fmt;

/// Reads one document; a mistake is added to `diagnostics`.
pub fn parse(text: &str, file: FileId, diagnostics: &mut Vec<Diagnostic>) -> Option<Node> {
    match serde_yaml::from_str_with_options::<Tree>(text, options()) {
        Ok(tree) => Some(Reader { text, file, diagnostics }.node(tree)),
        Err(error) => {
            diagnostics.push(tell(&error, text, file));
            None
        }
    }
}

fn options() -> Options {
    serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_nodes: MAX_NODES,
            max_depth: MAX_DEPTH,
            max_aliases: 1_000,
            max_documents: 2,
        },
        alias_limits: serde_yaml::alias_limits! { max_total_replayed_events: MAX_NODES },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        underscored_numbers_as_strings: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    }
}

/// A value with its place and tag, before it is turned into a node.
struct Tree(Spanned<Tagged<Plain>>);

enum Plain {
    String(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    List(Vec<Tree>),
    Map(Vec<(Spanned<Tagged<String>>, Tree)>),
    Null,
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlainVisitor)
    }
}

struct PlainVisitor;

impl<'de> Visitor<'de> for PlainVisitor {
    type Value = Plain;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Plain, E> {
        Ok(Plain::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Plain, E> {
        Ok(Plain::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Plain, E> {
        Ok(i64::try_from(value).map_or(Plain::Float(f64::INFINITY), Plain::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Plain, E> {
        Ok(Plain::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Plain, E> {
        Ok(Plain::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Plain, E> {
        Ok(Plain::String(value))
    }

    fn visit_unit<E>(self) -> Result<Plain, E> {
        Ok(Plain::Null)
    }

    fn visit_none<E>(self) -> Result<Plain, E> {
        Ok(Plain::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Plain, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Plain::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Plain, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = items.next_entry()? {
            map.push(entry);
        }
        Ok(Plain::Map(map))
    }
}

struct Reader<'a> {
    text: &'a str,
    file: FileId,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl Reader<'_> {
    fn node(&mut self, tree: Tree) -> Node {
        let Spanned { value: Tagged(plain, tag), defined, .. } = tree.0;
        let span = span_of(defined, self.text, self.file);
        self.refuse_tag(tag, span);
        let value = match plain {
            Plain::String(text) => Value::String(text),
            Plain::Integer(number) => self.integer(number, span),
            Plain::Float(number) => Value::Float(number, self.slice(span).to_owned()),
            Plain::Boolean(boolean) => Value::Boolean(boolean),
            Plain::Null => Value::Null,
            Plain::List(items) => Value::List(items.into_iter().map(|item| self.node(item)).collect()),
            Plain::Map(entries) => Value::Map(
                entries.into_iter().map(|(key, value)| (self.key(key), self.node(value))).collect(),
            ),
        };
        Node::new(value, span)
    }

    fn key(&mut self, key: Spanned<Tagged<String>>) -> Key {
        let Spanned { value: Tagged(text, tag), defined, .. } = key;
        let span = span_of(defined, self.text, self.file);
        self.refuse_tag(tag, span);
        Key { text, span }
    }

    /// `0b11` is a number to the parser and a string to the core schema.
    fn integer(&self, number: i64, span: Span) -> Value {
        let slice = self.slice(span);
        if slice.trim_start_matches(['+', '-']).starts_with("0b") {
            return Value::String(slice.to_owned());
        }
        Value::Integer(number)
    }

    fn slice(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default().trim_end()
    }

    fn refuse_tag(&mut self, tag: Option<String>, span: Span) {
        if let Some(tag) = tag {
            let tag = tag.replace("tag:yaml.org,2002:", "!!");
            let message = format!("the tag `{tag}` is not allowed: values have no tags in a build file");
            self.diagnostics.push(Diagnostic::error("syntax", message).at(span, ""));
        }
    }
}

fn tell(error: &Error, text: &str, file: FileId) -> Diagnostic {
    let error = error.without_snippet();
    let (code, message, help) = match error {
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().map_or(String::new(), |key| format!(" `{key}`"));
            ("duplicate-name", format!("duplicate key{key}"), None)
        }
        Error::MergeKeyNotAllowed { .. } => {
            ("syntax", "`<<` is not allowed in a build file".to_owned(), Some("repeat the keys"))
        }
        Error::MultipleDocuments { .. } => {
            ("syntax", "a build file is one YAML document".to_owned(), Some("remove the `---` between them"))
        }
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. } => {
            let message = format!(
                "the file is too large: at most {MAX_NODES} values with aliases expanded, {MAX_DEPTH} levels deep"
            );
            ("syntax", message, None)
        }
        Error::NullIntoString { .. } => ("syntax", "a key can't be empty".to_owned(), None),
        other => ("syntax", without_place(&other.to_string()), None),
    };
    let span = error.location().map_or(Span::new(file, 0, 0), |place| span_of(place, text, file));
    let diagnostic = Diagnostic::error(code, message).at(span, "");
    match help {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    }
}

/// The parser's own text without the place at its end, which the snippet shows better.
fn without_place(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let end = line.find(" at line ").unwrap_or(line.len());
    line[..end].trim_end_matches(['.', ',', ':']).to_owned()
}

/// The bytes of a place; the parser gives character positions in any case, and bytes where it can.
fn span_of(place: Location, text: &str, file: FileId) -> Span {
    let span = place.span();
    if let (Some(start), Some(length)) = (span.byte_offset(), span.byte_len())
        && let (Ok(start), Ok(length)) = (usize::try_from(start), usize::try_from(length))
    {
        return trimmed(Span::new(file, start, start.saturating_add(length)), text);
    }
    let line = usize::try_from(place.line()).unwrap_or(1).saturating_sub(1);
    let column = usize::try_from(place.column()).unwrap_or(1).saturating_sub(1);
    let line_start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = text.get(line_start..).unwrap_or_default();
    let start = line_start + rest.chars().take(column).map(char::len_utf8).sum::<usize>();
    Span::new(file, start, start)
}

/// A block ends where the next key begins: its last line breaks are nothing to point at.
fn trimmed(span: Span, text: &str) -> Span {
    let end = span.end.min(text.len());
    let Some(slice) = text.get(span.start.min(end)..end) else { return Span { end, ..span } };
    Span::new(span.file, span.start.min(end), span.start.min(end) + slice.trim_end().len())
}
