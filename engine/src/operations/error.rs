//! Why an operation failed.

use crate::{
    error::{Error, Kind},
    spec::{Files, Span},
    store::StoreError,
};
use std::fmt;

/// The result of an operation.
pub type Result<T> = std::result::Result<T, OperationError>;

/// An error with the field and the place of the build file that it is about.
#[derive(Debug)]
pub struct OperationError {
    error: Box<Error>,
    field: Option<String>,
    span: Option<Span>,
}

impl OperationError {
    /// The step is wrong about its trees: `no-match`, `type-conflict`, `unknown-owner`.
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Error::step(code, message).into()
    }

    /// The place, unless one that is nearer is known.
    #[must_use]
    pub(super) fn at(mut self, span: Span) -> Self {
        self.span.get_or_insert(span);
        self
    }

    /// The error with its place in the build file before it.
    pub fn located(self, files: &Files) -> Error {
        match self.span {
            Some(span) => Error::from(self).placed(files, span),
            None => self.into(),
        }
    }

    /// The field, `copy[2]`.
    #[must_use]
    pub(crate) fn within(mut self, field: &str) -> Self {
        self.field.get_or_insert_with(|| field.to_owned());
        self
    }

    /// One more thing to try.
    #[must_use]
    pub(super) fn hint(self, text: impl Into<String>) -> Self {
        Self { error: Box::new(self.error.hint(text)), ..self }
    }

    /// A code that `rbuild explain` knows.
    pub fn code(&self) -> Option<&'static str> {
        self.error.code()
    }

    /// Where in the build file.
    pub fn span(&self) -> Option<Span> {
        self.span
    }

    /// The field of the step, such as `copy[2]`.
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// What to try.
    pub fn hints(&self) -> &[String] {
        self.error.hints()
    }
}

impl fmt::Display for OperationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The store and the machine are not the field's fault.
        match (&self.field, self.error.kind()) {
            (Some(field), Kind::Step) => write!(f, "{field}: {}", self.error),
            _ => self.error.fmt(f),
        }
    }
}

impl std::error::Error for OperationError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&*self.error)
    }
}

impl From<Error> for OperationError {
    fn from(error: Error) -> Self {
        Self { error: Box::new(error), field: None, span: None }
    }
}

impl From<StoreError> for OperationError {
    fn from(error: StoreError) -> Self {
        Error::from(error).into()
    }
}

impl From<rbuild_tree::Error> for OperationError {
    fn from(error: rbuild_tree::Error) -> Self {
        match error {
            rbuild_tree::Error::At { path, reason } => Self::new("type-conflict", format!("{path} {reason}")),
            other => Error::from(other).into(),
        }
    }
}

impl From<OperationError> for Error {
    /// For where the place can't be shown.
    fn from(error: OperationError) -> Self {
        match (error.error.kind(), error.error.code()) {
            (Kind::Step, Some(code)) if error.field.is_some() => {
                let hints = error.hints().to_vec();
                hints.into_iter().fold(Self::step(code, error.to_string()), Self::hint)
            }
            _ => *error.error,
        }
    }
}
