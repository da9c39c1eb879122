//! The processes of this pid namespace, as /proc has them.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid};

/// One, which may have ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub id: i32,
    /// Its parent's; 0 if that is outside.
    pub parent: i32,
    /// Its name, at most 15 bytes.
    pub name: String,
}

impl Process {
    /// Those that have ended, too, if nobody has asked how.
    pub(crate) fn all() -> Vec<Self> {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        numbers.filter_map(Self::find).collect()
    }

    fn find(id: i32) -> Option<Self> {
        Self::parse(id, &fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
    }

    /// `pid (name) state parent`, where the name may hold anything.
    fn parse(id: i32, stat: &str) -> Option<Self> {
        let (start, rest) = stat.rsplit_once(") ")?;
        let (_, name) = start.split_once(" (")?;
        let mut rest = rest.split(' ');
        let (_state, parent) = (rest.next()?, rest.next()?.parse().ok()?);
        Some(Self { id, parent, name: name.to_owned() })
    }

    /// Whether a thread of it has not ended: others go on after the first one.
    fn is_alive(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.id)).into_iter().flatten().flatten();
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok()).any(|stat| {
            let state = stat.rsplit_once(") ").map(|(_, rest)| rest.as_bytes());
            state.is_some_and(|state| !state.starts_with(b"Z") && !state.starts_with(b"X"))
        })
    }

    /// The numbers of this one and of those that wait for it: its parent, and so on.
    pub fn line() -> Vec<i32> {
        let mut line = vec![getpid().as_raw()];
        while let Some(parent) = line.last().and_then(|id| Self::find(*id)).map(|process| process.parent)
            && parent != 0
            && !line.contains(&parent)
        {
            line.push(parent);
        }
        line
    }

    /// All but these and those that read what they print, as in `rbuild | tee log`.
    pub fn others() -> Vec<Self> {
        let mut known = Self::line();
        let mut others = Self::all();
        others.retain(Self::is_alive);
        loop {
            let pipes: Vec<PathBuf> =
                known.iter().flat_map(|id| [1, 2].map(|file| pipe(*id, file))).flatten().collect();
            let reads = |process: &Self| pipe(process.id, 0).is_some_and(|pipe| pipes.contains(&pipe));
            others.retain(|process| !known.contains(&process.id));
            let readers: Vec<i32> =
                others.iter().filter(|process| reads(process)).map(|process| process.id).collect();
            if readers.is_empty() {
                return others;
            }
            known.extend(readers);
        }
    }

    /// Kills all others that were not started from outside, and waits for their end.
    pub(crate) fn end_others() {
        loop {
            let mut others = Self::others();
            others.retain(|process| process.parent != 0);
            if others.is_empty() {
                return;
            }
            for process in others {
                // It may have ended already.
                let _ = kill(Pid::from_raw(process.id), Signal::SIGKILL);
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The pipe that a descriptor is an end of.
fn pipe(id: i32, file: i32) -> Option<PathBuf> {
    let target = fs::read_link(format!("/proc/{id}/fd/{file}")).ok()?;
    target.as_os_str().as_bytes().starts_with(b"pipe:").then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernel() {
        let process = |parent, name: &str| Some(Process { id: 7, parent, name: name.to_owned() });
        assert_eq!(Process::parse(7, "7 (sh) S 1 7 7 0 -1"), process(1, "sh"));
        assert_eq!(Process::parse(7, "7 (a) R (b) S 0 7"), process(0, "a) R (b"));
        assert_eq!(Process::parse(7, "7 (sh) Z 1 7"), process(1, "sh"), "it may have other threads");
        assert_eq!(Process::parse(7, ""), None);
    }

    #[test]
    fn this_one_and_those_above_are_no_others() {
        let (all, others) = (Process::all(), Process::others());
        let own = getpid().as_raw();
        let parent = all.iter().find(|process| process.id == own).map(|process| process.parent);
        assert!(parent.is_some());
        assert!(others.iter().all(|other| other.id != own && Some(other.id) != parent), "{others:?}");
    }
}
