//! `rbuild man`

use super::Cli;
use crate::ui::shell::Shell;
use clap::CommandFactory;
use rbuild::error::{Error, Result};
use std::{io, path::PathBuf};

/// Prints the manual page, or writes those of all subcommands to a folder
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where rbuild.1, rbuild-apply.1 … are written; it is made if it is not there
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

impl Arguments {
    /// Prints or writes.
    ///
    /// # Errors
    /// If the folder or the standard output can't be written to.
    pub fn run(self, shell: Shell) -> Result<()> {
        let Some(folder) = self.folder else {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
            rendered.map_err(|error| Error::internal("the manual page can't be made").caused_by(error))?;
            return shell.print(&String::from_utf8_lossy(&page));
        };
        let failed = |error: io::Error| Error::io("write manual pages to", &folder, error);
        std::fs::create_dir_all(&folder).map_err(failed)?;
        clap_mangen::generate_to(Cli::command(), &folder).map_err(failed)
    }
}
