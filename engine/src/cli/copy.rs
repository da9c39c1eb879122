//! `rbuild pull`, `rbuild copy`

use super::arguments::{ProgressArgument, StoreArgument, environment};
use crate::ui::{progress::Progress, shell::Shell};
use rbuild::{
    copy::{Copier, Place},
    error::Result,
    spec::Platform,
};
use std::sync::Arc;

/// Fetches images of registries into the store
///
/// What a build needs of them is then there, with --offline too if the lock file or a digest says which image is meant.
#[derive(Debug, clap::Args)]
pub struct PullArguments {
    /// An image: NAME:TAG or NAME@DIGEST
    #[arg(value_name = "REF", required = true)]
    references: Vec<String>,
    /// Of an image for several platforms, the one for this [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    #[command(flatten)]
    progress: ProgressArgument,
    #[command(flatten)]
    store: StoreArgument,
}

/// Copies an image between registries, layouts and archives, byte for byte
///
/// SRC and DST are HOST/PATH:TAG for a registry, oci:FOLDER[:REF], oci-archive:FILE[:REF] or
/// docker-archive:FILE[:NAME:TAG]. An image for several platforms is copied whole.
#[derive(Debug, clap::Args)]
pub struct CopyArguments {
    /// Where the image is
    #[arg(value_name = "SRC")]
    from: String,
    /// Where it is to be
    #[arg(value_name = "DST")]
    to: String,
    /// Of an image for several platforms, only the one for this
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    #[command(flatten)]
    progress: ProgressArgument,
    #[command(flatten)]
    store: StoreArgument,
}

impl PullArguments {
    /// Pulls, and says what is there now.
    ///
    /// # Errors
    /// A registry refuses.
    pub fn run(self, shell: Shell) -> Result<()> {
        let progress = self.progress.of_copy(shell);
        let copier = copier(&self.store, progress.clone())?;
        for reference in &self.references {
            self.progress.tell(
                shell,
                &progress,
                copier.pull(reference, self.platform.as_ref())?,
                ["layer", "pulled"],
            )?;
        }
        Ok(())
    }
}

impl CopyArguments {
    /// Copies, and says what is where.
    ///
    /// # Errors
    /// What is no place; what is not there; what can't be written.
    pub fn run(self, shell: Shell) -> Result<()> {
        let (from, to) = (Place::parse(&self.from)?, Place::parse(&self.to)?);
        let progress = self.progress.of_copy(shell);
        let copied = copier(&self.store, progress.clone())?.copy(&from, &to, self.platform.as_ref())?;
        self.progress.tell(shell, &progress, copied, ["blob", "copied"])
    }
}

fn copier(store: &StoreArgument, progress: Arc<Progress>) -> Result<Copier> {
    Copier::new(&store.find()?, &environment(), progress)
}
