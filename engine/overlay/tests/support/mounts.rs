//! Tests on a mount, and the programs that they run there. What is missing is said, and is a failure in CI.
#![allow(clippy::print_stderr)]

use super::{Bench, Mounted, view::plain_view};
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

/// Runs other people's programs on a mount over a directory that `fill`, a shell script, makes there and that no
/// program may change. The options are those of a step, and every user may look for the mount. In the end nothing has
/// panicked, and what is there can be committed.
pub fn foreign(fill: &str, test: impl FnOnce(&Path)) {
    let bench = Bench::new();
    let public = tempfile::tempdir().unwrap();
    let target = public.path().join("mount");
    fs::create_dir(&target).unwrap();
    fs::set_permissions(public.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let root = bench.folder("lower");
    shell(&root, fill);
    let before = plain_view(&root);
    let options = Options::new(bench.folder("scratch"));
    let overlay = Overlay::new(bench.store.clone(), bench.live(&root, None), options).unwrap();
    if let Some(overlay) = mounted_at(overlay, &target, test) {
        overlay.commit(None).unwrap();
    }
    assert_eq!(plain_view(&root), before);
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

/// Where a program is: one that `tests/run` has put in `target/tools`, or this machine's.
pub fn program(name: &str) -> Option<PathBuf> {
    let tools =
        option_env!("CARGO_TARGET_TMPDIR").map(|folder| Path::new(folder).with_file_name("tools/bin"));
    let folders = tools.into_iter().chain(env::split_paths(&path()).collect::<Vec<_>>());
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        skip(&format!("there is no program {name}: tests/run installs it"));
    }
    found
}

/// Whether all of these programs are there.
pub fn have(programs: &[&str]) -> bool {
    programs.iter().all(|name| program(name).is_some())
}

/// Where programs are looked for: those for root too, whoever calls.
fn path() -> String {
    env::var("PATH").unwrap_or_default() + ":/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
}

pub fn skip(reason: &str) {
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

/// Runs a script, which ends with its first failure, and hands out what it printed.
pub fn shell(at: &Path, script: &str) -> String {
    must(Command::new("sh").arg("-euc").arg(script).current_dir(at).env("PATH", path()))
}
