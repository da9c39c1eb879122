//! TOML to nodes. The parser goes on after a mistake, so several are told at once.

use super::{Key, MAX_DEPTH, MAX_NODES, Node, Value};
use crate::spec::{Diagnostic, Span, span::FileId};
use std::ops::Range;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// Reads a document; mistakes are added to `diagnostics`.
pub fn parse(text: &str, file: FileId, diagnostics: &mut Vec<Diagnostic>) -> Option<Node> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let broken = errors.iter().filter_map(toml::de::Error::span).collect();
    for error in errors {
        let range = error.span().unwrap_or(0..0);
        let (code, message) = match error.message().trim() {
            "duplicate key" => {
                ("duplicate-name", format!("duplicate key `{}`", text.get(range.clone()).unwrap_or_default()))
            }
            message => ("syntax", message.to_owned()),
        };
        diagnostics.push(Diagnostic::error(code, message).at(Span::new(file, range.start, range.end), ""));
    }
    let mut reader = Reader { text, file, broken, nodes: 0, newer: None, diagnostics };
    let span = table.span();
    let value = reader.table(table.get_ref(), 0)?;
    if let Some((range, what)) = reader.newer {
        let message = format!("{what} is TOML 1.1: other readers of TOML 1.0 refuse the file");
        let warning =
            Diagnostic::warning("toml-1.1", message).at(Span::new(file, range.start, range.end), "");
        diagnostics.push(warning);
    }
    Some(Node::new(value, Span::new(file, span.start, span.end)))
}

struct Reader<'a> {
    text: &'a str,
    file: FileId,
    /// The places of mistakes: what the parser made up there is not to be looked at.
    broken: Vec<Range<usize>>,
    nodes: usize,
    /// The first place that only TOML 1.1 allows, and what is there.
    newer: Option<(Range<usize>, &'static str)>,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl Reader<'_> {
    fn span(&self, range: Range<usize>) -> Span {
        Span::new(self.file, range.start, range.end)
    }

    /// None beyond the limits, which is told once.
    fn node(&mut self, value: &Spanned<DeValue<'_>>, depth: usize) -> Option<Node> {
        let range = value.span();
        self.nodes += 1;
        if self.nodes > MAX_NODES || depth > MAX_DEPTH {
            let message = if depth > MAX_DEPTH {
                format!("values are nested more than {MAX_DEPTH} levels deep")
            } else {
                format!("the file holds more than {MAX_NODES} values")
            };
            let told = self.diagnostics.iter().any(|diagnostic| diagnostic.message == message);
            if !told {
                let span = self.span(range);
                self.diagnostics.push(Diagnostic::error("syntax", message).at(span, ""));
            }
            return None;
        }
        self.look_for_newer_syntax(value);
        let is_broken = self.broken.iter().any(|wrong| wrong.start <= range.end && range.start <= wrong.end);
        let read = match value.get_ref() {
            DeValue::Array(_) | DeValue::Table(_) if is_broken && range.is_empty() => Value::Unknown,
            DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_)
                if is_broken =>
            {
                Value::Unknown
            }
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) => Value::Float(f64::INFINITY, self.slice(range.clone()).to_owned()),
            },
            DeValue::Float(number) => {
                let text = number.as_str();
                Value::Float(text.parse().unwrap_or(f64::NAN), text.to_owned())
            }
            DeValue::Boolean(boolean) => Value::Boolean(*boolean),
            DeValue::Datetime(time) => Value::DateTime(time.to_string()),
            DeValue::Array(items) => {
                Value::List(items.iter().filter_map(|item| self.node(item, depth + 1)).collect())
            }
            DeValue::Table(table) => self.table(table, depth + 1)?,
        };
        Some(Node::new(read, self.span(range)))
    }

    fn table(&mut self, table: &DeTable<'_>, depth: usize) -> Option<Value> {
        let mut entries = Vec::with_capacity(table.len());
        for (key, value) in table {
            let text = key.get_ref().to_string();
            let key = Key { text, span: self.span(key.span()) };
            if let Some(node) = self.node(value, depth) {
                entries.push((key, node));
            }
        }
        // The order of the text: the parser keeps that of first mention, which sub-tables disturb.
        entries.sort_by_key(|(key, _)| key.span.start);
        Some(Value::Map(entries))
    }

    fn slice(&self, range: Range<usize>) -> &str {
        self.text.get(range).unwrap_or_default()
    }

    /// Notes the first use of what TOML 1.1 added: line breaks, comments and a last comma in `{ }`, the escapes `\e`
    /// and `\x`, times without seconds.
    fn look_for_newer_syntax(&mut self, value: &Spanned<DeValue<'_>>) {
        let range = value.span();
        let slice = self.slice(range.clone());
        let what = match value.get_ref() {
            DeValue::Table(table) if slice.starts_with('{') && loose_braces(table, &range, self.text) => {
                "a line break or last comma inside `{ }`"
            }
            DeValue::String(_) if slice.starts_with('"') && newer_escape(slice) => "an escape `\\e` or `\\x`",
            DeValue::Datetime(time) if time.time.is_some_and(|time| time.second.is_none()) => {
                "a time without seconds"
            }
            _ => return,
        };
        if self.newer.as_ref().is_none_or(|(first, _)| range.start < first.start) {
            self.newer = Some((range, what));
        }
    }
}

/// Whether what stands between the keys and values of an inline table has a line break, or ends in a comma.
fn loose_braces(table: &DeTable<'_>, range: &Range<usize>, text: &str) -> bool {
    let mut inner = Vec::new();
    leaves(table, text, &mut inner);
    inner.sort_by_key(|range| range.start);
    let mut at = range.start;
    let mut gaps = Vec::new();
    for leaf in &inner {
        gaps.push(text.get(at..leaf.start).unwrap_or_default());
        at = at.max(leaf.end);
    }
    let last = text.get(at..range.end).unwrap_or_default();
    gaps.iter().chain([&last]).any(|gap| gap.contains('\n')) || (!inner.is_empty() && last.contains(','))
}

/// The places of keys and written values; tables that dotted keys made have no text of their own.
fn leaves(table: &DeTable<'_>, text: &str, found: &mut Vec<Range<usize>>) {
    for (key, value) in table {
        found.push(key.span());
        match value.get_ref() {
            DeValue::Table(inner) if !text.get(value.span()).is_some_and(|slice| slice.starts_with('{')) => {
                leaves(inner, text, found);
            }
            _ => found.push(value.span()),
        }
    }
}

fn newer_escape(slice: &str) -> bool {
    let mut characters = slice.chars();
    while let Some(character) = characters.next() {
        if character == '\\' && matches!(characters.next(), Some('e' | 'x')) {
            return true;
        }
    }
    false
}
