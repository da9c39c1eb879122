//! Steps in the place of a container's own files, in real containers: the same images, and all is back afterwards.

use crate::{
    environments::{STEPS, static_program},
    support::{Build, Output, Project, busybox, engine::Docker, odd, run},
    tiers::{MOUNTS, ODD},
};
use rbuild::doctor::Report;
use std::{fs, path::Path, process::Command};

/// What a container's own root holds: directories of a layer, files that are alike to those of steps.
const OWN: &str = r#"
[step.own]
from = "base"
dirs = [{ path = "/own/deep/er", mode = "0750", owner = "7:8" }, { path = "/opt/empty" }, { path = "/home/me" }]
files = [
  { path = "/own/deep/er/file", content = "own", owner = "9:10", mode = "4755" },
  { path = "/numbers", content = "own" },
  { path = "/root/own", content = "own", mode = "0600" },
]
links = [
  { path = "/own/linked", target = "/own/deep/er/file", hard = true },
  { path = "/own/dangling", target = "no/where" },
]
[step.large]
from = "own"
run = "seq 300000 > /own/large; touch -d @1000000000 /own/large /own/deep /"
[image.it]
from = "large"
tags = ["job:1"]
output = [{ docker-archive = "job.tar" }]
"#;

/// Says in a file all that there is of the container's own.
const LOOK: &str = r#"
look() {
    own() { busybox find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /data -o -path /home -o -path /st/store -o -path /vol/data -o -path /.rbuild-in-place \) -prune -o "$@"; }
    own -exec busybox stat -c '%n %f %u:%g %Y' {} + > /data/all
    own -type f -exec busybox stat -c '%n %h %s' {} + >> /data/all
    own -type f -exec busybox md5sum {} + >> /data/all
    busybox sort /data/all > /data/work/$1
}
"#;

/// A docker with an image of [`OWN`].
struct Containers(Docker);

impl Containers {
    fn start() -> Self {
        let (maker, docker) = (busybox(OWN), Docker::start());
        maker.build();
        run(docker.client(&["load", "--quiet", "--input"]).arg(maker.path("job.tar")));
        Self(docker)
    }

    /// Runs a shell script for a project. Its folder is `/data`, rbuild is `/data/rbuild`.
    fn sh(&self, project: &Project, flags: &[&str], script: &str) -> Output {
        self.run(project, flags, &["sh", "-euc", &[LOOK, script].concat()])
    }

    fn run(&self, project: &Project, flags: &[&str], arguments: &[&str]) -> Output {
        let mut command = self.0.client(&["run", "--rm", "--network=none", "--env=RBUILD_STORE=/data/store"]);
        let folder = project.path("").parent().expect("the project's folder").to_owned();
        command.arg("--volume").arg(format!("{}:/data/rbuild:ro", static_program().display()));
        command.arg("--volume").arg(format!("{}:/data", folder.display())).arg("--workdir=/data/work");
        let output = command.args(flags).arg("job:1").args(arguments).output();
        let line = format!("docker run {} {}", flags.join(" "), arguments.join(" "));
        project.output(line, &output.expect("docker can be started"))
    }

    /// Builds in place, between two looks at the container's own files.
    #[track_caller]
    fn build(&self, project: &Project, flags: &[&str], arguments: &str) -> Build {
        let script =
            format!("look before; /data/rbuild apply --in-place --progress json {arguments}; look after");
        let build = Build::read(self.sh(project, flags, &script)).success();
        same(project);
        build
    }
}

/// Whether a container's files are what they were.
#[track_caller]
fn same(project: &Project) {
    let [before, after] = ["before", "after"].map(|name| project.read(name));
    assert!(before.contains("/own/deep/er/file 89ed 9:10") && before.contains("/own/linked 2 3"), "{before}");
    let lacks = |one: &str, other: &str| -> Vec<String> {
        let lines: Vec<&str> = other.lines().collect();
        one.lines().filter(|line| !lines.contains(line)).map(str::to_owned).collect()
    };
    assert_eq!(lacks(&before, &after), lacks(&after, &before), "what was, what is");
}

#[track_caller]
fn compile(project: &Project, source: &str, name: &str) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    run(Command::new("gcc").args(["-O1", "-static", "-o"]).arg(project.path(name)).arg(source));
}

#[test]
fn sandbox_in_place_gives_the_same_images() {
    needs!(root, fuse, busybox, static_program, dockerd, docker, runc);
    let containers = Containers::start();
    // Directories above a store that is no mount, and a working directory of a layer.
    let more =
        "mkdir -p /home/me /own/deep; echo in > /home/me/in; chmod 711 /home/me; echo in > /own/deep/in";
    let home = format!("[step.home]\nfrom = 'two'\nrun = '{more}'\n[image.home]\nfrom = 'home'\n");
    let project = busybox(&[STEPS, &home].concat());
    let usual = project.apply(["--store", "other"]).success();
    let build = containers.build(&project, &[], "");
    assert_eq!(build.ran(), ["step.base", "step.home", "step.one", "step.two"]);
    let [warning] = build.warnings()[..] else { panic!("{}", build.output) };
    assert!(warning.contains("not isolated") && warning.ends_with(", but for /data"), "{warning}");
    let arguments = "-f /data/work --store /home/me/store";
    let other = containers.build(&project, &["--workdir=/own/deep"], arguments);
    let all = ["it", "home"];
    assert_eq!(all.map(|image| build.digest(image)), all.map(|image| usual.digest(image)));
    assert_eq!(all.map(|image| other.digest(image)), all.map(|image| usual.digest(image)));
    // Without anybody else, not even a shell.
    let alone = ["/data/rbuild", "apply", "--in-place", "--progress", "json", "--store", "/data/third"];
    let alone = Build::read(containers.run(&project, &[], &alone)).success();
    assert_eq!(alone.digest("home"), usual.digest("home"));
}

#[test]
fn sandbox_in_place_every_kind_of_entry_and_mount_is_the_same() {
    needs!(root, fuse, busybox, static_program, dockerd, docker, runc);
    let containers = Containers::start();
    let project = odd(ODD);
    std::fs::copy("/bin/busybox", project.path("busybox")).expect("busybox");
    project.chmod("busybox", 0o755);
    let usual = project.apply(["--store", "other", "image.last"]).success();
    assert_eq!(containers.build(&project, &[], "image.last").digest("last"), usual.digest("last"));
    let spec: String =
        MOUNTS.lines().filter(|line| !line.starts_with("! ")).flat_map(|line| [line, "\n"]).collect();
    let project = busybox(&spec).file("code/sub/file", "first\n").file("code/gone/file", "");
    let usual = project.apply(["--store", "other"]).success();
    assert_eq!(containers.build(&project, &[], "").digest("it"), usual.digest("it"));
    // The store is on another filesystem than the root.
    let again = "[step.again]\nfrom = 'base'\nmounts = [{ cache = 'c', target = '/cache' }]\nrun = 'cat /cache/x; echo y > /cache/x'\n";
    project.write_steps(again);
    assert_eq!(containers.build(&project, &[], "again").lines("step.again"), ["x"]);
    project.write_steps(&again.replace("; echo y", "; echo z"));
    assert_eq!(containers.build(&project, &[], "again").lines("step.again"), ["y"]);
}

#[test]
fn sandbox_in_place_set_id_bits_count() {
    needs!(root, fuse, busybox, static_program, dockerd, docker, runc, gcc);
    let containers = Containers::start();
    let project = busybox(
        "[source.who]\npath = 'who'\n[step.it]\nfrom = 'base'\ncopy = [{ from = 'who', dest = '/bin/', mode = '4755' }]\nuser = 'guest'\nrun = '/bin/who; id -u'\n",
    );
    project.write("who.c", "#include <stdio.h>\n#include <unistd.h>\nint main(void) { printf(\"%d %d\\n\", getuid(), geteuid()); }\n");
    let source = project.path("who.c");
    compile(&project, &source.display().to_string(), "who");
    assert_eq!(containers.build(&project, &[], "it").lines("step.it"), ["1000 0", "1000"]);
}

/// As the account of a pod is mounted where Debian has a link.
#[test]
fn sandbox_in_place_below_a_link_of_the_tree() {
    needs!(root, fuse, busybox, static_program, dockerd, docker, runc);
    let (containers, project) = (
        Containers::start(),
        busybox(
            "[step.it]\nfrom = 'base'\ndirs = [{ path = '/run' }, { path = '/var' }]\nlinks = [{ path = '/var/run', target = '/run' }]\n\
             run = 'echo > /run/made; echo > /var/made'\n[image.it]\nfrom = 'it'\n",
        ),
    );
    let usual = project.apply(["--store", "other"]).success();
    let volume = format!("--volume={}:/var/run/secrets/account:ro", project.path("../home").display());
    let build = containers.build(&project, &[&volume], "");
    assert_eq!(build.digest("it"), usual.digest("it"));
    assert!(
        build.warnings().contains(&"/var/run stays the container's: what steps make there is not kept"),
        "{}",
        build.output
    );
}

/// Kernels of which Linux 3.10 is the oldest, as far as a filter of system calls can tell.
#[cfg(target_arch = "x86_64")]
#[test]
fn sandbox_in_place_without_calls_of_newer_kernels() {
    needs!(root, fuse, busybox, static_program, dockerd, docker, runc, gcc);
    let (containers, project) = (Containers::start(), busybox(STEPS));
    compile(&project, "tests/older_calls.c", "older");
    let usual = project.apply(["--store", "other"]).success();
    let arguments = ["/data/work/older", "/data/rbuild", "apply", "--progress", "json", "--in-place"];
    let build = Build::read(containers.run(&project, &[], &arguments)).success();
    assert_eq!(build.digest("it"), usual.digest("it"));
    // Who does not ask for it is told.
    let told = containers
        .run(&project, &[], &["/data/work/older", "/data/rbuild", "apply", "--store", "/data/third"])
        .failure(3);
    assert!(told.contains("which needs Linux 5.9: apply --in-place runs steps without\n"), "{told}");
    let doctor = containers.run(&project, &[], &["/data/work/older", "/data/rbuild", "doctor", "--json"]);
    let report: Report =
        serde_json::from_str(&doctor.stdout).unwrap_or_else(|error| panic!("{error}: {doctor}"));
    assert!(report.better.last().is_some_and(|last| last.contains("--in-place")), "{doctor}");
}

/// Whoever is killed, somebody puts all back: the process beside the command, the engine, or the next run.
#[test]
fn sandbox_in_place_all_is_back_whoever_is_killed() {
    needs!(root, fuse, busybox, static_program, dockerd, docker, runc);
    let (containers, project) = (
        Containers::start(),
        busybox(
            "[step.long]\nfrom = 'base'\nrun = 'setsid sleep 86397 & rm -rf /home; echo > /numbers; echo > /data/work/started; exec sleep 86397'\n\
             [step.it]\nfrom = 'base'\nrun = 'true'\n",
        ),
    );
    // While the step runs the container has no programs but the shell.
    let script = r#"
alive() {
    for process in /proc/[0-9]*; do
        read -r line 2> /dev/null < $process/stat || continue
        case $line in *"($1) Z"*) ;; *"($1)"*) echo ${process#/proc/};; esac
    done
}
start() {
    rm -f started; mkfifo started
    /data/rbuild apply --in-place long > log 2>&1 & engine=$!
    read line < started
}
back() {
    while [ -n "$(alive rbuild-sandbox)" ]; do :; done
    test -z "$(alive sleep)"
    look after; cmp before after; echo "$1 is back"
}
/data/rbuild apply --in-place it > log 2>&1
look before
start; kill -9 $engine; wait $engine || true; back engine
start; kill -9 $(alive rbuild-sandbox); wait $engine || echo failed; back child
start; kill -INT $engine; wait $engine || echo interrupted; back command
start; kill -9 $engine $(alive rbuild-sandbox); wait $engine || true
test -d /.rbuild-in-place/aside/own
# What the step has started may still be about to become a `sleep`.
for attempt in 1 2 3 4 5 6 7 8 9; do
    kill -9 $(alive sleep) 2> /dev/null || true
    ! /data/rbuild apply --in-place it > log 2>&1 || break
done
grep -q 'are back' log; grep -q '0 ran' log
back nobody
test ! -e /.rbuild-in-place
"#;
    let told = containers.sh(&project, &[], script).success();
    let expected =
        ["engine is back", "failed", "child is back", "interrupted", "command is back", "nobody is back"];
    assert_eq!(told.lines().collect::<Vec<_>>(), expected);
    same(&project);
}

/// A directory above a volume or the store is the container's with all that is in it, whatever its name is now.
#[test]
fn sandbox_in_place_what_stays_can_not_be_moved_away() {
    needs!(root, fuse, busybox, static_program, dockerd, docker, runc);
    let containers = Containers::start();
    let project = busybox(
        "[step.volume]\nfrom = 'base'\nrun = 'mv /vol /vol2; mkdir -p /vol/data; echo > /vol/data/new'\n\
         [step.store]\nfrom = 'base'\nrun = 'mv /st /st2'\n\
         [step.other]\nfrom = 'base'\nrun = 'echo > /other'\n",
    );
    project.write("../volume/file", "the volume's");
    let volume = format!("--volume={}:/vol/data", project.path("../volume").display());
    let script = r#"
mkdir -p /st
export RBUILD_STORE=/st/store
/data/rbuild apply --in-place other > log 2>&1
look before
for step in volume store; do
    /data/rbuild apply --in-place $step > told 2>&1 && exit 1
    grep -o 'the command moved /[a-z]*, where something of the container stays' told | head -n 1
done
look after; cmp before after
/data/rbuild apply --in-place other 2>&1 | grep -o '0 ran'
test ! -e /.rbuild-in-place
"#;
    let told = containers.sh(&project, &[&volume], script).success();
    let moved = ["/vol", "/st"]
        .map(|path| format!("the command moved {path}, where something of the container stays"));
    assert_eq!(told.lines().collect::<Vec<_>>(), [&moved[0], &moved[1], "0 ran"]);
    assert_eq!(project.read("../volume/file"), "the volume's");
    assert_eq!(fs::read_dir(project.path("../volume")).expect("the volume").count(), 1);
}

/// Of all that is not so, one sentence.
#[test]
fn sandbox_in_place_is_refused_where_files_are_needed() {
    needs!(root, fuse, busybox, static_program, dockerd, docker, runc);
    let (containers, project) = (Containers::start(), busybox("[step.it]\nfrom = 'base'\nrun = 'true'\n"));
    let outside = project.rbuild(["apply", "--in-place", "it"]).failure(3);
    assert!(
        outside.contains("error[no-tier]: build.toml:") && outside.contains("--in-place moves the files of "),
        "{outside}"
    );
    let both = project.rbuild(["apply", "--in-place", "--tier", "chroot", "it"]).failure(2);
    assert!(both.contains("cannot be used with"), "{both}");
    for (flags, script, expected) in [
        (
            &["--user=1000:1000", "--env=RBUILD_STORE=/tmp/store"][..],
            "exec ",
            "run rbuild as root, such as with docker run --user 0",
        ),
        (&["--read-only"], "exec ", "start the container without --read-only"),
        (&[], "sleep 86396 & exec ", "(sleep) runs in it: end it, or "),
    ] {
        let told =
            containers.sh(&project, flags, &format!("{script} /data/rbuild apply --in-place it")).failure(3);
        let error = told.lines().find(|line| line.starts_with("error[no-tier]: ")).unwrap_or_default();
        assert!(error.contains(expected), "{told}");
    }
    // Who only reads what is printed needs nothing.
    containers.sh(&project, &[], "/data/rbuild apply --in-place it 2>&1 | cat | cat > log").success();
    assert!(project.read("log").contains("built in"), "{}", project.read("log"));
    let target = "[step.it]\nfrom = 'base'\nmounts = [{ tmpfs = '1M', target = '/data/x' }]\nrun = 'true'\n";
    project.write_steps(target);
    let told = containers.sh(&project, &[], "/data/rbuild apply --in-place it").failure(1);
    assert!(told.contains("nothing can be shown at /data/x in place: /data stays the container's"), "{told}");
}
