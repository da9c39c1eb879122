//! All that could be used, tried one by one: what a doctor looks at.

use std::fs::OpenOptions;
use std::path::Path;

use super::probe::{Capabilities, answer_one, fuse, over, overlay_trial, spawn, with_ids};
use super::{Facts, explain};
use crate::error::Named;
use crate::{IdMap, Limits, Mount, Network, Output, Part, Result, Sandbox};

/// What was found. `None`: not tried, since something it stands on is missing.
#[derive(Debug)]
pub struct Examination {
    /// What the machine says of itself.
    pub facts: Facts,
    /// Namespaces, and the ids that could be mapped in them.
    pub namespaces: Result<Capabilities>,
    /// A FUSE filesystem was mounted; without namespaces its device was opened at most.
    pub fuse: Option<Result<()>>,
    /// The kernel's overlayfs was mounted, with its upper layer in the folder of the store.
    pub overlay: Option<Result<()>>,
    /// The root was changed without a namespace, and a call of a command there was seen.
    pub chroot: Result<()>,
    /// A network namespace was made.
    pub network: Option<Result<()>>,
    /// Such a namespace got a way outward.
    pub outward: Option<Result<()>>,
    /// The limits that no control group could be made for.
    pub limits: Option<Result<Limits>>,
    /// A fresh /proc was mounted (true), or the outer one had to be bound.
    pub fresh_proc: Option<Result<bool>>,
}

/// Tries everything, in throw-away children. `folder` is an empty folder on the store's filesystem; what is left in it
/// is the caller's to remove.
pub fn examine(folder: Option<&Path>) -> Examination {
    let namespaces = with_ids(|ids| spawn(&over(&[this_root()], ids, Network::Host)));
    let ids = namespaces.as_ref().ok().map(|found| &found.ids);
    Examination {
        facts: Facts::load(),
        fuse: match ids {
            Some(ids) => Some(spawn(&over(&[fuse()], ids, Network::Host))),
            None => open_device().err().map(Err),
        },
        overlay: ids
            .zip(folder)
            .map(|(ids, folder)| spawn(&over(&overlay_trial(folder, None), ids, Network::Host))),
        chroot: answer_one(&IdMap::of_machine()),
        network: ids.map(|ids| spawn(&over(&[this_root()], ids, Network::None))),
        outward: ids.map(|ids| spawn(&over(&[this_root()], ids, Network::Private))),
        limits: ids.map(limits),
        fresh_proc: ids.map(fresh_proc),
        namespaces,
    }
}

fn this_root() -> Mount {
    Mount::Bind { source: "/".into(), target: "/".into(), read_only: true, recursive: true }
}

fn limits(ids: &IdMap) -> Result<Limits> {
    let mut setup = over(&[this_root()], ids, Network::Host);
    (setup.limits.memory, setup.limits.cpus) = (Some(1 << 30), Some(1000));
    Ok(Sandbox::spawn(&setup, Output::Joined)?.left)
}

fn open_device() -> Result<()> {
    let opened = OpenOptions::new().read(true).write(true).open("/dev/fuse");
    opened.named(Part::FuseDevice, || "open /dev/fuse").map(drop).map_err(explain)
}

fn fresh_proc(ids: &IdMap) -> Result<bool> {
    let setup = over(&[this_root(), Mount::Proc], ids, Network::Host);
    let mut running = Sandbox::spawn(&setup, Output::Joined)?.proceed()?;
    running.wait()?;
    Ok(running.warnings().is_empty())
}
