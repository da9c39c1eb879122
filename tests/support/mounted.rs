//! Trees as a kernel shows them.

use super::Project;
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    process::Child,
    time::{Duration, Instant},
};

/// A tree shown by `rbuild mount`, until it is dropped.
pub struct Mounted {
    /// Its folder.
    pub place: PathBuf,
    server: Child,
}

impl Mounted {
    /// Mounts it, read-only.
    pub fn new(project: &Project, tree: &str) -> Self {
        Self::with(project, &[], tree)
    }

    /// Mounts it with these options.
    pub fn with(project: &Project, options: &[&str], tree: &str) -> Self {
        let place = project.path("mounted");
        fs::create_dir_all(&place).expect("a folder");
        let device = || fs::metadata(&place).expect("the mountpoint").dev();
        let before = device();
        let mut command = project.command();
        command.arg("mount").args(options).arg(tree).arg(&place);
        let mut server = command.spawn().expect("rbuild can be started");
        let start = Instant::now();
        while device() == before {
            let ended = server.try_wait().expect("the server's state");
            assert!(
                ended.is_none() && start.elapsed() < Duration::from_secs(20),
                "nothing is mounted: {ended:?}"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        Self { place, server }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Its server ends when it is unmounted; a failing test must not wait for one that does not.
        if nix::mount::umount(&self.place).is_err() {
            let _ = self.server.kill();
        }
        let _ = self.server.wait();
    }
}
