//! Which ids a sandbox gets, and what they are outside.
//!
//! | who runs | map |
//! |---|---|
//! | root | its /etc/subuid range, else 65,536 high ids nobody uses, else (nested, nothing high to take) identity |
//! | a user with newuidmap and sub-ids | 0 is the user, 1.. are the sub-ids |
//! | anybody else, and whoever has no_new_privs or may not set groups | 0 is the user, nothing more |
//!
//! Root's own id 0 is never in a sandbox where that can be helped: a step that gets out is nobody. The choice
//! ([`Machine::choose`]) is a pure function of what [`Machine::load`] read.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::environment::{self, Facts};
use crate::{Error, Result};

mod write;

/// Ids 0 to 65,535 are what images use: the 16-bit range with `nobody` (65534) in it.
const WANTED: u32 = 65_536;

/// Far above what distributions, directories and systemd's containers (up to 0x6FFF_FFFF) hand out.
const UNUSED_BASE: u32 = 0x7000_0000;

/// CAP_SETGID and CAP_SETUID, as bits of the effective set.
const MAPPING_CAPABILITIES: u64 = 1 << 6 | 1 << 7;

/// The ids of a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// Users.
    pub uids: Vec<Extent>,
    /// Groups.
    pub gids: Vec<Extent>,
    /// Who writes the map.
    pub method: MapMethod,
}

/// A run of ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// First id inside.
    pub inside: u32,
    /// First id outside, as the engine's own user namespace counts.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// Who writes an id map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MapMethod {
    /// The engine, which has the capabilities for it.
    Direct,
    /// newuidmap and newgidmap.
    Helper,
    /// The engine, without capabilities: one id, its own, and no setgroups.
    Single,
    /// Nobody: there is no user namespace, ids are the machine's.
    Machine,
}

/// Why a process gets one id and no range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OneId {
    /// Inside a namespace that was made with one id.
    OuterNamespace,
    /// Root without the capabilities to map.
    NoCapabilities,
    /// no_new_privs disarms newuidmap.
    NoNewPrivileges,
    /// There is no newuidmap.
    NoHelper,
    /// /etc/subuid or /etc/subgid has no line for the user.
    NoRange,
}

impl IdMap {
    /// The best map that this process can have on this machine.
    ///
    /// # Errors
    /// If /proc/self cannot be read.
    pub fn detect() -> Result<Self> {
        Ok(Machine::load()?.choose())
    }

    /// One user and one group: 0 inside, these outside.
    pub fn single(uid: u32, gid: u32) -> Self {
        let one = |outside| vec![Extent { inside: 0, outside, count: 1 }];
        Self { uids: one(uid), gids: one(gid), method: MapMethod::Single }
    }

    /// All ids as they are, for a command without a user namespace.
    pub fn of_machine() -> Self {
        let all = || vec![Extent { inside: 0, outside: 0, count: u32::MAX }];
        Self { uids: all(), gids: all(), method: MapMethod::Machine }
    }

    /// Whether only one id can be had.
    pub fn is_single(&self) -> bool {
        self.method == MapMethod::Single
    }

    /// What gives this process more than one id, as the end of a sentence; empty if it could have more.
    pub fn one_id_cure() -> String {
        let facts = Facts::load();
        facts.one_id.map(|why| format!(": {}", environment::one_id_cure(why, &facts))).unwrap_or_default()
    }

    /// How many ids are there of users and of groups both.
    pub fn count(&self) -> u64 {
        let count = |extents: &[Extent]| extents.iter().map(|extent| u64::from(extent.count)).sum::<u64>();
        count(&self.uids).min(count(&self.gids))
    }

    /// What user `inside` is outside.
    pub fn host_uid(&self, inside: u32) -> Option<u32> {
        outside(&self.uids, inside)
    }

    /// What group `inside` is outside.
    pub fn host_gid(&self, inside: u32) -> Option<u32> {
        outside(&self.gids, inside)
    }

    /// The error for an id that is not in the map.
    pub(crate) fn unmapped(&self, kind: &'static str, id: u32) -> Error {
        let cure = match self.method {
            MapMethod::Single => format!("steps have one id only{}", Self::one_id_cure()),
            MapMethod::Direct | MapMethod::Helper | MapMethod::Machine => {
                let extents = if kind == "user" { &self.uids } else { &self.gids };
                let ids: u64 = extents.iter().map(|extent| u64::from(extent.count)).sum();
                format!(
                    "the range in /etc/subuid and /etc/subgid gives {ids} ids: use a smaller one or widen it"
                )
            }
        };
        Error::Unmapped { kind, id, cure }
    }
}

fn outside(extents: &[Extent], inside: u32) -> Option<u32> {
    extents.iter().find_map(|extent| {
        let offset = inside.checked_sub(extent.inside).filter(|offset| *offset < extent.count)?;
        extent.outside.checked_add(offset)
    })
}

/// What the choice depends on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    uid: u32,
    gid: u32,
    /// The user's names, as /etc/subuid may hold them.
    names: Vec<String>,
    effective_capabilities: u64,
    no_new_privs: bool,
    /// Inside a namespace made with one id, where even root may not set groups, nor may its descendants.
    setgroups_denied: bool,
    /// The engine's own /proc/self/uid_map and gid_map.
    uid_map: String,
    gid_map: String,
    subuid: String,
    subgid: String,
    has_helpers: bool,
}

impl Machine {
    pub(crate) fn load() -> Result<Self> {
        let uid = rustix::process::geteuid().as_raw();
        let status = read("/proc/self/status")?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("").trim();
        Ok(Self {
            uid,
            gid: rustix::process::getegid().as_raw(),
            names: names_of(uid),
            effective_capabilities: u64::from_str_radix(field("CapEff:"), 16).unwrap_or(0),
            no_new_privs: field("NoNewPrivs:") == "1",
            // Kernels before 3.19 have neither the file nor the rule.
            setgroups_denied: fs::read_to_string("/proc/self/setgroups")
                .is_ok_and(|text| text.trim() == "deny"),
            uid_map: read("/proc/self/uid_map")?,
            gid_map: read("/proc/self/gid_map")?,
            subuid: fs::read_to_string("/etc/subuid").unwrap_or_default(),
            subgid: fs::read_to_string("/etc/subgid").unwrap_or_default(),
            has_helpers: find_program("newuidmap").is_some() && find_program("newgidmap").is_some(),
        })
    }

    pub(crate) fn choose(&self) -> IdMap {
        if self.one_id().is_some() {
            return IdMap::single(self.uid, self.gid);
        }
        if self.uid == 0 { self.as_root() } else { self.with_helper() }
    }

    /// Why there is no range of ids, if there is none.
    pub(crate) fn one_id(&self) -> Option<OneId> {
        let capable = self.effective_capabilities & MAPPING_CAPABILITIES == MAPPING_CAPABILITIES;
        let has_range = |text| !sub_ids(text, &self.names, self.uid).is_empty();
        match self.uid {
            _ if self.setgroups_denied => Some(OneId::OuterNamespace),
            0 => (!capable).then_some(OneId::NoCapabilities),
            _ if self.no_new_privs => Some(OneId::NoNewPrivileges),
            _ if !self.has_helpers => Some(OneId::NoHelper),
            _ => (!has_range(&self.subuid) || !has_range(&self.subgid)).then_some(OneId::NoRange),
        }
    }

    /// As /etc/subuid names the user.
    pub(crate) fn user(&self) -> String {
        self.names.first().cloned().unwrap_or_else(|| self.uid.to_string())
    }

    fn as_root(&self) -> IdMap {
        let sub_ids = |text, map: &[Extent]| {
            let found = sub_ids(text, &self.names, self.uid);
            found.into_iter().find(|range| range.1 >= WANTED && covers(map, range.0, WANTED))
        };
        let (uid_map, gid_map) = (parse_map(&self.uid_map), parse_map(&self.gid_map));
        let own = sub_ids(&self.subuid, &uid_map).zip(sub_ids(&self.subgid, &gid_map));
        let unused = covers(&uid_map, UNUSED_BASE, WANTED) && covers(&gid_map, UNUSED_BASE, WANTED);
        let bases = match own {
            Some((uids, gids)) => Some((uids.0, gids.0)),
            None => unused.then_some((UNUSED_BASE, UNUSED_BASE)),
        };
        let range = |outside| vec![Extent { inside: 0, outside, count: WANTED }];
        let (uids, gids) = match bases {
            Some((uid, gid)) => (range(uid), range(gid)),
            None => (identity(&uid_map), identity(&gid_map)),
        };
        IdMap { uids, gids, method: MapMethod::Direct }
    }

    fn with_helper(&self) -> IdMap {
        let extents = |own, text| own_then(own, &sub_ids(text, &self.names, self.uid));
        let (uids, gids) = (extents(self.uid, &self.subuid), extents(self.gid, &self.subgid));
        IdMap { uids, gids, method: MapMethod::Helper }
    }
}

/// 0 is `own`, then the ranges one after the other.
fn own_then(own: u32, ranges: &[(u32, u32)]) -> Vec<Extent> {
    let mut extents = vec![Extent { inside: 0, outside: own, count: 1 }];
    let mut inside = 1;
    for (outside, available) in ranges {
        let count = (*available).min(WANTED - inside);
        if count > 0 {
            extents.push(Extent { inside, outside: *outside, count });
            inside += count;
        }
    }
    extents
}

/// The ids of the surrounding namespace as they are. One extent for each of its own: the kernel wants it so.
fn identity(map: &[Extent]) -> Vec<Extent> {
    let clipped = map.iter().filter(|extent| extent.inside < WANTED).map(|extent| Extent {
        inside: extent.inside,
        outside: extent.inside,
        count: extent.count.min(WANTED - extent.inside),
    });
    clipped.collect()
}

/// Whether one extent of the surrounding namespace holds `count` ids from `first`.
fn covers(map: &[Extent], first: u32, count: u32) -> bool {
    map.iter().any(|extent| {
        let end = u64::from(extent.inside) + u64::from(extent.count);
        first >= extent.inside && u64::from(first) + u64::from(count) <= end
    })
}

fn parse_map(text: &str) -> Vec<Extent> {
    let line = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(Extent { inside: next()?, outside: next()?, count: next()? })
    };
    text.lines().filter_map(line).collect()
}

/// The (first, count) ranges of /etc/subuid or /etc/subgid for a user, by name or number.
fn sub_ids(text: &str, names: &[String], uid: u32) -> Vec<(u32, u32)> {
    let range = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let own = names.iter().any(|name| name == owner) || owner.parse() == Ok(uid);
        let range: (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (own && range.1 > 0).then_some(range)
    };
    text.lines().filter_map(range).collect()
}

/// The user's names. /etc/passwd is read by hand, as a static program has no name service; `USER` stands in for
/// directories that are not in it, and is harmless because newuidmap checks again.
fn names_of(uid: u32) -> Vec<String> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    };
    let mut names: Vec<String> = passwd.lines().filter_map(name).collect();
    if names.is_empty() {
        names.extend(std::env::var("USER"));
    }
    names
}

/// A program along PATH or in the usual places, which `su` and cron leave out of it.
/// A program of the machine, along PATH and in the usual folders.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin"].map(PathBuf::from);
    let mut places = std::env::split_paths(&path).chain(usual).filter(|place| place.is_absolute());
    places.find_map(|place| Some(place.join(name)).filter(|program| program.is_file()))
}

fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    fs::read_to_string(path).map_err(|source| io_error(format!("read {}", path.display()), source))
}

fn io_error(operation: String, source: io::Error) -> Error {
    Error::Io { operation, source }
}

#[cfg(test)]
#[path = "ids/tests.rs"]
mod tests;
