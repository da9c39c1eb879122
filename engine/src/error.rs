//! Errors as the user meets them: a kind that decides the exit code, what happened, its causes, and hints.
//!
//! | kind | exit code | means |
//! |---|---|---|
//! | `Step` | 1 | a step, test, copy or merge failed |
//! | `Spec` | 2 | the build file or the command line; nothing was run |
//! | `Environment` | 3 | the machine, the network or a source |
//! | `Internal` | 70 | a bug |
//! | `Interrupted` | 130 | Ctrl-C, SIGTERM, SIGHUP |
//!
//! Messages are lower case, without a full stop, and name the path or operation. Rendering is the reporter's.

use crate::spec::{Diagnostic, Diagnostics, Files, Span, codes, without_errno, words::Refusal};
use std::fmt;

/// The result of what can fail before the user.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whose fault it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// The build file or the command line.
    Spec,
    /// A step, test, copy or merge.
    Step,
    /// The machine, the network or a source.
    Environment,
    /// A bug.
    Internal,
    /// The user's wish.
    Interrupted,
}

impl Kind {
    /// What the process ends with.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Step => 1,
            Self::Spec => 2,
            Self::Environment => 3,
            Self::Internal => 70,
            Self::Interrupted => 130,
        }
    }
}

/// Something failed.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    code: Option<&'static str>,
    message: String,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
    hints: Vec<String>,
    diagnostics: Option<Box<Diagnostics>>,
}

impl Error {
    fn new(kind: Kind, code: Option<&'static str>, message: impl Into<String>) -> Self {
        let message = without_errno(&message.into());
        let error = Self { kind, code, message, cause: None, hints: Vec::new(), diagnostics: None };
        if is_disk_full(&error.message) { error.hint(MAKE_SPACE) } else { error }
    }

    /// The command line is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Spec, None, message)
    }

    /// The build file is wrong in a way that has a code and no place.
    pub fn spec(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Spec, Some(code), message)
    }

    /// A step, test, copy or merge failed.
    pub fn step(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Step, Some(code), message)
    }

    /// The machine lacks something.
    pub fn environment(message: impl Into<String>) -> Self {
        Self::new(Kind::Environment, None, message)
    }

    /// A source can't be had: `source-failed`, `digest-mismatch` …
    pub fn source(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Environment, Some(code), message)
    }

    /// A bug: what was expected and did not hold.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, None, message)
    }

    /// The user stopped the build.
    pub fn interrupted() -> Self {
        Self::new(Kind::Interrupted, None, "interrupted")
    }

    /// Nothing may be asked for, and this is not in the store.
    pub fn offline(what: &str) -> Self {
        Self::source("offline", format!("--offline: {what} is not in the store"))
            .hint("run once without --offline")
    }

    /// An operation of the system failed on `path`: `cannot OPERATION PATH`.
    pub fn io(operation: &str, path: &std::path::Path, cause: std::io::Error) -> Self {
        Self::environment(format!("cannot {operation} {}", path.display())).caused_by(cause)
    }

    /// With its place in the build file before it.
    pub fn placed(self, files: &Files, span: Span) -> Self {
        match files.place(span) {
            Some(place) => self.within(&place),
            None => self,
        }
    }

    /// What made it fail.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        if self.causes().iter().any(|cause| is_disk_full(cause)) { self.hint(MAKE_SPACE) } else { self }
    }

    /// The same error, said of something: `WHAT: message`.
    #[must_use]
    pub fn within(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// One more thing to try; said twice it stands once.
    #[must_use]
    pub fn hint(mut self, text: impl Into<String>) -> Self {
        let text = without_errno(&text.into());
        if !self.hints.contains(&text) {
            self.hints.push(text);
        }
        self
    }

    /// Gives it a code that `rbuild explain` knows.
    #[must_use]
    pub fn coded(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// Whose fault it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// A code that `rbuild explain` knows.
    pub fn code(&self) -> Option<&'static str> {
        self.code
    }

    /// What happened, without its causes.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to try.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// The mistakes of a build file, if it is about those: they have places and are rendered by themselves.
    pub fn diagnostics(&self) -> Option<&Diagnostics> {
        self.diagnostics.as_deref()
    }

    /// The texts of the causes, the nearest first; what a text repeats of the one before is left out.
    pub fn causes(&self) -> Vec<String> {
        let mut texts: Vec<String> = Vec::new();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            let text = without_errno(&cause.to_string());
            if texts.last().is_none_or(|last| !last.ends_with(&text)) {
                texts.push(text);
            }
            next = cause.source();
        }
        texts
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

impl From<Diagnostics> for Error {
    fn from(diagnostics: Diagnostics) -> Self {
        let errors: Vec<_> = diagnostics.errors().collect();
        let message = match errors.as_slice() {
            [one] => one.message.clone(),
            several => format!("the build file has {} errors", several.len()),
        };
        let code = errors.first().map(|first| first.code);
        // Of a missing local file the machine is to blame, unless the build file is wrong as well.
        let is_environment =
            |one: &&Diagnostic| codes::find(one.code).is_some_and(|code| code.exit_code == 3);
        let kind = if errors.iter().all(is_environment) { Kind::Environment } else { Kind::Spec };
        let mut error = Self::new(kind, code, message);
        error.diagnostics = Some(Box::new(diagnostics));
        error
    }
}

impl From<Refusal> for Error {
    /// A word of the command line that is wrong.
    fn from(refusal: Refusal) -> Self {
        let error = Self::spec(refusal.code, refusal.reason);
        match refusal.help {
            Some(help) => error.hint(help),
            None => error,
        }
    }
}

/// What the C library says of ENOSPC and of EDQUOT.
const DISK_FULL: [&str; 2] = ["No space left on device", "Disk quota exceeded"];
const MAKE_SPACE: &str = "free some space, or put the store (RBUILD_STORE) or the outputs (--out) elsewhere";

fn is_disk_full(text: &str) -> bool {
    DISK_FULL.iter().any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Files;

    #[test]
    fn exit_codes() {
        let errors = [
            (Error::step("step-failed", "x"), 1),
            (Error::usage("x"), 2),
            (Error::spec("cycle", "x"), 2),
            (Error::environment("x"), 3),
            (Error::source("source-failed", "x"), 3),
            (Error::internal("x"), 70),
            (Error::interrupted(), 130),
        ];
        for (error, code) in errors {
            assert_eq!(error.kind().exit_code(), code);
        }
    }

    #[test]
    fn causes_are_told_once() {
        let missing = std::io::Error::new(std::io::ErrorKind::NotFound, "no such file");
        let inner = Error::io("read", std::path::Path::new("/a/b"), missing);
        let outer = Error::source("source-failed", "source `code` can't be read").caused_by(inner);
        assert_eq!(outer.causes(), ["cannot read /a/b", "no such file"]);
        let same = Error::usage("x").caused_by(Error::usage("a: b").caused_by(Error::usage("b")));
        assert_eq!(same.causes(), ["a: b"]);
    }

    #[test]
    fn hints_stand_once() {
        let error = Error::environment("no /dev/fuse").hint("load the module").hint("load the module");
        assert_eq!(error.hints(), ["load the module"]);
    }

    #[test]
    fn numbers_of_system_errors_are_left_out() {
        let missing = || std::io::Error::from_raw_os_error(2);
        let told = format!("/a: {}; /b: {}", missing(), missing());
        let error = Error::environment(&told).caused_by(missing()).hint(&told);
        let words = "/a: No such file or directory; /b: No such file or directory";
        assert_eq!((error.message(), &error.hints()[0][..]), (words, words));
        assert_eq!(error.causes(), ["No such file or directory"]);
    }

    #[test]
    fn diagnostics_become_a_spec_error() {
        let one = Diagnostic::error("cycle", "steps need one another");
        let warning = Diagnostic::warning("unused", "not used");
        let error = Error::from(Diagnostics::new(vec![warning, one.clone()], Files::default()));
        assert_eq!(
            (error.kind(), error.code(), error.message()),
            (Kind::Spec, Some("cycle"), one.message.as_str())
        );
        let two = Diagnostics::new(vec![one, Diagnostic::error("syntax", "x")], Files::default());
        assert_eq!(Error::from(two).message(), "the build file has 2 errors");
    }
}
