//! The kernel's overlayfs in a user namespace, tried: it is mounted, and something of the lower layer removed.

use std::fs;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{chdir, getgid, getuid};

use crate::Part;
use crate::error::{Named, Outcome};

use super::staging::make_private;

/// In `folder` are `lower` with a `file`, and `upper`, `work` and `merged`, all empty.
pub(super) fn try_out(folder: &Path) -> Outcome<()> {
    let (uid, gid) = (getuid(), getgid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)
        .named(Part::Namespace, || "unshare the namespaces")?;
    let write = |name: &str, text: String| fs::write(format!("/proc/self/{name}"), text);
    write("setgroups", "deny".to_owned()).named(Part::Ids, || "deny setgroups")?;
    write("gid_map", format!("0 {gid} 1")).named(Part::Ids, || "map one group")?;
    write("uid_map", format!("0 {uid} 1")).named(Part::Ids, || "map one user")?;
    make_private()?;
    let doing = || format!("mount overlay in {}", folder.display());
    // Layers are named from there: a comma or colon in the folder's path would end a name.
    chdir(folder).named(Part::Other, doing)?;
    let options = "lowerdir=lower,upperdir=upper,workdir=work,userxattr";
    mount(Some("rbuild"), "merged", Some("overlay"), MsFlags::empty(), Some(options))
        .named(Part::OverlayMount, doing)?;
    let removed = fs::remove_file("merged/file");
    // What overlayfs made in `work` only root of this namespace may look into, and the caller is to remove it.
    let cleared =
        umount2("merged", MntFlags::MNT_DETACH).map_err(Into::into).and_then(|()| fs::remove_dir_all("work"));
    removed
        .and(cleared)
        .named(Part::OverlayMount, || format!("remove a file of an overlay in {}", folder.display()))
}
