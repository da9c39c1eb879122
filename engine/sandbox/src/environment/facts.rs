//! What a machine says of itself, as far as it explains a refusal.

use std::fs;

use super::place::{Place, Signs};
use crate::child::NAME;
use crate::ids::{Machine, OneId};

/// What a machine says of itself.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Who gave this process its root.
    pub place: Place,
    /// What told it; empty for [`Place::Host`].
    pub sign: String,
    /// `6.12.9-amd64`
    pub kernel: String,
    /// Whether this is user 0.
    pub root: bool,
    /// As /etc/subuid names the user: the name, else the number.
    pub user: String,
    /// `user.max_user_namespaces`
    pub max_user_namespaces: Option<u64>,
    /// `user.max_net_namespaces`
    pub max_net_namespaces: Option<u64>,
    /// Debian's and Arch's own switch; most kernels don't have it.
    pub unprivileged_userns_clone: Option<u64>,
    /// `kernel.apparmor_restrict_unprivileged_userns`
    pub apparmor_restricts_userns: Option<u64>,
    /// Name of the enforced AppArmor profile this process runs under.
    pub apparmor_profile: Option<String>,
    /// SELinux refuses what its policy doesn't allow.
    pub selinux: bool,
    /// A seccomp filter is on this process.
    pub filtered: bool,
    /// This process is of a step.
    pub in_step: bool,
    /// The kernel can ask a supervisor about a system call.
    pub notification: bool,
    /// Capabilities that steps use and root lacks here; empty for others.
    pub lacking: Vec<&'static str>,
    /// Why this process can't have a range of ids, if it can't.
    pub one_id: Option<OneId>,
    /// The control groups of this process.
    pub cgroups: Cgroups,
}

/// Which control groups there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cgroups {
    /// Version 1 is mounted.
    pub first: bool,
    /// Version 2 is mounted; both are: a hybrid.
    pub second: bool,
}

impl Facts {
    /// Reads them. What can't be read is unknown.
    pub fn load() -> Self {
        let number = |path| text(path).trim().parse().ok();
        let status = text("/proc/self/status");
        let profile = text("/proc/self/attr/current");
        let profile = profile.trim_end_matches(['\n', '\0']);
        let (place, sign) = Signs::load().place();
        let machine = Machine::load().unwrap_or_default();
        let root = rustix::process::geteuid().is_root();
        Self {
            place,
            sign,
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            root,
            user: machine.user(),
            max_user_namespaces: number("/proc/sys/user/max_user_namespaces"),
            max_net_namespaces: number("/proc/sys/user/max_net_namespaces"),
            unprivileged_userns_clone: number("/proc/sys/kernel/unprivileged_userns_clone"),
            apparmor_restricts_userns: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            apparmor_profile: profile.contains("(enforce)").then(|| profile.to_owned()),
            selinux: number("/sys/fs/selinux/enforce") == Some(1_u64),
            filtered: status.lines().any(|line| line.starts_with("Seccomp:") && line.ends_with('2')),
            in_step: text("/proc/1/comm").trim_end() == NAME,
            notification: text("/proc/sys/kernel/seccomp/actions_avail").contains("user_notif"),
            lacking: if root { lacking(&status) } else { Vec::new() },
            one_id: machine.one_id(),
            cgroups: Cgroups::load(),
        }
    }

    /// Whether the kernel is of this version or later; an unreadable version is taken for a new one.
    pub fn has_kernel(&self, wanted: (u32, u32)) -> bool {
        let mut numbers = self.kernel.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= wanted,
            _ => true,
        }
    }
}

/// Those that installing packages takes, and ending processes of others, by their numbers.
const USED: [(u32, &str); 8] = [
    (0, "CHOWN"),
    (1, "DAC_OVERRIDE"),
    (3, "FOWNER"),
    (4, "FSETID"),
    (5, "KILL"),
    (6, "SETGID"),
    (7, "SETUID"),
    (31, "SETFCAP"),
];

/// Those that a process lacks, by its status; none if that can't be read.
fn lacking(status: &str) -> Vec<&'static str> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|number| u64::from_str_radix(number.trim(), 16).ok());
    let effective = effective.unwrap_or(u64::MAX);
    USED.iter().filter(|(bit, _)| effective & (1 << bit) == 0).map(|(_, name)| *name).collect()
}

impl Cgroups {
    fn load() -> Self {
        let mounts = text("/proc/self/mountinfo");
        Self { first: mounts.contains(" - cgroup "), second: mounts.contains(" - cgroup2 ") }
    }
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_of_this_machine_load() {
        let facts = Facts::load();
        assert_eq!(facts.root, rustix::process::geteuid().is_root());
        assert!(facts.kernel.contains('.') && !facts.user.is_empty());
    }

    #[test]
    fn capabilities_that_root_lacks() {
        assert_eq!(lacking("CapPrm:\t0\nCapEff:\t00000000a80425fb\n"), [""; 0], "docker's usual ones");
        assert_eq!(
            lacking("CapEff:\t0000000000040001\n"),
            ["DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETFCAP"]
        );
        assert_eq!(lacking(""), [""; 0]);
    }

    #[test]
    fn kernel_versions() {
        let facts = |kernel: &str| Facts { kernel: kernel.to_owned(), ..Facts::default() };
        for (kernel, wanted, has) in [
            ("5.10.0-33-amd64", (5, 11), false),
            ("5.11", (5, 11), true),
            ("6.1.0", (5, 11), true),
            ("3.10.0-1160.el7.x86_64", (4, 18), false),
            ("4.18.0-553.el8_10.x86_64", (4, 18), true),
            ("5.15.90.1-microsoft-standard-WSL2", (5, 15), true),
            ("", (5, 11), true),
        ] {
            assert_eq!(facts(kernel).has_kernel(wanted), has, "{kernel}");
        }
    }
}
