//! Who makes a call.

use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
use rustix::io::Errno;
use std::fs;

/// What /proc says of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) thread: u32,
    pub(crate) process: u32,
    /// As whom it opens files.
    pub(crate) user: u32,
    pub(crate) group: u32,
    pub(crate) umask: u32,
}

impl Who {
    /// That of a thread.
    ///
    /// # Errors
    /// ESRCH if it is gone.
    pub(crate) fn of(thread: u32) -> Result<Self, Errno> {
        let status = fs::read_to_string(format!("/proc/{thread}/status")).map_err(|_| Errno::SRCH)?;
        Self::parse(thread, &status).ok_or(Errno::SRCH)
    }

    fn parse(thread: u32, status: &str) -> Option<Self> {
        let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        let last = |name| line(name)?.split('\t').nth(3)?.parse().ok();
        Some(Self {
            thread,
            process: line("Tgid")?.parse().ok()?,
            user: last("Uid")?,
            group: last("Gid")?,
            // Since Linux 4.7.
            umask: line("Umask").and_then(|text| u32::from_str_radix(text, 8).ok()).unwrap_or(0o022),
        })
    }

    /// Has this thread open files as the caller would, until the result is dropped: what it may not see, it is not shown.
    pub(crate) fn looks(&self) -> Looking {
        // The group first, which takes the user's capabilities.
        let (group, user) = (Gid::from_raw(self.group), Uid::from_raw(self.user));
        Looking { group: setfsgid(group), user: setfsuid(user) }
    }
}

/// This thread opens files as somebody else. Supplementary groups stay its own.
pub(crate) struct Looking {
    user: Uid,
    group: Gid,
}

impl Drop for Looking {
    fn drop(&mut self) {
        setfsuid(self.user);
        setfsgid(self.group);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ids_count() {
        let status =
            "Name:\tx\nUmask:\t0027\nTgid:\t7\nPid:\t9\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t\n";
        let expected = Who { thread: 9, process: 7, user: 4, group: 8, umask: 0o027 };
        assert_eq!(Who::parse(9, status), Some(expected));
        assert_eq!(Who::parse(9, "Name:\tx\n"), None);
        let own = Who::of(std::process::id()).map(|who| who.process);
        assert_eq!(own, Ok(std::process::id()));
    }
}
