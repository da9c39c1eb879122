//! The other side of the control socket: the set-up child, in the engine's pid namespace.
//!
//! It makes the namespaces, opens what needs the engine's own user, takes the ids of the sandbox, mounts the FUSE
//! filesystems and forks the init, which does the rest ([`init`]). Then it waits for it.
//!
//! Order matters: /dev/fuse must be opened in the new user namespace (the kernel compares) but before the ids change
//! (it often is 0600 root); sources of binds must be opened in the new mount namespace, but before the ids change.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::waitpid;
use nix::unistd::{Gid, Uid, chdir, setgroups, setresgid, setresuid};
use rustix::process::{DumpableBehavior, PidfdFlags, pidfd_open, set_dumpable_behavior};

use crate::control::{FromChild, ToChild, receive, send};
use crate::error::{Named, Outcome};
use crate::{Channel, MapMethod, Memory, Mount, Network, Part, Setup, sys};

mod bare;
mod confine;
mod devices;
mod execute;
mod guard;
mod init;
mod mounts;
mod outward;
mod overlay;
mod procfs;
mod staging;
mod work;

use outward::Outward;
pub(crate) use procfs::SHARED;
use staging::Staging;

/// How a child knows that it is one, and what `ps` shows.
pub(crate) const CHILD_NAME: &str = "rbuild: sandbox";

/// What the kernel calls a child, and the first process of a sandbox; at most 15 bytes.
pub(crate) const NAME: &str = "rbuild-sandbox";

/// Call it first in `main`, before any thread or file: if this process was started as a sandbox's child it does that
/// job and never returns.
pub fn enter_if_child() {
    // Closes the channel, which the other side tells.
    enter_if_child_with(|_| {});
}

/// The same for a program that has [`Worker`](crate::Worker)s, which call `work`.
pub fn enter_if_child_with(work: fn(&Channel)) {
    if env::args_os().next().as_deref() == Some(OsStr::new(CHILD_NAME)) {
        let status = if run(work).is_some() { 0 } else { 1 };
        sys::exit(status);
    }
}

/// `None` if there is nobody to report to.
fn run(work: fn(&Channel)) -> Option<()> {
    // Else its name would be the number of a descriptor.
    let _ = std::ffi::CString::new(NAME).map(|name| rustix::thread::set_name(&name));
    let control = UnixStream::from(sys::take_descriptor(0).ok()?);
    let (message, descriptors) = receive(&control).ok()??;
    let done = match message {
        ToChild::Setup { setup, joined_output } if setup.is_bare() => {
            bare::set_up(&control, &setup, joined_output)
        }
        ToChild::Setup { setup, joined_output } => {
            set_up(&control, &setup, joined_output, descriptors.into_iter().map(Memory::from).collect())
        }
        ToChild::Work { single } => match work::prepare(&control, single) {
            Ok(()) => {
                work(&Channel(control));
                return Some(());
            }
            Err(failure) => Err(failure),
        },
        ToChild::Guard => guard::guarded().and_then(|program| {
            send(&control, &FromChild::Guarded, &[program.as_fd()])
                .named(Part::Other, || "hand the program over")
        }),
        ToChild::Mapped | ToChild::Proceed => return None,
    };
    match done {
        Ok(()) => Some(()),
        Err(failure) => send(&control, &FromChild::Failed(failure), &[]).ok(),
    }
}

fn set_up(control: &UnixStream, setup: &Setup, joined_output: bool, memories: Vec<Memory>) -> Outcome<()> {
    leave_the_caller_behind(control, &memories)?;
    make_directories(setup)?;
    if setup.ids.method == MapMethod::Direct {
        give_directories(setup)?;
    }
    let outward = Outward::prepare(setup.network)?;
    make_namespaces(setup.network)?;
    let sources = Sources::open(setup, memories)?;
    say(control, &FromChild::Unshared)?;
    hear(control, "id maps")?;
    // While others may look into this process.
    outward.as_ref().map_or(Ok(()), Outward::connect)?;
    take_ids(setup.ids.is_single())?;
    if setup.ids.method != MapMethod::Direct {
        give_directories(setup)?;
    }
    // From here on nobody inside may look into this process, whose program and memory are the engine's.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).named(Part::Other, || "become non-dumpable")?;
    let staging = Staging::make()?;
    staging.mount_filesystems(setup, &sources)?;
    drop(sources.overlays);
    let (pipes, read_ends) = Pipes::make(setup, joined_output)?;
    let Some(init) = sys::fork().named(Part::Other, || "fork the init")? else {
        drop((sources.fuse, read_ends));
        init::run(init::Init { control, setup, staging, binds: sources.binds, pipes });
    };
    drop((sources.binds, pipes));
    let pidfd = rustix::process::Pid::from_raw(init.as_raw())
        .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let descriptors: Vec<_> = pidfd.iter().chain(&read_ends).chain(&sources.fuse).map(AsFd::as_fd).collect();
    let sent = send(control, &FromChild::Mounted { pidfd: pidfd.is_some() }, &descriptors);
    // Else this process would keep the connections open after the engine's end.
    drop((sources.fuse, read_ends, pidfd));
    while waitpid(init, None) == Err(Errno::EINTR) {}
    sent.named(Part::Other, || "hand the descriptors over")
}

/// Descriptors, working directory and umask of whoever started the engine.
fn leave_the_caller_behind(control: &UnixStream, memories: &[Memory]) -> Outcome<()> {
    // A shell may have left any descriptor open for the engine and so for us; the init lives as long as the command.
    let open = fs::read_dir("/proc/self/fd").named(Part::Other, || "read /proc/self/fd")?;
    let numbers = open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let ours = memories.iter().map(AsFd::as_fd).chain([control.as_fd()]).map(|ours| ours.as_raw_fd());
    let ours: Vec<_> = ours.chain(0..=2).collect();
    let inherited: Vec<_> = numbers.filter(|number| !ours.contains(number)).collect();
    inherited.into_iter().for_each(sys::close_inherited);
    let null = OpenOptions::new().read(true).write(true).open("/dev/null");
    let null = OwnedFd::from(null.named(Part::Null, || "open /dev/null")?);
    sys::replace_descriptor(&null, 0).named(Part::Other, || "replace stdin")?;
    umask(Mode::empty());
    chdir("/").named(Part::Other, || "change directory to /")
}

/// Makes what [`Mount::Own`] names, as the engine's own user and before the sources of binds are opened.
fn make_directories(setup: &Setup) -> Outcome<()> {
    for mount in &setup.mounts {
        if let Mount::Own { path, .. } = mount {
            fs::create_dir_all(path).named(Part::Mount, || mount.to_string())?;
        }
    }
    Ok(())
}

/// Gives it away. Outside, host ids are meant; with ids of our own, inner ones.
fn give_directories(setup: &Setup) -> Outcome<()> {
    for mount in &setup.mounts {
        let Mount::Own { path, uid, gid, mode } = mount else { continue };
        let (uid, gid) = match setup.ids.method {
            // Whom the command takes itself for, only the supervisor knows.
            _ if setup.supervised => (Some(0), Some(0)),
            MapMethod::Direct => (setup.ids.host_uid(*uid), setup.ids.host_gid(*gid)),
            MapMethod::Helper | MapMethod::Single | MapMethod::Machine => (Some(*uid), Some(*gid)),
        };
        give_directory(path, (uid, gid), *mode).named(Part::Ids, || mount.to_string())?;
    }
    Ok(())
}

fn give_directory(path: &Path, owner: (Option<u32>, Option<u32>), mode: u32) -> std::io::Result<()> {
    let (Some(uid), Some(gid)) = owner else { return Err(std::io::Error::from_raw_os_error(libc::EINVAL)) };
    chown(path, Some(uid), Some(gid))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn make_namespaces(network: Network) -> Outcome<()> {
    // The pid namespace is the children's: this process stays where it is.
    let mut flags = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWPID;
    if network != Network::Host {
        flags |= CloneFlags::CLONE_NEWNET;
    }
    // Kernels before 4.6 have no cgroup namespaces.
    match unshare(flags | CloneFlags::CLONE_NEWCGROUP) {
        Err(Errno::EINVAL) => unshare(flags),
        other => other,
    }
    .named(Part::Namespace, || "unshare the namespaces")
}

/// What must be opened before the ids change.
struct Sources {
    /// One for each [`Mount::Fuse`].
    fuse: Vec<OwnedFd>,
    /// One for each [`Mount::Overlay`].
    overlays: Vec<overlay::Directories>,
    /// One for each [`Mount::Bind`].
    binds: Vec<OwnedFd>,
}

impl Sources {
    fn open(setup: &Setup, memories: Vec<Memory>) -> Outcome<Self> {
        let mut memories = memories.into_iter();
        let mut sources = Self { fuse: Vec::new(), overlays: Vec::new(), binds: Vec::new() };
        for mount in &setup.mounts {
            match mount {
                Mount::Fuse { .. } => {
                    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse");
                    sources.fuse.push(device.named(Part::FuseDevice, || "open /dev/fuse")?.into());
                }
                Mount::Bind { source, .. } => {
                    let file = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(source);
                    sources.binds.push(file.named(Part::Mount, || mount.to_string())?.into());
                }
                _ => sources.overlays.extend(overlay::Directories::open(mount, &mut memories)?),
            }
        }
        Ok(sources)
    }
}

/// Becomes 0:0 of the sandbox.
fn take_ids(single: bool) -> Outcome<()> {
    if !single {
        setgroups(&[]).named(Part::Ids, || "clear the supplementary groups")?;
    }
    let (root, group) = (Uid::from_raw(0), Gid::from_raw(0));
    setresgid(group, group, group).named(Part::Ids, || "become group 0")?;
    setresuid(root, root, root).named(Part::Ids, || "become user 0")
}

/// The write ends of the command's output.
pub(crate) struct Pipes {
    stdout: OwnedFd,
    /// `None`: the same as stdout.
    stderr: Option<OwnedFd>,
}

impl Pipes {
    /// Made here and not by the engine, so that their owner is an id of the sandbox and can be made the command's:
    /// opening /dev/stderr checks it.
    fn make(setup: &Setup, joined: bool) -> Outcome<(Self, Vec<OwnedFd>)> {
        let pipe = || {
            let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
            if !setup.supervised || setup.is_bare() {
                let owner = (Uid::from_raw(setup.command.uid), Gid::from_raw(setup.command.gid));
                nix::unistd::fchown(&write, Some(owner.0), Some(owner.1))?;
            }
            Ok::<_, Errno>((read, write))
        };
        let (read, stdout) = pipe().named(Part::Other, || "make a pipe for stdout")?;
        let mut read_ends = vec![read];
        let mut stderr = None;
        if !joined {
            let (read, write) = pipe().named(Part::Other, || "make a pipe for stderr")?;
            read_ends.push(read);
            stderr = Some(write);
        }
        Ok((Self { stdout, stderr }, read_ends))
    }
}

fn say(control: &UnixStream, message: &FromChild) -> Outcome<()> {
    send(control, message, &[]).named(Part::Other, || "write to the engine")
}

/// Waits for the engine's next word. Its end of the socket closed means that nobody wants this sandbox any more.
fn hear(control: &UnixStream, what: &str) -> Outcome<()> {
    match receive::<ToChild>(control).named(Part::Other, || format!("wait for {what}"))? {
        Some(_) => Ok(()),
        None => sys::exit(0),
    }
}

/// Opens a directory only to name it.
fn open_directory(path: &str) -> Outcome<File> {
    let open = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(path);
    open.named(Part::Mount, || format!("open {path}"))
}
