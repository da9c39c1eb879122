//! What does a large `apt-get install` cost in a step, compared with a plain chroot?
//!
//! The `toolchain` step of `specs/ci-java` (JDK, Maven, Node.js: a few hundred packages), its own script on both sides,
//! on the same disk. Packages and lists are downloaded before, into the step's cache mounts and into the chroot's /var.
//! Each round has a chroot of its own, and a store of its own that knows the base and none of the packages' files.
//! dpkg runs with `force-unsafe-io` in the chroot, as a step needs no fsync. The step's time has everything in it:
//! start of rbuild, sandbox, mount, the script, hashing what it wrote, the record.

#![allow(clippy::print_stdout, reason = "a bench is there to print")]

mod support;

use std::{
    cell::RefCell,
    fs,
    path::Path,
    process::{Command, ExitCode},
};
use support::{
    Need,
    chroot::Chroot,
    contest::{Contest, bound, median, with_processor_time},
    project::{Project, over_base},
    repository, run, settle,
};

fn main() -> ExitCode {
    let needs = [Need::Root, Need::Base, Need::Sandbox, Need::Program("unshare")];
    support::main("toolchain: apt-get install of a JDK, Maven and Node.js", &needs, answer)
}

fn answer() {
    let script = script();
    let packages = script.split("trust extract").next().unwrap_or_default();
    let download = packages.replace("apt-get install -y", "apt-get install -y --download-only");
    let warm_store = Project::with(&spec(&download));
    run::must(&mut warm_store.apply(&["step.toolchain"]));
    let warm_chroot = Chroot::new();
    prepare(&warm_chroot, None);
    run::must(&mut environment(warm_chroot.script(&download)));

    let (in_chroot, in_step) = (RefCell::default(), RefCell::default());
    let results = Contest::default()
        .candidate("plain chroot", |_| {
            let chroot = Chroot::new();
            prepare(&chroot, Some(&warm_chroot.root()));
            settle();
            with_processor_time(&in_chroot, || run::time(&mut environment(chroot.script(&script))))
        })
        .candidate("rbuild apply, one step", |_| {
            let project = Project::with(&spec(&script));
            warm_store.copy_store_to(&project);
            settle();
            with_processor_time(&in_step, || run::time(&mut project.apply(&["step.toolchain"])))
        })
        .run(3);
    results.print();
    let (chroot, step) = (median(&in_chroot.into_inner()), median(&in_step.into_inner()));
    println!("\n  processor time: chroot {chroot:.1?}, rbuild {step:.1?}");
    bound("step to chroot, median of the rounds", results.ratio(1, 0), "", 1.3);
}

/// What the step of the spec that ships runs.
fn script() -> String {
    let text = fs::read_to_string(repository().join("specs/ci-java/build.toml")).expect("the spec");
    let table: toml::Table = text.parse().expect("a TOML file");
    let script = table.get("step").and_then(|steps| steps.get("toolchain")).and_then(|step| step.get("run"));
    script.and_then(toml::Value::as_str).expect("step.toolchain.run").to_owned()
}

/// The step alone, with the mounts of the spec.
fn spec(script: &str) -> String {
    let script = toml::Value::String(script.to_owned());
    over_base()
        + &format!(
            r#"
[step.toolchain]
from = "base"
network = "host"
rerun-after = "7d"
env = {{ DEBIAN_FRONTEND = "noninteractive", JDK = "17" }}
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

fn environment(mut command: Command) -> Command {
    let epoch = SOURCE_DATE_EPOCH;
    command.env("DEBIAN_FRONTEND", "noninteractive").env("JDK", "17").env("SOURCE_DATE_EPOCH", epoch);
    command
}

/// Any recent time: the script stamps the key store with it.
const SOURCE_DATE_EPOCH: &str = "1764000000";
