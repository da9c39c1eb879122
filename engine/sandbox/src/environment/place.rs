//! Where rbuild stands: what gives it its root decides which flag, field or command helps.
//!
//! [`Signs::place`] is a pure function of a few files and variables. A sign counts only for what it can't be without:
//! `/.dockerenv` is also in machines whose disk was made of an image, and the paths of containers are in the mounts of
//! the machine that runs them, too.

use crate::text::unescape_octal;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Who gave this process its root, as far as remedies differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Nobody: an ordinary machine.
    #[default]
    Host,
    /// docker
    Docker,
    /// podman, or buildah
    Podman,
    /// A pod.
    Kubernetes,
    /// A job of a GitLab runner with the docker executor.
    GitlabDocker,
    /// A job of a GitLab runner with the kubernetes executor.
    GitlabKubernetes,
    /// systemd-nspawn
    Nspawn,
    /// LXC, LXD or Incus
    Lxc,
    /// The Windows Subsystem for Linux.
    Wsl,
    /// chroot
    Chroot,
    /// A container of something else.
    Container,
}

impl Place {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Host,
        Self::Docker,
        Self::Podman,
        Self::Kubernetes,
        Self::GitlabDocker,
        Self::GitlabKubernetes,
        Self::Nspawn,
        Self::Lxc,
        Self::Wsl,
        Self::Chroot,
        Self::Container,
    ];

    /// A stable word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Kubernetes => "kubernetes",
            Self::GitlabDocker => "gitlab-docker",
            Self::GitlabKubernetes => "gitlab-kubernetes",
            Self::Nspawn => "systemd-nspawn",
            Self::Lxc => "lxc",
            Self::Wsl => "wsl",
            Self::Chroot => "chroot",
            Self::Container => "container",
        }
    }

    /// Whether its root is a container's, whose files are nobody else's.
    pub fn is_container(self) -> bool {
        !matches!(self, Self::Host | Self::Wsl | Self::Chroot)
    }

    /// The same for people, as it stands after "this is".
    pub fn described(self) -> &'static str {
        match self {
            Self::Host => "a machine of its own",
            Self::Docker => "a docker container",
            Self::Podman => "a podman container",
            Self::Kubernetes => "a kubernetes pod",
            Self::GitlabDocker => "a GitLab job in a docker container",
            Self::GitlabKubernetes => "a GitLab job in a kubernetes pod",
            Self::Nspawn => "a systemd-nspawn container",
            Self::Lxc => "an LXC container",
            Self::Wsl => "the Windows Subsystem for Linux",
            Self::Chroot => "a chroot",
            Self::Container => "a container",
        }
    }
}

/// What tells places apart.
#[derive(Clone, Debug, Default)]
pub(super) struct Signs {
    pub dockerenv: bool,
    pub containerenv: bool,
    pub service_account: bool,
    /// `KUBERNETES_SERVICE_HOST` is set.
    pub kubernetes: bool,
    /// `GITLAB_CI` is set.
    pub gitlab: bool,
    /// The variable `container` of the first process, which most engines set; empty if unknown.
    pub container: String,
    pub osrelease: String,
    /// /proc/self/cgroup
    pub cgroup: String,
    /// /proc/self/mountinfo
    pub mountinfo: String,
    /// Not the root of the first process; unknown to most users.
    pub other_root: Option<bool>,
    /// Not the mount namespace of the first process; unknown to most users.
    pub own_mounts: Option<bool>,
}

impl Signs {
    pub(super) fn load() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        Self {
            dockerenv: fs::symlink_metadata("/.dockerenv").is_ok(),
            containerenv: fs::symlink_metadata("/run/.containerenv").is_ok(),
            service_account: fs::metadata("/var/run/secrets/kubernetes.io/serviceaccount").is_ok(),
            kubernetes: set("KUBERNETES_SERVICE_HOST"),
            gitlab: set("GITLAB_CI"),
            container: container_variable(),
            osrelease: read("/proc/sys/kernel/osrelease"),
            cgroup: read("/proc/self/cgroup"),
            mountinfo: read("/proc/self/mountinfo"),
            other_root: differs("/proc/1/root", "/"),
            own_mounts: differs("/proc/1/ns/mnt", "/proc/self/ns/mnt"),
        }
    }

    /// The place, and the sign that told it.
    pub(super) fn place(&self) -> (Place, String) {
        let (place, sign) = self.container_of().unwrap_or((Place::Host, String::new()));
        match place {
            Place::Docker | Place::Podman if self.gitlab => {
                (Place::GitlabDocker, format!("GITLAB_CI, {sign}"))
            }
            Place::Kubernetes if self.gitlab => (Place::GitlabKubernetes, format!("GITLAB_CI, {sign}")),
            _ => (place, sign),
        }
    }

    /// From the outermost that remedies must name to the least certain.
    fn container_of(&self) -> Option<(Place, String)> {
        let lent = self.lent_files();
        let in_cgroup = |part: &str| self.cgroup.contains(part);
        let said = |word: &str| self.container == word;
        let variable = || format!("container={}", self.container);
        let of_cgroup = || "/proc/self/cgroup".to_owned();
        let of_mounts = || "the mounts".to_owned();
        let signs: [(bool, Place, &dyn Fn() -> String); 18] = [
            (self.kubernetes, Place::Kubernetes, &|| "KUBERNETES_SERVICE_HOST".to_owned()),
            (self.service_account, Place::Kubernetes, &|| "its service account".to_owned()),
            (in_cgroup("/kubepods"), Place::Kubernetes, &of_cgroup),
            (lent.contains("/pods/"), Place::Kubernetes, &of_mounts),
            (self.containerenv, Place::Podman, &|| "/run/.containerenv".to_owned()),
            (said("podman") || said("oci"), Place::Podman, &variable),
            (in_cgroup("/libpod-"), Place::Podman, &of_cgroup),
            (lent.contains("/overlay-containers/"), Place::Podman, &of_mounts),
            (said("systemd-nspawn"), Place::Nspawn, &variable),
            (self.container.starts_with("lxc"), Place::Lxc, &variable),
            (in_cgroup("/lxc.payload") || in_cgroup("/lxc/"), Place::Lxc, &of_cgroup),
            (said("docker"), Place::Docker, &variable),
            (in_cgroup("/docker/") || in_cgroup("/docker-"), Place::Docker, &of_cgroup),
            (lent.contains("/docker/containers/"), Place::Docker, &of_mounts),
            (self.dockerenv && !self.has_a_disk(), Place::Docker, &|| "/.dockerenv".to_owned()),
            (said("wsl"), Place::Wsl, &variable),
            (!self.container.is_empty(), Place::Container, &variable),
            (self.osrelease.to_lowercase().contains("microsoft"), Place::Wsl, &|| {
                "/proc/sys/kernel/osrelease".to_owned()
            }),
        ];
        let found = signs.into_iter().find(|(is, ..)| *is).map(|(_, place, sign)| (place, sign()));
        found.or_else(|| self.other_root())
    }

    fn other_root(&self) -> Option<(Place, String)> {
        let mounted = mounts(&self.mountinfo).any(|mount| mount.point == "/");
        let unmounted = !mounted && !self.mountinfo.is_empty();
        let other = self.other_root == Some(true);
        match self.own_mounts {
            _ if unmounted => Some((Place::Chroot, "/ is no mount".to_owned())),
            Some(true) if other => Some((Place::Container, "a root and mounts of its own".to_owned())),
            _ if other => Some((Place::Chroot, "a root of its own".to_owned())),
            _ => None,
        }
    }

    /// Where the files come from that engines lend to a container: in its own mounts only.
    fn lent_files(&self) -> String {
        let lent =
            |mount: &Mounted<'_>| ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"].contains(&mount.point);
        mounts(&self.mountinfo).filter(lent).map(|mount| mount.root).collect::<Vec<_>>().join("\n")
    }

    /// Whether `/` is the whole of a block device: a machine, also if its disk was made of an image.
    fn has_a_disk(&self) -> bool {
        // The last of them covers the others.
        let root = mounts(&self.mountinfo).filter(|mount| mount.point == "/").last();
        root.is_some_and(|mount| mount.root == "/" && mount.source.starts_with("/dev/"))
    }
}

/// A line of mountinfo.
struct Mounted<'a> {
    /// The part of the filesystem that is mounted.
    root: &'a str,
    point: &'a str,
    source: &'a str,
}

fn mounts(mountinfo: &str) -> impl Iterator<Item = Mounted<'_>> {
    mountinfo.lines().filter_map(|line| {
        let (place, filesystem) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, point) = (place.next()?, place.next()?);
        Some(Mounted { root, point, source: filesystem.split(' ').nth(1)? })
    })
}

/// Where something is mounted, in the order of mounting.
pub fn mount_points() -> Vec<PathBuf> {
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let points =
        table.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    points.map(|point| OsString::from_vec(unescape_octal(point)).into()).collect()
}

/// systemd writes it to a file that everybody may read.
fn container_variable() -> String {
    let environ = fs::read("/proc/1/environ").unwrap_or_default();
    let of_first = environ.split(|byte| *byte == 0).find_map(|pair| pair.strip_prefix(b"container="));
    match of_first {
        Some(value) => String::from_utf8_lossy(value).into_owned(),
        None => fs::read_to_string("/run/systemd/container").unwrap_or_default(),
    }
    .trim()
    .to_owned()
}

/// Whether two paths lead to different files; `None` if one can't be looked at.
fn differs(one: &str, other: &str) -> Option<bool> {
    let identity = |path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    Some(identity(one)? != identity(other)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: &str =
        "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n22 27 0:21 / /proc rw - proc proc rw\n";
    const OVERLAY: &str = "600 500 0:55 / / rw,relatime - overlay overlay rw,lowerdir=/l\n";

    fn signs(mountinfo: &str) -> Signs {
        Signs { mountinfo: mountinfo.to_owned(), ..Signs::default() }
    }

    fn lent(path: &str) -> String {
        format!("{OVERLAY}601 600 254:1 {path} /etc/hosts rw - ext4 /dev/vda1 rw\n")
    }

    #[test]
    fn every_place_by_each_of_its_signs() {
        let machine = signs(DISK);
        let of = |change: &dyn Fn(&mut Signs)| {
            let mut signs = signs(OVERLAY);
            change(&mut signs);
            signs
        };
        let cases = [
            (machine.clone(), Place::Host, ""),
            (Signs { gitlab: true, ..machine.clone() }, Place::Host, ""),
            // A machine whose disk was made of an image, and one that runs containers.
            (Signs { dockerenv: true, ..machine.clone() }, Place::Host, ""),
            (
                signs(&format!(
                    "{DISK}9 8 0:5 / /var/lib/docker/containers/ab/mounts/shm rw - tmpfs shm rw\n"
                )),
                Place::Host,
                "",
            ),
            (of(&|s| s.dockerenv = true), Place::Docker, "/.dockerenv"),
            (of(&|s| s.cgroup = "5:cpu:/docker/abc\n".into()), Place::Docker, "/proc/self/cgroup"),
            (
                of(&|s| s.cgroup = "0::/system.slice/docker-ab.scope\n".into()),
                Place::Docker,
                "/proc/self/cgroup",
            ),
            (signs(&lent("/var/lib/docker/containers/ab/hosts")), Place::Docker, "the mounts"),
            (of(&|s| (s.gitlab, s.dockerenv) = (true, true)), Place::GitlabDocker, "GITLAB_CI, /.dockerenv"),
            (
                of(&|s| (s.gitlab, s.containerenv) = (true, true)),
                Place::GitlabDocker,
                "GITLAB_CI, /run/.containerenv",
            ),
            (of(&|s| s.containerenv = true), Place::Podman, "/run/.containerenv"),
            (of(&|s| s.container = "podman".into()), Place::Podman, "container=podman"),
            (of(&|s| s.container = "oci".into()), Place::Podman, "container=oci"),
            (
                of(&|s| s.cgroup = "0::/machine.slice/libpod-ab.scope\n".into()),
                Place::Podman,
                "/proc/self/cgroup",
            ),
            (signs(&lent("/containers/overlay-containers/ab/userdata/hosts")), Place::Podman, "the mounts"),
            (
                of(&|s| (s.kubernetes, s.containerenv) = (true, true)),
                Place::Kubernetes,
                "KUBERNETES_SERVICE_HOST",
            ),
            (of(&|s| s.service_account = true), Place::Kubernetes, "its service account"),
            (of(&|s| s.cgroup = "0::/kubepods.slice/x\n".into()), Place::Kubernetes, "/proc/self/cgroup"),
            (signs(&lent("/var/lib/kubelet/pods/ab/etc-hosts")), Place::Kubernetes, "the mounts"),
            (
                of(&|s| (s.gitlab, s.kubernetes) = (true, true)),
                Place::GitlabKubernetes,
                "GITLAB_CI, KUBERNETES_SERVICE_HOST",
            ),
            (of(&|s| s.container = "systemd-nspawn".into()), Place::Nspawn, "container=systemd-nspawn"),
            (of(&|s| s.container = "lxc".into()), Place::Lxc, "container=lxc"),
            (of(&|s| s.cgroup = "0::/lxc.payload.x\n".into()), Place::Lxc, "/proc/self/cgroup"),
            (of(&|s| s.container = "rkt".into()), Place::Container, "container=rkt"),
            (of(&|s| s.container = "wsl".into()), Place::Wsl, "container=wsl"),
            (
                Signs { osrelease: "5.15.90.1-microsoft-standard-WSL2\n".into(), ..machine.clone() },
                Place::Wsl,
                "/proc/sys/kernel/osrelease",
            ),
            // docker's own machine on Windows has that kernel, too.
            (
                of(&|s| (s.osrelease, s.dockerenv) = ("5.15-Microsoft".into(), true)),
                Place::Docker,
                "/.dockerenv",
            ),
            (signs("22 27 0:21 / /proc rw - proc proc rw\n"), Place::Chroot, "/ is no mount"),
            (
                Signs { other_root: Some(true), own_mounts: Some(false), ..machine.clone() },
                Place::Chroot,
                "a root of its own",
            ),
            (
                Signs { other_root: Some(true), own_mounts: Some(true), ..machine.clone() },
                Place::Container,
                "a root and mounts of its own",
            ),
            // As by `unshare --mount`.
            (Signs { other_root: Some(false), own_mounts: Some(true), ..machine }, Place::Host, ""),
            // No /proc at all.
            (Signs::default(), Place::Host, ""),
        ];
        for (signs, place, sign) in cases {
            assert_eq!(signs.place(), (place, sign.to_owned()), "{signs:?}");
        }
    }

    #[test]
    fn proc_is_mounted() {
        assert!(mount_points().contains(&"/proc".into()));
    }

    #[test]
    fn words_are_different_and_made_for_programs() {
        let mut words: Vec<_> = Place::ALL.iter().map(|place| place.word()).collect();
        assert!(words.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')));
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Place::ALL.len());
    }
}
