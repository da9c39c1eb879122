//! The control groups that this process is in.

use std::fs;
use std::path::{Path, PathBuf};

use super::Wanted;

/// What a group of version 1 without a limit says is larger.
const UNLIMITED: u64 = 1 << 62;

/// The bytes of memory that the control groups of this process allow it and all others in them; none if they do not say.
pub fn memory_limit() -> Option<u64> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let hierarchies = hierarchies(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"));
    hierarchies.iter().filter_map(Hierarchy::memory_limit).min()
}

/// A tree of control groups that is mounted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    pub(super) is_second: bool,
    /// Those of version 1, which has a tree for each.
    pub(super) controllers: Vec<String>,
    /// Where the tree is mounted.
    pub(super) point: PathBuf,
    /// The group of this process.
    pub(super) own: PathBuf,
}

impl Hierarchy {
    pub(super) fn has(&self, controller: &str) -> bool {
        self.is_second || self.controllers.iter().any(|known| known == controller)
    }

    /// Where a group for all of these can be tried, the nearest first.
    pub(super) fn parents(&self, wanted: &[Wanted]) -> Vec<PathBuf> {
        if !self.is_second {
            return vec![self.own.clone()];
        }
        let hands_down = |folder: &&Path| {
            let text = fs::read_to_string(folder.join("cgroup.subtree_control")).unwrap_or_default();
            wanted.iter().all(|wanted| text.split_whitespace().any(|known| known == wanted.controller()))
        };
        self.groups().filter(hands_down).map(Path::to_owned).collect()
    }

    /// The process's own group, and those above it.
    fn groups(&self) -> impl Iterator<Item = &Path> {
        self.own.ancestors().take_while(|folder| folder.starts_with(&self.point))
    }

    /// The bytes of memory that all of them allow.
    pub(super) fn memory_limit(&self) -> Option<u64> {
        let file = match self.is_second {
            true => "memory.max",
            false if self.has("memory") => "memory.limit_in_bytes",
            false => return None,
        };
        // Those of version 2 without one say `max`.
        let limit = |folder: &Path| fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok();
        self.groups().filter_map(limit).filter(|bytes| *bytes < UNLIMITED).min()
    }
}

/// Those of a process, by its mountinfo and its cgroup file (proc(5)); version 2 first.
pub(super) fn hierarchies(mountinfo: &str, groups: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = mountinfo.lines().filter_map(|line| hierarchy(line, groups)).collect();
    found.sort_by_key(|hierarchy| !hierarchy.is_second);
    found
}

fn hierarchy(line: &str, groups: &str) -> Option<Hierarchy> {
    let (place, filesystem) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, point) = (place.next()?, place.next()?);
    let mut filesystem = filesystem.split(' ');
    let kind = filesystem.next()?;
    let controllers: Vec<String> = match kind {
        "cgroup2" => Vec::new(),
        "cgroup" => filesystem.nth(1)?.split(',').map(str::to_owned).collect(),
        _ => return None,
    };
    let own = groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (of, path) = (fields.next()?, fields.next()?);
        let is_it = match kind {
            "cgroup2" => of.is_empty(),
            _ => !of.is_empty() && of.split(',').all(|one| controllers.iter().any(|known| known == one)),
        };
        is_it.then_some(path)
    })?;
    // What is mounted may be a part of the tree.
    let inside = Path::new(own).strip_prefix(root).ok()?;
    let own = Path::new(point).join(inside);
    Some(Hierarchy { is_second: kind == "cgroup2", controllers, point: point.into(), own })
}
