//! The command line: one file a subcommand, each takes its arguments, makes one call of the library, and shows what it
//! gives.
//!
//! | module | what |
//! |---|---|
//! | [`arguments`] | what several subcommands take: the build file, variables, the store |
//! | [`apply`], [`plan`] | building, and what would be built |
//! | [`check`], [`graph`] | the build file alone |
//! | [`inspect`], [`mount`], [`logs`] | what the last build of a file made; [`past`] finds it, [`listing`] shows a tree |
//! | [`doctor`] | what this machine gives |
//! | [`explain`], [`schema`], [`completions`], [`man`] | reference |
//! | [`log`] | `RBUILD_LOG` |
//!
//! The exit code is that of the error's kind; wrong arguments are 2, as wrong build files.

mod apply;
mod arguments;
mod check;
mod completions;
mod copy;
mod doctor;
mod explain;
mod graph;
mod inspect;
mod listing;
mod log;
mod login;
mod logs;
mod man;
mod mount;
mod past;
mod plan;
mod push;
mod schema;
mod update;

use crate::ui::shell::Shell;
use clap::{
    Parser, Subcommand,
    error::{ContextKind, ContextValue},
};
use rbuild::error::Result;
use std::process::ExitCode;

const AFTER_HELP: &str = "\
Exit codes:
  0    done
  1    a step, test, copy or merge failed
  2    the build file or the command line is wrong; nothing was run
  3    the machine, the network or a source failed
  70   a bug in rbuild
  130  interrupted

Environment:
  RBUILD_STORE       where everything built is kept; else $XDG_DATA_HOME/rbuild, else ~/.local/share/rbuild
  RBUILD_STORES_RO   stores that are only read, separated by colons: looked at when the store lacks something
  RBUILD_LOG         what rbuild says of its own work, as `debug` or `rbuild=trace,rbuild_overlay=info`
  SOURCE_DATE_EPOCH  the time that new files get, in seconds since 1970
  NO_COLOR           no colours";

/// Builds OCI images from a declarative build graph: without a daemon, without root
#[derive(Debug, Parser)]
#[command(name = "rbuild", version, after_long_help = AFTER_HELP, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
enum Command {
    Apply(apply::Arguments),
    Plan(plan::Arguments),
    Update(update::Arguments),
    Push(push::Arguments),
    Pull(copy::PullArguments),
    Copy(copy::CopyArguments),
    Login(login::LoginArguments),
    Logout(login::LogoutArguments),
    Check(check::Arguments),
    Graph(graph::Arguments),
    Inspect(inspect::Arguments),
    Mount(mount::Arguments),
    Logs(logs::Arguments),
    Doctor(doctor::Arguments),
    Explain(explain::Arguments),
    Schema(schema::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

/// Runs the command that the arguments of this process name.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(mut told) => {
            shorten(&mut told);
            // Help is told by an "error" too, with exit code 0. A reader that went away needs none.
            let _ = told.print();
            return code(told.exit_code());
        }
    };
    let shell = Shell::new();
    match log::start().and_then(|()| cli.command.run(shell)) {
        Ok(exit_code) => ExitCode::from(exit_code),
        Err(error) => {
            shell.error(&error);
            ExitCode::from(error.kind().exit_code())
        }
    }
}

/// Takes out a list of values that is too long to be of use; the nearest of them stays.
fn shorten(told: &mut clap::Error) {
    const MOST: usize = 12;
    if let Some(ContextValue::Strings(values)) = told.get(ContextKind::ValidValue)
        && values.len() > MOST
    {
        told.remove(ContextKind::ValidValue);
    }
}

fn code(code: i32) -> ExitCode {
    u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
}

impl Command {
    /// Gives the exit code, where the command has one of its own or has told its error already.
    fn run(self, shell: Shell) -> Result<u8> {
        match self {
            Self::Apply(arguments) => return arguments.run(shell),
            Self::Mount(arguments) => return arguments.run(shell),
            Self::Doctor(arguments) => return arguments.run(shell),
            Self::Plan(arguments) => arguments.run(shell)?,
            Self::Update(arguments) => arguments.run(shell)?,
            Self::Push(arguments) => arguments.run(shell)?,
            Self::Pull(arguments) => arguments.run(shell)?,
            Self::Copy(arguments) => arguments.run(shell)?,
            Self::Login(arguments) => arguments.run(shell)?,
            Self::Logout(arguments) => arguments.run(shell)?,
            Self::Check(arguments) => arguments.run(shell)?,
            Self::Graph(arguments) => arguments.run(shell)?,
            Self::Inspect(arguments) => arguments.run(shell)?,
            Self::Logs(arguments) => arguments.run(shell)?,
            Self::Explain(arguments) => arguments.run(shell)?,
            Self::Schema(arguments) => arguments.run(shell)?,
            Self::Completions(arguments) => arguments.run(shell)?,
            Self::Man(arguments) => arguments.run(shell)?,
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_make_sense() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_subcommand_and_option_is_described() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                let place = format!("{} {}", command.get_name(), argument.get_id());
                assert!(!help.is_empty() && !help.ends_with('.'), "{place}: {help:?}");
            }
        }
    }
}
