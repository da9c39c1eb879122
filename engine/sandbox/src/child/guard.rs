//! This program where nothing of a sandbox can change it.
//!
//! While a child executes a step's program, its own `/proc/self/exe` is still rbuild: a script that names that as its
//! interpreter gets hold of the file, and with the ids of its owner could change it. So every child is started from
//! a read-only mount of it that no namespace holds any more: nobody can reach, remount or unmount that.

use std::fs::{self, File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::sched::{CloneFlags, unshare};

use crate::Part;
use crate::error::{Named, Outcome};

use super::mounts::{bind_descriptor, set_read_only};
use super::staging::make_private;

const PROGRAM: &str = "/proc/self/exe";

/// A file that every machine has; in a namespace of one process another one may stand on it.
const PLACE: &str = "/dev/null";

/// Opens this program through a read-only mount that goes on without the namespace it was made in.
pub(super) fn guarded() -> Outcome<OwnedFd> {
    let path = fs::read_link(PROGRAM).named(Part::Other, || format!("read {PROGRAM}"))?;
    let running = fs::metadata(PROGRAM).named(Part::Other, || format!("look at {PROGRAM}"))?;
    let name = || format!("bind {} read-only for the sandboxes", path.display());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)
        .named(Part::Namespace, || "unshare the namespaces")?;
    make_private()?;
    // By its path: what was opened before belongs to mounts of the namespace that was left.
    let source = open(&path).named(Part::Mount, name)?;
    let found = source.metadata().named(Part::Mount, name)?;
    if (found.dev(), found.ino()) != (running.dev(), running.ino()) {
        let name =
            || format!("find {}: rbuild was replaced while it ran, start the build again", path.display());
        return Err(nix::errno::Errno::ESTALE).named(Part::Other, name);
    }
    bind_descriptor(&source.into(), PLACE, false).named(Part::Mount, name)?;
    set_read_only(Path::new(PLACE), false).named(Part::Mount, name)?;
    Ok(open(Path::new(PLACE)).named(Part::Mount, name)?.into())
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path)
}
