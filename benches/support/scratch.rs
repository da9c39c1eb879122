//! Where a bench works: one folder below Cargo's `target/tmp`, removed when the bench has ended.

use std::{
    fs,
    path::PathBuf,
    process,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

/// The folder of this process; dropping it removes it, after a panic too.
pub struct Folder;

impl Folder {
    /// Makes it.
    pub fn make() -> Self {
        fs::create_dir_all(path()).expect("the folder of this bench");
        Self
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        super::remove(&path());
    }
}

/// A new folder in it.
pub fn new() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let folder = path().join(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
    fs::create_dir_all(&folder).expect("a folder of this bench");
    folder
}

/// What it takes to make one empty file, the mean of a thousand.
pub fn time_to_make_a_file() -> Duration {
    const FILES: u32 = 1000;
    let folder = new();
    let start = Instant::now();
    for number in 0..FILES {
        fs::File::create(folder.join(number.to_string())).expect("an empty file");
    }
    start.elapsed() / FILES
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{}", process::id()))
}
