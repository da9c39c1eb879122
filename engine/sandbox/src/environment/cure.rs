//! What helps against each cause, in the words of whoever must do it there: a flag of docker, a field of a pod, a line
//! of a GitLab runner's settings, a sysctl.

use super::cause::Cause;
use super::{Facts, Place};
use crate::error::Failure;
use crate::ids::OneId;

/// Cause and cure of a failed operation in one sentence, if they are known.
pub fn cure(failure: &Failure, facts: &Facts) -> Option<String> {
    Cause::of(failure, facts).map(|cause| sentence(&cause, facts.place))
}

fn sentence(cause: &Cause, place: Place) -> String {
    match cause {
        Cause::NamespacesOff => {
            let sysctl = on_the_machine(place, "sysctl user.max_user_namespaces=28633 switches them on");
            format!("user namespaces are switched off: {sysctl}")
        }
        Cause::NamespacesUsedUp(number) => {
            let number = number.map_or_else(|| "allowed".to_owned(), |number| number.to_string());
            let sysctl = on_the_machine(place, "sysctl user.max_user_namespaces raises the number");
            format!("all {number} user namespaces are in use, or they are nested more than 32 deep: {sysctl}")
        }
        Cause::NetworksOff => {
            let sysctl = on_the_machine(place, "sysctl user.max_net_namespaces=28633 switches them on");
            format!("network namespaces are switched off: {sysctl}")
        }
        Cause::NamespacesOfRoot => {
            let sysctl = on_the_machine(place, "sysctl kernel.unprivileged_userns_clone=1 opens them");
            format!("user namespaces are for root only: {sysctl}")
        }
        Cause::NamespacesNotBuilt => {
            "this kernel was built without user namespaces (CONFIG_USER_NS): another kernel helps".to_owned()
        }
        Cause::Chroot => {
            "user namespaces are refused to this process; inside a chroot the kernel always does, so run \
                          rbuild outside it"
                .to_owned()
        }
        Cause::Filter => format!("a system call filter forbids it: {}", without_filter(place)),
        Cause::ApparmorSwitch => {
            let sysctl =
                on_the_machine(place, "sysctl kernel.apparmor_restrict_unprivileged_userns=0 lifts that");
            format!(
                "AppArmor restricts user namespaces: {sysctl}, or a profile for rbuild that allows userns"
            )
        }
        Cause::ApparmorProfile(profile) => {
            format!("AppArmor profile {profile} forbids it: {}", without_profile(place))
        }
        Cause::Selinux => format!("SELinux may forbid it: {}", without_label(place)),
        Cause::NoDevice => format!("there is no FUSE device for this process: {}", device(place)),
        Cause::DeviceClosed => {
            let mode = on_the_machine(place, "chmod 666 /dev/fuse, which is its usual mode");
            format!("this user may not open the FUSE device: {mode}")
        }
        Cause::NoModule(module) => {
            let load = on_the_machine(place, &format!("load the module with modprobe {module}"));
            format!("the kernel has no {module}: {load}")
        }
        Cause::OldKernel(version) => {
            format!("this kernel does not mount it in a user namespace: that needs Linux {version} or later")
        }
        Cause::NoUpper => {
            let volume = volume(place);
            format!("the store's filesystem can't hold an upper layer, as overlayfs itself can't: {volume}")
        }
        Cause::ForeignFolder => {
            "a user namespace takes root's power over the files of others away: put the store into \
                                 a folder of the user who runs rbuild with RBUILD_STORE"
                .to_owned()
        }
        Cause::MountsUsedUp => {
            let sysctl = on_the_machine(place, "sysctl fs.mount-max=100000 raises it");
            format!("the limit of mounts is reached: {sysctl}")
        }
        Cause::NoChroot => {
            "without namespaces only root may change its root: run rbuild as root of the container, such as with \
             docker run --user 0"
                .to_owned()
        }
        Cause::Lacking(names) => with_capabilities(names, place),
        Cause::Nested => "rbuild runs in a step of another rbuild, or under another supervisor of system calls, and \
                          there can be one only: run it outside, or with a range of ids (package uidmap, /etc/subuid \
                          and /etc/subgid)"
            .to_owned(),
        Cause::NoSupervisor { in_place: true } => {
            "this kernel has no system calls that a supervisor answers, which needs Linux 5.9: apply --in-place runs \
             steps without"
                .to_owned()
        }
        Cause::NoSupervisor { in_place: false } => {
            "this kernel has no system calls that a supervisor answers: that needs Linux 5.9".to_owned()
        }
        Cause::InStep => "rbuild runs in a step of another rbuild, which may make no namespaces: files and images can be \
                          made there, but no command can run; run it outside"
            .to_owned(),
        Cause::NoWayOut(is_root) => {
            let package = if *is_root { "slirp4netns" } else { "passt" };
            format!("a network that only leads outward is made by that program: apt-get install {package}")
        }
        Cause::NoTunnel => format!("a network that only leads outward needs this device: {}", tunnel(place)),
        Cause::TunnelClosed => {
            let mode = on_the_machine(place, "chmod 666 /dev/net/tun, which is its usual mode");
            format!("this user may not open the device of networks: {mode}")
        }
        Cause::NoNull => "every machine and container has this device: mknod -m 666 /dev/null c 1 3".to_owned(),
    }
}

/// What helps a process that has one id only.
pub fn one_id_cure(why: OneId, facts: &Facts) -> String {
    let place = facts.place;
    match why {
        OneId::NoHelper | OneId::NoRange => {
            let user = &facts.user;
            let package = if why == OneId::NoHelper { "apt-get install uidmap and " } else { "" };
            format!(
                "{package}the line `{user}:100000:65536` in /etc/subuid and in /etc/subgid give this user 65,536"
            )
        }
        OneId::NoNewPrivileges => match place {
            Place::Kubernetes => {
                "securityContext.allowPrivilegeEscalation: true for the container".to_owned()
            }
            Place::GitlabKubernetes => build_container("securityContext.allowPrivilegeEscalation: true"),
            Place::Docker | Place::Podman => {
                "start the container without --security-opt no-new-privileges".to_owned()
            }
            Place::GitlabDocker => {
                "leave no-new-privileges out of security_opt in [runners.docker] of the runner's config.toml"
                    .to_owned()
            }
            Place::Nspawn => "start it without systemd-nspawn --no-new-privileges".to_owned(),
            _ => "whoever started rbuild set no_new_privs, which disarms newuidmap: of a systemd unit it is \
                  NoNewPrivileges=no"
                .to_owned(),
        },
        OneId::NoCapabilities => with_capabilities(&["SETUID", "SETGID"], place),
        OneId::OuterNamespace => {
            "rbuild is in a namespace that was made with one id: run it outside".to_owned()
        }
    }
}

/// What helps a root that lacks capabilities which steps use, if it does.
pub fn capabilities_cure(facts: &Facts) -> Option<String> {
    (!facts.lacking.is_empty()).then(|| with_capabilities(&facts.lacking, facts.place))
}

/// What gives a fresh /proc, where there is something.
pub fn proc_cure(place: Place) -> Option<&'static str> {
    match place {
        Place::Docker => Some("start the container with --security-opt systempaths=unconfined"),
        Place::Podman => Some("start the container with --security-opt unmask=ALL"),
        Place::Kubernetes | Place::GitlabKubernetes => {
            Some("securityContext.procMount: Unmasked for the container, with hostUsers: false for the pod")
        }
        Place::Lxc => Some("incus config set NAME security.nesting=true, or LXC's nesting.conf"),
        Place::Host | Place::Chroot | Place::Wsl => Some("unmount what is mounted below /proc"),
        Place::GitlabDocker | Place::Nspawn | Place::Container => None,
    }
}

/// Settings of the kernel are the machine's; from inside a container they can't be changed.
fn on_the_machine(place: Place, what: &str) -> String {
    match place {
        Place::Host | Place::Chroot | Place::Wsl => what.to_owned(),
        Place::Kubernetes | Place::GitlabKubernetes => format!("on the node, {what}"),
        Place::GitlabDocker => format!("on the runner's machine, {what}"),
        Place::Docker | Place::Podman | Place::Nspawn | Place::Lxc | Place::Container => {
            format!("on the machine outside the container, {what}")
        }
    }
}

fn without_filter(place: Place) -> String {
    match place {
        Place::Docker | Place::Podman => {
            "start the container with --security-opt seccomp=unconfined (or a profile that allows it)"
                .to_owned()
        }
        Place::Kubernetes => "securityContext.seccompProfile.type: Unconfined for the container".to_owned(),
        Place::GitlabDocker => runner(r#"security_opt = ["seccomp=unconfined"]"#),
        Place::GitlabKubernetes => build_container("securityContext.seccompProfile.type: Unconfined"),
        Place::Nspawn => "start it with systemd-nspawn --system-call-filter='@mount @process'".to_owned(),
        Place::Lxc => NESTING.to_owned(),
        Place::Host | Place::Chroot | Place::Wsl => {
            "whoever started rbuild set it; of a systemd unit it is RestrictNamespaces=no, and @mount in \
             SystemCallFilter="
                .to_owned()
        }
        Place::Container => {
            "start the container without it, which docker calls --security-opt seccomp=unconfined".to_owned()
        }
    }
}

fn with_capabilities(names: &[&str], place: Place) -> String {
    let all = names.join(", ");
    let how = match place {
        Place::Kubernetes => format!("securityContext.capabilities.add: [{all}] for the container"),
        Place::GitlabKubernetes => build_container(&format!("securityContext.capabilities.add: [{all}]")),
        Place::GitlabDocker => {
            let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
            runner(&format!("cap_add = [{}]", quoted.join(", ")))
        }
        _ => {
            let flags: Vec<String> = names.iter().map(|name| format!("--cap-add {name}")).collect();
            format!("start the container with {}", flags.join(" "))
        }
    };
    format!("root lacks capabilities here ({all}): {how}")
}

fn without_profile(place: Place) -> String {
    match place {
        Place::Docker | Place::Podman | Place::Container => {
            "start the container with --security-opt apparmor=unconfined".to_owned()
        }
        Place::Kubernetes => "securityContext.appArmorProfile.type: Unconfined for the container".to_owned(),
        Place::GitlabDocker => runner(r#"security_opt = ["apparmor=unconfined"]"#),
        Place::GitlabKubernetes => build_container("securityContext.appArmorProfile.type: Unconfined"),
        Place::Lxc => NESTING.to_owned(),
        Place::Host | Place::Chroot | Place::Wsl | Place::Nspawn => {
            "allow userns and mount in it, or have it complain only with aa-complain".to_owned()
        }
    }
}

fn without_label(place: Place) -> String {
    match place {
        Place::Docker | Place::Podman | Place::Container => {
            "start the container with --security-opt label=disable".to_owned()
        }
        Place::Kubernetes => "securityContext.seLinuxOptions.type: spc_t for the container".to_owned(),
        Place::GitlabDocker => runner(r#"security_opt = ["label=disable"]"#),
        Place::GitlabKubernetes => build_container("securityContext.seLinuxOptions.type: spc_t"),
        Place::Host | Place::Chroot | Place::Wsl | Place::Nspawn | Place::Lxc => {
            on_the_machine(place, "ausearch -m avc names the rule, and audit2allow makes one that allows it")
        }
    }
}

fn device(place: Place) -> String {
    match place {
        Place::Docker | Place::Podman => "start the container with --device /dev/fuse".to_owned(),
        Place::Kubernetes => format!("the pod needs {PLUGIN}"),
        Place::GitlabDocker => runner(r#"devices = ["/dev/fuse"]"#),
        Place::GitlabKubernetes => format!("the pods of the runner need {PLUGIN}"),
        Place::Nspawn => {
            "start it with systemd-nspawn --bind=/dev/fuse --property=DeviceAllow='/dev/fuse rwm'".to_owned()
        }
        Place::Lxc => {
            "incus config device add NAME fuse unix-char path=/dev/fuse, or LXC's lxc.mount.entry = \
                       /dev/fuse dev/fuse none bind,create=file"
                .to_owned()
        }
        Place::Chroot => "bind /dev of the machine there, or mknod -m 666 dev/fuse c 10 229".to_owned(),
        Place::Host | Place::Wsl => {
            "load the module with modprobe fuse; a systemd unit with DeviceAllow= needs /dev/fuse there"
                .to_owned()
        }
        Place::Container => {
            "the container must be started with it, as docker's --device /dev/fuse does".to_owned()
        }
    }
}

fn tunnel(place: Place) -> String {
    match place {
        Place::Docker | Place::Podman => "start the container with --device /dev/net/tun".to_owned(),
        Place::GitlabDocker => runner(r#"devices = ["/dev/net/tun"]"#),
        _ => on_the_machine(place, "load the module with modprobe tun"),
    }
}

fn volume(place: Place) -> String {
    match place {
        Place::Kubernetes | Place::GitlabKubernetes => {
            "put the store on an emptyDir or another volume with RBUILD_STORE".to_owned()
        }
        Place::GitlabDocker => {
            format!("{}, and RBUILD_STORE there", runner(r#"volumes = ["/rbuild"]"#))
        }
        Place::Docker | Place::Podman => {
            "start the container with --volume rbuild:/rbuild and RBUILD_STORE=/rbuild".to_owned()
        }
        _ => "put the store elsewhere with RBUILD_STORE".to_owned(),
    }
}

const NESTING: &str = "incus config set NAME security.nesting=true, or include LXC's nesting.conf";

/// A hostPath is no way: the device group of the pod would still refuse it.
const PLUGIN: &str = "a device plugin that offers /dev/fuse (smarter-device-manager: resources.limits \
                      smarter-devices/fuse: 1), or under CRI-O the annotation io.kubernetes.cri-o.Devices: /dev/fuse";

fn runner(line: &str) -> String {
    format!("{line} in [runners.docker] of the runner's config.toml")
}

fn build_container(field: &str) -> String {
    format!(
        "{field} for the container `build`, by a [[runners.kubernetes.pod_spec]] patch of the runner's config.toml"
    )
}

#[cfg(test)]
#[path = "cure_tests.rs"]
mod tests;
