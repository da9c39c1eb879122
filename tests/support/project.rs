//! A folder with a build file, and the command run in it.

use super::Output;
use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
};

/// A project in a temporary folder of its own, with its own HOME and store; gone when dropped.
///
/// ```text
/// work/      the project: the command's current folder
/// home/      HOME
/// store/     RBUILD_STORE
/// ```
pub struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    /// One with this `build.toml`.
    pub fn new(spec: &str) -> Self {
        Self::empty().file("build.toml", spec)
    }

    /// One without a file.
    pub fn empty() -> Self {
        let folder = tempfile::Builder::new().prefix("rbuild-test-").tempdir().expect("a temporary folder");
        for name in ["work", "home"] {
            fs::create_dir(folder.path().join(name)).expect("a folder of the project");
        }
        Self { folder }
    }

    /// One that is a copy of a folder of this repository, as `specs/hello`, without what it was built to.
    pub fn copy_of(folder: &str) -> Self {
        let project = Self::empty();
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &project.path(""));
        project
    }

    /// With this file, and the folders above it.
    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.write(path, content);
        self
    }

    /// Writes a file, and makes the folders above it.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("the folders of a file");
        fs::write(path, content).expect("a file of the project");
    }

    /// Sets permission bits.
    pub fn chmod(&self, path: &str, mode: u32) {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode))
            .expect("a file of the project");
    }

    /// Reads a file.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// A path of the project; `""` is the project itself.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("work").join(path)
    }

    /// Where its store is.
    pub fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// Runs rbuild in the project's folder.
    pub fn rbuild<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        self.rbuild_with(&[], arguments)
    }

    /// The same with further environment variables.
    pub fn rbuild_with<S: AsRef<OsStr>>(
        &self,
        environment: &[(&str, &str)],
        arguments: impl IntoIterator<Item = S>,
    ) -> Output {
        let arguments: Vec<OsString> =
            arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        let words = arguments.iter().map(|argument| argument.to_string_lossy());
        let line = ["rbuild".into()].into_iter().chain(words).collect::<Vec<_>>().join(" ");
        let output = self.command().envs(environment.iter().copied()).args(&arguments).output();
        self.output(line, &output.expect("rbuild can be started"))
    }

    /// What a command did that the test started by itself.
    pub fn output(&self, command: String, output: &process::Output) -> Output {
        let folder = fs::canonicalize(self.folder.path()).expect("the folder of the project");
        Output::new(command, output, &folder)
    }

    /// The command without arguments, for tests that do more than wait for it. Nothing of the caller's environment is
    /// in it: time, place and width are the same everywhere.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rbuild"));
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.folder.path().join("home"))
            .env("RBUILD_STORE", self.store())
            .env("COLUMNS", "100")
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .current_dir(self.path(""))
            .stdin(Stdio::null());
        command
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder of the project");
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let entry = entry.expect("an entry of the folder");
        // Outputs of an earlier build, perhaps another user's.
        if entry.file_name() == "dist" {
            continue;
        }
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().expect("the kind of an entry");
        if kind.is_symlink() {
            let link = fs::read_link(&source).expect("a link of the folder");
            std::os::unix::fs::symlink(link, &target).expect("a link of the project");
        } else if kind.is_dir() {
            copy(&source, &target);
        } else {
            fs::copy(&source, &target).expect("a file of the folder");
        }
    }
}
