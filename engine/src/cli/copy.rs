//! `rbuild pull`, `rbuild copy`

use super::arguments::{StoreArgument, environment};
use crate::ui::{
    progress::{Options, Progress, Style},
    shell::Shell,
    text,
};
use rbuild::{
    copy::{Copied, Copier, Place},
    error::Result,
    spec::Platform,
};
use std::sync::Arc;

/// Fetches images of registries into the store
///
/// What a build needs of them is then there, also with --offline.
#[derive(Debug, clap::Args)]
pub struct PullArguments {
    /// An image: NAME:TAG or NAME@DIGEST
    #[arg(value_name = "REF", required = true)]
    references: Vec<String>,
    /// Of an image for several platforms, the one for this [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
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
    store: StoreArgument,
}

impl PullArguments {
    /// Pulls, and says what is there now.
    ///
    /// # Errors
    /// A registry refuses.
    pub fn run(self, shell: Shell) -> Result<()> {
        let copier = copier(&self.store, shell)?;
        let platform = self.platform.unwrap_or_else(Platform::host);
        for reference in &self.references {
            shell.print(&line(&copier.pull(reference, &platform)?, "layer", "pulled"))?;
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
        let copied = copier(&self.store, shell)?.copy(&from, &to, self.platform.as_ref())?;
        shell.print(&line(&copied, "blob", "copied"))
    }
}

fn copier(store: &StoreArgument, shell: Shell) -> Result<Copier> {
    let progress = Arc::new(Progress::new(Style::Plain, shell, Options::default()));
    Copier::new(&store.find()?, &environment(), progress)
}

fn line(Copied { place, digest, blobs, present }: &Copied, noun: &str, done: &str) -> String {
    format!("{} {digest}: {} {done}, {present} were there\n", text::line(place), text::count(*blobs, noun))
}
