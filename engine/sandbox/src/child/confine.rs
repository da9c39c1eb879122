//! What the command may do and with what it begins: nothing is inherited from whoever started the engine.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, CpuSet, capabilities, capability_is_in_bounding_set,
    clear_ambient_capability_set, remove_capability_from_bounding_set, sched_getaffinity, sched_setaffinity,
    set_capabilities, set_no_new_privs,
};

use crate::control::{FromChild, send};
use crate::error::{Named, Outcome};
use crate::{Limits, Mount, Part, Setup, notify, seccomp, sys};

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
const LIFTED: [Resource; 8] = [
    Resource::RLIMIT_CPU,
    Resource::RLIMIT_FSIZE,
    Resource::RLIMIT_DATA,
    Resource::RLIMIT_AS,
    Resource::RLIMIT_RSS,
    Resource::RLIMIT_NPROC,
    Resource::RLIMIT_LOCKS,
    // Where it is lifted, a supervisor has not kept a number yet.
    Resource::RLIMIT_RTTIME,
];

/// Signals, umask, limits, keyring, execution domain. The priority stays the caller's, who says by nice(1) how much a
/// build may disturb.
pub(crate) fn reset(setup: &Setup) -> Outcome<()> {
    sys::reset_signals().named(Part::Other, || "reset the signals")?;
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
    if let Some(bytes) = limits.memory {
        // Of a process's own memory: its addresses would be the wrong measure, since many reserve more than they use.
        setrlimit(Resource::RLIMIT_DATA, bytes, bytes).named(Part::Other, || "limit the memory")?;
    }
    limits.cpus.map_or(Ok(()), |cpus| keep_to(cpus.div_ceil(1000)))
}

/// Leaves so many of the processors that may be used.
fn keep_to(count: u32) -> Outcome<()> {
    let mut processors = sched_getaffinity(None).named(Part::Other, || "look at the processors")?;
    let allowed: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|number| processors.is_set(*number)).collect();
    allowed.iter().skip(count as usize).for_each(|number| processors.unset(*number));
    sched_setaffinity(None, &processors).named(Part::Other, || "limit the processors")
}

/// The filters, then the capabilities, then the ids. The filters come first because they need CAP_SYS_ADMIN; the first
/// does not touch what the others call, and what the second does the supervisor carries out.
pub(crate) fn confine(setup: &Setup, control: &UnixStream) -> Outcome<()> {
    if setup.chroot().is_some() {
        // Without namespaces there is no CAP_SYS_ADMIN, and the kernel asks for one of the two.
        set_no_new_privs(true).named(Part::Other, || "give up new privileges")?;
    }
    match sys::install_filter(&seccomp::program()) {
        // In place set-id programs count for more: the container has a filter of its own.
        Err(Errno::EACCES) if setup.swap().is_some() => Ok(()),
        installed => installed,
    }
    .named(Part::Other, || "install the system call filter")?;
    let is_supervised = setup.supervised && listen(setup, control)?;
    cut_capabilities()?;
    let command = &setup.command;
    if is_supervised || !setup.ids.is_single() {
        let groups: Vec<_> = command.groups.iter().copied().map(Gid::from_raw).collect();
        match setgroups(&groups) {
            // In a user namespace of one id nobody may, and there are none to drop.
            Err(Errno::EPERM) if setup.is_bare() && groups.is_empty() => Ok(()),
            set => set,
        }
        .named(Part::Ids, || format!("set the supplementary groups {:?}", command.groups))?;
    }
    let (uid, gid) = (Uid::from_raw(command.uid), Gid::from_raw(command.gid));
    setresgid(gid, gid, gid).named(Part::Ids, || format!("become group {gid}"))?;
    // A user other than 0 loses what is left of the capabilities here, as the kernel does it for every login.
    setresuid(uid, uid, uid).named(Part::Ids, || format!("become user {uid}"))
}

/// From here on the calls that the supervisor answers wait for it; false if this kernel has no such thing. It has to look
/// into this process for some, which is the engine's own program until it executes the command; inside there is nobody
/// yet who could.
fn listen(setup: &Setup, control: &UnixStream) -> Outcome<bool> {
    let tell = |message: &FromChild, descriptors: &[BorrowedFd<'_>]| {
        send(control, message, descriptors).named(Part::Other, || "write to the engine")
    };
    // Behind chroot(2) there is no /proc that would say; the probe has tried.
    let installed = match setup.chroot().is_some() || notify::is_possible() {
        true => sys::notify::install_listening_filter(&notify::filter::program(topic(setup))),
        false => Err(Errno::ENOSYS),
    };
    match installed.named(Part::Listener, || "install the filter of the supervisor") {
        Ok(listener) => {
            set_dumpable_behavior(DumpableBehavior::Dumpable).named(Part::Other, || "become dumpable")?;
            tell(&FromChild::Listening, &[listener.as_fd()])?;
            Ok(true)
        }
        Err(failure) if [libc::EINVAL, libc::ENOSYS].contains(&failure.errno) => {
            tell(&FromChild::Alone, &[])?;
            Ok(false)
        }
        Err(failure) => Err(failure),
    }
}

/// What the supervisor answers for.
fn topic(setup: &Setup) -> notify::Topic {
    match setup.mounts.first() {
        Some(Mount::Chroot { .. }) => notify::Topic::Paths,
        Some(Mount::Overlay { .. }) => notify::Topic::IdsAndMakers,
        _ => notify::Topic::Ids,
    }
}

fn cut_capabilities() -> Outcome<()> {
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        match capability_is_in_bounding_set(capability) {
            // The kernel's last capability is behind us.
            Err(rustix::io::Errno::INVAL) => break,
            // That takes a capability, too, which a container without the others may lack.
            Ok(false) => {}
            _ if KEPT.contains(capability) => {}
            _ => remove_capability_from_bounding_set(capability)
                .named(Part::Capabilities, || format!("drop capability {bit}"))?,
        }
    }
    // Kernels before 4.3 have no ambient set.
    let _ = clear_ambient_capability_set();
    // Nothing inheritable: a program with inheritable file capabilities would get them as any user.
    // A container may have less.
    let kept = KEPT & capabilities(None).named(Part::Other, || "read the capabilities")?.permitted;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).named(Part::Other, || "cut the capabilities")
}
