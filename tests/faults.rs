//! A disk that is full, an engine that is killed, a filesystem that is cut off: the step fails with a sentence, nothing
//! hangs, nothing is left, and the next build works.

use crate::support::{Build, Project, busybox, names};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};
use std::{fs, path::PathBuf};

const ROOM: &str = "free some space, or put the store elsewhere with RBUILD_STORE";

/// A store in memory of so many MiB, in a mount namespace of this thread and of what it starts.
struct SmallStore(PathBuf);

impl SmallStore {
    fn new(project: &Project, size: u32) -> Self {
        let nothing = None::<&str>;
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).expect("private mounts");
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
        failed.message.starts_with("can't keep what a step wrote in [DIR]/store/tmp/"),
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
    assert!(message.starts_with("can't keep /tmp/"), "{message}");
    assert!(message.ends_with(" in the store"), "{message}");
    assert!(build.output.stderr.contains("write [DIR]/store/tmp/"), "{}", build.output);
}
