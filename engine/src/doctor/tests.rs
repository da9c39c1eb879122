#![allow(clippy::unwrap_used)]

use super::*;
use crate::store;
use rbuild_sandbox::{Capabilities, Cgroups, Error, Facts, Failure, Limits, OneId, Part, Place, cure};

/// A refusal, with what the facts make of it.
fn refused<T>(part: Part, operation: &str, errno: i32, facts: &Facts) -> Result<T, Error> {
    let failure = Failure { part, operation: operation.to_owned(), errno };
    let cure = cure(&failure, facts);
    Err(Error::Failed { failure, cure })
}

fn folder() -> Folder {
    Folder {
        path: "/store".into(),
        existing: "/store".into(),
        filesystem: "overlayfs".to_owned(),
        free: 3 << 29,
        reflinks: false,
        refused: None,
    }
}

fn healthy(facts: Facts) -> Examination {
    let ids = IdMap { method: rbuild_sandbox::MapMethod::Direct, ..range() };
    Examination {
        facts,
        namespaces: Ok(Capabilities { ids, warnings: Vec::new() }),
        fuse: Some(Ok(())),
        overlay: Some(Ok(())),
        chroot: Ok(()),
        network: Some(Ok(())),
        outward: Some(Ok(())),
        limits: Some(Ok(Limits::default())),
        fresh_proc: Some(Ok(true)),
    }
}

fn range() -> IdMap {
    let mut ids = IdMap::single(1_879_048_192, 1_879_048_192);
    for extent in ids.uids.iter_mut().chain(&mut ids.gids) {
        extent.count = 65_536;
    }
    ids
}

fn facts(place: Place) -> Facts {
    Facts {
        place,
        kernel: "6.12.9".to_owned(),
        notification: true,
        user: "ann".to_owned(),
        ..Facts::default()
    }
}

fn around(folder: Option<Folder>, has_home: bool) -> Surroundings {
    Surroundings { folder, read_only: Vec::new(), left_out: Vec::new(), has_home }
}

fn check(report: &Report, name: Name) -> &Check {
    report.checks.iter().find(|check| check.name == name).unwrap()
}

#[test]
fn a_healthy_machine() {
    let report = report(&healthy(facts(Place::Host)), &around(Some(folder()), true));
    assert!(
        report.checks.iter().all(|check| check.state == State::Ok && check.remedy.is_none()),
        "{report:?}"
    );
    assert_eq!(report.verdict(), "tier: fuse, 65,536 ids");
    assert_eq!((report.better.len(), report.checks.len()), (0, 14));
    assert_eq!(check(&report, Name::Store).found, "/store, on overlayfs, no reflinks, 1.5 GiB free");
}

/// `docker run` without any flag.
#[test]
fn a_plain_container() {
    let root = plain_container(true);
    assert_eq!(root.verdict(), "tier: chroot, steps are not isolated from what is around them");
    let costs = check(&root, Name::UserNamespaces).costs.as_ref().unwrap();
    assert!(costs.contains("not isolated"), "{costs}");
    let report = plain_container(false);
    assert_eq!(report.verdict(), "tier: none, what has no `run` works");
    assert_eq!(report.better, root.better);
    assert_eq!(
        report.better,
        [
            "a system call filter forbids it: start the container with --security-opt seccomp=unconfined (or a \
             profile that allows it)",
            "there is no FUSE device for this process: start the container with --device /dev/fuse",
        ]
    );
    assert_eq!((report.ids, check(&report, Name::Network).state), (0, State::Untried));
    assert!(report.checks.iter().all(|check| check.name != Name::Ids), "of no namespace");
}

/// `docker run --cap-drop ALL --cap-add SYS_CHROOT`.
#[test]
fn a_container_without_the_usual_capabilities() {
    let facts =
        Facts { filtered: true, root: true, lacking: vec!["CHOWN", "SETUID"], ..facts(Place::Docker) };
    let found = Examination {
        namespaces: refused(Part::Namespace, "unshare the namespaces", 1, &facts),
        overlay: None,
        ..healthy(facts)
    };
    let report = report(&found, &around(Some(folder()), true));
    assert_eq!((report.tier, check(&report, Name::Chroot).state), (Tier::Chroot, State::Limited));
    let lacking = report.better.last().unwrap();
    assert!(lacking.contains("--cap-add CHOWN --cap-add SETUID"), "{report:?}");
}

/// Such a container on a kernel that has no supervisors.
#[test]
fn a_plain_container_of_long_ago() {
    let report =
        plain_container_with(true, |facts| refused(Part::Listener, "answer a command's calls", 38, facts));
    assert_eq!(report.verdict(), "tier: none, what has no `run` works");
    assert!(report.better.last().unwrap().ends_with("apply --in-place runs steps without"), "{report:?}");
    assert!(check(&report, Name::Chroot).costs.as_ref().unwrap().starts_with("no command can run"));
}

fn plain_container(root: bool) -> Report {
    plain_container_with(
        root,
        |facts| if root { Ok(()) } else { refused(Part::Chroot, "chroot to /", 1, facts) },
    )
}

fn plain_container_with(root: bool, chroot: impl FnOnce(&Facts) -> Result<(), Error>) -> Report {
    let facts = Facts { filtered: true, root, ..facts(Place::Docker) };
    let found = Examination {
        chroot: chroot(&facts),
        namespaces: refused(Part::Namespace, "unshare the namespaces", 1, &facts),
        fuse: Some(refused(Part::FuseDevice, "open /dev/fuse", 2, &facts)),
        overlay: None,
        network: None,
        outward: None,
        limits: None,
        fresh_proc: None,
        facts,
    };
    report(&found, &around(Some(folder()), true))
}

/// As on most machines of a CI service.
#[test]
fn a_container_without_the_device() {
    let facts = Facts { root: true, ..facts(Place::Podman) };
    let fuse = Some(refused(Part::FuseDevice, "open /dev/fuse", 2, &facts));
    let report = report(&Examination { fuse, ..healthy(facts) }, &around(Some(folder()), true));
    assert_eq!(report.verdict(), "tier: overlay, 65,536 ids");
    let fuse = check(&report, Name::Fuse);
    assert!(fuse.costs.as_ref().unwrap().contains("source.host"), "{fuse:?}");
    assert_eq!(report.better, [fuse.remedy.clone().unwrap()]);
}

/// Nowhere to write and no device: a folder for the store is enough.
#[test]
fn no_device_and_no_store() {
    let facts = Facts { root: true, ..facts(Place::Podman) };
    let fuse = Some(refused(Part::FuseDevice, "open /dev/fuse", 2, &facts));
    let report = report(&Examination { fuse, overlay: None, ..healthy(facts) }, &around(None, true));
    assert_eq!(report.verdict(), "tier: chroot, steps are not isolated from what is around them");
    let fuse = check(&report, Name::Fuse).remedy.clone().unwrap();
    assert_eq!(report.better, ["say --store DIR, or set RBUILD_STORE", &fuse]);
}

/// A device that can't be had, and a store that can't hold an upper layer.
#[test]
fn neither_fuse_nor_the_overlay() {
    let facts = facts(Place::Docker);
    let found = Examination {
        fuse: Some(refused(Part::FuseDevice, "open /dev/fuse", 2, &facts)),
        overlay: Some(refused(Part::OverlayMount, "mount overlay in /store", 22, &facts)),
        chroot: refused(Part::Chroot, "chroot to /", 1, &facts),
        ..healthy(facts)
    };
    let report = report(&found, &around(Some(folder()), true));
    let costs = |name| check(&report, name).costs.as_deref().unwrap();
    assert_eq!(costs(Name::Overlay), costs(Name::Fuse));
    assert!(costs(Name::Overlay).starts_with("no command can run"), "{report:?}");
}

/// As in a pod of a restricted namespace that has the device, but no privileges.
#[test]
fn one_id_and_a_hidden_proc() {
    let facts = Facts { one_id: Some(OneId::NoNewPrivileges), ..facts(Place::Kubernetes) };
    let ids = IdMap::single(1000, 1000);
    let found = Examination {
        namespaces: Ok(Capabilities { ids, warnings: Vec::new() }),
        fresh_proc: Some(Ok(false)),
        ..healthy(facts)
    };
    let report = report(&found, &around(Some(folder()), false));
    assert_eq!(report.verdict(), "tier: fuse, one id");
    let one_id = "securityContext.allowPrivilegeEscalation: true for the container";
    let unmasked = "securityContext.procMount: Unmasked for the container, with hostUsers: false for the pod";
    assert_eq!(report.better, [one_id, unmasked]);
    assert_eq!(check(&report, Name::Ids).state, State::Limited);
    assert!(check(&report, Name::Proc).remedy.as_ref().unwrap().contains("procMount: Unmasked"));
    assert!(check(&report, Name::Home).remedy.as_ref().unwrap().contains("RBUILD_STORE"));
    let report = super::report(&found, &around(None, true));
    assert_eq!(
        report.better,
        ["say --store DIR, or set RBUILD_STORE", one_id, unmasked],
        "what is missing comes first"
    );
}

#[test]
fn an_old_kernel_and_a_store_that_can_not_be_written() {
    let facts = Facts { kernel: "4.18.0-553.el8".to_owned(), ..facts(Place::Host) };
    let failed = refused(Part::OverlayMount, "mount overlay in /store", 1, &facts);
    let found = Examination { overlay: Some(failed), ..healthy(facts) };
    let full =
        Folder { refused: Some("cannot write to /store: Read-only file system".to_owned()), ..folder() };
    let report = report(&found, &around(Some(full), true));
    let kernel = check(&report, Name::Kernel);
    let costs = kernel.costs.as_ref().unwrap();
    assert_eq!(kernel.state, State::Limited);
    assert!(costs.contains("(5.11)") && costs.contains("(5.3)") && !costs.contains("(4.18)"), "{costs}");
    assert!(check(&report, Name::Overlay).remedy.as_ref().unwrap().contains("Linux 5.11"));
    assert_eq!(
        check(&report, Name::Store).found,
        "cannot write to /store: Read-only file system, on overlayfs"
    );
    assert_eq!(report.better, [store::PUT_ELSEWHERE]);
}

#[test]
fn words_and_json_agree() {
    let report = report(&healthy(facts(Place::Host)), &around(None, true));
    for check in &report.checks {
        assert_eq!(serde_json::to_value(check.name).unwrap(), check.name.word());
        assert_eq!(serde_json::to_value(check.state).unwrap(), check.state.word());
    }
    assert_eq!(check(&report, Name::Store).state, State::Missing, "nothing says where it is");
    let json = serde_json::to_value(&report).unwrap();
    let schema = jsonschema::validator_for(&Report::schema()).unwrap();
    assert!(schema.is_valid(&json), "{json}");
    assert!(!schema.is_valid(&serde_json::json!({ "version": 1 })));
    assert_eq!(serde_json::from_value::<Report>(json).unwrap(), report);
}

#[test]
fn numbers_in_words() {
    for (number, text) in
        [(0, "0"), (999, "999"), (1000, "1,000"), (65_536, "65,536"), (4_294_967_295, "4,294,967,295")]
    {
        assert_eq!(report::thousands(number), text);
    }
}

#[test]
fn limits_without_control_groups() {
    let cgroups = Cgroups { first: false, second: true };
    let facts = Facts { cgroups, ..facts(Place::Host) };
    let left = Limits { memory: Some(1), ..Limits::default() };
    let report =
        report(&Examination { limits: Some(Ok(left)), ..healthy(facts) }, &around(Some(folder()), true));
    let found = check(&report, Name::Cgroup);
    assert_eq!(
        (found.state, found.found.as_str()),
        (State::Limited, "version 2; no group can be made for memory")
    );
    assert!(found.remedy.as_ref().unwrap().contains("systemd-run --user --scope"));
    assert_eq!(report.better, [""; 0], "few steps have limits");
}

#[test]
fn stores_that_are_only_read() {
    let around = |left_out: &[&str]| Surroundings {
        read_only: ["/a".into(), "/b".into()].into(),
        left_out: left_out.iter().map(|reason| (*reason).to_owned()).collect(),
        ..around(Some(folder()), true)
    };
    let healthy = healthy(facts(Place::Host));
    let good = report(&healthy, &around(&[]));
    assert_eq!(check(&good, Name::ReadOnlyStores).found, "/a, /b");
    let bad =
        report(&healthy, &around(&["the read-only store /b is not used: Not a directory (os error 20)"]));
    let check = check(&bad, Name::ReadOnlyStores);
    assert_eq!((check.state, bad.better.len()), (State::Limited, 0));
    assert!(check.found.ends_with("/b is not used: Not a directory") && check.remedy.is_some(), "{check:?}");
}
