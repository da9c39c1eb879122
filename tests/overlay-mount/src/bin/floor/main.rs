//! The floor: what any FUSE server costs that answers from memory at once, for benches; it does not ship.
//!
//! `floor -o lowerdir=DIR[,…] MOUNTPOINT` mounts a copy of a directory in memory, in the foreground until it is unmounted.
//! It asks the kernel for what rbuild's overlay asks for and does nothing with the answers: no layers, no link groups, no
//! attributes beyond those of stat(2), no record, no change afterwards. What is left is the kernel's part and the round
//! trips. Files of the directory are read at the first READ. As root.
#![forbid(unsafe_code)]

mod memory;
mod server;

use fuser::SessionACL;
use memory::Memory;
use nix::mount::{MsFlags, mount};
use server::Server;
use std::{
    env,
    error::Error,
    fs::File,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

const THREADS: usize = 2;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let options = arguments.iter().flat_map(|argument| argument.split(','));
    let lower = options.filter_map(|option| option.strip_prefix("lowerdir=")).next_back();
    let (Some(lower), Some(mountpoint)) = (lower, arguments.last()) else {
        return Err("floor -o lowerdir=DIR MOUNTPOINT".into());
    };
    let memory = Memory::of(&PathBuf::from(lower))?;
    let mut config = fuser::Config::default();
    config.n_threads = Some(THREADS);
    let session = fuser::Session::from_fd(
        Server::new(memory),
        device(Path::new(mountpoint))?,
        SessionACL::All,
        config,
    )?;
    Ok(session.spawn()?.join()?)
}

fn device(mountpoint: &Path) -> Result<OwnedFd, Box<dyn Error>> {
    let device = OwnedFd::from(File::options().read(true).write(true).open("/dev/fuse")?);
    let descriptor = device.as_raw_fd();
    let data = format!("fd={descriptor},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other");
    mount(Some("floor"), mountpoint, Some("fuse.floor"), MsFlags::empty(), Some(&*data))?;
    Ok(device)
}
