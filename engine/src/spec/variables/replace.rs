//! `${name}` replaced in a tree of values, wherever it belongs to the build file.

use super::{
    Scope,
    scope::as_node,
    template::{Piece, pieces},
};
use crate::spec::{
    Diagnostic,
    lower::read::{Sink, refuse},
    value::{Key, Node, Value},
    words::{EnvPart, EnvValue},
};
use std::collections::BTreeSet;

/// The whole file. `mentions` takes every text that a templated string could become, for any value of a `one-of`.
pub fn replace(root: &Node, scope: &mut Scope<'_>, mentions: &mut BTreeSet<String>, sink: &mut Sink) -> Node {
    let mut walk = Walk { scope, mentions, sink };
    map(root, |key, node| match key {
        // Evaluated by the scope, with each name's own text.
        "vars" => node.clone(),
        "step" | "test" => map(node, |_, table| map(table, |key, node| walk.field_of_step(key, node))),
        "image" => map(node, |_, table| map(table, |key, node| walk.field_of_image(key, node))),
        _ => walk.plain(node),
    })
}

/// A value without any of the places that are spared: a default or a choice of a variable. None if something in it
/// is not known, which has been told.
pub fn value(node: &Node, scope: &mut Scope<'_>, sink: &mut Sink) -> Option<Node> {
    let mut mentions = BTreeSet::new();
    let node = Walk { scope, mentions: &mut mentions, sink }.plain(node);
    is_known(&node).then_some(node)
}

fn is_known(node: &Node) -> bool {
    match &node.value {
        Value::Unknown => false,
        Value::List(items) => items.iter().all(is_known),
        _ => true,
    }
}

/// A copy of a map with every value changed; anything else as it is.
fn map(node: &Node, mut change: impl FnMut(&str, &Node) -> Node) -> Node {
    let Value::Map(entries) = &node.value else { return node.clone() };
    let entries: Vec<(Key, Node)> =
        entries.iter().map(|(key, node)| (key.clone(), change(&key.text, node))).collect();
    Node { value: Value::Map(entries), ..*node }
}

struct Walk<'w, 'a> {
    scope: &'w mut Scope<'a>,
    mentions: &'w mut BTreeSet<String>,
    sink: &'w mut Sink,
}

impl Walk<'_, '_> {
    fn field_of_step(&mut self, key: &str, node: &Node) -> Node {
        match (key, &node.value) {
            ("run", Value::String(_)) => node.clone(),
            ("files", Value::List(items)) => {
                let items = items.iter().map(|item| self.file(item)).collect();
                Node { value: Value::List(items), ..*node }
            }
            ("env", Value::Map(_)) => self.environment(node),
            ("config", _) => self.config(node),
            _ => self.plain(node),
        }
    }

    fn field_of_image(&mut self, key: &str, node: &Node) -> Node {
        match key {
            "config" => self.config(node),
            _ => self.plain(node),
        }
    }

    fn config(&mut self, node: &Node) -> Node {
        map(node, |key, node| match (key, &node.value) {
            ("env", Value::Map(_)) => self.environment(node),
            _ => self.plain(node),
        })
    }

    /// One of `files`: its content belongs to the file unless `expand` says otherwise.
    fn file(&mut self, node: &Node) -> Node {
        let expand = node.get("expand").map(|node| self.plain(node).value);
        map(node, |key, node| match key {
            "content" if expand != Some(Value::Boolean(true)) => node.clone(),
            _ => self.plain(node),
        })
    }

    fn environment(&mut self, node: &Node) -> Node {
        map(node, |_, node| match &node.value {
            Value::String(text) => self.string(text, node, true),
            _ => self.plain(node),
        })
    }

    fn plain(&mut self, node: &Node) -> Node {
        match &node.value {
            Value::String(text) => self.string(text, node, false),
            Value::List(items) => {
                let items = items.iter().map(|item| self.plain(item)).collect();
                Node { value: Value::List(items), ..*node }
            }
            Value::Map(_) => map(node, |_, node| self.plain(node)),
            _ => node.clone(),
        }
    }

    /// One string; what is unknown in it is told and left out.
    fn string(&mut self, text: &str, node: &Node, is_environment: bool) -> Node {
        if !text.contains('$') {
            return node.clone();
        }
        let pieces = match pieces(text) {
            Ok(pieces) => pieces,
            Err(refusal) => {
                refuse(refusal, node.span, self.sink);
                return Node { value: Value::Unknown, ..*node };
            }
        };
        if let [Piece::Name(name)] = pieces.as_slice()
            && !(is_environment && name.starts_with("env."))
        {
            let datum = self.scope.lookup(name, node, self.sink);
            let datum = datum.filter(|datum| self.scope.take_room(datum.size(), node, self.sink).is_some());
            self.mentions.extend(self.scope.variants(text, node));
            return match datum {
                Some(datum) => as_node(datum, node),
                None => Node { value: Value::Unknown, ..*node },
            };
        }
        let value = match self.parts(&pieces, node, is_environment) {
            None => Value::Unknown,
            Some(parts) => match parts.as_slice() {
                [] => Value::String(String::new()),
                [EnvPart::Text(text)] => Value::String(text.clone()),
                _ => Value::Template(EnvValue { parts }),
            },
        };
        // Only now: what this asks for first would be evaluated without a word.
        self.mentions.extend(self.scope.variants(text, node));
        Node { value, ..*node }
    }

    /// The pieces with what they stand for; none if one is unknown, after all have been looked at.
    fn parts(&mut self, pieces: &[Piece<'_>], node: &Node, is_environment: bool) -> Option<Vec<EnvPart>> {
        let (mut parts, mut whole) = (Vec::new(), true);
        for piece in pieces {
            let text = match piece {
                Piece::Text(text) => text.clone(),
                Piece::Name(name) => match name.strip_prefix("env.") {
                    Some(variable) if is_environment && is_variable(variable) => {
                        parts.push(EnvPart::Inherited(variable.to_owned()));
                        continue;
                    }
                    _ => {
                        let text = self.inside(name, node);
                        whole &= text.is_some();
                        text.unwrap_or_default()
                    }
                },
            };
            match parts.last_mut() {
                Some(EnvPart::Text(last)) => last.push_str(&text),
                _ => parts.push(EnvPart::Text(text)),
            }
        }
        whole.then_some(parts)
    }

    /// A variable inside a longer string.
    fn inside(&mut self, name: &str, node: &Node) -> Option<String> {
        let datum = self.scope.lookup(name, node, self.sink)?;
        self.scope.take_room(datum.size(), node, self.sink)?;
        let text = datum.text();
        if text.is_none() {
            let message = format!("variable `{name}` is an array and can't stand inside a longer string");
            let span = self.scope.place(name, node);
            self.sink.push(Diagnostic::error("wrong-type", message).at(span, ""));
        }
        text
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && !name.contains('=')
}
