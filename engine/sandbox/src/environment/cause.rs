//! Which of the known causes is behind a refusal: an errno has a dozen, the facts tell them apart.

use super::Facts;
use crate::error::{Failure, Part};

/// Why something was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// `user.max_user_namespaces` is 0.
    NamespacesOff,
    /// All of so many are in use, or too many are nested.
    NamespacesUsedUp(Option<u64>),
    /// `user.max_net_namespaces` is 0.
    NetworksOff,
    /// `kernel.unprivileged_userns_clone` is 0.
    NamespacesOfRoot,
    /// `CONFIG_USER_NS` is not set.
    NamespacesNotBuilt,
    /// The kernel does so in every chroot; nothing else is known to.
    Chroot,
    /// A seccomp filter.
    Filter,
    /// `kernel.apparmor_restrict_unprivileged_userns` is 1.
    ApparmorSwitch,
    /// The profile of this process.
    ApparmorProfile(String),
    /// SELinux' policy.
    Selinux,
    /// There is no /dev/fuse, or it is another container's.
    NoDevice,
    /// Its mode.
    DeviceClosed,
    /// The kernel has it as a module that is not loaded.
    NoModule(&'static str),
    /// It came with this version.
    OldKernel(&'static str),
    /// An upper layer can't be on this filesystem.
    NoUpper,
    /// A folder of another user, over whose files a user namespace has no power.
    ForeignFolder,
    /// `fs.mount-max`
    MountsUsedUp,
    /// Only root may change its root.
    NoChroot,
    /// Capabilities that root has elsewhere.
    Lacking(Vec<&'static str>),
    /// A process has one supervisor of its system calls.
    Nested,
    /// A kernel without system calls that somebody else answers; whether `apply --in-place` does without.
    NoSupervisor { in_place: bool },
    /// A step's filter.
    InStep,
    /// Neither pasta nor slirp4netns; whether root needs one.
    NoWayOut(bool),
    /// There is no /dev/net/tun.
    NoTunnel,
    /// Its mode.
    TunnelClosed,
    /// A machine or container without the device that every one has.
    NoNull,
}

impl Cause {
    pub(super) fn of(failure: &Failure, facts: &Facts) -> Option<Self> {
        match (failure.part, failure.errno) {
            (Part::Namespace, errno) => namespace(errno, facts),
            (Part::Chroot, libc::EPERM) if facts.root => {
                Some(Self::Lacking([&["SYS_CHROOT"][..], &facts.lacking].concat()))
            }
            (Part::Chroot, libc::EPERM) => Some(Self::NoChroot),
            (Part::Capabilities, libc::EPERM) => {
                Some(Self::Lacking([&["SETPCAP"][..], &facts.lacking].concat()))
            }
            (Part::Ids, libc::EPERM)
                if facts.lacking.iter().any(|name| ["SETGID", "SETUID"].contains(name)) =>
            {
                Some(Self::Lacking(facts.lacking.clone()))
            }
            (Part::FuseDevice, errno) => Some(device(errno)),
            (Part::FuseMount, libc::ENODEV) => Some(Self::NoModule("fuse")),
            (Part::FuseMount, libc::EPERM | libc::EACCES) => filesystem(facts, (4, 18), "4.18"),
            (Part::OverlayMount, libc::ENODEV) => Some(Self::NoModule("overlay")),
            (Part::OverlayMount, libc::EACCES) => restricted(facts).or(Some(Self::ForeignFolder)),
            (Part::OverlayMount, libc::EPERM) => filesystem(facts, (5, 11), "5.11"),
            (Part::OverlayMount, libc::EINVAL | libc::EOPNOTSUPP) => Some(Self::NoUpper),
            (Part::Listener, libc::EBUSY) => Some(Self::Nested),
            (Part::Listener, libc::ENOSYS | libc::EINVAL) => {
                Some(Self::NoSupervisor { in_place: facts.root && facts.place.is_container() })
            }
            (Part::Outward, libc::ENOENT) => Some(Self::NoWayOut(facts.root)),
            (Part::Tunnel, libc::EACCES) => Some(Self::TunnelClosed),
            (Part::Tunnel, libc::ENOENT | libc::ENODEV | libc::ENXIO | libc::EPERM) => Some(Self::NoTunnel),
            (Part::Null, libc::ENOENT) => Some(Self::NoNull),
            (Part::Mount, libc::EACCES | libc::EPERM) | (Part::Ids, libc::EPERM) => restricted(facts),
            (Part::Mount | Part::FuseMount | Part::OverlayMount, libc::ENOSPC) => Some(Self::MountsUsedUp),
            _ => None,
        }
    }
}

fn namespace(errno: i32, facts: &Facts) -> Option<Cause> {
    Some(match errno {
        libc::ENOSPC | libc::EUSERS if facts.max_user_namespaces == Some(0) => Cause::NamespacesOff,
        libc::ENOSPC | libc::EUSERS if facts.max_net_namespaces == Some(0) => Cause::NetworksOff,
        libc::ENOSPC | libc::EUSERS => Cause::NamespacesUsedUp(facts.max_user_namespaces),
        libc::EPERM if facts.unprivileged_userns_clone == Some(0) && !facts.root => Cause::NamespacesOfRoot,
        libc::EPERM if facts.in_step => Cause::InStep,
        libc::EPERM if facts.filtered => Cause::Filter,
        libc::EPERM | libc::EACCES => restricted(facts).unwrap_or(Cause::Chroot),
        libc::EINVAL | libc::ENOSYS => Cause::NamespacesNotBuilt,
        _ => return None,
    })
}

fn device(errno: i32) -> Cause {
    match errno {
        libc::ENOENT | libc::EPERM => Cause::NoDevice,
        libc::EACCES => Cause::DeviceClosed,
        _ => Cause::NoModule("fuse"),
    }
}

fn filesystem(facts: &Facts, since: (u32, u32), version: &'static str) -> Option<Cause> {
    if facts.has_kernel(since) { restricted(facts) } else { Some(Cause::OldKernel(version)) }
}

/// Security modules let the namespace be made and then refuse what it is for.
fn restricted(facts: &Facts) -> Option<Cause> {
    if facts.apparmor_restricts_userns == Some(1) && !facts.root {
        return Some(Cause::ApparmorSwitch);
    }
    if let Some(profile) = &facts.apparmor_profile {
        return Some(Cause::ApparmorProfile(profile.clone()));
    }
    match (facts.filtered, facts.selinux) {
        (true, _) => Some(Cause::Filter),
        (false, true) => Some(Cause::Selinux),
        (false, false) => None,
    }
}
