//! Tests on a mount, and the programs that they run there. What is missing is said, and is a failure in CI.
#![allow(clippy::print_stderr)]

use super::{Bench, Mounted};
use rbuild_overlay::{Lower, Options, Overlay};
use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

/// Runs a test on a mount over `lower`, and hands out the overlay after it was unmounted.
pub fn mounted(bench: &Bench, lower: Lower, test: impl FnOnce(&Path)) -> Option<Overlay> {
    mounted_at(bench.overlay("scratch", lower), &bench.folder("mount"), test)
}

/// Runs other people's programs on a mount over an empty directory, with the options that a step has. The mount is
/// where every user may look for it. In the end nothing has panicked and what is there can be committed.
pub fn foreign(test: impl FnOnce(&Path)) {
    let bench = Bench::new();
    let public = tempfile::tempdir().unwrap();
    let target = public.path().join("mount");
    fs::create_dir(&target).unwrap();
    fs::set_permissions(public.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let lower = bench.live(&bench.folder("lower"), None);
    let overlay = Overlay::new(bench.store.clone(), lower, Options::new(bench.folder("scratch"))).unwrap();
    if let Some(overlay) = mounted_at(overlay, &target, test) {
        overlay.commit(None).unwrap();
    }
}

fn mounted_at(overlay: Overlay, target: &Path, test: impl FnOnce(&Path)) -> Option<Overlay> {
    match Mounted::new(&overlay, target) {
        Ok(mount) => {
            test(target);
            mount.end();
            Some(overlay)
        }
        Err(cause) => {
            skip(&format!("can't mount: {cause}"));
            None
        }
    }
}

/// What to run for a program: one that `tests/run` has put in `target/tools`, or Debian's.
pub fn program(name: &str) -> Option<Command> {
    let tools =
        option_env!("CARGO_TARGET_TMPDIR").map(|folder| Path::new(folder).with_file_name("tools/bin"));
    let folders = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from);
    let found = tools.into_iter().chain(folders).map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        skip(&format!("there is no program {name}: tests/run installs it"));
    }
    found.map(Command::new)
}

fn skip(reason: &str) {
    assert!(env::var_os("CI").is_none(), "in CI nothing is skipped: {reason}");
    eprintln!("skipped: {reason}");
}

/// Runs a program to its end, which must be a good one, and hands out what it printed.
pub fn must(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let [out, err] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    out
}

pub fn shell(at: &Path, script: &str) -> String {
    must(Command::new("sh").arg("-euc").arg(script).current_dir(at))
}
