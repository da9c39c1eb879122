//! Answers the calls about ids and owners of a command that has one id.
//!
//! A user without a range of ids gets a sandbox where only user 0 and group 0 exist. The kernel refuses there to give a
//! file to anybody, to become anybody, and to make devices; `apt-get`, `useradd`, `install -o` and `tar` need that. So
//! those calls stop in the command ([`rbuild_sandbox::notify`]) and are answered here, as if all ids were there:
//!
//! - **What a process takes itself for** is a set of [`Credentials`] behind a number that the kernel keeps of it
//!   ([`Tokens`]); the rules of changing it are the kernel's.
//! - **Who owns a file** is data in the overlay, as it is anyway. The kernel is told that all is 0:0, so that it refuses
//!   nothing; `chown` changes the overlay, `stat` is answered from it, and what is new belongs to whoever its maker takes
//!   itself for.
//!
//! A path is resolved here, and what is done is done to what was found; the caller goes on by itself only with calls that
//! show something ("continue" in seccomp_unotify(2)), never with one that changes something.
//!
//! **Limits.** Permissions stay those of root: a process that became somebody else may still read and write everything,
//! signal everybody, and is shown as root in /proc, `ps` and SCM_CREDENTIALS. Set-id programs change nothing, so `su` and
//! `sudo` work from root only. Threads of a process have one set of credentials. Owners
//! of files outside of the overlays (memory, caches) are taken for set, and not kept.
//!
//! | module | what |
//! |---|---|
//! | `credentials` | the rules |
//! | `tokens` | from a process to its credentials |
//! | `identity` | the calls that tell and change them |
//! | `owners` | chown, and the stat that shows it |
//! | `devices` | mknod |
//! | `acl` | ACLs |
//! | `sockets` | who is at the other end |
//! | `resolve`, `memory`, `layout` | paths, words and structures of the caller |
#![forbid(unsafe_code)]

mod acl;
mod credentials;
mod devices;
mod identity;
mod layout;
mod memory;
mod owners;
mod paths;
mod resolve;
mod sockets;
mod tokens;

pub use credentials::{Credentials, Ids};
pub use paths::PathSupervisor;
pub use tokens::Tokens;

use memory::Memory;
use rbuild_overlay::{Errno, Overlay, fuse::Notifier};
use rbuild_sandbox::notify::{Answer, Call, Form, Listener, Notification};
use std::{cell::OnceCell, collections::HashMap, io, sync::Arc};

/// Answers the calls of one command.
#[derive(Debug)]
pub struct Supervisor {
    listener: Listener,
    tokens: Arc<Tokens>,
    mounts: HashMap<u64, Mounted>,
}

/// A filesystem of the command.
#[derive(Debug)]
pub struct Mounted {
    /// The device number that stat(2) shows of its files.
    pub device: u64,
    /// Who owns them.
    pub overlay: Overlay,
    /// What the kernel remembers of them.
    pub notifier: Notifier,
}

/// A call, and who makes it.
struct Caller<'a> {
    listener: &'a Listener,
    notification: &'a Notification,
    memory: OnceCell<Memory>,
}

impl Supervisor {
    /// For the calls that arrive at `listener`, of processes with `tokens`, about the files of `mounts`.
    pub fn new(listener: Listener, tokens: Arc<Tokens>, mounts: impl IntoIterator<Item = Mounted>) -> Self {
        let mounts = mounts.into_iter().map(|mounted| (mounted.device, mounted)).collect();
        Self { listener, tokens, mounts }
    }

    /// Answers until every process of the command has ended.
    ///
    /// # Errors
    /// The kernel gives no calls any more. The command must be ended then: its calls would be refused as unknown.
    pub fn run(&self) -> io::Result<()> {
        while let Some(notification) = self.listener.receive()? {
            let answer = self.answer(&notification);
            self.listener.answer(&notification, answer)?;
        }
        Ok(())
    }

    fn answer(&self, notification: &Notification) -> Answer {
        let caller = Caller { listener: &self.listener, notification, memory: OnceCell::new() };
        let result = match notification.call {
            Call::Stat | Call::Lstat | Call::Fstat | Call::Newfstatat | Call::Statx => {
                return self.show(&caller);
            }
            Call::Prctl | Call::Capset => return self.change_capabilities(&caller),
            Call::Setxattr | Call::Lsetxattr | Call::Fsetxattr => return self.attribute(&caller),
            Call::Getxattr | Call::Lgetxattr | Call::Fgetxattr => return self.attribute(&caller),
            Call::Getsockopt => return self.tell_peer(&caller),
            Call::Setrlimit | Call::Prlimit => return Answer::Continue,
            Call::Chown | Call::Lchown | Call::Fchown | Call::Fchownat => self.give(&caller),
            Call::Mknod | Call::Mknodat => self.make_device(&caller),
            _ => self.identify(&caller),
        };
        match result {
            Ok(value) => Answer::Value(value),
            Err(errno) => Answer::Error(errno.raw_os_error()),
        }
    }
}

/// An id of 16 bits; its largest is no id in any width.
fn widen(id: u16) -> u32 {
    if id == u16::MAX { u32::MAX } else { id.into() }
}

/// The kernel's overflow id stands for those that are too large.
fn narrow(id: u32) -> u16 {
    u16::try_from(id).unwrap_or(65_534)
}

impl Caller<'_> {
    fn pid(&self) -> u32 {
        self.notification.pid
    }

    /// An argument that is a number.
    fn number(&self, at: usize) -> u32 {
        // The kernel looks at the low half, too.
        (self.notification.arguments[at] & u64::from(u32::MAX)) as u32
    }

    /// An argument that is an id.
    fn id(&self, at: usize) -> u32 {
        match (self.notification.form, self.number(at)) {
            (Form::Short, id) => widen(id as u16),
            (_, id) => id,
        }
    }

    /// An id as the caller can be told it.
    fn told(&self, id: u32) -> u32 {
        if self.notification.form == Form::Short { narrow(id).into() } else { id }
    }

    /// The like, in its memory.
    fn bytes(&self, ids: &[u32]) -> Vec<u8> {
        match self.notification.form {
            Form::Short => ids.iter().flat_map(|id| narrow(*id).to_ne_bytes()).collect(),
            _ => ids.iter().flat_map(|id| id.to_ne_bytes()).collect(),
        }
    }

    /// Ids from its memory.
    fn ids(&self, address: u64, count: usize) -> Result<Vec<u32>, Errno> {
        if self.notification.form == Form::Short {
            let bytes = self.memory()?.read(address, count * 2)?;
            return Ok(bytes
                .chunks_exact(2)
                .map(|two| widen(u16::from_ne_bytes([two[0], two[1]])))
                .collect());
        }
        self.memory()?.numbers(address, count)
    }

    /// An argument that is an address.
    fn address(&self, at: usize) -> u64 {
        self.notification.arguments[at]
    }

    /// Its memory, which is surely its own and not that of a later process with its number.
    fn memory(&self) -> Result<&Memory, Errno> {
        if let Some(memory) = self.memory.get() {
            return Ok(memory);
        }
        let memory = Memory::open(self.pid())?;
        self.still_waits()?;
        Ok(self.memory.get_or_init(|| memory))
    }

    /// Whether what was found by its number until now was about it, and not about a later process with that number: to be
    /// asked before anything is changed.
    fn still_waits(&self) -> Result<(), Errno> {
        if self.listener.is_waiting(self.notification) { Ok(()) } else { Err(Errno::SRCH) }
    }
}
