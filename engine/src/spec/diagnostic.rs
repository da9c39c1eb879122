//! What is wrong with a build file, as data: code, place, reason, cure. Rendered in one place, or given as JSON.
//!
//! ```text
//! error[unknown-key]: `form` is not a key of a step
//!  --> build.toml:7:1
//!   |
//! 7 | form = "os"
//!   | ^^^^ unknown key
//!   |
//!   = help: did you mean `from`?
//! ```

use super::span::{FileId, Files, Span};
use super::words::Refusal;
use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;
use std::fmt;

/// Whether it ends the build.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Nothing is run.
    Error,
    /// Spoken once; an error with `--deny-warnings`.
    Warning,
}

/// One place a diagnostic speaks of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What is there; may be empty.
    pub text: String,
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// A code that `rbuild explain` knows.
    pub code: &'static str,
    /// Error or warning.
    pub severity: Severity,
    /// One clause, lower case, no full stop.
    pub message: String,
    /// The first is the place; others are what it clashes with.
    pub labels: Vec<Label>,
    /// Cures, the most likely first.
    pub help: Vec<String>,
}

impl Diagnostic {
    /// An error with no place yet.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        debug_assert!(super::codes::find(code).is_some(), "`{code}` has no explanation");
        let severity = Severity::Error;
        Self { code, severity, message: without_errno(&message.into()), labels: Vec::new(), help: Vec::new() }
    }

    /// A warning with no place yet.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// What a small parser refused, at `span`.
    pub fn refused(refusal: Refusal, span: Span) -> Self {
        let mut diagnostic = Self::error(refusal.code, refusal.reason).at(span, "");
        diagnostic.help.extend(refusal.help);
        diagnostic
    }

    /// Adds a place.
    #[must_use]
    pub fn at(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    /// Adds a cure.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(text.into());
        self
    }
}

/// Everything that is wrong, with the files it speaks of.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    /// In the order of the files' text.
    pub list: Vec<Diagnostic>,
    /// What the spans point into.
    pub files: Files,
}

/// How a place looks in JSON.
#[derive(Serialize)]
struct JsonLabel<'a> {
    file: String,
    line: usize,
    column: usize,
    start: usize,
    end: usize,
    text: &'a str,
}

/// How a diagnostic looks in JSON.
#[derive(Serialize)]
struct JsonDiagnostic<'a> {
    code: &'a str,
    severity: Severity,
    message: &'a str,
    labels: Vec<JsonLabel<'a>>,
    help: &'a [String],
}

impl Diagnostics {
    /// Sorts `list` by place (what has none first) and drops what is said twice.
    pub fn new(mut list: Vec<Diagnostic>, files: Files) -> Self {
        list.sort_by_key(|diagnostic| diagnostic.labels.first().map(|label| label.span));
        let mut once: Vec<Diagnostic> = Vec::with_capacity(list.len());
        for diagnostic in list {
            let here = diagnostic.labels.first();
            let mut same_place = once.iter().rev().take_while(|earlier| earlier.labels.first() == here);
            if !same_place.any(|earlier| *earlier == diagnostic) {
                once.push(diagnostic);
            }
        }
        Self { list: once, files }
    }

    /// Those that end the build.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter().filter(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Whether one of them ends the build.
    pub fn has_errors(&self) -> bool {
        self.errors().next().is_some()
    }

    /// The text for a terminal: each with place, snippet, reason and cure.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let texts: Vec<String> =
            self.list.iter().map(|one| render_one(&renderer, one, &self.files)).collect();
        texts.join("\n\n")
    }

    /// The same as data: code, severity, message, places (line and column from 1, bytes from 0), help.
    pub fn to_json(&self) -> serde_json::Value {
        let list: Vec<JsonDiagnostic<'_>> = self.list.iter().map(|one| self.json_of(one)).collect();
        serde_json::to_value(list).unwrap_or_default()
    }

    fn json_of<'a>(&self, diagnostic: &'a Diagnostic) -> JsonDiagnostic<'a> {
        let label = |label: &'a Label| {
            let (line, column) = self.files.position(label.span)?;
            let file = self.files.get(label.span.file)?.path.display().to_string();
            let Span { start, end, .. } = label.span;
            Some(JsonLabel { file, line, column, start, end, text: &label.text })
        };
        JsonDiagnostic {
            code: diagnostic.code,
            severity: diagnostic.severity,
            message: &diagnostic.message,
            labels: diagnostic.labels.iter().filter_map(label).collect(),
            help: &diagnostic.help,
        }
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

/// A text without what Rust adds to the words of the system, as "(os error 2)": the number says nothing that they don't.
/// All that a user is told goes through this.
pub fn without_errno(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |told, part| match part.split_once(')') {
        Some((number, rest)) if number.bytes().all(|byte| byte.is_ascii_digit()) => told + rest,
        _ => told + " (os error " + part,
    })
}

/// One diagnostic as text. Labels of one file share a snippet.
fn render_one(renderer: &Renderer, diagnostic: &Diagnostic, files: &Files) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(diagnostic.message.as_str()).id(diagnostic.code);
    let mut group = Group::with_title(title);
    for file in files_of(diagnostic) {
        if let Some(snippet) = snippet(diagnostic, files, file) {
            group = group.element(snippet);
        }
    }
    for help in &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    renderer.render(&[group])
}

/// The files of the labels, each once, in their order.
fn files_of(diagnostic: &Diagnostic) -> Vec<FileId> {
    let mut files = Vec::new();
    for label in &diagnostic.labels {
        if !files.contains(&label.span.file) {
            files.push(label.span.file);
        }
    }
    files
}

/// The lines of one file that the labels touch. Only the stretch from the first to the last is given to the
/// renderer, since it works through all that it is given.
fn snippet<'a>(
    diagnostic: &'a Diagnostic,
    files: &'a Files,
    id: FileId,
) -> Option<Snippet<'a, Annotation<'a>>> {
    let file = files.get(id)?;
    let labels: Vec<&Label> = diagnostic.labels.iter().filter(|label| label.span.file == id).collect();
    let first = boundary(&file.text, labels.iter().map(|label| label.span.start).min()?);
    let last = boundary(&file.text, labels.iter().map(|label| label.span.end).max()?);
    let start = file.text[..first].rfind('\n').map_or(0, |newline| newline + 1);
    let end = file.text[last..].find('\n').map_or(file.text.len(), |newline| last + newline);
    let line = file.text[..start].matches('\n').count() + 1;
    let mut snippet =
        Snippet::source(&file.text[start..end]).line_start(line).path(file.path.to_string_lossy());
    for (number, label) in labels.into_iter().enumerate() {
        let primary = number == 0 && diagnostic.labels.first().is_some_and(|first| first.span.file == id);
        let kind = if primary { AnnotationKind::Primary } else { AnnotationKind::Context };
        let from = boundary(&file.text, label.span.start);
        let to = boundary(&file.text, first_line_end(&file.text, from, label.span.end));
        let annotation = kind.span(from - start..to.max(from) - start);
        snippet = snippet.annotation(if label.text.is_empty() {
            annotation
        } else {
            annotation.label(label.text.as_str())
        });
    }
    Some(snippet)
}

/// The end of a span, cut at the end of its first line: a caret under every line of a long table says nothing more.
fn first_line_end(text: &str, from: usize, end: usize) -> usize {
    let end = boundary(text, end).max(from);
    text[from..end].find('\n').map_or(end, |newline| from + newline)
}

/// The nearest character boundary at or before `offset`.
fn boundary(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}
