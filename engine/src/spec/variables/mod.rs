//! Variables: `[vars]`, what is given for them, and `${name}` in values.
//!
//! Replacement happens on the tree of values after parsing and before lowering: a value can never change the shape of
//! the file, and every place stays right.
//!
//! | where | `${name}` |
//! |---|---|
//! | keys | is never replaced |
//! | a string `run` | belongs to the shell |
//! | `files.content` | belongs to the file, unless `expand = true` |
//! | values of `env` | replaced; `${env.X}` stays, see [`EnvValue`](super::words::EnvValue) |
//! | every other string | replaced; a string that is nothing but `${name}` takes the variable's type |
//!
//! `$$` is a literal `$`, a `$` without `{` stays. The value of a variable is the first of: `--set`, `--vars`, the
//! environment variable named by `env`, `default`. On the command line and in the environment an array is written
//! with commas.

mod declare;
mod given;
mod replace;
mod scope;
mod template;
mod unused;

#[cfg(test)]
pub(super) use declare::VARIABLE;
pub(super) use given::AllGiven;
pub(super) use replace::{replace, value as replace_value};
pub(super) use scope::Scope;
pub(super) use unused::spared;

use declare::{Declaration, declarations};

use super::value::{Node, Value};

/// The type of a variable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    /// `"string"`
    String,
    /// `"integer"`
    Integer,
    /// `"boolean"`
    Boolean,
    /// `"strings"`
    Strings,
}

impl Type {
    /// With an article, for messages.
    fn what(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Integer => "an integer",
            Self::Boolean => "a boolean",
            Self::Strings => "an array of strings",
        }
    }
}

/// The value of a variable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Datum {
    /// Text.
    String(String),
    /// A whole number.
    Integer(i64),
    /// `true` or `false`.
    Boolean(bool),
    /// In order.
    Strings(Vec<String>),
}

impl Datum {
    fn kind(&self) -> Type {
        match self {
            Self::String(_) => Type::String,
            Self::Integer(_) => Type::Integer,
            Self::Boolean(_) => Type::Boolean,
            Self::Strings(_) => Type::Strings,
        }
    }

    /// As it stands inside a longer string; an array can't.
    fn text(&self) -> Option<String> {
        match self {
            Self::String(text) => Some(text.clone()),
            Self::Integer(number) => Some(number.to_string()),
            Self::Boolean(boolean) => Some(boolean.to_string()),
            Self::Strings(_) => None,
        }
    }

    /// Its bytes, about.
    fn size(&self) -> usize {
        match self {
            Self::String(text) => text.len(),
            Self::Integer(_) | Self::Boolean(_) => size_of::<i64>(),
            Self::Strings(texts) => texts.iter().map(|text| text.len() + size_of::<String>()).sum(),
        }
    }

    /// What a node is, if a variable can be that.
    fn of(node: &Node) -> Option<Self> {
        match &node.value {
            Value::String(text) => Some(Self::String(text.clone())),
            Value::Integer(number) => Some(Self::Integer(*number)),
            Value::Boolean(boolean) => Some(Self::Boolean(*boolean)),
            Value::List(items) => items
                .iter()
                .map(|item| item.text().map(str::to_owned))
                .collect::<Option<_>>()
                .map(Self::Strings),
            _ => None,
        }
    }

    /// For messages.
    fn show(&self) -> String {
        match self {
            Self::String(text) => format!("\"{text}\""),
            Self::Strings(texts) => format!("{texts:?}"),
            other => other.text().unwrap_or_default(),
        }
    }
}
