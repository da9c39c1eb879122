//! `rbuild explain`

use crate::ui::{shell::Shell, text};
use clap::builder::PossibleValuesParser;
use rbuild::{
    error::Result,
    spec::{
        Severity,
        codes::{self, CODES, Code},
    },
};

/// How wide a line of prose is.
const WIDTH: usize = 78;

/// Tells what the code of an error or warning means, and what to do about it
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The code, as it stands in brackets after `error` or `warning` [default: a list of all]
    #[arg(value_parser = PossibleValuesParser::new(CODES.iter().map(|code| code.code)), hide_possible_values = true)]
    code: Option<String>,
}

impl Arguments {
    /// Explains one code, or lists all.
    ///
    /// # Errors
    /// If the standard output can't be written to.
    pub fn run(self, shell: Shell) -> Result<()> {
        shell.print(&match self.code.as_deref().and_then(codes::find) {
            Some(code) => explanation(code),
            None => list(),
        })
    }
}

fn explanation(code: &Code) -> String {
    let ends = match code.severity {
        Severity::Error => format!("ends the command with exit code {}", code.exit_code),
        Severity::Warning => "ends nothing, unless --deny-warnings is given".to_owned(),
    };
    format!("{}[{}]: {ends}\n\n{}", word(code), code.code, text::wrap(code.text, WIDTH))
}

fn list() -> String {
    let width = CODES.iter().map(|code| code.code.len()).max().unwrap_or(0);
    let line = |code: &Code| {
        let exit = if code.exit_code == 0 { "-".to_owned() } else { code.exit_code.to_string() };
        format!("{:<width$}  {:<7}  {exit}\n", code.code, word(code))
    };
    let lines: String = CODES.iter().map(line).collect();
    format!("{:<width$}  {:<7}  exit code\n{lines}", "code", "kind")
}

fn word(code: &Code) -> &'static str {
    match code.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}
