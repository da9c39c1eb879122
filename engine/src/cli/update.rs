//! `rbuild update`

use super::arguments::{FileArgument, StoreArgument, VariableArguments, look};
use crate::ui::{shell::Shell, text};
use rbuild::{
    build::{Request, Updated},
    error::Result,
};

/// Looks up again what names mean, and writes it into the lock file
///
/// With NAMEs only these sources; without, all of them, and the epoch becomes now.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A source of the build file
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    file: FileArgument,
    #[command(flatten)]
    variables: VariableArguments,
    #[command(flatten)]
    store: StoreArgument,
}

impl Arguments {
    /// Updates the lock file and says what changed.
    ///
    /// # Errors
    /// A name that is not looked up; a registry that does not answer.
    pub fn run(mut self, shell: Shell) -> Result<()> {
        let file = self.file.find(&mut self.names)?;
        let request = look(file, self.variables.inputs(), self.store.find()?);
        let updated = rbuild::build::update(&Request { targets: self.names, ..request })?;
        shell.print(&render(&updated))
    }
}

fn render(updated: &[Updated]) -> String {
    let mut told = String::new();
    for one in updated {
        told += &format!("{} {}\n", one.node, text::line(&one.input));
        match &one.old {
            Some(old) if *old == one.new => told += &format!("  is still {old}\n"),
            Some(old) => told += &format!("  was {old}\n  is  {}\n", one.new),
            None => told += &format!("  is {}\n", one.new),
        }
    }
    if updated.is_empty() { "nothing is looked up\n".to_owned() } else { told }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_are_shown() {
        let one = |old: Option<&str>| Updated {
            node: "source.base".to_owned(),
            input: "docker.io/library/debian:12".to_owned(),
            old: old.map(str::to_owned),
            new: "sha256:b".to_owned(),
        };
        let head = "source.base docker.io/library/debian:12\n";
        for (old, rest) in [
            (None, "  is sha256:b\n"),
            (Some("sha256:b"), "  is still sha256:b\n"),
            (Some("sha256:a"), "  was sha256:a\n  is  sha256:b\n"),
        ] {
            assert_eq!(render(&[one(old)]), format!("{head}{rest}"));
        }
    }
}
