//! The program's own work with the ids of a sandbox: see [`Worker`](crate::Worker).

use std::os::unix::net::UnixStream;

use nix::sched::{CloneFlags, unshare};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::Part;
use crate::control::FromChild;
use crate::error::{Named, Outcome};

use super::{hear, leave_the_caller_behind, say, take_ids};

/// Becomes 0:0 of a user namespace, in mounts of its own, and says so.
pub(super) fn prepare(control: &UnixStream, single: bool) -> Outcome<()> {
    leave_the_caller_behind(control, &[])?;
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)
        .named(Part::Namespace, || "unshare the namespaces")?;
    say(control, &FromChild::Unshared)?;
    hear(control, "id maps")?;
    take_ids(single)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).named(Part::Other, || "become non-dumpable")?;
    say(control, &FromChild::Ready { warnings: Vec::new(), devices: Vec::new() })
}
