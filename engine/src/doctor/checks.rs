//! What was found -> what is told of it.

use super::{
    Surroundings,
    folder::Folder,
    report::{Check, Name, State, thousands},
};
use crate::{spec::without_errno, store};
use rbuild_sandbox::{
    Error, Examination, Facts, MapMethod, Place, capabilities_cure, one_id_cure, proc_cure,
};

const WITHOUT_RUN: &str = "no command can run: no step or test with `run`, no `rbuild mount TREE -- COMMAND`";

/// The other tier.
const ON_OVERLAY: &str = "steps run on the kernel's overlayfs: the first build over a base lays its files out, \
                          and a step over source.host can't run";

/// The last one.
const IN_CHROOT: &str = "steps run in a chroot, not isolated: they can read and signal what is around them, and \
                         network = \"none\" is not kept";

/// Newer parts of the kernel that rbuild uses, and what stands in for them.
const KERNELS: [((u32, u32), &str); 5] = [
    ((4, 18), "FUSE in user namespaces (4.18)"),
    ((5, 3), "process descriptors (5.3): steps are ended a little later"),
    ((5, 9), "system calls answered by a supervisor (5.9)"),
    ((5, 11), "overlayfs in user namespaces (5.11)"),
    ((5, 12), "read-only mounts in one call (5.12): one by one instead"),
];

/// Every check, in the order of its weight.
pub(super) fn all(found: &Examination, around: &Surroundings) -> Vec<Check> {
    let facts = &found.facts;
    let mut checks = vec![namespaces(found)];
    checks.extend(ids(found));
    checks.extend([
        fuse(found),
        overlay(found),
        chroot(found),
        network(found),
        private_network(found),
        proc(found),
        cgroup(found),
        seccomp(facts),
        kernel(facts),
        own_store(around.folder.as_ref()),
        read_only_stores(around),
        home(around.has_home),
    ]);
    checks.iter_mut().for_each(|check| check.found = without_errno(&check.found));
    checks
}

fn ok(name: Name, found: impl Into<String>) -> Check {
    Check { name, state: State::Ok, found: found.into(), costs: None, remedy: None }
}

fn untried(name: Name, found: &str) -> Check {
    Check { state: State::Untried, ..ok(name, found) }
}

/// What was refused, and the sentence that ends the same error of `apply`.
fn missing(name: Name, error: &Error, costs: &str) -> Check {
    let (found, remedy) = match error {
        Error::Failed { failure, cure } => (failure.to_string(), cure.clone()),
        other => (other.to_string(), None),
    };
    Check { name, state: State::Missing, found, costs: Some(costs.to_owned()), remedy }
}

fn namespaces(found: &Examination) -> Check {
    match &found.namespaces {
        Ok(_) => ok(Name::UserNamespaces, "made, with mounts inside"),
        Err(error) => missing(Name::UserNamespaces, error, without(found)),
    }
}

/// What it costs that neither FUSE nor the overlay can be mounted.
fn without(found: &Examination) -> &'static str {
    if found.chroot.is_ok() { IN_CHROOT } else { WITHOUT_RUN }
}

fn ids(found: &Examination) -> Option<Check> {
    let capabilities = found.namespaces.as_ref().ok()?;
    let count = capabilities.ids.count();
    if count > 1 {
        let by = match capabilities.ids.method {
            MapMethod::Helper => "by newuidmap",
            MapMethod::Direct | MapMethod::Single | MapMethod::Machine => "as root",
        };
        return Some(ok(Name::Ids, format!("{}, mapped {by}", thousands(count))));
    }
    let reason = capabilities.warnings.first().map_or("one only", String::as_str);
    Some(Check {
        name: Name::Ids,
        state: State::Limited,
        found: reason.to_owned(),
        costs: Some("steps see others, but permissions between users are not checked".to_owned()),
        remedy: found.facts.one_id.map(|why| one_id_cure(why, &found.facts)),
    })
}

fn fuse(found: &Examination) -> Check {
    match &found.fuse {
        Some(Ok(())) => ok(Name::Fuse, "mounted in a user namespace"),
        Some(Err(error)) if matches!(found.overlay, Some(Ok(()))) => missing(Name::Fuse, error, ON_OVERLAY),
        Some(Err(error)) => missing(Name::Fuse, error, without(found)),
        None => untried(Name::Fuse, "/dev/fuse can be opened; without user namespaces nothing was mounted"),
    }
}

fn overlay(found: &Examination) -> Check {
    match &found.overlay {
        Some(Ok(())) => ok(Name::Overlay, "mounted in a user namespace, over the store's filesystem"),
        Some(Err(error)) if matches!(found.fuse, Some(Ok(()))) => {
            missing(Name::Overlay, error, "nothing while FUSE works, whose place it could take")
        }
        Some(Err(error)) => missing(Name::Overlay, error, without(found)),
        None if found.namespaces.is_err() => {
            untried(Name::Overlay, "without user namespaces nothing was mounted")
        }
        None => untried(Name::Overlay, "without a folder for the store nothing was mounted"),
    }
}

fn chroot(found: &Examination) -> Check {
    match &found.chroot {
        Ok(()) => {
            let entered = ok(Name::Chroot, "entered without namespaces, and a call was answered");
            match capabilities_cure(&found.facts).filter(|_| found.namespaces.is_err()) {
                None => entered,
                remedy => Check {
                    state: State::Limited,
                    costs: Some(
                        "images may be others than elsewhere, steps can't change users, and what other users run \
                         outlives its step"
                            .to_owned(),
                    ),
                    remedy,
                    ..entered
                },
            }
        }
        Err(error) if found.namespaces.is_err() => missing(Name::Chroot, error, WITHOUT_RUN),
        Err(error) => missing(Name::Chroot, error, "nothing while there are user namespaces"),
    }
}

fn network(found: &Examination) -> Check {
    match &found.network {
        Some(Ok(())) => ok(Name::Network, "a namespace of its own"),
        Some(Err(error)) => missing(Name::Network, error, "steps with network = \"none\", the default, fail"),
        None => untried(Name::Network, "without user namespaces none was made"),
    }
}

fn private_network(found: &Examination) -> Check {
    let name = Name::PrivateNetwork;
    match &found.outward {
        Some(Ok(())) => ok(name, "leads outward only"),
        Some(Err(error)) => missing(name, error, "steps with network = \"private\" fail"),
        None => untried(name, "without user namespaces none was made"),
    }
}

fn proc(found: &Examination) -> Check {
    match &found.fresh_proc {
        Some(Ok(true)) => ok(Name::Proc, "a fresh one"),
        Some(Ok(false)) => Check {
            name: Name::Proc,
            state: State::Limited,
            found: "parts of it are hidden here, so a fresh one is refused and the outer one shared"
                .to_owned(),
            costs: Some(
                "steps see the process numbers outside: what uses pid files, ps or pkill fails".to_owned(),
            ),
            remedy: proc_cure(found.facts.place).map(str::to_owned),
        },
        Some(Err(error)) => missing(Name::Proc, error, WITHOUT_RUN),
        None => untried(Name::Proc, "without user namespaces it was not mounted"),
    }
}

fn cgroup(found: &Examination) -> Check {
    let facts = &found.facts;
    let versions = match (facts.cgroups.first, facts.cgroups.second) {
        (false, false) => "none",
        (true, false) => "version 1",
        (false, true) => "version 2",
        (true, true) => "versions 1 and 2 (hybrid)",
    };
    let left = match &found.limits {
        Some(Ok(left)) => left,
        Some(Err(error)) => return missing(Name::Cgroup, error, WITHOUT_RUN),
        None => return untried(Name::Cgroup, versions),
    };
    let refused: Vec<&str> =
        [left.memory.map(|_| "memory"), left.cpus.map(|_| "cpus")].into_iter().flatten().collect();
    if refused.is_empty() {
        return ok(Name::Cgroup, format!("{versions}; `limits` of steps hold by groups"));
    }
    // There user managers hand controllers down; root has what is missing if anybody has.
    let remedy = (facts.place == Place::Host && facts.cgroups.second && !facts.root)
        .then(|| "systemd-run --user --scope rbuild …".to_owned());
    Check {
        state: State::Limited,
        costs: Some(
            "of `limits`, `memory` is for each process by itself, and `cpus` a whole number".to_owned(),
        ),
        remedy,
        ..ok(Name::Cgroup, format!("{versions}; no group can be made for {}", refused.join(" and ")))
    }
}

fn seccomp(facts: &Facts) -> Check {
    let filter = if facts.filtered { "a filter is on this process" } else { "no filter is on this process" };
    let notification =
        if facts.notification { "a supervisor can be asked" } else { "no supervisor can be asked" };
    ok(Name::Seccomp, format!("{filter}; {notification}"))
}

fn kernel(facts: &Facts) -> Check {
    let found = format!("Linux {}", facts.kernel);
    let lacks: Vec<&str> =
        KERNELS.iter().filter(|(since, _)| !facts.has_kernel(*since)).map(|(_, what)| *what).collect();
    if lacks.is_empty() {
        return ok(Name::Kernel, found);
    }
    let costs = Some(format!("it lacks {}", lacks.join(", ")));
    Check { state: State::Limited, costs, ..ok(Name::Kernel, found) }
}

fn own_store(folder: Option<&Folder>) -> Check {
    let no_build = |found: String, remedy: &str| Check {
        name: Name::Store,
        state: State::Missing,
        found,
        costs: Some("nothing can be built".to_owned()),
        remedy: Some(remedy.to_owned()),
    };
    match folder {
        None => no_build(
            "nothing says where it is: RBUILD_STORE, XDG_DATA_HOME and HOME are not set".to_owned(),
            store::SAY_WHERE,
        ),
        Some(folder) => match &folder.refused {
            Some(reason) => no_build(format!("{reason}, on {}", folder.filesystem), store::PUT_ELSEWHERE),
            None => ok(Name::Store, folder.describe()),
        },
    }
}

fn read_only_stores(around: &Surroundings) -> Check {
    let named = || {
        let paths: Vec<String> = around.read_only.iter().map(|path| path.display().to_string()).collect();
        paths.join(", ")
    };
    match (around.read_only.is_empty(), around.left_out.is_empty()) {
        (true, _) => ok(Name::ReadOnlyStores, "RBUILD_STORES_RO names none"),
        (_, true) => ok(Name::ReadOnlyStores, named()),
        _ => Check {
            state: State::Limited,
            costs: Some("what it holds is fetched and built again".to_owned()),
            remedy: Some(
                "name stores of rbuild in RBUILD_STORES_RO; their owner opens them: chmod -R a+rX DIR"
                    .to_owned(),
            ),
            ..ok(Name::ReadOnlyStores, around.left_out.join("; "))
        },
    }
}

fn home(has_home: bool) -> Check {
    if has_home {
        return ok(Name::Home, "HOME is set");
    }
    Check {
        state: State::Limited,
        costs: Some("store, credentials and settings have no usual place".to_owned()),
        remedy: Some("set HOME; or RBUILD_STORE, DOCKER_CONFIG and XDG_CONFIG_HOME".to_owned()),
        ..ok(Name::Home, "HOME is not set")
    }
}
