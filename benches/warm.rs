//! How long does `apply` take when nothing has changed?
//!
//! Three build files, each applied once before: a chain of fifty steps over a Debian root (the archive is compared
//! with what was imported), forty tree operations with their images, and a program compiled with this machine's own
//! compiler, whose trace (every file that the compiler looked up or read) is checked.

#![allow(clippy::print_stdout, reason = "a bench is there to print")]

mod support;

use std::{cell::RefCell, process::ExitCode};
use support::{
    Need,
    contest::{Contest, bound, ms},
    project::{Project, chain},
    run,
};

fn main() -> ExitCode {
    let needs = [Need::Base, Need::Sandbox, Need::Program("cc")];
    support::main("warm: the second apply, when nothing has changed", &needs, answer)
}

fn answer() {
    let chained = Project::with(&chain(50, 0));
    let graph = Project::new();
    let hello = Project::new();
    let commands = RefCell::new([
        chained.apply(&["step.s50"]),
        graph.apply_shipped("specs/graph"),
        hello.apply_shipped("specs/hello"),
    ]);
    for command in commands.borrow_mut().iter_mut() {
        run::must(command);
    }
    let again = |index: usize| run::time(&mut commands.borrow_mut()[index]);
    let results = Contest::default()
        .candidate("rbuild --version", |_| run::time(run::rbuild().arg("--version")))
        .candidate("chain, 50 steps", |_| again(0))
        .candidate("graph, 40 steps", |_| again(1))
        .candidate("hello, a host trace", |_| again(2))
        .run(31);
    results.print();
    println!();
    for (index, (name, most)) in [("chain", 30.0), ("graph", 40.0), ("hello", 30.0)].into_iter().enumerate() {
        bound(name, ms(results.median(index + 1)), " ms", most);
    }
}
