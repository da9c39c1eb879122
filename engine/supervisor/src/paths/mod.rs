//! Answers the calls of a command that has no mounts: its root is a directory (chroot(2)), in which /proc, /sys and parts of
//! /dev are stubs.
//!
//! Calls that name a file by its path stop in the command. Those whose path leads into a stub are answered from this
//! machine's own files, as the caller and never as this program; the kernel carries out all others. What gives a
//! descriptor hands over one of the real file, so that what is done with it, directories included, needs no answers.
//!
//! **Limits.** A child of a process that became somebody else, without a program of its own yet, can't be looked into and
//! sees the stubs; so does who names a file of a stub from an open directory of the command's root. A current directory
//! in a stub is only remembered by its name. Programs of other architectures than those of the filter see the stubs.
//!
//! | module | what |
//! |---|---|
//! | `walk` | from a path to a place of this machine |
//! | `memories` | what the callers say |
//! | `who` | the caller, and looking as it does |
//! | `held` | the file there, whatever becomes of its path |
//! | `answers` | what the calls do there |
//! | `mounts` | the table of mounts |

mod answers;
mod held;
mod memories;
mod mounts;
mod walk;
mod who;

use crate::{Caller, Outcome};
use memories::Memories;
use rbuild_overlay::Errno;
use rbuild_sandbox::notify::{Answer, Call, Listener, Notification};
use std::{
    cell::OnceCell,
    ffi::OsStr,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};
use walk::Root;
use who::Who;

/// Answers the calls of one command.
#[derive(Debug)]
pub struct PathSupervisor {
    listener: Listener,
    root: Root,
    memories: Memories,
    /// Whether a process may have another root.
    has_chroots: bool,
}

impl PathSupervisor {
    /// For the calls that arrive at `listener`, of a command whose root is the directory at `root`.
    ///
    /// # Errors
    /// It can't be opened.
    pub fn new(listener: Listener, root: &Path) -> io::Result<Self> {
        let root = Root::open(&fs::canonicalize(root)?, walk::is_own)?;
        Ok(Self { listener, root, memories: Memories::default(), has_chroots: false })
    }

    /// Answers until every process of the command has ended.
    ///
    /// # Errors
    /// The kernel gives no calls any more. The command must be ended then: its calls would be refused as unknown.
    pub fn run(&mut self) -> io::Result<()> {
        while let Some(notification) = self.listener.receive()? {
            self.answer(&notification).tell(&self.listener, &notification)?;
        }
        Ok(())
    }

    fn answer(&mut self, notification: &Notification) -> Outcome {
        let go_on = Outcome::CONTINUE;
        if notification.call == Call::Chroot {
            self.has_chroots = true;
            return go_on;
        }
        let Ok((kept, name)) = self.memories.read(&self.listener, notification) else { return go_on };
        let pid = notification.pid;
        let foreign = kept.is_foreign.then(|| Who::of(pid));
        let _looking = foreign.and_then(|who| Some(who.ok()?.looks()));
        let Some(path) = self.absolute(pid, &name.path) else { return go_on };
        let follow = name.follow || walk::is_of_directory(&path);
        let Some(path) = self.root.leads_out(&path, follow) else { return go_on };
        if self.has_chroots && !self.has_our_root(pid) {
            return go_on;
        }
        let caller = Caller { listener: &self.listener, notification, memory: OnceCell::from(kept.memory) };
        let answered = foreign.unwrap_or_else(|| Who::of(pid)).and_then(|who| {
            let _looking = who.looks();
            let place = self.root.find(&path, follow, &who)?;
            if !self.listener.is_waiting(notification) {
                return Err(Errno::SRCH);
            }
            answers::answer(&caller, &self.root, &who, &path, &place)
        });
        answered.unwrap_or_else(|errno| Outcome::Answer(Answer::Error(errno.raw_os_error())))
    }

    /// A path from the root; nothing if it begins outside, or nobody knows where.
    fn absolute(&self, pid: u32, path: &[u8]) -> Option<Vec<u8>> {
        match path {
            [] => None,
            [b'/', ..] => Some(path.to_vec()),
            path => {
                let start: PathBuf = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
                let start = self.root.inside(&start)?;
                Some(start.join(OsStr::from_bytes(path)).into_os_string().into_encoded_bytes())
            }
        }
    }

    fn has_our_root(&self, pid: u32) -> bool {
        fs::read_link(format!("/proc/{pid}/root")).is_ok_and(|root| root == self.root.path())
    }
}
