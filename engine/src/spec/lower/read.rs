//! Single values: nodes to Rust values, with one way to say that something else was wanted.
//!
//! Each function returns none when the value is wrong and has told so; the caller goes on with a default, so that
//! all mistakes are told. What is returned then is never used, since loading fails.

use crate::spec::{
    Diagnostic, Span, Spanned,
    suggest::{list as list_of, nearest},
    value::{Node, Value},
    words::{Refusal, Word},
};

/// Where mistakes are gathered.
pub type Sink = Vec<Diagnostic>;

/// Tells what a small parser refused.
pub fn refuse(refusal: Refusal, span: Span, sink: &mut Sink) {
    sink.push(Diagnostic::refused(refusal, span));
}

/// Tells `bad-value`.
pub fn bad(message: impl Into<String>, span: Span, sink: &mut Sink) {
    sink.push(Diagnostic::error("bad-value", message).at(span, ""));
}

/// Tells that `wanted` (with an article) should stand here.
pub fn wrong_type(node: &Node, wanted: &str, sink: &mut Sink) {
    if node.value == Value::Unknown {
        return;
    }
    if let Value::Template(value) = &node.value {
        let message = format!("`{value}` is known only in values of `env`");
        sink.push(Diagnostic::error("unknown-variable", message).at(node.span, ""));
        return;
    }
    let help = match &node.value {
        Value::String(text) => unquoted(text, wanted),
        _ => bare(node).filter(|_| wanted.contains("string")).map(|text| quoted(&text)),
    };
    mistyped(node, wanted, help, sink);
}

/// Tells the same with what to write instead, which must be right itself.
fn mistyped(node: &Node, wanted: &str, help: Option<String>, sink: &mut Sink) {
    let message = format!("{wanted} is wanted here, not {}", node.value.what());
    let diagnostic = Diagnostic::error("wrong-type", message).at(node.span, "");
    sink.push(help.into_iter().fold(diagnostic, Diagnostic::help));
}

/// What is written without quotes, as it is written; it is no string of the file's.
fn bare(node: &Node) -> Option<String> {
    match &node.value {
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(_, text) | Value::DateTime(text) => Some(text.clone()),
        Value::Boolean(boolean) => Some(boolean.to_string()),
        _ => None,
    }
}

fn quoted(text: &str) -> String {
    format!("quote it: \"{text}\"")
}

/// What to write instead of a string where something else is wanted.
fn unquoted(text: &str, wanted: &str) -> Option<String> {
    let is_right = match wanted {
        "true or false" => match text {
            "true" | "false" => true,
            "yes" | "on" | "1" => return Some("write true".to_owned()),
            "no" | "off" | "0" => return Some("write false".to_owned()),
            _ => return Some("write true or false".to_owned()),
        },
        "an integer" => text.parse::<i64>().is_ok(),
        "a number" => text.parse::<f64>().is_ok_and(f64::is_finite),
        _ => false,
    };
    is_right.then(|| "remove the quotes".to_owned())
}

/// Any text without a NUL byte, which no program can be given.
pub fn string(node: &Node, sink: &mut Sink) -> Option<Spanned<String>> {
    let text = content(node, sink)?;
    if text.contains('\0') {
        bad("a NUL byte can't stand here", node.span, sink);
        return None;
    }
    Some(text)
}

/// Any text.
pub fn content(node: &Node, sink: &mut Sink) -> Option<Spanned<String>> {
    let text = match &node.value {
        Value::String(text) => text.clone(),
        Value::Integer(number) if node.from_variable => number.to_string(),
        Value::Boolean(boolean) if node.from_variable => boolean.to_string(),
        _ => {
            wrong_type(node, "a string", sink);
            return None;
        }
    };
    Some(Spanned::new(text, node.span))
}

/// `true` or `false`.
pub fn boolean(node: &Node, sink: &mut Sink) -> Option<bool> {
    match node.value {
        Value::Boolean(boolean) => Some(boolean),
        _ => {
            wrong_type(node, "true or false", sink);
            None
        }
    }
}

/// A whole number from 0 to `max`.
pub fn integer(node: &Node, max: u32, sink: &mut Sink) -> Option<u32> {
    match node.value {
        Value::Integer(number) => match u32::try_from(number).ok().filter(|number| *number <= max) {
            Some(number) => Some(number),
            None => {
                bad(format!("{number} is not between 0 and {max}"), node.span, sink);
                None
            }
        },
        _ => {
            wrong_type(node, "an integer", sink);
            None
        }
    }
}

/// The items of an array, those that are right.
pub fn list<T>(node: &Node, sink: &mut Sink, mut each: impl FnMut(&Node, &mut Sink) -> Option<T>) -> Vec<T> {
    match &node.value {
        Value::List(items) => items.iter().filter_map(|item| each(item, sink)).collect(),
        _ => {
            let mut is_item = |node: &Node| {
                let mut told = Sink::new();
                each(node, &mut told).is_some() && told.is_empty()
            };
            let text = node.text().filter(|_| is_item(node));
            mistyped_array(node, "an array", text, sink);
            Vec::new()
        }
    }
}

/// Tells that an array is wanted; `item` is a text that could stand in it.
fn mistyped_array(node: &Node, wanted: &str, item: Option<&str>, sink: &mut Sink) {
    match item {
        Some(text) => {
            mistyped(node, wanted, Some(format!("put it in brackets: [\"{text}\"]")), sink);
        }
        None => wrong_type(node, wanted, sink),
    }
}

/// An array of strings.
pub fn strings(node: &Node, sink: &mut Sink) -> Vec<Spanned<String>> {
    match &node.value {
        Value::List(_) => list(node, sink, string),
        _ => {
            mistyped_array(node, "an array of strings", node.text(), sink);
            Vec::new()
        }
    }
}

/// An array of strings whose places no message needs.
pub fn plain_strings(node: &Node, sink: &mut Sink) -> Vec<String> {
    strings(node, sink).into_iter().map(|text| text.value).collect()
}

/// A string that a small parser reads.
pub fn word<T>(node: &Node, parser: impl FnOnce(&str) -> Word<T>, sink: &mut Sink) -> Option<Spanned<T>> {
    if let Some(text) = bare(node).filter(|_| !node.from_variable) {
        let help = match parser(&text) {
            Ok(_) => quoted(&text),
            Err(refusal) => refusal.help.unwrap_or(refusal.reason),
        };
        mistyped(node, "a string", Some(help), sink);
        return None;
    }
    let text = string(node, sink)?;
    match parser(&text) {
        Ok(value) => Some(Spanned::new(value, node.span)),
        Err(refusal) => {
            refuse(refusal, node.span, sink);
            None
        }
    }
}

/// A string that stays one once a small parser has checked it.
pub fn checked(
    node: &Node,
    check: impl FnOnce(&str) -> Word<()>,
    sink: &mut Sink,
) -> Option<Spanned<String>> {
    word(node, |text| check(text).map(|()| text.to_owned()), sink)
}

/// One of a few words; `later` are those of later versions.
pub fn choice<T: Copy>(node: &Node, choices: &[(&str, T)], later: &[&str], sink: &mut Sink) -> Option<T> {
    let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    if bare(node).is_some() && !node.from_variable {
        mistyped(node, "a string", Some(one_of(&words, &node.value)), sink);
        return None;
    }
    let text = string(node, sink)?;
    if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text.value) {
        return Some(*value);
    }
    if later.contains(&text.as_str()) {
        refuse(Refusal::not_yet(&format!("\"{}\"", text.value)), node.span, sink);
        return None;
    }
    let message = format!("`{}` is none of {}", text.value, list_of(&words));
    let mut diagnostic = Diagnostic::error("bad-value", message).at(node.span, "");
    if let Some(near) = nearest(&text, words) {
        diagnostic = diagnostic.help(format!("did you mean \"{near}\"?"));
    }
    sink.push(diagnostic);
    None
}

/// Which of the words of a choice to write; a switch of it would mean `none` or the others.
fn one_of(words: &[&str], switch: &Value) -> String {
    let is_meant = |word: &&&str| match switch {
        Value::Boolean(on) if words.contains(&"none") => (**word == "none") != *on,
        _ => true,
    };
    let meant: Vec<String> = words.iter().filter(is_meant).map(|word| format!("\"{word}\"")).collect();
    format!("write {}", meant.join(" or "))
}
