//! A disk that is full, an engine that is killed, a filesystem that is cut off: the step fails with a sentence, nothing
//! hangs, nothing is left, and the next build works.

use crate::support::{Build, Project, adopt_orphans, busybox, names, nothing_runs};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, ChildStdout, Stdio},
    time::{Duration, Instant},
};

const ROOM: &str = "free some space, or put the store (RBUILD_STORE) or the outputs (--out) elsewhere";

/// A store in memory of so many MiB, in a mount namespace of this thread and of what it starts.
struct SmallStore(PathBuf);

impl SmallStore {
    fn new(project: &Project, size: u32) -> Self {
        own_mounts();
        let store = Self(project.store());
        fs::create_dir(&store.0).expect("the folder of the store");
        store.mount(size, MsFlags::empty());
        store
    }

    /// Gives it another size.
    fn resize(&self, size: u32) {
        self.mount(size, MsFlags::MS_REMOUNT);
    }

    fn mount(&self, size: u32, flags: MsFlags) {
        let options = format!("size={size}m,mode=700");
        mount(Some("none"), &self.0, Some("tmpfs"), flags, Some(options.as_str())).expect("a tmpfs");
    }
}

impl Drop for SmallStore {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// What this thread mounts from here on is seen by it and by what it starts.
fn own_mounts() {
    let nothing = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).expect("private mounts");
}

/// A step that writes more than there is room for, and an image of it.
fn filling(command: &str) -> String {
    format!(
        "[step.filling]\nfrom = 'base'\nrun = '''{command}'''\n[image.app]\nfrom = 'filling'\noutput = [{{ oci = 'dist/app' }}]\n"
    )
}

/// Builds without room, which must fail and leave nothing; then with it, for which nothing is in the way.
fn with_and_without_room(command: &str) -> Build {
    let project = busybox(&filling(command));
    let store = SmallStore::new(&project, 16);
    let build = project.apply::<&str>([]).failure(3);
    assert_eq!(build.skipped(), [""; 0]);
    assert!(build.output.stderr.contains("No space left on device"), "{}", build.output);
    assert_eq!(build.failed("step.filling").hints, [ROOM], "{}", build.output);
    project.nothing_is_left();
    let history = names(&project.store().join("history"));
    assert!(history.iter().all(|name| name.ends_with(".json")), "{history:?}");
    assert!(!project.path("dist").exists());
    store.resize(64);
    assert_eq!(project.build().ran(), ["step.filling"]);
    project.layout("dist/app").check("latest");
    build
}

#[test]
fn mount_that_is_full_is_told_to_the_program_and_to_the_user() {
    needs!(root, fuse, busybox);
    let build = with_and_without_room("dd if=/dev/zero of=/big bs=1M count=20 2>&1");
    let failed = build.failed("step.filling");
    assert!(
        failed.message.contains(":7: can't keep what a step wrote in [DIR]/store/tmp/"),
        "{}",
        build.output
    );
    let told = failed.last_lines.first().expect("what dd said");
    assert_eq!(told, "dd: error writing '/big': No space left on device");
}

/// Elsewhere it would have come to another result.
#[test]
fn mount_that_is_full_fails_a_step_that_goes_on() {
    needs!(root, fuse, busybox);
    let build = with_and_without_room("dd if=/dev/zero of=/big bs=1M count=20 || echo never mind");
    assert!(build.lines("step.filling").contains(&"never mind"), "{}", build.output);
}

/// What is in memory while the step runs must be in the store in the end.
#[test]
fn mount_whose_small_files_fill_the_store_fails_when_they_are_kept() {
    needs!(root, fuse, busybox);
    let build = with_and_without_room(
        "for i in $(seq 300); do { echo $i; head -c 60000 /dev/zero; } > /tmp/$i; done; echo all written",
    );
    assert_eq!(build.lines("step.filling"), ["all written"]);
    let message = build.failed("step.filling").message;
    assert!(message.contains(":7: can't keep /tmp/"), "{message}");
    assert!(message.ends_with(" in the store"), "{message}");
    assert!(build.output.stderr.contains("write [DIR]/store/tmp/"), "{}", build.output);
}

/// A step that says `ready` and then reads and writes without end.
const BUSY: &str = r#"
[step.busy]
from = 'base'
run = """
trap '' INT TERM HUP
dd if=/dev/zero of=/big bs=1M count=4 2>&1
while :; do cat /big > /copy; done &
while :; do echo more >> /more; done &
echo ready; wait"""
[image.app]
from = 'busy'
output = [{ oci = 'dist/app' }]
"#;

/// An engine whose step is [`BUSY`], stopped while a process of it waits for an answer.
struct Stopped {
    engine: Child,
    told: String,
    output: BufReader<ChildStdout>,
}

impl Stopped {
    fn new(project: &Project) -> Self {
        adopt_orphans();
        let mut command = project.command();
        command.args(["apply", "--progress", "json"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut engine = command.spawn().expect("rbuild can be started");
        let output = BufReader::new(engine.stdout.take().expect("it is piped"));
        let mut stopped = Self { engine, told: String::new(), output };
        while !stopped.told.contains("\"ready\"") {
            let read = stopped.output.read_line(&mut stopped.told).expect("text");
            assert_ne!(read, 0, "it ended: {}", stopped.told);
        }
        stopped.signal(Signal::SIGSTOP);
        let start = Instant::now();
        while !stopped.family().iter().any(|pid| waits_for_an_answer(*pid)) {
            assert!(start.elapsed() < Duration::from_secs(20), "nobody waits: {:?}", stopped.family());
            std::thread::sleep(Duration::from_millis(1));
        }
        stopped
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.engine.id().cast_signed()), signal).expect("it runs");
    }

    /// All processes that it started.
    fn family(&self) -> Vec<u32> {
        let mut family = vec![self.engine.id()];
        let mut next = 0;
        while let Some(pid) = family.get(next) {
            family.extend(children(*pid));
            next += 1;
        }
        family.split_off(1)
    }

    /// Lets it go on, and waits for its end. Nothing of it is left.
    fn ended(mut self, project: &Project) -> Build {
        self.signal(Signal::SIGCONT);
        self.output.read_to_string(&mut self.told).expect("text");
        let ended = self.engine.wait_with_output().expect("it ends");
        let whole = std::process::Output { stdout: self.told.into_bytes(), ..ended };
        let build = Build::read(project.output("rbuild apply".to_owned(), &whole));
        nothing_runs();
        project.nothing_is_left();
        assert!(!project.path("dist").exists());
        build
    }
}

fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.collect::<String>().split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Whether the kernel has a request of this process that nobody has answered.
fn waits_for_an_answer(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/wchan"))
        .is_ok_and(|place| place.contains("request_wait") || place.contains("fuse"))
}

/// What was stopped is nowhere in the way.
fn the_next_build_works(project: &Project) {
    project.write_steps(&BUSY.replace("ready; wait", "ready; kill -KILL %1 %2"));
    assert_eq!(project.build().ran(), ["step.busy"]);
    project.layout("dist/app").check("latest");
    project.nothing_is_left();
}

#[test]
fn mount_of_a_killed_engine_holds_nobody() {
    needs!(fuse, busybox);
    let project = busybox(BUSY);
    let mut stopped = Stopped::new(&project);
    stopped.engine.kill().expect("it runs");
    stopped.engine.wait().expect("it was killed");
    nothing_runs();
    project.nothing_is_mounted();
    the_next_build_works(&project);
}

#[test]
fn mount_of_an_interrupted_step_holds_nobody() {
    needs!(fuse, busybox);
    let project = busybox(BUSY);
    let stopped = Stopped::new(&project);
    stopped.signal(Signal::SIGINT);
    let build = stopped.ended(&project).failure(130);
    assert_eq!(build.interrupted(), ["step.busy"]);
    the_next_build_works(&project);
}

#[test]
fn mount_that_is_cut_off_fails_the_step() {
    needs!(root, fuse, busybox);
    let project = busybox(BUSY);
    let stopped = Stopped::new(&project);
    let inside = *stopped.family().last().expect("the step runs");
    own_mounts();
    let control = project.path("control");
    fs::create_dir(&control).expect("a folder");
    mount(Some("none"), &control, Some("fusectl"), MsFlags::empty(), None::<&str>).expect("fusectl");
    fs::write(control.join(connection(inside)).join("abort"), "1").expect("the connection can be aborted");
    umount2(&control, MntFlags::empty()).expect("it is mounted");
    let build = stopped.ended(&project).failure(3);
    let failed = build.failed("step.busy");
    assert!(failed.message.contains(":7: the filesystem of this step was cut off"), "{}", build.output);
    assert_eq!(failed.hints, ["run the build again"]);
    the_next_build_works(&project);
}

/// The kernel's number of the connection behind the root of a process: the minor number of its device.
fn connection(pid: u32) -> String {
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).expect("the mounts of the step");
    let root = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|line| line[4] == "/");
    root.expect("a root")[2].trim_start_matches("0:").to_owned()
}
