//! Limits of a step: whoever is beyond is ended, the message says so, and nothing of it is kept.

use crate::support::{Build, Project, adopt_orphans, busybox, nothing_runs};
use std::fs;

/// Takes 200 MiB at once.
const GREEDY: &str = "dd if=/dev/zero of=/dev/null bs=200M count=1";

fn step(limits: &str, script: &str) -> Project {
    busybox(&format!("[step.it]\nfrom = 'base'\nlimits = {limits}\nrun = '''\n{script}\n'''\n"))
}

/// Whether root can make a group for memory in this process's own: of version 1, or of version 2 at its top.
fn has_groups() -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("the mounts of this process");
    let handed_down = fs::read_to_string("/sys/fs/cgroup/cgroup.subtree_control").unwrap_or_default();
    mounts.contains(" - cgroup cgroup rw,memory") || handed_down.contains("memory")
}

#[test]
fn sandbox_memory_that_is_used_up_is_told() {
    needs!(root, fuse, busybox);
    if !has_groups() {
        return;
    }
    for script in [GREEDY.to_owned(), format!("{GREEDY} || echo never mind")] {
        for tier in ["fuse", "overlay"] {
            let project = step("{ memory = '64M' }", &script);
            let arguments = ["--tier", tier, "it"];
            let build = project.apply(arguments).failure(1);
            let failed = build.failed("step.it");
            assert_eq!(failed.code, "step-failed", "{failed:?}");
            let end = "step `it` failed: a process of it was killed, since all of them may have 64M of memory (`limits`)";
            assert!(failed.message.ends_with(end) && failed.hints.is_empty(), "{failed:?}");
            let with = |memory: &str| {
                let spec = project.read("build.toml");
                project.write("build.toml", spec.replace("64M", memory).replace("512M", memory));
                project.apply(arguments).success()
            };
            assert_eq!(with("512M").ran(), ["step.it"], "what was cut is not kept");
            let again = with("1G");
            assert_eq!((again.ran(), again.warnings()), (vec![], vec![]), "limits are in no key");
        }
    }
}

/// A user has no control groups here: each process has a limit of its own, and that is said.
#[test]
fn sandbox_limits_without_control_groups() {
    needs!(root, fuse, busybox, setpriv, unshare);
    let build = |script: &str| {
        let project = step("{ memory = '64M', cpus = 0.5 }", script);
        Build::read(project.as_user(&["apply", "--progress", "json", "--deny-warnings", "it"]))
    };
    let beyond = build(GREEDY).failure(1);
    let failed = beyond.failed("step.it");
    assert!(failed.last_lines.join("\n").contains("memory"), "{}", beyond.output);
    let hint = "each of its processes had 64M of memory by itself (`limits`)";
    assert!(failed.hints.iter().any(|told| told.contains(hint)), "{failed:?}");
    let within = build("grep Cpus_allowed_list: /proc/self/status").success();
    let [line] = within.lines("step.it")[..] else { panic!("{}", within.output) };
    let processors = line.trim_start_matches("Cpus_allowed_list:").trim();
    assert!(processors.parse::<u32>().is_ok(), "one of them: {processors}");
    let said = "no control group can be made here for the limits of steps: each process may have all of `memory`, and \
                `cpus` is 1 in whole";
    assert!(within.warnings().contains(&said), "{:?}", within.warnings());
}

#[test]
fn sandbox_time_that_is_over_is_told() {
    needs!(fuse, busybox);
    adopt_orphans();
    for tier in ["fuse", "overlay"] {
        let project = step("{ time = '1s' }", "trap '' TERM; (sleep 1000 &); sleep 1000");
        let build = project.apply(["--tier", tier, "it"]).failure(1);
        let failed = build.failed("step.it");
        let end = ": step `it` failed: its command was killed after 1.0s (`limits`)";
        assert!(failed.message.ends_with(end), "{failed:?}");
        nothing_runs();
        project.nothing_is_left();
        project.write(
            "build.toml",
            project.read("build.toml").replace("1s", "1h").replace("sleep 1000", "true"),
        );
        project.apply(["--tier", tier, "it"]).success();
    }
}

/// A test may expect that its command ends badly; not that it is cut.
#[test]
fn sandbox_a_test_that_is_cut_fails() {
    needs!(fuse, busybox);
    let project = busybox("[test.it]\nfrom = 'base'\nlimits = { time = '1s' }\nrun = 'sleep 1000'\n");
    let build = project.apply(["it"]).failure(1);
    let failed = build.failed("test.it");
    assert_eq!(failed.code, "test-failed");
    let end = "test `it` failed: its command was killed after 1.0s (`limits`)";
    assert!(failed.message.ends_with(end), "{failed:?}");
}
