//! `[vars]`: `name = value`, or a table that says more.

use super::{Datum, Type};
use crate::spec::{
    Diagnostic, Span, Spanned,
    lower::{
        read::{self, Sink},
        table::{Table, Words},
    },
    value::{Key, Node, Value},
    words::{self, Refusal, Word},
};

/// The keys of a variable's table.
pub const VARIABLE: Words =
    Words { what: "a variable", known: &["default", "type", "one-of", "pattern", "env"], later: &[] };

/// A variable as the file declares it.
#[derive(Clone, Debug)]
pub struct Declaration<'a> {
    /// Where its name stands.
    pub span: Span,
    /// `type`
    pub kind: Option<Type>,
    /// `default`, not yet replaced.
    pub default: Option<&'a Node>,
    /// Whether there is a default that can't be one, which has been told.
    pub is_broken: bool,
    /// The items of `one-of`, not yet replaced.
    pub one_of: Option<&'a [Node]>,
    /// `pattern`
    pub pattern: Option<Spanned<String>>,
    /// `env`
    pub env: Option<String>,
    /// `description`
    pub description: Option<String>,
}

/// Names that mean something else.
const TAKEN: [&str; 4] = ["platform", "epoch", "env", "git"];

/// Reads `[vars]`.
pub fn declarations<'a>(root: &'a Node, sink: &mut Sink) -> Vec<(&'a str, Declaration<'a>)> {
    let Some(vars) = root.get("vars") else { return Vec::new() };
    if !matches!(vars.value, Value::Map(_)) {
        read::wrong_type(vars, "a table of variables", sink);
    }
    vars.entries()
        .iter()
        .map(|(key, node)| {
            if let Err(refusal) = name(&key.text) {
                read::refuse(refusal, key.span, sink);
            }
            (key.text.as_str(), declaration(key, node, sink))
        })
        .collect()
}

fn name(text: &str) -> Word<()> {
    if TAKEN.contains(&text) {
        return Err(Refusal::bad(format!(
            "`{text}` can't be the name of a variable: it means something else"
        )));
    }
    words::name(text)
}

fn declaration<'a>(key: &Key, node: &'a Node, sink: &mut Sink) -> Declaration<'a> {
    let mut declaration = Declaration {
        span: key.span,
        kind: None,
        default: None,
        is_broken: false,
        one_of: None,
        pattern: None,
        env: None,
        description: None,
    };
    if !matches!(node.value, Value::Map(_)) {
        declaration.default = Some(node).filter(|node| is_datum(node, sink));
        declaration.is_broken = declaration.default.is_none();
        return declaration;
    }
    let Some(table) = Table::open(node, key.span, &VARIABLE, sink) else { return declaration };
    let types = [
        ("string", Type::String),
        ("integer", Type::Integer),
        ("boolean", Type::Boolean),
        ("strings", Type::Strings),
    ];
    declaration.description = table.description();
    declaration.kind = table.optional("type", sink, |node, sink| read::choice(node, &types, &[], sink));
    declaration.default = table.get("default").filter(|node| is_datum(node, sink));
    declaration.is_broken = declaration.default.is_none() && table.get("default").is_some();
    declaration.pattern = table.optional("pattern", sink, |node, sink| {
        read::checked(node, |text| words::pattern(text).map(drop), sink)
    });
    declaration.env = table.optional("env", sink, read::string).map(|name| name.value);
    if let Some(node) = table.get("one-of") {
        match &node.value {
            Value::List(items) if items.is_empty() => read::bad("`one-of` is empty", node.span, sink),
            Value::List(items) => {
                let right = items.iter().filter(|item| is_datum(item, sink)).count() == items.len();
                declaration.one_of = right.then_some(items.as_slice());
            }
            _ => read::wrong_type(node, "an array of values", sink),
        }
    }
    tell_pattern_of_others(&declaration, sink);
    declaration
}

/// Only text has a form.
fn tell_pattern_of_others(declaration: &Declaration<'_>, sink: &mut Sink) {
    let other = declaration.default.and_then(Datum::of).is_some_and(|datum| datum.kind() != Type::String);
    if let Some(pattern) = &declaration.pattern
        && (other || declaration.kind.is_some_and(|kind| kind != Type::String))
    {
        read::bad("`pattern` is for variables that are strings", pattern.span, sink);
    }
}

fn is_datum(node: &Node, sink: &mut Sink) -> bool {
    let right = Datum::of(node).is_some();
    if !right && node.value != Value::Unknown {
        let message =
            format!("a variable is a string, integer, boolean or array of strings, not {}", what(node));
        sink.push(Diagnostic::error("wrong-type", message).at(node.span, ""));
    }
    right
}

fn what(node: &Node) -> &'static str {
    match node.value {
        Value::List(_) => "an array of other values",
        _ => node.value.what(),
    }
}
