//! Places in the files that were read: what lets every later message point at the offending text.
//!
//! A [`Span`] is a byte range of one file of a [`Files`]; a [`Spanned`] is a value with the span it was read from.
//! Two spanned values are equal when the values are, wherever they stood: the same spec in TOML and YAML is equal.

use std::{fmt, ops::Deref, path::Path, path::PathBuf};

/// Which of the files that were read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FileId(pub(crate) u32);

/// A byte range of one file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Span {
    /// The file it is in.
    pub file: FileId,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// Bytes `start..end` of `file`.
    pub fn new(file: FileId, start: usize, end: usize) -> Self {
        Self { file, start, end: end.max(start) }
    }
}

/// A value and where it was written. It reads as the value itself (`Deref`).
#[derive(Clone)]
pub struct Spanned<T> {
    /// What was read.
    pub value: T,
    /// Where.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// `value`, read at `span`.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }

    /// The same place with another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Spanned<U> {
        Spanned { value: change(self.value), span: self.span }
    }
}

impl<T> Deref for Spanned<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Spanned<T> {}

impl<T: fmt::Debug> fmt::Debug for Spanned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T: fmt::Display> fmt::Display for Spanned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// One file as it was read.
#[derive(Clone, Debug)]
pub struct File {
    /// Its path as the user named it.
    pub path: PathBuf,
    /// Its whole text.
    pub text: String,
}

/// The files that were read, for messages about them.
#[derive(Clone, Debug, Default)]
pub struct Files {
    list: Vec<File>,
}

impl Files {
    /// Takes one more file.
    pub fn add(&mut self, path: &Path, text: String) -> FileId {
        self.list.push(File { path: path.to_owned(), text });
        FileId(u32::try_from(self.list.len() - 1).unwrap_or(u32::MAX))
    }

    /// The file a span is in; none if it is of another set of files.
    pub fn get(&self, id: FileId) -> Option<&File> {
        self.list.get(id.0 as usize)
    }

    /// Line and column (both from 1; columns in characters) of a span's first byte.
    pub fn position(&self, span: Span) -> Option<(usize, usize)> {
        let text = &self.get(span.file)?.text;
        let mut start = span.start.min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let before = &text[..start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Some((before.matches('\n').count() + 1, before[line_start..].chars().count() + 1))
    }

    /// `path:line:column` of a span, as editors and people find it.
    pub fn place(&self, span: Span) -> Option<String> {
        let (line, column) = self.position(span)?;
        Some(format!("{}:{line}:{column}", self.get(span.file)?.path.display()))
    }
}
