//! Do independent steps use all processors?
//!
//! Eight steps that only compute, as many at once as there are processors, against the same eight lines run by
//! `xargs -P` in a chroot.

#![allow(clippy::print_stdout, reason = "a bench is there to print")]

mod support;

use std::{
    cell::RefCell,
    fmt::Write as _,
    fs,
    process::{Command, ExitCode},
    time::Duration,
};
use support::{
    Need,
    chroot::Chroot,
    contest::{Contest, bound, cpus, median, with_processor_time},
    project::{Project, import_base, over_base},
    run,
};

const STEPS: usize = 8;

fn main() -> ExitCode {
    let needs = [Need::Root, Need::Base, Need::Sandbox, Need::Program("xargs")];
    support::main("parallel: 8 independent steps that only compute", &needs, answer)
}

fn answer() {
    let chroot = Chroot::new();
    let project = Project::new();
    import_base(&project);
    let jobs = cpus().to_string();
    let (in_xargs, in_rbuild) = (RefCell::default(), RefCell::default());
    let results = Contest::default()
        .candidate(&format!("xargs -P {jobs} chroot"), |round| {
            with_processor_time(&in_xargs, || by_xargs(&chroot, &project, &jobs, round))
        })
        .candidate(&format!("rbuild apply --jobs {jobs}"), |round| {
            with_processor_time(&in_rbuild, || by_rbuild(&project, &jobs, round))
        })
        .run(9);
    results.print();
    let (xargs, rbuild) = (median(&in_xargs.into_inner()), median(&in_rbuild.into_inner()));
    println!("\n  processor time: xargs {xargs:.2?}, rbuild {rbuild:.2?}");
    bound("rbuild to xargs, median of the rounds", results.ratio(1, 0), "", 1.15);
}

/// About a second of one processor.
fn line(number: usize, salt: usize) -> String {
    format!("i=0; while [ $i -lt 1000000 ]; do i=$((i+1)); done; echo {salt} $i > /var/done-{number}")
}

fn by_xargs(chroot: &Chroot, project: &Project, jobs: &str, round: usize) -> Duration {
    let lines = (1..=STEPS).map(|number| line(number, round) + "\n").collect::<String>();
    let file = project.path("lines");
    fs::write(&file, lines).expect("the lines for xargs");
    let words = chroot.words();
    let mut command = Command::new("xargs");
    run::clean(&mut command);
    command.arg("--arg-file").arg(file).args(["--delimiter=\\n", "--max-args=1", "--max-procs", jobs]);
    run::time(command.arg(words.get_program()).args(words.get_args()))
}

fn by_rbuild(project: &Project, jobs: &str, round: usize) -> Duration {
    let mut spec = over_base();
    for number in 1..=STEPS {
        let _ = write!(spec, "\n[step.s{number}]\nfrom = \"base\"\nrun = \"{}\"\n", line(number, round));
    }
    project.write(&spec);
    let targets: Vec<String> = (1..=STEPS).map(|number| format!("step.s{number}")).collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    run::time(project.apply(&targets).args(["--jobs", jobs]))
}
