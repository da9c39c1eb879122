//! What a command did.

use std::{fmt, path::Path, process};

/// What differs from run to run, as regular expressions, and what stands in its place.
pub const FILTERS: &[(&str, &str)] = &[
    (r"\b\d+(\.\d)?s\b|\b\d+m \d+s\b", "[TIME]"),
    (r"\b[0-9a-f]{64}\b", "[DIGEST]"),
    (r"\b[0-9a-f]{12}\b", "[SHORT DIGEST]"),
];

/// Standard output, standard error and exit code of one command.
pub struct Output {
    /// The folder of the project stands as `[DIR]`.
    pub stdout: String,
    /// The same.
    pub stderr: String,
    /// None: it was ended by a signal.
    pub code: Option<i32>,
    command: String,
}

impl Output {
    pub(super) fn new(command: String, output: &process::Output, folder: &Path) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&*folder.to_string_lossy(), "[DIR]");
        Self {
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
            code: output.status.code(),
            command,
        }
    }

    /// Fails the test unless the command did what it was told; gives its standard output.
    #[track_caller]
    pub fn success(self) -> String {
        assert_eq!(self.code, Some(0), "{self}");
        self.stdout
    }

    /// Fails the test unless the command ended with this code; gives its standard error.
    #[track_caller]
    pub fn failure(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self}");
        self.stderr
    }
}

impl fmt::Display for Output {
    /// `$ rbuild …`, the two streams (an empty one is left out), the exit code.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "$ {}", self.command)?;
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.is_empty() {
                let end = if text.ends_with('\n') { "" } else { "[no line end]\n" };
                write!(f, "--- {name}\n{text}{end}")?;
            }
        }
        match self.code {
            Some(code) => write!(f, "--- exit code {code}"),
            None => write!(f, "--- ended by a signal"),
        }
    }
}
