//! The memories of callers, kept from call to call.
//!
//! A process that becomes somebody else can't be looked into until its next program; but a memory that was opened before
//! stays open.

use super::{answers, who::Who};
use crate::{Caller, memory::Memory, resolve::Name};
use rbuild_overlay::Errno;
use rbuild_sandbox::notify::{Call, Listener, Notification};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::{cell::OnceCell, collections::HashMap};

/// Each is a descriptor.
const MOST: usize = 64;

/// Of processes that have made a call.
#[derive(Debug, Default)]
pub(super) struct Memories(HashMap<u32, Kept>);

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) memory: Memory,
    /// Whether it is of somebody else, as whom this thread must look to see the process.
    pub(super) is_foreign: bool,
}

impl Memories {
    /// The caller's memory and what its call names.
    ///
    /// # Errors
    /// It can't be looked into; EFAULT, ENAMETOOLONG.
    pub(super) fn read(
        &mut self,
        listener: &Listener,
        notification: &Notification,
    ) -> Result<(Kept, Name), Errno> {
        let pid = notification.pid;
        let name = |kept: &Kept| {
            let memory = OnceCell::from(kept.memory.clone());
            answers::named(&Caller { listener, notification, memory })
        };
        // One that was kept may be of a program that has ended.
        let known = self.0.get(&pid).cloned().and_then(|kept| Some((name(&kept).ok()?, kept)));
        let (name, kept) = match known {
            Some(found) => found,
            None => {
                let kept = Kept::open(pid)?;
                if !listener.is_waiting(notification) {
                    return Err(Errno::SRCH);
                }
                self.keep(pid, &kept);
                (name(&kept)?, kept)
            }
        };
        // The next program has a memory of its own.
        if notification.call == Call::Execve {
            self.0.remove(&pid);
        }
        Ok((kept, name))
    }

    fn keep(&mut self, pid: u32, kept: &Kept) {
        if self.0.len() >= MOST {
            self.0.clear();
        }
        // The number of a thread may be another's while its memory lives on, that of a process not.
        if is_process(pid) {
            self.0.insert(pid, kept.clone());
        }
    }
}

impl Kept {
    fn open(pid: u32) -> Result<Self, Errno> {
        match Memory::open(pid) {
            Ok(memory) => Ok(Self { memory, is_foreign: false }),
            // Without CAP_SYS_PTRACE only those of one's own user are open.
            Err(Errno::ACCESS | Errno::PERM) => {
                let _looking = Who::of(pid)?.looks();
                Ok(Self { memory: Memory::open(pid)?, is_foreign: true })
            }
            Err(errno) => Err(errno),
        }
    }
}

/// Whether a thread is the first of its process.
fn is_process(thread: u32) -> bool {
    let thread = Pid::from_raw(thread.cast_signed());
    thread.is_some_and(|thread| pidfd_open(thread, PidfdFlags::empty()).is_ok())
}
