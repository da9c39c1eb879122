#![allow(clippy::unwrap_used)]

use super::*;
use crate::Part;

fn told(part: Part, errno: i32, facts: &Facts) -> String {
    let failure = Failure { part, operation: "x".into(), errno };
    cure(&failure, facts).unwrap_or_default()
}

#[test]
fn every_known_cause_has_its_cure() {
    let plain = Facts::default();
    let none = Facts { max_user_namespaces: Some(0), ..plain.clone() };
    let few = Facts { max_user_namespaces: Some(7), ..plain.clone() };
    let no_networks = Facts { max_net_namespaces: Some(0), ..plain.clone() };
    let debian = Facts { unprivileged_userns_clone: Some(0), ..plain.clone() };
    let ubuntu = Facts { apparmor_restricts_userns: Some(1), ..plain.clone() };
    let docker = Facts { filtered: true, root: true, place: Place::Docker, ..plain.clone() };
    let profile = Facts { apparmor_profile: Some("docker-default (enforce)".into()), ..docker.clone() };
    let fedora = Facts { selinux: true, place: Place::Podman, ..plain.clone() };
    let root = Facts { root: true, ..debian.clone() };
    let old = Facts { kernel: "4.15.0-20-generic".into(), ..docker.clone() };
    let cut = Facts { lacking: vec!["CHOWN", "SETUID"], ..docker.clone() };
    let older = Facts { kernel: "5.10.0-33-amd64".into(), ..plain.clone() };
    for (part, errno, facts, expected) in [
        (Part::Namespace, libc::ENOSPC, &none, "user.max_user_namespaces=28633"),
        (Part::Namespace, libc::ENOSPC, &few, "all 7 user namespaces"),
        (Part::Namespace, libc::ENOSPC, &no_networks, "user.max_net_namespaces=28633"),
        (Part::Namespace, libc::EPERM, &debian, "unprivileged_userns_clone=1"),
        (Part::Namespace, libc::EPERM, &root, "inside a chroot"),
        (Part::Namespace, libc::EPERM, &docker, "seccomp=unconfined"),
        (Part::Namespace, libc::EPERM, &ubuntu, "apparmor_restrict_unprivileged_userns=0"),
        (Part::Namespace, libc::EPERM, &fedora, "label=disable"),
        (Part::Namespace, libc::EPERM, &plain, "inside a chroot"),
        (Part::Namespace, libc::EINVAL, &plain, "CONFIG_USER_NS"),
        (Part::Namespace, libc::ENOMEM, &plain, ""),
        (Part::FuseDevice, libc::ENOENT, &docker, "--device /dev/fuse"),
        (Part::FuseDevice, libc::ENOENT, &plain, "modprobe fuse"),
        (Part::FuseDevice, libc::EACCES, &plain, "chmod 666 /dev/fuse"),
        (Part::FuseDevice, libc::EPERM, &docker, "--device /dev/fuse"),
        (Part::FuseDevice, libc::ENXIO, &plain, "modprobe fuse"),
        (Part::FuseMount, libc::EPERM, &old, "4.18"),
        (Part::FuseMount, libc::EPERM, &docker, "seccomp=unconfined"),
        (Part::FuseMount, libc::EPERM, &ubuntu, "apparmor_restrict"),
        (Part::FuseMount, libc::EPERM, &plain, ""),
        (Part::FuseMount, libc::ENODEV, &plain, "modprobe fuse"),
        (Part::OverlayMount, libc::EPERM, &older, "5.11"),
        (Part::OverlayMount, libc::EPERM, &ubuntu, "apparmor_restrict"),
        (Part::OverlayMount, libc::ENODEV, &plain, "modprobe overlay"),
        (Part::OverlayMount, libc::EINVAL, &docker, "--volume rbuild:/rbuild"),
        (Part::OverlayMount, libc::EOPNOTSUPP, &plain, "upper layer"),
        (Part::OverlayMount, libc::EACCES, &plain, "a folder of the user"),
        (Part::Mount, libc::EACCES, &profile, "apparmor=unconfined"),
        (Part::Mount, libc::EPERM, &docker, "seccomp=unconfined"),
        (Part::Mount, libc::EPERM, &fedora, "SELinux"),
        (Part::Mount, libc::ENOSPC, &plain, "fs.mount-max"),
        (Part::Mount, libc::ENOENT, &docker, ""),
        (Part::Chroot, libc::EPERM, &plain, "run rbuild as root"),
        (Part::Chroot, libc::EPERM, &root, "--cap-add SYS_CHROOT"),
        (Part::Chroot, libc::EPERM, &cut, "--cap-add SYS_CHROOT --cap-add CHOWN --cap-add SETUID"),
        (Part::Capabilities, libc::EPERM, &docker, "--cap-add SETPCAP"),
        (Part::Ids, libc::EPERM, &cut, "(CHOWN, SETUID): start the container"),
        (Part::Listener, libc::EBUSY, &plain, "there can be one only"),
        (Part::Listener, libc::EPERM, &plain, ""),
        (Part::Listener, libc::ENOSYS, &plain, "that needs Linux 5.9"),
        (Part::Listener, libc::ENOSYS, &root, "that needs Linux 5.9"),
        (Part::Listener, libc::ENOSYS, &docker, "apply --in-place runs steps without"),
        (Part::Listener, libc::EINVAL, &Facts { root: false, ..docker.clone() }, "that needs Linux 5.9"),
        (Part::Ids, libc::EPERM, &ubuntu, "AppArmor"),
        (Part::Other, libc::EPERM, &docker, ""),
    ] {
        let sentence = told(part, errno, facts);
        assert!(sentence.contains(expected), "{part:?} {errno}: {sentence:?} lacks {expected:?}");
        assert_eq!(sentence.is_empty(), expected.is_empty(), "{part:?} {errno}: {sentence:?}");
        assert!(!sentence.ends_with('.'));
    }
}

/// What must be changed where, in whose words.
#[test]
fn every_cause_has_a_cure_in_every_place() {
    let (node, outside, runner) =
        ("on the node, ", "on the machine outside the container, ", "on the runner's machine, ");
    let patch = "[[runners.kubernetes.pod_spec]]";
    // The place; who changes a sysctl; against a filter, an AppArmor profile, SELinux; for the device, a volume.
    let table = [
        (
            Place::Host,
            "",
            ["RestrictNamespaces=no", "aa-complain", "audit2allow", "modprobe fuse", "RBUILD_STORE"],
        ),
        (
            Place::Docker,
            outside,
            [
                "--security-opt seccomp=unconfined",
                "--security-opt apparmor=unconfined",
                "--security-opt label=disable",
                "--device /dev/fuse",
                "--volume rbuild:/rbuild",
            ],
        ),
        (
            Place::Podman,
            outside,
            [
                "--security-opt seccomp=unconfined",
                "--security-opt apparmor=unconfined",
                "--security-opt label=disable",
                "--device /dev/fuse",
                "--volume rbuild:/rbuild",
            ],
        ),
        (
            Place::Kubernetes,
            node,
            [
                "securityContext.seccompProfile.type: Unconfined",
                "securityContext.appArmorProfile.type: Unconfined",
                "seLinuxOptions",
                "device plugin",
                "emptyDir",
            ],
        ),
        (
            Place::GitlabDocker,
            runner,
            [
                r#"security_opt = ["seccomp=unconfined"] in [runners.docker]"#,
                r#"security_opt = ["apparmor=unconfined"] in [runners.docker]"#,
                r#"security_opt = ["label=disable"] in [runners.docker]"#,
                r#"devices = ["/dev/fuse"] in [runners.docker]"#,
                r#"volumes = ["/rbuild"] in [runners.docker]"#,
            ],
        ),
        (Place::GitlabKubernetes, node, [patch, patch, patch, "device plugin", "emptyDir"]),
        (
            Place::Nspawn,
            outside,
            ["--system-call-filter=", "aa-complain", "audit2allow", "--bind=/dev/fuse", "RBUILD_STORE"],
        ),
        (
            Place::Lxc,
            outside,
            [
                "security.nesting=true",
                "security.nesting=true",
                "audit2allow",
                "unix-char path=/dev/fuse",
                "RBUILD_STORE",
            ],
        ),
        (
            Place::Wsl,
            "",
            ["RestrictNamespaces=no", "aa-complain", "audit2allow", "modprobe fuse", "RBUILD_STORE"],
        ),
        (
            Place::Chroot,
            "",
            ["RestrictNamespaces=no", "aa-complain", "audit2allow", "c 10 229", "RBUILD_STORE"],
        ),
        (
            Place::Container,
            outside,
            [
                "seccomp=unconfined",
                "apparmor=unconfined",
                "label=disable",
                "--device /dev/fuse",
                "RBUILD_STORE",
            ],
        ),
    ];
    assert_eq!(table.map(|row| row.0), Place::ALL);
    for (place, who, [filter, profile, label, device, volume]) in table {
        let sysctl = |name: &str| format!(": {who}sysctl {name}");
        let load = |module: &str| format!(": {who}load the module with modprobe {module}");
        for (cause, expected) in [
            (Cause::NamespacesOff, sysctl("user.max_user_namespaces=28633")),
            (Cause::NamespacesUsedUp(Some(9)), sysctl("user.max_user_namespaces")),
            (Cause::NamespacesUsedUp(None), sysctl("user.max_user_namespaces")),
            (Cause::NetworksOff, sysctl("user.max_net_namespaces=28633")),
            (Cause::NamespacesOfRoot, sysctl("kernel.unprivileged_userns_clone=1")),
            (Cause::ApparmorSwitch, sysctl("kernel.apparmor_restrict_unprivileged_userns=0")),
            (Cause::MountsUsedUp, sysctl("fs.mount-max=100000")),
            (Cause::DeviceClosed, format!(": {who}chmod 666 /dev/fuse")),
            (Cause::NoModule("fuse"), load("fuse")),
            (Cause::NoModule("overlay"), load("overlay")),
            (Cause::NamespacesNotBuilt, "CONFIG_USER_NS".to_owned()),
            (Cause::OldKernel("5.11"), "Linux 5.11 or later".to_owned()),
            (Cause::Chroot, "run rbuild outside it".to_owned()),
            (Cause::Filter, filter.to_owned()),
            (Cause::ApparmorProfile("p (enforce)".into()), profile.to_owned()),
            (Cause::Selinux, label.to_owned()),
            (Cause::NoDevice, device.to_owned()),
            (Cause::NoUpper, volume.to_owned()),
            (Cause::ForeignFolder, "RBUILD_STORE".to_owned()),
        ] {
            let told = sentence(&cause, place);
            assert!(told.contains(&expected), "{place:?}, {cause:?}: {told:?} lacks {expected:?}");
            assert!(!told.ends_with('.') && !told.contains("  "), "{told:?}");
        }
    }
}

#[test]
fn one_id_has_a_cure_in_every_place() {
    let facts = |place| Facts { place, user: "ann".into(), ..Facts::default() };
    let line = "the line `ann:100000:65536` in /etc/subuid and in /etc/subgid";
    for place in Place::ALL {
        let facts = facts(place);
        let told = |why| one_id_cure(why, &facts);
        assert!(told(OneId::NoHelper).starts_with("apt-get install uidmap and the line"));
        assert!(told(OneId::NoRange).starts_with(line));
        assert!(told(OneId::OuterNamespace).contains("outside"));
        let (privileges, capabilities) = match place {
            Place::Docker | Place::Podman => ("--security-opt no-new-privileges", "--cap-add SETUID"),
            Place::Kubernetes => ("allowPrivilegeEscalation: true", "capabilities.add: [SETUID, SETGID]"),
            Place::GitlabKubernetes => ("pod_spec", "pod_spec"),
            Place::GitlabDocker => ("security_opt in [runners.docker]", "cap_add = [\"SETUID\", \"SETGID\"]"),
            Place::Nspawn => ("--no-new-privileges", "--cap-add SETUID"),
            _ => ("NoNewPrivileges=no", "--cap-add SETUID"),
        };
        assert!(told(OneId::NoNewPrivileges).contains(privileges), "{place:?}");
        assert!(told(OneId::NoCapabilities).contains(capabilities), "{place:?}");
    }
}

#[test]
fn a_fresh_proc_is_to_be_had_where_somebody_hides_parts_of_it() {
    for (place, expected) in [
        (Place::Docker, Some("systempaths=unconfined")),
        (Place::Podman, Some("unmask=ALL")),
        (Place::Kubernetes, Some("procMount: Unmasked")),
        (Place::Host, Some("unmount")),
        (Place::GitlabDocker, None),
    ] {
        assert_eq!(proc_cure(place).is_some(), expected.is_some(), "{place:?}");
        assert!(proc_cure(place).unwrap_or_default().contains(expected.unwrap_or_default()), "{place:?}");
    }
}
