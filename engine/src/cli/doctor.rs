//! `rbuild doctor`

use super::arguments::StoreArgument;
use crate::ui::{shell::Shell, text};
use rbuild::{
    doctor::{self, Check, Name, Report, State, Tier},
    error::Result,
};
use std::fmt::Write;

/// Tells what this machine gives to rbuild, what is missing, and what helps here
///
/// Exits with 3 if no command can run, or there is no place for a store. Everything is tried, in throw-away processes; nothing of it stays.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// As JSON (`rbuild schema doctor`)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgument,
}

impl Arguments {
    /// Prints the report; gives 3 if nothing can be built with it.
    ///
    /// # Errors
    /// If the standard output can't be written to.
    pub fn run(self, shell: Shell) -> Result<u8> {
        // That nothing says where the store is, is one of the findings.
        let report = doctor::examine(self.store.find().ok().as_ref());
        if self.json {
            // A struct of strings, numbers and lists can always be written.
            shell.print(&(serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"))?;
        } else {
            shell.print(&told(&report))?;
        }
        let has_no_store =
            report.checks.iter().any(|check| check.name == Name::Store && check.state == State::Missing);
        Ok(if report.tier == Tier::None || has_no_store { 3 } else { 0 })
    }
}

fn told(report: &Report) -> String {
    let sign = report.sign.as_ref().map(|sign| format!(" ({sign})")).unwrap_or_default();
    let mut told = format!("this is {}{}\n\n", report.place_described, text::line(&sign));
    report.checks.iter().for_each(|check| push(&mut told, check));
    // Writing to a string can't fail.
    let _ = writeln!(told, "\n{}", report.verdict());
    for remedy in &report.better {
        let _ = writeln!(told, "better: {}", text::line(remedy));
    }
    told
}

fn push(told: &mut String, check: &Check) {
    let (state, name) = (check.state.word(), check.name.word());
    let _ = writeln!(told, "{state:<8} {name:<16} {}", text::line(&check.found));
    for (word, value) in [("costs", &check.costs), ("remedy", &check.remedy)] {
        if let Some(value) = value {
            let _ = writeln!(told, "{:25} {word}: {}", "", text::line(value));
        }
    }
}
