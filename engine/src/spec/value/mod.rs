//! One tree of spanned values for both formats: what the rest of the loading reads.
//!
//! | | TOML | YAML |
//! |---|---|---|
//! | version | 1.0; 1.1's additions are read, with a warning | 1.2 core schema: `yes`, `no`, `on`, `off` are strings |
//! | duplicate keys | errors | errors |
//! | anchors and aliases | – | work; `<<`, tags and several documents are errors |
//! | dates | kept as text, for `epoch` | are strings |
//! | mistakes a run | all | the first: a YAML parser does not recover |
//!
//! Limits: [`MAX_BYTES`] of text, [`MAX_NODES`] values after aliases are expanded, [`MAX_DEPTH`] levels. They are
//! far beyond what a person writes and keep a hostile file from costing more than a moment.

mod toml;
mod yaml;

use super::{Diagnostic, Span, span::FileId};
use std::path::Path;

/// The longest file that is read: 4 MiB.
pub const MAX_BYTES: u64 = 4 << 20;
/// The most values in one file, aliases expanded.
pub const MAX_NODES: usize = 50_000;
/// The deepest nesting: a spec needs eight, and each level of YAML takes up to 40 KiB of stack while it is read.
pub const MAX_DEPTH: usize = 24;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// Where it stands.
    pub span: Span,
    /// A number or boolean that a variable gave to a string that is nothing but `${name}`: it may stand where text
    /// is wanted.
    pub from_variable: bool,
}

/// A key and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its text.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// What both formats can say.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text.
    String(String),
    /// Text with `${env.X}` in it, made by the replacement of variables.
    Template(super::words::EnvValue),
    /// A whole number.
    Integer(i64),
    /// Any other number, with its text in the file.
    Float(f64, String),
    /// `true` or `false`.
    Boolean(bool),
    /// A TOML date or time, as written.
    DateTime(String),
    /// In order.
    List(Vec<Node>),
    /// In order; no key twice.
    Map(Vec<(Key, Node)>),
    /// YAML's `null`, `~` or nothing.
    Null,
    /// A string whose variable is not known. That has been told: nothing more is said about the value.
    Unknown,
}

impl Node {
    /// `value` at `span`.
    pub fn new(value: Value, span: Span) -> Self {
        Self { value, span, from_variable: false }
    }

    /// The value of a key of a map.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(known, _)| known.text == key).map(|(_, node)| node)
    }

    /// The entries of a map; none of anything else.
    pub fn entries(&self) -> &[(Key, Self)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Its text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
}

impl Value {
    /// What it is, with an article, for messages.
    pub fn what(&self) -> &'static str {
        match self {
            Self::String(_) | Self::Template(_) => "a string",
            Self::Integer(_) => "an integer",
            // YAML's `0644` and what is beyond 64 bits are no integers to the parsers.
            Self::Float(_, text) if text.bytes().all(|byte| byte.is_ascii_digit()) => "an integer",
            Self::Float(..) => "a number with a fraction",
            Self::Boolean(_) => "a boolean",
            Self::DateTime(_) => "a date",
            Self::List(_) => "an array",
            Self::Map(_) => "a table",
            Self::Null | Self::Unknown => "nothing",
        }
    }
}

/// The two formats.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// `.toml`
    Toml,
    /// `.yaml`, `.yml`
    Yaml,
}

impl Format {
    /// By the end of the file's name.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "toml" => Some(Self::Toml),
            "yaml" | "yml" => Some(Self::Yaml),
            _ => None,
        }
    }
}

/// Reads a whole text. What can be read of a broken TOML file is given, too, so that its other mistakes are told in
/// the same run; mistakes are added to `diagnostics`.
pub fn parse(format: Format, text: &str, file: FileId, diagnostics: &mut Vec<Diagnostic>) -> Node {
    let empty = || Node::new(Value::Map(Vec::new()), Span::new(file, 0, 0));
    let before = diagnostics.len();
    let root = match format {
        Format::Toml => toml::parse(text, file, diagnostics),
        Format::Yaml => yaml::parse(text, file, diagnostics),
    };
    let Some(root) = root else { return empty() };
    if matches!(root.value, Value::Map(_)) {
        return root;
    }
    if diagnostics.len() == before {
        let message = format!("a build file is a table of keys, not {}", root.value.what());
        diagnostics.push(Diagnostic::error("wrong-type", message).at(root.span, ""));
    }
    empty()
}

#[cfg(test)]
mod tests;
