//! `rbuild graph`

use super::{
    arguments::{FileArgument, VariableArguments, load},
    check,
};
use crate::ui::shell::Shell;
use rbuild::{build, error::Result};
use std::collections::BTreeSet;

/// Draws the build graph: of the whole file, or of what some targets need
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What to draw, with all it needs; a single one that ends in .toml, .yaml or .yml is the build file
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    #[command(flatten)]
    file: FileArgument,
    #[command(flatten)]
    variables: VariableArguments,
    /// The language of the picture
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// The languages of pictures.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Format {
    /// For Graphviz: `rbuild graph | dot -Tsvg`
    #[default]
    Dot,
    /// For Markdown that shows Mermaid
    Mermaid,
}

impl Arguments {
    /// Draws.
    ///
    /// # Errors
    /// Every mistake of the file; a target that is none.
    pub fn run(mut self, shell: Shell) -> Result<()> {
        let file = self.file.find(&mut self.targets)?;
        let loaded = load(&file, self.variables.inputs())?;
        let graph = check::graph(&loaded)?;
        let within: BTreeSet<_> = if self.targets.is_empty() {
            graph.nodes().map(|(id, _)| id).collect()
        } else {
            graph.with_needs(build::select(&graph, &loaded.spec, &self.targets)?)
        };
        shell.print(&match self.format {
            Format::Dot => graph.dot(&loaded.spec, &within),
            Format::Mermaid => graph.mermaid(&loaded.spec, &within),
        })
    }
}
