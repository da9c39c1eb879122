//! Why a machine refuses a sandbox, and what to do about it.
//!
//! A bare errno has a dozen causes. Here it is joined with what the machine says of itself ([`Facts`]) to one
//! sentence that names the cause and the cure. [`cure`] is a pure function, so every row of the table is tested.

use std::fs;

use crate::error::Failure;
use crate::{Command, Error, IdMap, Limits, MapMethod, Mount, Network, Output, Part, Result, Sandbox, Setup};

/// What this machine gives to a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The ids that really could be mapped.
    pub ids: IdMap,
    /// What is missing without being needed, with its reason.
    pub warnings: Vec<String>,
}

/// Why no sandbox can be made here: cause and cure in one sentence.
#[derive(Debug, thiserror::Error)]
#[error("no sandbox can be made here: {source}")]
pub struct EnvironmentError {
    /// The operation that failed.
    #[from]
    pub source: Error,
}

/// Tries all that a sandbox needs, in a throw-away child: namespaces, id maps, mounts, a FUSE filesystem.
///
/// # Errors
/// The first thing that is refused, with cause and cure.
pub fn probe() -> std::result::Result<Capabilities, EnvironmentError> {
    probe_with(&[Mount::Fuse { target: "/".into(), source: String::new(), read_only: true }])
}

/// The same with these mounts, the first of which is the root.
///
/// # Errors
/// As of [`probe`].
pub fn probe_with(mounts: &[Mount]) -> std::result::Result<Capabilities, EnvironmentError> {
    let try_out = |ids: &IdMap| try_out(ids, mounts);
    let ids = IdMap::detect()?;
    let mut warnings = Vec::new();
    let ids = match try_out(&ids) {
        Ok(()) => ids,
        // newuidmap is there but does not work here (no set-id bit, a nosuid mount, a range it does not accept).
        Err(error) if ids.method == MapMethod::Helper && is_about_ids(&error) => {
            let single = IdMap::single(own(&ids.uids), own(&ids.gids));
            try_out(&single)?;
            warnings.push(format!("steps have one id only: {error}"));
            single
        }
        Err(error) => return Err(error.into()),
    };
    Ok(Capabilities { ids, warnings })
}

fn is_about_ids(error: &Error) -> bool {
    match error {
        Error::Helper { .. } => true,
        Error::Failed { failure, .. } => failure.part == Part::Ids,
        _ => false,
    }
}

fn own(extents: &[crate::Extent]) -> u32 {
    extents.first().map_or(0, |extent| extent.outside)
}

/// A sandbox that is ended before its command.
fn try_out(ids: &IdMap, mounts: &[Mount]) -> Result<()> {
    let setup = Setup {
        ids: ids.clone(),
        hostname: "rbuild".into(),
        network: Network::Host,
        mounts: mounts.to_vec(),
        command: Command {
            argv: vec!["/".into()],
            env: Vec::new(),
            directory: "/".into(),
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            umask: 0o022,
        },
        limits: Limits::default(),
    };
    Sandbox::spawn(&setup, Output::Joined).map(drop)
}

/// The error for a failed operation, with its cure if one is known.
pub(crate) fn explain(failure: Failure) -> Error {
    let cure = cure(&failure, &Facts::load());
    Error::Failed { failure, cure }
}

/// What a machine says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Facts {
    max_user_namespaces: Option<u64>,
    unprivileged_userns_clone: Option<u64>,
    apparmor_restricts_userns: Option<u64>,
    /// This process runs under a system call filter, as in a container.
    filtered: bool,
    /// The AppArmor profile of this process, if it confines.
    apparmor_profile: Option<String>,
    root: bool,
}

impl Facts {
    fn load() -> Self {
        let number = |path| fs::read_to_string(path).ok()?.trim().parse().ok();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let profile = fs::read_to_string("/proc/self/attr/current").unwrap_or_default();
        let profile = profile.trim_end_matches(['\n', '\0']);
        Self {
            max_user_namespaces: number("/proc/sys/user/max_user_namespaces"),
            unprivileged_userns_clone: number("/proc/sys/kernel/unprivileged_userns_clone"),
            apparmor_restricts_userns: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            filtered: status.lines().any(|line| line.starts_with("Seccomp:") && line.ends_with('2')),
            apparmor_profile: profile.contains("(enforce)").then(|| profile.to_owned()),
            root: rustix::process::geteuid().is_root(),
        }
    }
}

const CONTAINER: &str =
    "start the container with --security-opt seccomp=unconfined (or a profile that allows it)";

fn cure(failure: &Failure, facts: &Facts) -> Option<String> {
    match failure.part {
        Part::Namespace => namespace_cure(failure.errno, facts),
        Part::FuseDevice => Some(device_cure(failure.errno)),
        Part::FuseMount => fuse_cure(failure.errno, facts),
        Part::OverlayMount => overlay_cure(failure.errno, facts),
        Part::Mount => match failure.errno {
            libc::EACCES | libc::EPERM => restricted(facts),
            libc::ENOSPC => {
                Some("the limit of mounts is reached: raise it with sysctl fs.mount-max=100000".to_owned())
            }
            _ => None,
        },
        Part::Ids => restricted(facts).filter(|_| failure.errno == libc::EPERM),
        Part::Other => None,
    }
}

fn namespace_cure(errno: i32, facts: &Facts) -> Option<String> {
    let cure = match errno {
        libc::ENOSPC | libc::EUSERS if facts.max_user_namespaces == Some(0) => {
            "user namespaces are switched off: sysctl user.max_user_namespaces=28633 switches them on".to_owned()
        }
        libc::ENOSPC | libc::EUSERS => format!(
            "all {} user namespaces are in use, or they are nested more than 32 deep: sysctl \
             user.max_user_namespaces raises the number",
            facts.max_user_namespaces.map_or_else(|| "allowed".to_owned(), |number| number.to_string()),
        ),
        libc::EPERM if facts.unprivileged_userns_clone == Some(0) && !facts.root => {
            "user namespaces are for root only: sysctl kernel.unprivileged_userns_clone=1 opens them".to_owned()
        }
        libc::EPERM if facts.filtered => format!("a system call filter forbids user namespaces: {CONTAINER}"),
        libc::EPERM | libc::EACCES => restricted(facts).unwrap_or_else(|| {
            "user namespaces are refused to this process; inside a chroot the kernel always does, so run rbuild \
             outside it"
                .to_owned()
        }),
        libc::EINVAL | libc::ENOSYS => "this kernel was built without user namespaces (CONFIG_USER_NS)".to_owned(),
        _ => return None,
    };
    Some(cure)
}

/// Security modules let the namespace be made and then refuse what it is for.
fn restricted(facts: &Facts) -> Option<String> {
    if facts.apparmor_restricts_userns == Some(1) && !facts.root {
        return Some(
            "AppArmor restricts user namespaces: sysctl kernel.apparmor_restrict_unprivileged_userns=0 lifts that, or \
             a profile for rbuild that allows userns"
                .to_owned(),
        );
    }
    if let Some(profile) = &facts.apparmor_profile {
        return Some(format!(
            "AppArmor profile {profile} forbids it: start the container with --security-opt apparmor=unconfined"
        ));
    }
    facts.filtered.then(|| format!("a system call filter forbids it: {CONTAINER}"))
}

fn device_cure(errno: i32) -> String {
    match errno {
        libc::ENOENT => {
            "there is no FUSE device: start the container with --device /dev/fuse, or load the module with modprobe fuse"
        }
        libc::EACCES => "this user may not open the FUSE device: chmod 666 /dev/fuse, which is its usual mode",
        libc::EPERM => "the container may not use the FUSE device: start it with --device /dev/fuse",
        _ => "the kernel has no FUSE: load the module with modprobe fuse",
    }
    .to_owned()
}

fn fuse_cure(errno: i32, facts: &Facts) -> Option<String> {
    match errno {
        libc::EPERM | libc::EACCES => restricted(facts).or_else(|| {
            Some(
                "this kernel does not mount FUSE in a user namespace: that needs Linux 4.18 or later"
                    .to_owned(),
            )
        }),
        libc::ENODEV => Some("the kernel has no FUSE: load the module with modprobe fuse".to_owned()),
        _ => None,
    }
}

fn overlay_cure(errno: i32, facts: &Facts) -> Option<String> {
    match errno {
        libc::EACCES => restricted(facts).or_else(|| {
            Some(
                "a user namespace takes root's privileges over the files of others away: put the store into a folder of \
                 the user who runs rbuild (RBUILD_STORE or --store)"
                    .to_owned(),
            )
        }),
        libc::EPERM => restricted(facts).or_else(|| {
            Some(
                "this kernel mounts no overlay in a user namespace: that needs Linux 5.11 or later"
                    .to_owned(),
            )
        }),
        libc::EINVAL | libc::EOPNOTSUPP => Some(
            "the filesystem of the store can't take the changes of an overlay, as one that is an overlay itself can't: \
             put the store on a volume (RBUILD_STORE or --store)"
                .to_owned(),
        ),
        libc::ENODEV => Some("the kernel has no overlay: load the module with modprobe overlay".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sentence(part: Part, errno: i32, facts: &Facts) -> String {
        let failure = Failure { part, operation: "x".into(), errno };
        cure(&failure, facts).unwrap_or_default()
    }

    #[test]
    fn every_known_cause_has_its_cure() {
        let plain = Facts::default();
        let none = Facts { max_user_namespaces: Some(0), ..plain.clone() };
        let few = Facts { max_user_namespaces: Some(7), ..plain.clone() };
        let debian = Facts { unprivileged_userns_clone: Some(0), ..plain.clone() };
        let ubuntu = Facts { apparmor_restricts_userns: Some(1), ..plain.clone() };
        let docker = Facts { filtered: true, root: true, ..plain.clone() };
        let profile = Facts { apparmor_profile: Some("docker-default (enforce)".into()), ..docker.clone() };
        let root = Facts { root: true, ..debian.clone() };
        for (part, errno, facts, expected) in [
            (Part::Namespace, libc::ENOSPC, &none, "user.max_user_namespaces=28633"),
            (Part::Namespace, libc::ENOSPC, &few, "all 7 user namespaces"),
            (Part::Namespace, libc::EPERM, &debian, "unprivileged_userns_clone=1"),
            (Part::Namespace, libc::EPERM, &root, "inside a chroot"),
            (Part::Namespace, libc::EPERM, &docker, "seccomp=unconfined"),
            (Part::Namespace, libc::EPERM, &ubuntu, "apparmor_restrict_unprivileged_userns=0"),
            (Part::Namespace, libc::EPERM, &plain, "inside a chroot"),
            (Part::Namespace, libc::EINVAL, &plain, "CONFIG_USER_NS"),
            (Part::Namespace, libc::ENOMEM, &plain, ""),
            (Part::FuseDevice, libc::ENOENT, &plain, "--device /dev/fuse"),
            (Part::FuseDevice, libc::EACCES, &plain, "chmod 666 /dev/fuse"),
            (Part::FuseDevice, libc::EPERM, &plain, "--device /dev/fuse"),
            (Part::FuseDevice, libc::ENXIO, &plain, "modprobe fuse"),
            (Part::FuseMount, libc::EPERM, &plain, "4.18"),
            (Part::FuseMount, libc::EPERM, &ubuntu, "apparmor_restrict"),
            (Part::FuseMount, libc::ENODEV, &plain, "modprobe fuse"),
            (Part::OverlayMount, libc::EPERM, &plain, "5.11"),
            (Part::OverlayMount, libc::EACCES, &plain, "a folder of the user"),
            (Part::OverlayMount, libc::EINVAL, &plain, "volume"),
            (Part::OverlayMount, libc::ENODEV, &plain, "modprobe overlay"),
            (Part::Mount, libc::EACCES, &profile, "apparmor=unconfined"),
            (Part::Mount, libc::EPERM, &docker, "seccomp=unconfined"),
            (Part::Mount, libc::ENOSPC, &plain, "fs.mount-max"),
            (Part::Mount, libc::ENOENT, &docker, ""),
            (Part::Ids, libc::EPERM, &ubuntu, "AppArmor"),
            (Part::Other, libc::EPERM, &docker, ""),
        ] {
            let sentence = sentence(part, errno, facts);
            assert!(sentence.contains(expected), "{part:?} {errno}: {sentence:?} lacks {expected:?}");
            assert_eq!(sentence.is_empty(), expected.is_empty(), "{part:?} {errno}: {sentence:?}");
            assert!(!sentence.ends_with('.'));
        }
    }

    #[test]
    fn facts_of_this_machine_load() {
        assert_eq!(Facts::load().root, rustix::process::geteuid().is_root());
    }
}
