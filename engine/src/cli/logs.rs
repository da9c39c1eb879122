//! `rbuild logs`

use super::{
    arguments::{FileArgument, StoreArgument},
    past::Past,
};
use crate::ui::{shell::Shell, text};
use rbuild::error::Result;
use std::io::IsTerminal;

/// Prints all that a step or test wrote when it last ran
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The step or test, as it is named in the build file
    #[arg(value_name = "STEP")]
    step: String,
    #[command(flatten)]
    file: FileArgument,
    #[command(flatten)]
    store: StoreArgument,
}

impl Arguments {
    /// Prints the log: as it was written, but without escape sequences on a terminal.
    ///
    /// # Errors
    /// There is none.
    pub fn run(self, shell: Shell) -> Result<()> {
        let past = Past::open(&self.file, &self.store)?;
        let (name, node) = past.node(&self.step, &["step", "test"])?;
        let log = past.log(name, node)?;
        if std::io::stdout().is_terminal() {
            return shell.print(&text::lines(&String::from_utf8_lossy(&log)));
        }
        shell.print_bytes(&log)
    }
}
