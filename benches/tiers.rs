//! What does the overlay tier cost beside FUSE?
//!
//! Ten steps, a short line each, over a Debian root that is in the store already: the first build over it, which lays it
//! out on the overlay tier; one with other lines in all steps; and one with another line in the last step only.

#![allow(clippy::print_stdout, reason = "a bench is there to print")]

mod support;

use std::{process::ExitCode, time::Duration};
use support::{
    Need,
    contest::{Contest, bound},
    project::{Project, chain, chain_line, import_base},
    run,
};

const STEPS: usize = 10;
const TIERS: [&str; 2] = ["fuse", "overlay"];

fn main() -> ExitCode {
    support::main(
        "tiers: 10 one-line steps over a Debian root, on FUSE and on the kernel's overlay filesystem",
        &[Need::Root, Need::Base, Need::Sandbox],
        answer,
    )
}

fn answer() {
    let imported = Project::new();
    import_base(&imported);
    let projects = TIERS.map(|_| {
        let project = Project::new();
        imported.copy_store_to(&project);
        project
    });
    let mut contest = Contest::default();
    for (tier, project) in TIERS.into_iter().zip(&projects) {
        let imported = &imported;
        contest = contest
            .candidate(&format!("the first build over it, {tier}"), move |round| {
                let project = Project::new();
                imported.copy_store_to(&project);
                apply(&project, &chain(STEPS, round), tier)
            })
            .candidate(&format!("other lines in all steps, {tier}"), move |round| {
                apply(project, &chain(STEPS, 1 + round), tier)
            })
            .candidate(&format!("another line in the last step, {tier}"), move |round| {
                apply(project, &chain(STEPS - 1, 0), tier);
                let last = chain_line(STEPS, 1 + round);
                let last = format!("\n[step.s{STEPS}]\nfrom = \"s{}\"\nrun = \"{last}\"\n", STEPS - 1);
                apply(project, &(chain(STEPS - 1, 0) + &last), tier)
            });
    }
    let results = contest.run(5);
    results.print();
    let ratio = |at: usize| results.median(at + 3).as_secs_f64() / results.median(at).as_secs_f64();
    println!("\n  overlay beside fuse, the first build: {:.2} times", ratio(0));
    bound("overlay beside fuse, other lines in all steps", ratio(1), " times", 1.5);
    bound("overlay beside fuse, another line in the last step", ratio(2), " times", 1.5);
}

/// How long a build of all steps of this text takes.
fn apply(project: &Project, text: &str, tier: &str) -> Duration {
    let last = text.lines().filter_map(|line| line.strip_prefix("[step.")?.strip_suffix(']')).next_back();
    project.write(text);
    support::settle();
    run::time(project.apply(&[&format!("step.{}", last.unwrap_or_default())]).args(["--tier", tier]))
}
