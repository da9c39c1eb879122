//! A mount command in the manner of `fuse-overlayfs`, for test-suites that take one:
//! `overlay -o lowerdir=DIR,upperdir=DIR,workdir=DIR MOUNTPOINT`.
//!
//! One live lower directory. It goes to the background when the mount is up; at unmount the change is kept in the work
//! directory as rbuild keeps it (a delta and objects), and the next mount with the same work directory starts from it.
//! Nothing is written to the upper directory.
#![allow(clippy::print_stderr, clippy::print_stdout, clippy::unwrap_used)]

#[path = "../tests/support/mod.rs"]
mod support;

use rbuild_overlay::{Live, Lower, Options, Overlay};
use rbuild_tree::encoding::{decode_delta, encode_delta};
use std::{
    collections::HashMap,
    env, fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};
use support::{FolderStore, mount_device};

// The child outlives this process on purpose.
#[allow(clippy::zombie_processes)]
fn main() {
    let arguments: Vec<String> = env::args().collect();
    if env::var_os("OVERLAY_SERVE").is_some() {
        return serve(&arguments);
    }
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(&arguments[1..]).env("OVERLAY_SERVE", "1").stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = child.spawn().unwrap();
    let mut ready = [0];
    child.stdout.take().unwrap().read_exact(&mut ready).unwrap();
}

fn serve(arguments: &[String]) {
    let options = arguments.iter().position(|argument| argument == "-o").unwrap() + 1;
    let options: HashMap<&str, &str> =
        arguments[options].split(',').filter_map(|option| option.split_once('=')).collect();
    let target = Path::new(arguments.last().unwrap());
    let work = PathBuf::from(options["workdir"]).join("rbuild");
    let scratch = work.join(format!("scratch-{}", std::process::id()));
    fs::create_dir_all(&scratch).unwrap();
    // A mount that is being committed comes first.
    let lock = fs::File::create(work.join("lock")).unwrap();
    lock.lock().unwrap();
    let kept = work.join("delta");
    let delta = fs::read(&kept).ok().map(|bytes| decode_delta(&bytes).unwrap());
    let lower = Lower::Live(Live { root: options["lowerdir"].into(), exclude: Vec::new(), delta });
    let store = Arc::new(FolderStore::open(&work.join("store")));
    let record = env::var_os("OVERLAY_RECORD").is_some();
    let settings = Options { record, ..Options::new(&scratch) };
    let overlay = Overlay::new(store, lower, settings).unwrap();
    let device = mount_device(target).unwrap();
    let session = overlay.serve(device, 2).unwrap();
    std::io::stdout().write_all(b"!").unwrap();
    std::io::stdout().flush().unwrap();
    session.join().unwrap();
    let changes = overlay.commit(None).unwrap();
    let finished = work.join("delta.new");
    fs::write(&finished, encode_delta(&changes.delta)).unwrap();
    fs::rename(finished, kept).unwrap();
    if let Some(trace) = changes.trace {
        eprintln!("trace: {} entries, {} bytes", trace.entries.len(), trace.encode().len());
    }
    changes.warnings.iter().for_each(|warning| eprintln!("{warning}"));
    drop(overlay);
    fs::remove_dir_all(&scratch).unwrap();
}
