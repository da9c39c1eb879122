//! Steps beside one another: what runs at the same time, and how a failure or a signal ends the others.
//!
//! Steps meet in a shared cache mount; each waits there for what another one leaves, a hundred times longer than that
//! takes, so that no test depends on the clock.

use crate::support::{Build, Project, adopt_orphans, busybox, nothing_runs};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Fields of a step that meets others in `/meet`.
const MEET: &str = "from = 'base'\nmounts = [{ cache = 'meet', target = '/meet' }]\n";
/// A shell function: waits for a file.
const WAIT: &str =
    "await() { for i in $(seq 2000); do test -e $1 && return; sleep 0.01; done; echo no $1; exit 9; }\n";

fn step(name: &str, run: &str) -> String {
    format!("[step.{name}]\n{MEET}run = '''\n{WAIT}{run}\n'''\n")
}

#[test]
fn sandbox_independent_steps_overlap() {
    needs!(fuse, busybox);
    let steps = [
        step("left", "touch /meet/left; await /meet/right"),
        step("right", "touch /meet/right; await /meet/left"),
    ];
    let build = busybox(&steps.concat()).apply(["--jobs", "2", "step.left", "step.right"]).success();
    assert_eq!(build.ran(), ["step.base", "step.left", "step.right"]);
}

#[test]
fn sandbox_one_job_runs_one_step_at_a_time() {
    needs!(fuse, busybox);
    let alone = "mkdir /meet/inside; sleep 0.02; rmdir /meet/inside";
    let names = ["a", "b", "c", "d"];
    let steps: String = names.iter().map(|name| step(name, &format!("{alone} # {name}"))).collect();
    let build = busybox(&steps).apply(["--jobs=1", "step.a", "step.b", "step.c", "step.d"]).success();
    assert_eq!(build.ran().len(), 5);
}

#[test]
fn sandbox_a_dependent_waits() {
    needs!(fuse, busybox);
    let first = step("first", "touch /meet/busy; sleep 0.1; rm /meet/busy; touch /done");
    let [second, third] = ["second", "third"].map(|name| {
        step(name, &format!("test ! -e /meet/busy && test -e /done # {name}")).replace("'base'", "'first'")
    });
    let build = busybox(&[third, second, first].concat()).apply(["step.second", "step.third"]).success();
    assert_eq!(build.ran(), ["step.base", "step.first", "step.second", "step.third"]);
}

/// `bad` fails while `slow` runs; `below` stands on `bad`, `other` on `slow`.
fn failing(slow: &str) -> Project {
    let below = "[step.below]\nfrom = 'bad'\nrun = 'true'\n[step.other]\nfrom = 'slow'\nrun = 'true'\n";
    busybox(
        &[step("bad", "await /meet/slow; touch /meet/failed; exit 3"), step("slow", slow), below.to_owned()]
            .concat(),
    )
}

const BOTH: [&str; 4] = ["--jobs", "2", "step.below", "step.other"];

#[test]
fn sandbox_a_failure_ends_the_others() {
    needs!(fuse, busybox);
    let project = failing("touch /meet/slow; sleep 100000");
    adopt_orphans();
    let build = project.apply(BOTH).failure(1);
    assert_eq!(build.failed("step.bad").code, "step-failed");
    assert_eq!(build.skipped(), ["step.below", "step.other"]);
    assert_eq!(build.interrupted(), ["step.slow"]);
    nothing_runs();
    project.nothing_is_left();
    let again = project.rbuild(["plan", "step.below"]).success();
    assert!(again.contains("step.bad    run      it failed the last time\n"), "{again}");
    assert_eq!(project.rbuild(["logs", "slow"]).success(), "");
}

#[test]
fn sandbox_keep_going_makes_what_does_not_need_it() {
    needs!(fuse, busybox);
    let project = failing("touch /meet/slow; await /meet/failed");
    let build = project.apply(BOTH.iter().chain(&["--keep-going"])).failure(1);
    assert_eq!(build.failed("step.bad").code, "step-failed");
    assert_eq!(build.ran(), ["step.base", "step.other", "step.slow"]);
    assert_eq!(build.skipped(), ["step.below"]);
}

#[test]
fn sandbox_signals_end_the_build() {
    needs!(fuse, busybox);
    let tail = "[image.it]\nfrom = 'after'\noutput = [{ oci = 'dist/it' }]\n[step.after]\nfrom = 'slow'\nrun = 'true'\n";
    let slow = step(
        "slow",
        "trap '' INT TERM HUP; dd if=/dev/zero of=/big bs=1M count=4 2>&1; echo ready; sleep 100000",
    );
    adopt_orphans();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let project = busybox(&[slow.as_str(), tail].concat());
        let build = interrupted(&project, signal).failure(130);
        assert_eq!(build.skipped(), ["step.after"], "{signal}");
        assert_eq!(build.interrupted(), ["step.slow"], "{signal}");
        let log = project.rbuild(["logs", "slow"]).success();
        assert!(log.ends_with("ready\n"), "{signal}: {log}");
        let plan = project.rbuild(["plan"]).success();
        assert!(plan.contains("step.slow   run      it was interrupted the last time\n"), "{signal}: {plan}");
        assert_eq!(build.ran(), ["step.base"], "{signal}");
        nothing_runs();
        project.nothing_is_left();
        assert!(!project.path("dist").exists(), "{signal}");
        // What was made before is kept, what was interrupted is made anew.
        project.write_steps(&[slow.replace("sleep 100000", "true").as_str(), tail].concat());
        let next = project.build();
        assert_eq!(next.ran(), ["step.after", "step.slow"], "{signal}");
        project.layout("dist/it").check("latest");
    }
}

/// An archive of gigabytes is not read to its end first.
#[test]
fn a_signal_ends_a_source() {
    let project = Project::new(
        "version = 1\n[source.big]\narchive = 'big.tar'\n[image.it]\nfrom = 'big'\noutput = [{ oci = 'dist' }]\n",
    );
    let mut tar = Command::new("tar");
    let made = tar.args(["-cf", "big.tar", "build.toml"]).current_dir(project.path("")).status();
    assert!(made.is_ok_and(|status| status.success()));
    let archive = File::options().write(true).open(project.path("big.tar")).expect("the archive");
    archive.set_len(4 << 30).expect("zeros after its end");
    let mut command = project.command();
    command.args(["apply", "--progress", "json"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("rbuild can be started");
    let files = PathBuf::from(format!("/proc/{}/fd", child.id()));
    let is_read =
        || files.read_dir().into_iter().flatten().flatten().any(|file| is_named(&file.path(), "big.tar"));
    while !is_read() {
        assert_eq!(child.try_wait().expect("its state"), None, "it ended");
    }
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).expect("it runs");
    let output = child.wait_with_output().expect("it ends");
    let told = Build::read(project.output("rbuild apply".into(), &output)).failure(130).output.stdout;
    assert!(told.contains(r#"{"event":"skipped","node":"source.big"}"#), "{told}");
}

fn is_named(descriptor: &Path, name: &str) -> bool {
    fs::read_link(descriptor).is_ok_and(|target| target.ends_with(name))
}

/// Applies, sends a signal as soon as a step says `ready`, waits.
fn interrupted(project: &Project, signal: Signal) -> Build {
    let mut command = project.command();
    command.args(["apply", "--progress", "json"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("rbuild can be started");
    let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut told = String::new();
    while !told.contains("\"ready\"") {
        assert_ne!(output.read_line(&mut told).expect("text"), 0, "it ended: {told}");
    }
    kill(Pid::from_raw(child.id().cast_signed()), signal).expect("it runs");
    output.read_to_string(&mut told).expect("text");
    let ended = child.wait_with_output().expect("it ends");
    let whole = std::process::Output { stdout: told.into_bytes(), ..ended };
    Build::read(project.output(format!("rbuild apply, {signal}"), &whole))
}
