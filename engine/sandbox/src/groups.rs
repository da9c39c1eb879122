//! Control groups that hold one sandbox to its limits (cgroups(7)).
//!
//! Of version 2 a group is made where one of this process's own groups, or one above it, hands the controller down and
//! can be written: as the slices of systemd's user sessions. Of version 1 it is made in the process's own group, which
//! root may. What no group could be made for stays for the command to be held to by itself.
//!
//! Limits: a group of version 2 that holds processes hands nothing down, and its processes are not moved to change that.

mod hierarchy;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Limits;

pub use hierarchy::memory_limit;
use hierarchy::{Hierarchy, hierarchies};

/// How the names of our groups begin; then come the number of the engine's process and one of its own.
const PREFIX: &str = "rbuild-";

/// The period over which the processors are shared out, in microseconds: the kernel's default.
const PERIOD: u64 = 100_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The groups of a sandbox, gone with this value: by then it must have ended.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    folders: Vec<PathBuf>,
    /// The file that counts who was killed for want of memory.
    events: Option<PathBuf>,
}

/// What a controller is to hold somebody to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// Bytes.
    Memory(u64),
    /// Thousandths of a processor.
    Cpus(u32),
}

impl Wanted {
    fn controller(self) -> &'static str {
        match self {
            Self::Memory(_) => "memory",
            Self::Cpus(_) => "cpu",
        }
    }

    /// What is written where, in this order; what not every kernel has is not needed.
    fn settings(self, is_second: bool) -> Vec<(&'static str, String, bool)> {
        match (self, is_second) {
            (Self::Memory(bytes), true) => {
                vec![("memory.max", bytes.to_string(), true), ("memory.swap.max", "0".to_owned(), false)]
            }
            (Self::Memory(bytes), false) => vec![
                ("memory.limit_in_bytes", bytes.to_string(), true),
                ("memory.memsw.limit_in_bytes", bytes.to_string(), false),
            ],
            (Self::Cpus(thousandths), true) => {
                vec![("cpu.max", format!("{} {PERIOD}", quota(thousandths)), true)]
            }
            (Self::Cpus(thousandths), false) => vec![
                ("cpu.cfs_period_us", PERIOD.to_string(), true),
                ("cpu.cfs_quota_us", quota(thousandths).to_string(), true),
            ],
        }
    }
}

/// Microseconds of each period; the kernel takes no fewer than a thousand.
fn quota(thousandths: u32) -> u64 {
    (u64::from(thousandths) * PERIOD / 1000).max(1000)
}

impl Groups {
    /// Makes what can be made for a process, and takes it out of the limits.
    pub(crate) fn make(limits: &mut Limits, pid: u32) -> Self {
        let mut groups = Self::default();
        let mut wanted: Vec<Wanted> = Vec::new();
        wanted.extend(limits.memory.map(Wanted::Memory));
        wanted.extend(limits.cpus.map(Wanted::Cpus));
        if wanted.is_empty() {
            return groups;
        }
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        for hierarchy in hierarchies(&text("/proc/self/mountinfo"), &text("/proc/self/cgroup")) {
            let here: Vec<Wanted> =
                wanted.iter().copied().filter(|wanted| hierarchy.has(wanted.controller())).collect();
            let made = groups.make_in(&hierarchy, &here, pid);
            wanted.retain(|wanted| !made.contains(wanted));
        }
        if !wanted.iter().any(|wanted| matches!(wanted, Wanted::Memory(_))) {
            limits.memory = None;
        }
        if !wanted.iter().any(|wanted| matches!(wanted, Wanted::Cpus(_))) {
            limits.cpus = None;
        }
        groups
    }

    /// One group for all of these, else for the first that can be had; for which it was made.
    fn make_in(&mut self, hierarchy: &Hierarchy, wanted: &[Wanted], pid: u32) -> Vec<Wanted> {
        let each = wanted.iter().map(std::slice::from_ref);
        for some in [wanted].into_iter().chain(each).filter(|some| !some.is_empty()) {
            for parent in hierarchy.parents(some) {
                let Ok(folder) = make_group(&parent, some, hierarchy.is_second, pid) else { continue };
                if some.iter().any(|wanted| matches!(wanted, Wanted::Memory(_))) {
                    let name = if hierarchy.is_second { "memory.events" } else { "memory.oom_control" };
                    self.events = Some(folder.join(name));
                }
                self.folders.push(folder);
                return some.to_vec();
            }
        }
        Vec::new()
    }

    /// Whether a process was killed since there was no memory left.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        let text = self.events.as_ref().and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        text.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for folder in &self.folders {
            // One that is left over is removed when the next is made beside it.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// What is said of the limits that no control group could be made for.
pub(crate) fn without_groups(limits: &Limits) -> Option<String> {
    let memory = limits.memory.map(|_| "each process may have all of `memory`".to_owned());
    let cpus = limits.cpus.map(|cpus| format!("`cpus` is {} in whole", cpus.div_ceil(1000)));
    let said: Vec<String> = memory.into_iter().chain(cpus).collect();
    let why = "no control group can be made here for the limits of steps";
    (!said.is_empty()).then(|| format!("{why}: {}", said.join(", and ")))
}

fn make_group(parent: &Path, wanted: &[Wanted], is_second: bool, pid: u32) -> io::Result<PathBuf> {
    remove_left(parent);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = parent.join(format!("{PREFIX}{}-{number}", std::process::id()));
    fs::create_dir(&folder)?;
    let fill = || {
        for (file, value, is_needed) in wanted.iter().flat_map(|wanted| wanted.settings(is_second)) {
            match fs::write(folder.join(file), value) {
                Err(error) if is_needed => return Err(error),
                _ => {}
            }
        }
        fs::write(folder.join("cgroup.procs"), pid.to_string())
    };
    match fill() {
        Ok(()) => Ok(folder),
        Err(error) => {
            fs::remove_dir(&folder)?;
            Err(error)
        }
    }
}

/// Removes the groups of engines that were killed.
fn remove_left(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let engine = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        if engine.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // One that is in use can't be removed.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

#[cfg(test)]
#[path = "groups_tests.rs"]
mod tests;
