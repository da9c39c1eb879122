//! `rbuild completions`

use super::Cli;
use crate::ui::shell::Shell;
use clap::CommandFactory;
use rbuild::error::Result;

/// Prints the completions of a shell: `source <(rbuild completions bash)`
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Which one
    #[arg(value_enum, value_name = "SHELL")]
    shell: clap_complete::Shell,
}

impl Arguments {
    /// Prints them.
    ///
    /// # Errors
    /// If the standard output can't be written to.
    pub fn run(self, shell: Shell) -> Result<()> {
        // Into memory first: the generator panics if it can't write, and a reader may go away.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "rbuild", &mut script);
        shell.print(&String::from_utf8_lossy(&script))
    }
}
