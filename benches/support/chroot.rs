//! The peer without a builder: the Debian base unpacked into a folder, and chroot.

use super::{base, run, scratch};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The base in a folder of its own.
pub struct Chroot {
    folder: PathBuf,
}

impl Chroot {
    /// Unpacks the base with GNU tar.
    pub fn new() -> Self {
        let chroot = Self { folder: scratch::new() };
        fs::create_dir(chroot.root()).expect("the folder of the root");
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(chroot.root()).args(["--numeric-owner", "--xattrs", "-xpf"]).arg(base());
        run::must(&mut tar);
        chroot
    }

    /// The folder that is the root.
    pub fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// A shell line in the root, as cheap as it can be: no mounts, no namespaces.
    pub fn line(&self, line: &str) -> Command {
        let mut command = self.words();
        command.arg(line);
        command
    }

    /// [`Chroot::line`] without its line: for xargs, which adds one.
    pub fn words(&self) -> Command {
        let mut command = Command::new("chroot");
        run::clean(&mut command);
        command.arg(self.root()).args(["/bin/sh", "-eu", "-c"]);
        command
    }

    /// A script in the root with /proc and /dev, which installing packages needs; mounted in a mount namespace of its
    /// own, so that nothing of it outlives the script.
    pub fn script(&self, script: &str) -> Command {
        const MOUNT: &str = r#"mount -t proc proc "$1/proc"
            mount --rbind /dev "$1/dev"
            exec chroot "$1" /bin/sh -eu -c "$2""#;
        let mut command = Command::new("unshare");
        run::clean(&mut command);
        command.args(["--mount", "--propagation", "private", "/bin/sh", "-eu", "-c", MOUNT, "sh"]);
        command.arg(self.root()).arg(script);
        command
    }

    /// Copies a file or folder of this machine, or of another root, into the root.
    pub fn copy(&self, from: &Path, to: &str) {
        if !from.exists() {
            return;
        }
        let target = self.root().join(to);
        fs::create_dir_all(target.parent().expect("a folder above")).expect("the folders of the root");
        run::must(Command::new("cp").args(["-aLT", "--"]).arg(from).arg(target));
    }

    /// Writes a file of the root.
    pub fn write(&self, path: &str, content: &str) {
        fs::write(self.root().join(path), content).expect("a file of the root");
    }
}
