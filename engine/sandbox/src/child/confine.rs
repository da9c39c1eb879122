//! What the command may do and with what it begins: nothing is inherited from whoever started the engine.

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities,
};

use crate::error::{Named, Outcome};
use crate::{Limits, Part, Setup, seccomp, sys};

/// The usual set of containers.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// Limits that are lifted to what the machine allows.
const LIFTED: [Resource; 7] = [
    Resource::RLIMIT_CPU,
    Resource::RLIMIT_FSIZE,
    Resource::RLIMIT_DATA,
    Resource::RLIMIT_AS,
    Resource::RLIMIT_RSS,
    Resource::RLIMIT_NPROC,
    Resource::RLIMIT_LOCKS,
];

/// Signals, priority, umask, limits, keyring, execution domain.
pub(crate) fn reset(setup: &Setup) -> Outcome<()> {
    sys::reset_signals().named(Part::Other, || "reset the signals")?;
    // Lowering the nice value may be refused; then it stays the caller's.
    let _ = rustix::process::setpriority_process(None, 0);
    umask(Mode::from_bits_truncate(setup.command.umask));
    set_limits(&setup.limits)?;
    sys::reset_personality();
    sys::new_session_keyring();
    Ok(())
}

fn set_limits(limits: &Limits) -> Outcome<()> {
    let named = [
        (Resource::RLIMIT_NOFILE, limits.open_files),
        (Resource::RLIMIT_CORE, limits.core),
        (Resource::RLIMIT_STACK, limits.stack),
    ];
    for (resource, soft) in named.into_iter().chain(LIFTED.map(|resource| (resource, RLIM_INFINITY))) {
        let name = || format!("set {resource:?}");
        let (_, hard) = getrlimit(resource).named(Part::Other, name)?;
        setrlimit(resource, soft.min(hard), hard).named(Part::Other, name)?;
    }
    Ok(())
}

/// The filter, then the capabilities, then the ids. The filter comes first because it needs CAP_SYS_ADMIN; it does
/// not touch what the others call.
pub(crate) fn confine(setup: &Setup) -> Outcome<()> {
    sys::install_filter(&seccomp::program()).named(Part::Other, || "install the system call filter")?;
    cut_capabilities()?;
    let command = &setup.command;
    if !setup.ids.is_single() {
        let groups: Vec<_> = command.groups.iter().copied().map(Gid::from_raw).collect();
        setgroups(&groups)
            .named(Part::Ids, || format!("set the supplementary groups {:?}", command.groups))?;
    }
    let (uid, gid) = (Uid::from_raw(command.uid), Gid::from_raw(command.gid));
    setresgid(gid, gid, gid).named(Part::Ids, || format!("become group {gid}"))?;
    // A user other than 0 loses what is left of the capabilities here, as the kernel does it for every login.
    setresuid(uid, uid, uid).named(Part::Ids, || format!("become user {uid}"))
}

fn cut_capabilities() -> Outcome<()> {
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if !KEPT.contains(capability) {
            match remove_capability_from_bounding_set(capability) {
                // The kernel's last capability is behind us.
                Err(rustix::io::Errno::INVAL) => break,
                other => other.named(Part::Other, || format!("drop capability {bit}"))?,
            }
        }
    }
    // Kernels before 4.3 have no ambient set.
    let _ = clear_ambient_capability_set();
    // Nothing inheritable: a program with inheritable file capabilities would get them as any user.
    let sets = CapabilitySets { effective: KEPT, permitted: KEPT, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).named(Part::Other, || "cut the capabilities")
}
