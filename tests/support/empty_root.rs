//! A root that holds one program and nothing else, as an image for CI jobs may: no shell, no libraries, no /tmp.

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    sys::stat::{Mode, SFlag, makedev, mknod},
    unistd::{chdir, pivot_root},
};
use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
    thread,
};

/// What every engine puts into a container, and /dev/fuse: major and minor numbers.
const DEVICES: [(&str, u64, u64); 7] = [
    ("null", 1, 3),
    ("tty", 5, 0),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("fuse", 10, 229),
];

const NOTHING: Option<&str> = None;

/// Runs `program` as `/program` there. In the root are /proc, /sys, a small /dev, the folder as `/data`, which alone can be
/// written, and these files.
pub fn in_empty_root(program: &Path, folder: &Path, files: &[(&str, &str)], arguments: &[&str]) -> Output {
    let work = || {
        enter(program, folder, files);
        let mut command = Command::new("/program");
        command.args(arguments).env_clear().env("RBUILD_STORE", "/data/store");
        command.env("XDG_CONFIG_HOME", "/data/settings").current_dir("/data/work");
        command.output().expect("the program can be started")
    };
    // A thread of its own has another root and other mounts than those that judge.
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn enter(program: &Path, folder: &Path, files: &[(&str, &str)]) {
    unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING).expect("private mounts");
    let root = folder.join("root");
    fs::create_dir_all(&root).expect("a folder");
    memory(&root, "mode=755");
    for name in ["proc", "sys", "dev", "data"] {
        fs::create_dir(root.join(name)).expect("a folder");
    }
    for (path, content) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, content).expect("a file");
    }
    File::create(root.join("program")).expect("a file");
    bind(program, &root.join("program"));
    bind(folder, &root.join("data"));
    mount(Some("proc"), &root.join("proc"), Some("proc"), MsFlags::empty(), NOTHING).expect("/proc");
    mount(Some("sysfs"), &root.join("sys"), Some("sysfs"), MsFlags::MS_RDONLY, NOTHING).expect("/sys");
    devices(&root.join("dev"));
    mount(NOTHING, &root, NOTHING, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY, NOTHING)
        .expect("a read-only root");
    chdir(&root).expect("the root");
    pivot_root(".", ".").expect("another root");
    umount2(".", MntFlags::MNT_DETACH).expect("without the old one");
    chdir("/").expect("the root");
}

fn devices(folder: &Path) {
    memory(folder, "mode=755");
    for (name, major, minor) in DEVICES {
        let path = folder.join(name);
        mknod(&path, SFlag::S_IFCHR, Mode::empty(), makedev(major, minor)).expect("a device");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("its mode");
    }
    fs::create_dir(folder.join("shm")).expect("a folder");
    memory(&folder.join("shm"), "size=64k");
}

fn memory(place: &Path, options: &str) {
    mount(Some("none"), place, Some("tmpfs"), MsFlags::empty(), Some(options)).expect("a tmpfs");
}

fn bind(source: &Path, target: &Path) {
    mount(Some(source), target, NOTHING, MsFlags::MS_BIND, NOTHING).expect("a bind");
}
