//! A mount command in the manner of overlayfs, for test-suites and benches that take one; it does not ship.
//!
//! `overlay-mount -o lowerdir=A:B,upperdir=U,workdir=W[,index=DIR][,userxattr][,writeback] MOUNTPOINT` goes to the
//! background when the mount is up. Lower directories and an upper one that holds something already become a snapshot by reference
//! ([`layers`]): no byte is copied. At unmount the change is written to `upperdir` in overlayfs's own form ([`upper`]),
//! so that the kernel's overlayfs with the same lower directories shows the same tree. Until then nothing of it is there.
//!
//! umount(8) returns before that is done. `W/rbuild/lock` is locked until then: the next mount with this work directory
//! waits for it, and so can anybody (`flock W/rbuild/lock true`). What the server has to say is in `W/rbuild/log`: it
//! keeps no file of whoever started it.
//!
//! **Limits.** A character device 0/0 *is* overlayfs's whiteout: one that a program made is left out, with a warning.
//! Upper directories of the kernel's `redirect_dir` and `metacopy` are refused; whiteouts that are attributes are not
//! known.
#![forbid(unsafe_code)]

mod error;
mod folder;
mod index;
mod layers;
mod log;
mod options;
mod serve;
mod store;
mod upper;

use error::Error;
use log::Log;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use options::MountOptions;
use std::{
    env,
    ffi::OsString,
    io::Read,
    process::{Command, ExitCode, Stdio},
};

/// Tells a process that it is the one in the background.
const SERVE: &str = "OVERLAY_MOUNT_SERVE";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let outcome = match env::var_os(SERVE) {
        Some(_) => MountOptions::parse(&arguments).and_then(|options| serve::serve(&options)),
        None => start(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            warn(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Starts this program again and waits until it has mounted.
fn start(arguments: &[OsString]) -> Result<(), Error> {
    let options = MountOptions::parse(arguments)?;
    raise_descriptor_limit();
    let mut log = Log::open(&options.work.join("rbuild"))?;
    let program = env::current_exe().map_err(Error::io("find", &"this program's file"))?;
    let mut child = Command::new(&program);
    child.args(arguments).env(SERVE, "1").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.writer()?);
    let mut child = child.spawn().map_err(Error::io("start", &program.display()))?;
    let mut ready = [0];
    match child.stdout.take().map(|mut pipe| pipe.read_exact(&mut ready)) {
        Some(Ok(())) => Ok(()),
        _ => Err(Error::Background(log.news())),
    }
}

/// The overlay keeps as many files of the lower open as it may.
fn raise_descriptor_limit() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

/// One line for the user.
#[expect(clippy::print_stderr, reason = "a command of its own")]
pub(crate) fn warn(line: &str) {
    eprintln!("overlay-mount: {line}");
}
