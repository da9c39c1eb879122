//! The terminal of one command: errors are rendered here and nowhere else.
//!
//! ```text
//! error[source-failed]: source `os` can't be read
//!   caused by: cannot open base.tar: No such file or directory
//!
//! hint: make it by specs/ci-java/base.sh
//! hint: `rbuild explain source-failed` tells more
//! ```
//!
//! Mistakes of a build file have places and are rendered with snippets by `spec::Diagnostics`. A reader of the standard
//! output that went away (`rbuild graph | head`) ends the command quietly.

use super::text;
use rbuild::error::{Error, Kind, Result};
use rbuild::spec::{Diagnostics, codes};
use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write},
};

/// Where a command speaks.
#[derive(Clone, Copy, Debug)]
pub struct Shell {
    colour: bool,
}

/// The colours in use, as parameters of SGR.
#[derive(Clone, Copy)]
enum Paint {
    Error,
    Warning,
    Hint,
}

impl Shell {
    /// Colour if the standard error is a terminal, `NO_COLOR` is unset or empty, and the terminal is not dumb.
    pub fn new() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self { colour: !unwanted && !dumb && io::stderr().is_terminal() }
    }

    /// Without colour.
    #[cfg(test)]
    pub fn plain() -> Self {
        Self { colour: false }
    }

    /// Writes a result to the standard output.
    ///
    /// # Errors
    /// If that fails otherwise than by a reader that went away.
    pub fn print(&self, text: &str) -> Result<()> {
        self.print_bytes(text.as_bytes())
    }

    /// [`Shell::print`] of what may not be UTF-8.
    ///
    /// # Errors
    /// As there.
    pub fn print_bytes(&self, bytes: &[u8]) -> Result<()> {
        let mut output = io::stdout().lock();
        match output.write_all(bytes).and_then(|()| output.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Error::environment("cannot write to the standard output").caused_by(error))
            }
            _ => Ok(()),
        }
    }

    /// Writes to the standard error; where that fails there is nobody left to tell.
    pub fn tell(&self, text: &str) {
        let mut output = io::stderr().lock();
        let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    }

    /// Tells an error.
    pub fn error(&self, error: &Error) {
        self.tell(&self.render(error));
    }

    /// Tells the warnings of a build file.
    pub fn warnings(&self, warnings: &Diagnostics) {
        if !warnings.list.is_empty() {
            self.tell(&(warnings.render(self.colour) + "\n\n"));
        }
    }

    /// An error as text, with its line end.
    pub fn render(&self, error: &Error) -> String {
        let mut rendered = String::new();
        if let Some(diagnostics) = error.diagnostics() {
            rendered = diagnostics.render(self.colour) + "\n\n";
        }
        // One mistake of a file has said its message already.
        if error.diagnostics().is_none_or(|diagnostics| diagnostics.errors().count() != 1) {
            let failure = Failure {
                node: None,
                code: error.code().filter(|_| error.diagnostics().is_none()),
                message: error.message(),
                causes: &error.causes(),
                last_lines: &[],
            };
            rendered += &self.failure(&failure);
            rendered.push('\n');
        }
        let mut hints = error.hints().to_vec();
        hints.extend(general_hint(error));
        rendered += &self.hints(&hints, error.code());
        rendered.truncate(rendered.trim_end().len());
        rendered + "\n"
    }

    /// What failed, its causes and the last lines it printed; no hints.
    pub fn failure(&self, failure: &Failure<'_>) -> String {
        let mut rendered = self.headline(Paint::Error, "error", failure.code, failure.message);
        // Its name is in the message of a step that ended badly; of a wrong field only the place is.
        if let Some(node) = failure.node.filter(|node| !names(failure.message, node)) {
            // Writing to a string can't fail, here and below.
            let _ = writeln!(rendered, "  in {node}");
        }
        for cause in failure.causes {
            let _ = writeln!(rendered, "  caused by: {}", indented(cause, "    "));
        }
        if !failure.last_lines.is_empty() {
            rendered.push_str("  its last lines:\n");
        }
        for line in failure.last_lines {
            let _ = writeln!(rendered, "    | {}", text::line(line));
        }
        rendered
    }

    /// Hint lines, and where a code is explained.
    pub fn hints(&self, hints: &[String], code: Option<&str>) -> String {
        let known = code.filter(|code| codes::find(code).is_some());
        let explained = known.map(|code| format!("`rbuild explain {code}` tells more"));
        let mut rendered = String::new();
        for hint in hints.iter().chain(&explained) {
            let _ = writeln!(rendered, "{} {}", self.paint(Paint::Hint, "hint:"), indented(hint, "      "));
        }
        rendered
    }

    /// A warning in one line; `about` is the node it is about.
    pub fn warning(&self, code: Option<&str>, about: Option<&str>, message: &str) -> String {
        let message = about.map_or_else(|| message.to_owned(), |about| format!("{about}: {message}"));
        self.headline(Paint::Warning, "warning", code, &message)
    }

    fn headline(&self, paint: Paint, word: &str, code: Option<&str>, message: &str) -> String {
        let word = code.map_or_else(|| word.to_owned(), |code| format!("{word}[{code}]"));
        format!("{}: {}\n", self.paint(paint, &word), indented(message, "  "))
    }

    fn paint(&self, paint: Paint, text: &str) -> String {
        let parameters = match paint {
            Paint::Error => "1;31",
            Paint::Warning => "1;33",
            Paint::Hint => "1;36",
        };
        if self.colour { format!("\u{1b}[{parameters}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// What is told of something that failed.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    /// `step.jar`
    pub node: Option<&'a str>,
    /// What `rbuild explain` knows.
    pub code: Option<&'a str>,
    /// What happened.
    pub message: &'a str,
    /// The nearest first.
    pub causes: &'a [String],
    /// Of its log.
    pub last_lines: &'a [String],
}

/// Whether a message says which node it is about: "step `jar` …", "step.jar …".
fn names(message: &str, node: &str) -> bool {
    let quoted = node.split_once('.').map(|(kind, name)| format!("{kind} `{name}`"));
    message.contains(node) || quoted.is_some_and(|quoted| message.contains(&quoted))
}

/// Safe for the terminal; lines after the first stand under it.
fn indented(message: &str, margin: &str) -> String {
    text::lines(message).replace('\n', &format!("\n{margin}"))
}

fn general_hint(error: &Error) -> Option<String> {
    (error.kind() == Kind::Internal).then(|| {
        "this is a bug in rbuild: please report it, with what the same command writes with RBUILD_LOG=debug set".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;
    use rbuild::spec::{Diagnostic, Files, Span};
    use std::path::Path;

    fn missing() -> io::Error {
        io::Error::new(io::ErrorKind::NotFound, "no such file")
    }

    #[test]
    fn an_error_with_all_its_parts() {
        let error = Error::source("source-failed", "source `os` can't be read")
            .caused_by(Error::io("open", Path::new("base.tar"), missing()))
            .hint("make it by base.sh");
        assert_snapshot!(Shell::plain().render(&error), @r"
        error[source-failed]: source `os` can't be read
          caused by: cannot open base.tar
          caused by: no such file

        hint: make it by base.sh
        hint: `rbuild explain source-failed` tells more
        ");
    }

    #[test]
    fn a_failure_names_its_node_once() {
        let failure =
            |message| Failure { node: Some("step.jar"), code: None, message, causes: &[], last_lines: &[] };
        for (message, told) in [
            ("no /x", "error: no /x\n  in step.jar\n"),
            ("step `jar` ended with 2", "error: step `jar` ended with 2\n"),
            ("step.jar: no /x", "error: step.jar: no /x\n"),
        ] {
            assert_eq!(Shell::plain().failure(&failure(message)), told);
        }
    }

    #[test]
    fn the_smallest_error_is_one_line() {
        assert_eq!(Shell::plain().render(&Error::interrupted()), "error: interrupted\n");
    }

    #[test]
    fn a_bug_asks_to_be_reported() {
        let rendered = Shell::plain().render(&Error::internal("node 7 is not made yet"));
        assert!(rendered.starts_with("error: node 7 is not made yet\n\nhint: this is a bug"), "{rendered}");
    }

    #[test]
    fn an_unknown_code_has_no_explanation() {
        let rendered = Shell::plain().render(&Error::step("no-such-code", "x"));
        assert_eq!(rendered, "error[no-such-code]: x\n");
    }

    #[test]
    fn what_comes_from_files_cannot_play_with_the_terminal() {
        let error = Error::usage("bad \u{1b}[2Jname\nsecond line").hint("say\u{7} this\nor that");
        let expected = "error: bad name\n  second line\n\nhint: say this\n      or that\n";
        assert_eq!(Shell::plain().render(&error), expected);
    }

    #[test]
    fn colour_changes_no_word() {
        let error = Error::step("no-match", "x").caused_by(missing()).hint("y");
        let coloured = Shell { colour: true }.render(&error);
        assert!(coloured.contains("\u{1b}[1;31merror[no-match]\u{1b}[0m: x"), "{coloured:?}");
        assert_eq!(text::lines(&coloured), Shell::plain().render(&error));
    }

    fn file(diagnostics: impl Fn(Span) -> Vec<Diagnostic>) -> Error {
        let mut files = Files::default();
        let file = files.add(Path::new("build.toml"), "version = 1\nform = 2\n".to_owned());
        Error::from(Diagnostics::new(diagnostics(Span { file, start: 12, end: 16 }), files))
    }

    #[test]
    fn one_mistake_of_a_file_is_told_once() {
        let error =
            file(|span| vec![Diagnostic::error("unknown-key", "`form` is not a key").at(span, "here")]);
        assert_snapshot!(Shell::plain().render(&error), @r"
        error[unknown-key]: `form` is not a key
         --> build.toml:2:1
          |
        2 | form = 2
          | ^^^^ here

        hint: `rbuild explain unknown-key` tells more
        ");
    }

    #[test]
    fn several_mistakes_are_counted() {
        let error = file(|span| {
            let one = Diagnostic::error("unknown-key", "`form` is not a key").at(span, "");
            vec![one, Diagnostic::error("missing-field", "no `version`"), Diagnostic::warning("unused", "x")]
        });
        let rendered = Shell::plain().render(&error);
        let end = "\nerror: the build file has 2 errors\n\nhint: `rbuild explain missing-field` tells more\n";
        assert!(rendered.ends_with(end), "{rendered}");
        assert!(rendered.contains("warning[unused]: x\n"), "{rendered}");
    }
}
