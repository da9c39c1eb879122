//! `rbuild check`

use super::arguments::{FileArgument, VariableArguments, load};
use crate::ui::{shell::Shell, text};
use rbuild::{
    error::{Error, Result},
    graph::Graph,
    spec::{Diagnostics, Inputs, Kind, Loaded, Spec},
};

/// Reads the build file and tells everything that is wrong with it
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The build file
    #[arg(value_name = "FILE", conflicts_with = "file")]
    path: Option<String>,
    #[command(flatten)]
    file: FileArgument,
    #[command(flatten)]
    variables: VariableArguments,
    /// Warnings are errors
    #[arg(long)]
    deny_warnings: bool,
}

impl Arguments {
    /// Checks; warnings are told first.
    ///
    /// # Errors
    /// Every mistake of the file.
    pub fn run(self, shell: Shell) -> Result<()> {
        let file = match self.path {
            Some(path) => FileArgument { file: Some(path.into()) },
            None => self.file,
        };
        let file = file.find(&mut Vec::new())?;
        let loaded = load(&file, Inputs { look_for_sources: true, ..self.variables.inputs() })?;
        let graph = graph(&loaded)?;
        // A `default` that names no target is a mistake like any other.
        graph.select::<&str>(&loaded.spec, &[])?;
        shell.warnings(&loaded.warnings);
        let warnings = loaded.warnings.list.len();
        if self.deny_warnings && warnings > 0 {
            let message = format!("{} in {}", text::count(warnings, "warning"), file.display());
            return Err(Error::usage(message).hint("without --deny-warnings they end nothing"));
        }
        shell.print(&format!("{}: {}\n", file.display(), contents(&loaded.spec)))
    }
}

/// The graph of a file that was loaded.
///
/// # Errors
/// Cycles.
pub fn graph(loaded: &Loaded) -> Result<Graph> {
    Graph::build(&loaded.spec)
        .map_err(|cycles| Diagnostics::new(cycles, loaded.warnings.files.clone()).into())
}

/// `2 sources, 3 steps, 1 image`
fn contents(spec: &Spec) -> String {
    let counts = Kind::ALL.map(|kind| (spec.names(kind).len(), kind.word()));
    let told: Vec<String> = counts
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| text::count(number, word))
        .collect();
    if told.is_empty() { "nothing to build".to_owned() } else { told.join(", ") }
}
