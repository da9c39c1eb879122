//! `rbuild push`

use super::arguments::{FileArgument, ProgressArgument, StoreArgument, VariableArguments, look};
use crate::ui::shell::Shell;
use rbuild::{build::Request, error::Result};
use std::path::PathBuf;

/// Pushes an image that was built to registries
///
/// What a registry has already is not sent. Credentials are those of docker and podman.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The image, as it is named in the build file
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Where to: HOST/PATH:TAG [default: the image's tags]
    #[arg(value_name = "REF")]
    references: Vec<String>,
    /// Write what was pushed to this file, as JSON (`rbuild schema metadata`); it is removed first, so after a failure
    /// there is none
    #[arg(long, value_name = "FILE")]
    metadata_file: Option<PathBuf>,
    #[command(flatten)]
    file: FileArgument,
    #[command(flatten)]
    variables: VariableArguments,
    #[command(flatten)]
    progress: ProgressArgument,
    #[command(flatten)]
    store: StoreArgument,
}

impl Arguments {
    /// Pushes, and says what is where.
    ///
    /// # Errors
    /// The image was not built; a registry refuses.
    pub fn run(self, shell: Shell) -> Result<()> {
        let file = self.file.find(&mut Vec::new())?;
        let request = Request {
            metadata: self.metadata_file,
            ..look(file, self.variables.inputs(), self.store.find()?)
        };
        let progress = self.progress.of_copy(shell);
        rbuild::build::push(&request, &self.image, &self.references, progress.clone(), &mut |pushed| {
            self.progress.tell(shell, &progress, pushed.clone(), ["blob", "sent"])
        })
    }
}
