//! A folder with a build file and a store, and rbuild run in it.

use super::{base, repository, run, scratch};
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// The head of a build file over the Debian base.
pub fn over_base() -> String {
    format!("version = 1\n\n[source.base]\narchive = \"{}\"\n", base().display())
}

/// A build file of `count` steps over the Debian base, each with one line to run on what the one before left. `salt`
/// makes the steps others than those of every other salt.
pub fn chain(count: usize, salt: usize) -> String {
    let mut text = over_base();
    let mut from = "base".to_owned();
    for number in 1..=count {
        let line = chain_line(number, salt);
        let _ = write!(text, "\n[step.s{number}]\nfrom = \"{from}\"\nrun = \"{line}\"\n");
        from = format!("s{number}");
    }
    text
}

/// What step `number` of [`chain`] runs.
pub fn chain_line(number: usize, salt: usize) -> String {
    format!("echo {salt} {number} >> /var/chain")
}

/// A project in a temporary folder, with a store of its own beside it.
pub struct Project {
    folder: PathBuf,
}

impl Project {
    /// An empty one.
    pub fn new() -> Self {
        let project = Self { folder: scratch::new() };
        for folder in [project.work(), project.path("out")] {
            fs::create_dir(folder).expect("a folder of the project");
        }
        project
    }

    /// One with this build file.
    pub fn with(spec: &str) -> Self {
        let project = Self::new();
        project.write(spec);
        project
    }

    /// Replaces the build file.
    pub fn write(&self, spec: &str) {
        fs::write(self.work().join("build.toml"), spec).expect("the build file");
    }

    /// `rbuild apply TARGET…` on the project's own build file.
    pub fn apply(&self, targets: &[&str]) -> Command {
        let mut command = self.rbuild();
        command.arg("apply").args(targets).current_dir(self.work());
        command
    }

    /// `rbuild apply` on a spec that ships, with its outputs in the project.
    pub fn apply_shipped(&self, spec: &str) -> Command {
        let mut command = self.rbuild();
        command.args(["apply", "--locked", "--out"]).arg(self.path("out"));
        command.arg("--file").arg(repository().join(spec)).current_dir(self.work());
        command
    }

    /// Makes this store, all that is in it, the store of another project.
    pub fn copy_store_to(&self, other: &Self) {
        run::must(Command::new("cp").arg("-aT").arg(self.path("store")).arg(other.path("store")));
    }

    /// A path beside the project's folder; `store` is the store.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The folder of the build file.
    pub fn work(&self) -> PathBuf {
        self.path("work")
    }

    fn rbuild(&self) -> Command {
        let mut command = run::rbuild();
        command.env("RBUILD_STORE", self.path("store"));
        command
    }
}

/// Makes a chain of one step so that the base is in the store; gives what that took.
pub fn import_base(project: &Project) -> Duration {
    project.write(&chain(1, 0));
    run::time(&mut project.apply(&["step.s1"]))
}

/// The size of a file or of all files below a folder, in bytes.
pub fn size(path: &Path) -> u64 {
    let data = fs::symlink_metadata(path).expect("a path that is there");
    if !data.is_dir() {
        return data.len();
    }
    fs::read_dir(path).expect("a folder").map(|entry| size(&entry.expect("an entry").path())).sum()
}
