//! Layers in a scratch folder, mounted by this binary and by the kernel.

use crate::seen::{Seen, see};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

pub struct Layers {
    folder: tempfile::TempDir,
    lower: Vec<PathBuf>,
}

/// Folders of these names, the uppermost first, `upper` and others; none where nothing can be mounted.
pub fn have_mounts(lower: &[&str]) -> Option<Layers> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in lower.iter().chain(&["upper", "work", "mount", "kernel", "index", "void"]) {
        fs::create_dir(at(name)).unwrap();
    }
    let layers = Layers { lower: lower.iter().map(|name| at(name)).collect(), folder };
    let probe = File::open("/dev/fuse").and_then(|_| {
        layers.kernel_mount()?;
        Ok(umount2(&layers.at("kernel"), MntFlags::MNT_DETACH)?)
    });
    match probe {
        Ok(()) => Some(layers),
        Err(cause) => {
            assert!(std::env::var_os("CI").is_none(), "can't mount: {cause}");
            eprintln!("skipped: can't mount: {cause}");
            None
        }
    }
}

pub fn shell(at: &Path, script: &str) {
    let output = Command::new("sh").arg("-euc").arg(script).current_dir(at).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Layers {
    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    pub fn upper(&self) -> PathBuf {
        self.at("upper")
    }

    fn lower(&self) -> String {
        let names: Vec<String> = self.lower.iter().map(|path| path.display().to_string()).collect();
        names.join(":")
    }

    fn command(&self, more: &str) -> Command {
        let (upper, work) = (self.upper(), self.at("work"));
        let options = format!(
            "lowerdir={},upperdir={},workdir={},{more}",
            self.lower(),
            upper.display(),
            work.display()
        );
        let mut command = Command::new(env!("CARGO_BIN_EXE_overlay-mount"));
        command.arg(self.at("mount")).arg("-o").arg(options);
        command
    }

    /// What the mount shows in the end, when it is gone and the upper directory is written.
    pub fn mounted(&self, change: impl FnOnce(&Path)) -> Seen {
        self.mounted_with("", change)
    }

    pub fn mounted_with(&self, more: &str, change: impl FnOnce(&Path)) -> Seen {
        let output = self.command(more).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mounted = Unmount(self.at("mount"));
        change(&mounted.0);
        let seen = see(&mounted.0);
        drop(mounted);
        File::open(self.at("work/rbuild/lock")).unwrap().lock().unwrap();
        seen
    }

    /// What it says instead of mounting.
    pub fn refused(&self, more: &str) -> String {
        let output = self.command(more).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }

    fn kernel_mount(&self) -> std::io::Result<()> {
        // Upper and lower directories as lower ones: nothing of them can change.
        let options = format!("lowerdir={}:{}", self.upper().display(), self.lower());
        let target = self.at("kernel");
        Ok(mount(Some("overlay"), &target, Some("overlay"), MsFlags::MS_RDONLY, Some(&*options))?)
    }

    /// What the kernel's overlayfs shows of the same directories.
    pub fn by_kernel(&self) -> Seen {
        self.kernel_mount().unwrap();
        let mounted = Unmount(self.at("kernel"));
        see(&mounted.0)
    }
}

/// A mount that ends with it, also if a test fails.
struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        // Lazily: something of the test may still be open when it failed.
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}
