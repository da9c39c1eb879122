//! What does a large `apt-get install` cost in a step, compared with a plain chroot?
//!
//! The `toolchain` step of `specs/ci-java` (JDK, Maven, Node.js: a few hundred packages), its own script on both sides,
//! on the same disk. Packages and lists are downloaded before, in the step's cache mounts and in the chroot's /var.
//! dpkg runs with `force-unsafe-io` in the chroot, as a step needs no fsync. The step's time has everything in it:
//! start of rbuild, sandbox, mount, the script, hashing what it wrote, the record.

#![allow(clippy::print_stdout, reason = "a bench is there to print")]

mod support;

use std::{
    cell::RefCell,
    fs,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};
use support::{
    Need,
    chroot::Chroot,
    contest::{Contest, bound},
    project::{Project, over_base},
    repository, run, settle,
};

fn main() -> ExitCode {
    let needs = [Need::Root, Need::Base, Need::Sandbox, Need::Program("unshare")];
    support::main("toolchain: apt-get install of a JDK, Maven and Node.js", &needs, answer)
}

fn answer() {
    let script = script();
    let project = Project::with(&spec(&script, 0));
    run::must(&mut project.apply(&["step.toolchain"]));
    let warm = Chroot::new();
    prepare(&warm, None);
    run::must(&mut environment(warm.script(&script)));

    let in_step = RefCell::new(Vec::new());
    let results = Contest::default()
        .candidate("plain chroot", |_| {
            let chroot = Chroot::new();
            prepare(&chroot, Some(&warm.root()));
            settle();
            run::time(&mut environment(chroot.script(&script)))
        })
        .candidate("rbuild apply, one step", |round| {
            project.write(&spec(&script, round));
            let (start, before) = (Instant::now(), run::processor_time());
            run::must(&mut project.apply(&["step.toolchain"]));
            let wall = start.elapsed();
            in_step.borrow_mut().push(run::processor_time() - before);
            wall
        })
        .run(3);
    results.print();
    let processor: Vec<Duration> = in_step.into_inner();
    println!("\n  processor time of the step: {:.1?}", support::contest::median(&processor));
    bound("step to chroot", results.median(1).as_secs_f64() / results.median(0).as_secs_f64(), "", 1.3);
}

/// What the step of the spec that ships runs.
fn script() -> String {
    let text = fs::read_to_string(repository().join("specs/ci-java/build.toml")).expect("the spec");
    let table: toml::Table = text.parse().expect("a TOML file");
    let script = table.get("step").and_then(|steps| steps.get("toolchain")).and_then(|step| step.get("run"));
    script.and_then(toml::Value::as_str).expect("step.toolchain.run").to_owned()
}

/// The step alone, another one in each round, with the mounts of the spec.
fn spec(script: &str, round: usize) -> String {
    let script = toml::Value::String(script.to_owned());
    over_base()
        + &format!(
            r#"
[step.toolchain]
from = "base"
network = "host"
rerun-after = "7d"
env = {{ DEBIAN_FRONTEND = "noninteractive", JDK = "17", ROUND = "{round}" }}
mounts = [
  {{ cache = "apt-archives", target = "/var/cache/apt", sharing = "locked" }},
  {{ cache = "apt-lists", target = "/var/lib/apt/lists", sharing = "locked" }},
]
run = {script}
"#
        )
}

/// Gives a root the network of this machine, dpkg without fsync, and what another root has downloaded.
fn prepare(chroot: &Chroot, warm: Option<&Path>) {
    chroot.write("etc/dpkg/dpkg.cfg.d/unsafe-io", "force-unsafe-io\n");
    for path in ["etc/resolv.conf", "etc/hosts"] {
        chroot.copy(&Path::new("/").join(path), path);
    }
    if let Some(warm) = warm {
        for path in ["var/cache/apt", "var/lib/apt/lists"] {
            chroot.copy(&warm.join(path), path);
        }
    }
}

fn environment(mut command: std::process::Command) -> std::process::Command {
    let epoch = SOURCE_DATE_EPOCH;
    command.env("DEBIAN_FRONTEND", "noninteractive").env("JDK", "17").env("SOURCE_DATE_EPOCH", epoch);
    command
}

/// Any recent time: the script stamps the key store with it.
const SOURCE_DATE_EPOCH: &str = "1764000000";
