//! A mounted /dev/fuse, as root or through `fusermount3`.

use crate::error::{Error, Result};
use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    mount::{MntFlags, MsFlags, umount2},
};
use rbuild_sandbox::{Failure, Part};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::{
    fs::File,
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    process::{Command, Stdio},
};

const HELPER: &str = "fusermount3";

/// Mounts a FUSE filesystem on a directory; whoever holds the descriptor serves it.
pub(super) fn mount(path: &Path, writable: bool) -> Result<OwnedFd> {
    if nix::unistd::geteuid().is_root() { by_root(path, writable) } else { by_helper(path, writable) }
}

fn refused(part: Part, operation: String, error: &io::Error) -> Error {
    let errno = error.raw_os_error().unwrap_or_default();
    rbuild_sandbox::Error::from(Failure { part, operation, errno }).into()
}

fn open_device() -> Result<File> {
    let device = File::options().read(true).write(true).open("/dev/fuse");
    device.map_err(|error| refused(Part::FuseDevice, "open /dev/fuse".to_owned(), &error))
}

fn by_root(path: &Path, writable: bool) -> Result<OwnedFd> {
    let device = open_device()?;
    let options = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other",
        device.as_raw_fd()
    );
    let mut flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
    flags.set(MsFlags::MS_RDONLY, !writable);
    nix::mount::mount(Some("rbuild"), path, Some("fuse.rbuild"), flags, Some(options.as_str())).map_err(
        |errno| refused(Part::FuseMount, format!("mount fuse on {}", path.display()), &errno.into()),
    )?;
    Ok(device.into())
}

/// The helper sends the descriptor over the socket whose number is in its environment (libfuse's `mount_util`).
fn by_helper(path: &Path, writable: bool) -> Result<OwnedFd> {
    let failed = |error: io::Error| Error::io("mount on", path, error);
    // The helper opens it, as this user, and has no cure to tell.
    drop(open_device()?);
    let (own, other) = UnixStream::pair().map_err(failed)?;
    fcntl(&other, FcntlArg::F_SETFD(FdFlag::empty())).map_err(|errno| failed(errno.into()))?;
    let mut command = Command::new(HELPER);
    let access = if writable { "rw" } else { "ro" };
    let options = format!("{access},nosuid,nodev,default_permissions,fsname=rbuild,subtype=rbuild");
    command.args(["-o", &options, "--"]).arg(path);
    command.env("_FUSE_COMMFD", other.as_raw_fd().to_string()).stdin(Stdio::null());
    let mut helper = command.spawn().map_err(|error| {
        Error::io("start", Path::new(HELPER), error)
            .hint("install Debian's fuse3, or use `rbuild mount TREE -- COMMAND`, which needs no helper")
    })?;
    drop(other);
    let device = receive(&own).map_err(failed)?;
    let status = helper.wait().map_err(failed)?;
    device.filter(|_| status.success()).ok_or_else(|| {
        Error::environment(format!("{HELPER} could not mount on {}", path.display()))
            .hint("`rbuild mount TREE -- COMMAND` needs no helper")
    })
}

fn receive(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0; 1];
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    Ok(descriptors.next().and_then(|mut descriptors| descriptors.next()))
}

/// Takes the filesystem away, even if somebody is in it.
pub(super) fn unmount(path: &Path) {
    if umount2(path, MntFlags::MNT_DETACH).is_err() {
        // What can't be unmounted ends with this process all the same.
        let _ = Command::new(HELPER).args(["-u", "-z", "--"]).arg(path).status();
    }
}
