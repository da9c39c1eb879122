//! `mount`: shows a tree as a filesystem, until it is unmounted or a command has ended. What is changed in it, if it may
//! be, is in memory and scratch files, and gone then.
//!
//! Root mounts by itself, others through `fusermount3`, the set-id helper of Debian's fuse3. Where neither works the
//! form with a command does: it mounts in namespaces of its own.

mod device;
mod named;

pub use named::{Named, no_tree};

use crate::{
    error::{Error, Result},
    plan::CONTAINER_HOST_NAME,
    store::Folders,
};
use rbuild_overlay::{Errno, Lower, Options, Overlay};
use rbuild_sandbox::{Command, ExecFailure, Exit, Limits, Mount, Network, Output, Sandbox, Setup};
use rbuild_tree::TreePath;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use std::{
    ffi::OsString,
    fs::File,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

/// What is to be mounted, and where.
pub struct MountRequest {
    /// `step.NAME`, `image.NAME` (or a bare name) of the last build of `file`; the digest of a snapshot; a path.
    pub tree: String,
    /// The build file whose last build is meant; none: build.toml or build.yaml of this folder.
    pub file: Option<PathBuf>,
    /// The store, and others that are only read.
    pub store: Folders,
    /// Where.
    pub place: MountPlace,
    /// It may be changed.
    pub writable: bool,
    /// Told when a directory shows it.
    pub mounted: Box<dyn Fn(&Path)>,
}

/// Where a tree is mounted.
pub enum MountPlace {
    /// On an existing directory, served until it is unmounted or the process is told to end.
    Directory(PathBuf),
    /// As the root of a command, which sees nothing else.
    Command(Vec<OsString>),
}

/// How many threads answer.
const THREADS: usize = 2;

/// How it ended.
#[derive(Debug)]
pub enum Ended {
    /// It was unmounted, or the command ended with this code (128 and the signal's number if one killed it).
    Code(u8),
    /// The command could not be started: it is not there (127), or can't be executed (126), as shells have it.
    NotStarted(u8, Error),
}

/// Mounts, until it is unmounted or the command has ended.
///
/// # Errors
/// No such tree; this machine can't mount.
pub fn mount(request: &MountRequest) -> Result<Ended> {
    let place = match &request.place {
        MountPlace::Directory(path) => Some(mountpoint(path)?),
        MountPlace::Command(_) => None,
    };
    let store = request.store.open()?;
    let mut lower = Named { store: &store, file: request.file.as_deref() }.lower(&request.tree)?;
    if let (Lower::Live(live), Some(place)) = (&mut lower, &place)
        && let Ok(inside) = place.strip_prefix(&live.root)
        && !inside.as_os_str().is_empty()
    {
        // The server would ask itself, and wait for its own answer.
        live.exclude.push(TreePath::parse(inside.as_os_str().as_bytes())?);
    }
    let mut options = Options::new(store.scratch().fresh_folder()?);
    options.read_only = !request.writable;
    let backing: Arc<dyn rbuild_overlay::Store> = store.clone();
    let overlay = Overlay::new(backing, lower, options)?;
    match (&request.place, place) {
        (MountPlace::Command(argv), _) => for_command(&overlay, argv, request.writable),
        (MountPlace::Directory(_), place) => on_directory(&overlay, place.unwrap_or_default(), request),
    }
}

/// Where to mount, without links.
fn mountpoint(path: &Path) -> Result<PathBuf> {
    let found = std::fs::canonicalize(path).and_then(|path| Ok((path.metadata()?.is_dir(), path)));
    match found {
        Ok((true, path)) => Ok(path),
        Ok((false, path)) => Err(Error::usage(format!("{} is not a directory", path.display()))),
        Err(error) if error.raw_os_error() == Some(Errno::NOTCONN.raw_os_error()) => {
            let shown = path.display();
            Err(Error::usage(format!("on {shown} is a mount whose server has ended"))
                .hint(format!("`umount {shown}`, or `fusermount3 -u {shown}`, takes it away")))
        }
        Err(error) => {
            Err(Error::io("find", path, error).hint(format!("make the folder: mkdir {}", path.display())))
        }
    }
}

fn on_directory(overlay: &Overlay, path: PathBuf, request: &MountRequest) -> Result<Ended> {
    let session = overlay.serve(device::mount(&path, request.writable)?, THREADS)?;
    (request.mounted)(&path);
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]);
    let mut signals =
        signals.map_err(|error| Error::environment("signals can't be watched").caused_by(error))?;
    let handle = signals.handle();
    let told = path.clone();
    let watcher = thread::spawn(move || {
        if signals.forever().next().is_some() {
            device::unmount(&told);
        }
    });
    let ended = session.join();
    handle.close();
    let _ = watcher.join();
    ended?;
    Ok(Ended::Code(0))
}

fn for_command(overlay: &Overlay, argv: &[OsString], writable: bool) -> Result<Ended> {
    let ids =
        rbuild_sandbox::probe().map_err(|error| Error::environment(error.to_string()).coded("no-tier"))?.ids;
    let mut mounts =
        vec![Mount::Fuse { target: "/".to_owned(), source: String::new(), read_only: !writable }];
    for (path, mount) in [("proc", Mount::Proc), ("sys", Mount::Sys), ("dev", Mount::Dev)] {
        let lent = overlay.lend(&TreePath::parse(path.as_bytes())?, true);
        lent.map_err(|errno| Error::io("mount on", Path::new(path), errno.into()))?;
        mounts.push(mount);
    }
    let pair = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
    let mut env = vec![pair("PATH", crate::container::DEFAULT_PATH), pair("HOME", "/root")];
    env.extend(std::env::var_os("TERM").map(|term| (OsString::from("TERM"), term)));
    let setup = Setup {
        ids,
        hostname: CONTAINER_HOST_NAME.to_owned(),
        network: Network::None,
        mounts,
        command: Command {
            argv: argv.to_vec(),
            env,
            directory: "/".into(),
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            umask: 0o022,
        },
        limits: Limits::default(),
        supervised: false,
    };
    let mut started = Sandbox::spawn(&setup, Output::Separate)?;
    let device = started.fuse.pop().ok_or_else(|| Error::internal("the sandbox gave no filesystem"))?;
    let session = overlay.serve(device, THREADS)?;
    let (stdout, stderr) = (started.stdout.take(), started.stderr.take());
    let ended = thread::scope(|scope| {
        scope.spawn(|| pass_on(stdout, &mut io::stdout()));
        scope.spawn(|| pass_on(stderr, &mut io::stderr()));
        started.proceed().and_then(|mut running| running.wait())
    });
    session.join()?;
    Ok(match ended? {
        Exit::Code(code) => Ended::Code(u8::try_from(code).unwrap_or(u8::MAX)),
        Exit::Signal(signal) => Ended::Code(u8::try_from(128 + signal).unwrap_or(u8::MAX)),
        Exit::ExecFailed { what } => {
            let code = if matches!(what, ExecFailure::NotFound(_)) { 127 } else { 126 };
            let error = Error::usage(format!("the command could not be started: {what}"));
            Ended::NotStarted(code, error.hint("it is looked for in the tree, not on this machine"))
        }
    })
}

fn pass_on(pipe: Option<OwnedFd>, out: &mut dyn io::Write) {
    if let Some(pipe) = pipe {
        // A closed terminal is no reason to stop the command.
        let _ = io::copy(&mut File::from(pipe), out);
    }
}
