//! What a build that was ended leaves running or mounted: nothing.
//!
//! The test's process becomes the parent of whatever loses its own ([`adopt_orphans`]), so a process that outlived its
//! engine can't hide. That holds where each test has a process of its own, as under nextest.

use super::Project;
use nix::{
    errno::Errno,
    sys::{
        prctl,
        wait::{WaitPidFlag, waitpid},
    },
};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

/// How long a process may take to end after its engine: long, since only one that never ends is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// Orphans of what this process starts become its children.
pub fn adopt_orphans() {
    prctl::set_child_subreaper(true).expect("this process can adopt");
}

/// Waits until every child and adopted orphan is gone.
///
/// # Panics
/// If one stays.
#[track_caller]
pub fn nothing_runs() {
    let start = Instant::now();
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return,
            Ok(status) if status.pid().is_some() => continue,
            Ok(_) => {}
            Err(error) => panic!("waitpid: {error}"),
        }
        assert!(start.elapsed() < PATIENCE, "left running: {:?}", children());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The command lines of this process's children.
fn children() -> Vec<String> {
    let threads = fs::read_dir("/proc/self/task").expect("the threads of this process").flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let pids: Vec<String> =
        lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect();
    let line = |pid: &String| {
        fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ")
    };
    pids.iter().map(|pid| format!("{pid} {}", line(pid))).collect()
}

impl Project {
    /// Fails the test if something of this project is mounted, or if its store has scratch folders.
    #[track_caller]
    pub fn nothing_is_left(&self) {
        self.nothing_is_mounted();
        assert_eq!(names(&self.store().join("tmp")), [""; 0], "the store's scratch folder is empty");
    }

    /// Fails the test if something of this project is mounted.
    #[track_caller]
    pub fn nothing_is_mounted(&self) {
        let folder =
            self.store().parent().expect("the store is in the project's folder").display().to_string();
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("the mounts of this process");
        let ours: Vec<&str> = mounts.lines().filter(|line| line.contains(&folder)).collect();
        assert_eq!(ours, [""; 0]);
    }
}

/// The names in a folder, sorted; none if it is not there.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}
