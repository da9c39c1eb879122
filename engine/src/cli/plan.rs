//! `rbuild plan`

use super::arguments::BuildArguments;
use crate::ui::{shell::Shell, text};
use rbuild::{build::Planned, error::Result};

/// Says what `apply` would run, and why
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    build: BuildArguments,
}

impl Arguments {
    /// Plans; nothing is run and nothing but sources is looked at.
    ///
    /// # Errors
    /// Every mistake of the file; a source that can't be had.
    pub fn run(self, shell: Shell) -> Result<()> {
        let planned = rbuild::build::plan(&self.build.request()?)?;
        shell.print(&render(&planned, self.build.verbose))
    }
}

/// A line a node, in the order they would be made, with its description below; then how many of them. What is cached
/// is no news, and sources, images and artifacts follow from the rest: they are shown if `verbose`.
fn render(planned: &[Planned], verbose: bool) -> String {
    let shown = |one: &&Planned| verbose || matches!(one.decision, "run" | "waiting");
    let width = planned.iter().filter(shown).map(|one| one.node.len()).max().unwrap_or(0);
    let mut text = String::new();
    for one in planned.iter().filter(shown) {
        let line = format!("{:<width$}  {:<7}  {}", one.node, one.decision, text::line(&one.why));
        text += line.trim_end();
        text.push('\n');
        if let Some(description) = &one.description {
            text += &format!("    {}\n", text::line(description));
        }
    }
    let count = |decision| planned.iter().filter(|one| one.decision == decision).count();
    let [run, waiting, cached] = ["run", "waiting", "cached"].map(count);
    text + &format!("{run} to run, {waiting} waiting for those, {cached} cached\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    fn planned() -> Vec<Planned> {
        let one = |node: &str, decision, why: &str| Planned {
            node: node.to_owned(),
            description: (node == "step.jar").then(|| "the shop itself".to_owned()),
            decision,
            why: why.to_owned(),
        };
        vec![
            one("source.code", "look", ""),
            one("step.toolchain", "cached", ""),
            one("step.jar", "run", "run was \"make\", is \"make all\""),
            one("test.starts", "waiting", "step.jar"),
        ]
    }

    #[test]
    fn what_would_run_and_why() {
        assert_snapshot!(render(&planned(), false), @r#"
        step.jar     run      run was "make", is "make all"
            the shop itself
        test.starts  waiting  step.jar
        1 to run, 1 waiting for those, 1 cached
        "#);
        assert_snapshot!(render(&planned(), true), @r#"
        source.code     look
        step.toolchain  cached
        step.jar        run      run was "make", is "make all"
            the shop itself
        test.starts     waiting  step.jar
        1 to run, 1 waiting for those, 1 cached
        "#);
        assert_eq!(render(&[], false), "0 to run, 0 waiting for those, 0 cached\n");
    }
}
