//! What this machine gives to rbuild, and what would make it better.
//!
//! | module | what |
//! |---|---|
//! | `report` | what is told, as data |
//! | `checks` | what was found -> what is told. Pure |
//! | `folder` | the store's folder: filesystem, room, whether it can be written |
//!
//! What is tried in throw-away children is [`rbuild_sandbox::examine`].

mod checks;
mod folder;
mod report;

pub use report::{Check, Name, Report, State, Tier};

use crate::store::{self, Folders};
use folder::Folder;
use rbuild_sandbox::{Examination, IdMap};
use std::path::PathBuf;

/// The format of the report.
const VERSION: u32 = 1;

/// Looks at everything. Nothing of it stays, not even a store that is not there yet.
///
/// `stores` is `None` if nothing says where the own one is.
pub fn examine(stores: Option<&Folders>) -> Report {
    let folder = stores.map(|stores| Folder::look(&stores.own));
    // Gone with this value.
    let tried = folder.as_ref().and_then(|folder| folder.temporary().ok());
    let found = rbuild_sandbox::examine(tried.as_ref().map(tempfile::TempDir::path));
    // The kernel leaves a folder in it that nobody may look into.
    let _ = tried.as_ref().map(|tried| store::remove_all(tried.path()));
    let has_home = std::env::var_os("HOME").is_some_and(|home| !home.is_empty());
    let (read_only, left_out) =
        stores.map(|stores| (stores.read_only.clone(), stores.left_out())).unwrap_or_default();
    report(&found, &Surroundings { folder, read_only, left_out, has_home })
}

/// What is there beside the kernel.
struct Surroundings {
    /// The own store's.
    folder: Option<Folder>,
    /// Stores that are only read.
    read_only: Vec<PathBuf>,
    /// Why some of them are not used.
    left_out: Vec<String>,
    has_home: bool,
}

fn report(found: &Examination, around: &Surroundings) -> Report {
    let checks = checks::all(found, around);
    let tier = match (&found.namespaces, &found.fuse, &found.overlay) {
        (Ok(_), Some(Ok(())), _) => Tier::Fuse,
        (Ok(_), _, Some(Ok(()))) => Tier::Overlay,
        _ if found.chroot.is_ok() => Tier::Chroot,
        _ => Tier::None,
    };
    let facts = &found.facts;
    Report {
        version: VERSION,
        rbuild: env!("CARGO_PKG_VERSION").to_owned(),
        place: facts.place.word().to_owned(),
        place_described: facts.place.described().to_owned(),
        sign: Some(facts.sign.clone()).filter(|sign| !sign.is_empty()),
        kernel: facts.kernel.clone(),
        tier,
        ids: match (tier, &found.namespaces) {
            (Tier::Fuse | Tier::Overlay, Ok(capabilities)) => IdMap::count(&capabilities.ids),
            (Tier::Chroot, _) => IdMap::count(&IdMap::of_machine()),
            _ => 0,
        },
        better: better(&checks, tier, facts.root),
        checks,
    }
}

/// What helps to a store, to a better tier or to more ids; first what is missing. Without a store nothing can be built,
/// and another tier may only be untried. The last tier is better than none, and is what root has then.
fn better(checks: &[Check], tier: Tier, root: bool) -> Vec<String> {
    let names = [Name::UserNamespaces, Name::Ids, Name::Fuse, Name::Network, Name::Store];
    let is_isolated = matches!(tier, Tier::Fuse | Tier::Overlay);
    let matters = move |name| match name {
        Name::Chroot => root && !is_isolated,
        Name::Proc => is_isolated,
        _ => names.contains(&name),
    };
    let mut matter: Vec<&Check> = checks.iter().filter(|check| matters(check.name)).collect();
    matter.sort_by_key(|check| (check.state != State::Missing, check.name != Name::Store));
    let mut better: Vec<String> = matter.into_iter().filter_map(|check| check.remedy.clone()).collect();
    better.dedup();
    better
}

#[cfg(test)]
mod tests;
