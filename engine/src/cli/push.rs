//! `rbuild push`

use super::arguments::{FileArgument, StoreArgument, VariableArguments, look};
use crate::ui::{
    progress::{Options, Progress, Style},
    shell::Shell,
    text,
};
use rbuild::{
    build::{PushedImage, Request},
    error::Result,
};
use std::{path::PathBuf, sync::Arc};

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
        let progress = Arc::new(Progress::new(Style::Plain, shell, Options::default()));
        let pushed = rbuild::build::push(&request, &self.image, &self.references, progress)?;
        shell.print(&pushed.iter().map(line).collect::<String>())
    }
}

fn line(pushed: &PushedImage) -> String {
    let PushedImage { reference, digest, uploaded, present } = pushed;
    format!("{} {digest}: {uploaded} blobs sent, {present} were there\n", text::line(reference))
}
