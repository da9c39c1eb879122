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
//!   itself for. On the kernel's own overlay filesystem it is data in a table beside it ([`OwnerTable`]), and who makes
//!   something is seen by the calls that do.
//!
//! A path is resolved here, and what is done is done to what was found; the caller goes on by itself only with calls that
//! show something ("continue" in seccomp_unotify(2)), never with one that changes something.
//!
//! **Limits.** Permissions stay those of root: a process that became somebody else may still read and write everything,
//! signal everybody, and is shown as root in /proc, `ps` and SCM_CREDENTIALS. Set-id programs change nothing, so `su` and
//! `sudo` work from root only. Threads of a process have one set of credentials. Owners
//! of files outside of the overlays (memory, caches) are taken for set, and not kept. In a table ACLs that name others are
//! not inherited, and listings show a device as a socket.
//!
//! | module | what |
//! |---|---|
//! | `credentials` | the rules |
//! | `tokens` | from a process to its credentials |
//! | `identity` | the calls that tell and change them |
//! | `owners` | chown, and the stat that shows it |
//! | `files` | a filesystem, and where its owners are kept |
//! | `table`, `upper` | owners beside the kernel's overlay filesystem |
//! | `make` | calls that make files there |
//! | `devices` | mknod |
//! | `acl` | ACLs |
//! | `sockets` | who is at the other end |
//! | `resolve`, `memory`, `layout` | paths, words and structures of the caller |
#![forbid(unsafe_code)]

mod acl;
mod credentials;
mod devices;
mod files;
mod identity;
mod layout;
mod make;
mod memory;
mod owners;
mod paths;
mod resolve;
mod sockets;
mod table;
mod tokens;
mod upper;

pub use credentials::{Credentials, Ids};
pub use files::{Files, Mounted};
pub use paths::PathSupervisor;
pub use table::{Foreign, Owned, OwnerTable};
pub use tokens::Tokens;

use memory::Memory;
use nix::sched::{CloneFlags, unshare};
use rbuild_overlay::Errno;
use rbuild_sandbox::notify::{Answer, Call, Form, Listener, Notification};
use rustix::fs::StatxFlags;
use sockets::Names;
use std::{
    cell::{OnceCell, RefCell},
    collections::HashMap,
    io,
    os::fd::OwnedFd,
    sync::Arc,
};

/// Answers the calls of one command.
#[derive(Debug)]
pub struct Supervisor {
    listener: Listener,
    tokens: Arc<Tokens>,
    mounts: HashMap<u64, Mounted>,
    /// What must be known of a file to find its owner.
    needed: StatxFlags,
    /// Of sockets, being made by the kernel.
    names: RefCell<Names>,
}

/// What a call comes back with.
enum Outcome {
    Answer(Answer),
    File { file: OwnedFd, close_on_exec: bool },
}

impl Outcome {
    const CONTINUE: Self = Self::Answer(Answer::Continue);

    /// Lets the caller go on.
    fn tell(self, listener: &Listener, notification: &Notification) -> io::Result<()> {
        match self {
            Self::Answer(answer) => listener.answer(notification, answer),
            Self::File { file, close_on_exec } => {
                let Err(error) = listener.answer_with(notification, file, close_on_exec) else {
                    return Ok(());
                };
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                listener.answer(notification, Answer::Error(errno))
            }
        }
    }
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
        let mounts: HashMap<_, _> = mounts.into_iter().map(|mounted| (mounted.device, mounted)).collect();
        let is_kernels = mounts.values().any(|mounted| matches!(mounted.files, Files::Kernel(_)));
        // Of our own filesystem no more: the kernel may have to ask for it.
        let few = StatxFlags::TYPE | StatxFlags::INO | StatxFlags::UID | StatxFlags::GID;
        let needed = if is_kernels { few | table::NEEDED } else { few };
        Self { listener, tokens, mounts, needed, names: RefCell::default() }
    }

    /// Answers until every process of the command has ended.
    ///
    /// # Errors
    /// The kernel gives no calls any more. The command must be ended then: its calls would be refused as unknown.
    pub fn run(&self) -> io::Result<()> {
        let mut next = self.listener.receive()?;
        if let Some(first) = &next {
            self.begin(first)?;
        }
        while let Some(notification) = next {
            self.settle_names(Some(notification.pid));
            let outcome = match notification.call {
                call if make::makes(call) && self.has_tables() => self.make(&self.caller(&notification)),
                _ => Outcome::Answer(self.answer(&notification)),
            };
            outcome.tell(&self.listener, &notification)?;
            next = self.listener.receive()?;
        }
        self.settle_names(None);
        self.tables().for_each(OwnerTable::release);
        Ok(())
    }

    /// To be done when the command makes its first call.
    fn begin(&self, first: &Notification) -> io::Result<()> {
        if !self.has_tables() {
            return Ok(());
        }
        // With a mask of its own for what it makes.
        unshare(CloneFlags::CLONE_FS)?;
        let root = resolve::root(first.pid)?;
        for mounted in self.mounts.values() {
            if let Files::Kernel(table) = &mounted.files {
                table.load(&root, |stat| mounted.has(stat));
            }
        }
        Ok(())
    }

    fn has_tables(&self) -> bool {
        self.tables().next().is_some()
    }

    fn tables(&self) -> impl Iterator<Item = &OwnerTable> {
        self.mounts.values().filter_map(|mounted| match &mounted.files {
            Files::Kernel(table) => Some(&**table),
            Files::Served { .. } => None,
        })
    }

    fn caller<'a>(&'a self, notification: &'a Notification) -> Caller<'a> {
        Caller { listener: &self.listener, notification, memory: OnceCell::new() }
    }

    fn answer(&self, notification: &Notification) -> Answer {
        let caller = self.caller(notification);
        let result = match notification.call {
            Call::Stat | Call::Lstat | Call::Fstat | Call::Newfstatat | Call::Statx => {
                return self.show(&caller);
            }
            Call::Prctl | Call::Capset => return self.change_capabilities(&caller),
            Call::Setxattr | Call::Lsetxattr | Call::Fsetxattr => return self.attribute(&caller),
            Call::Getxattr | Call::Lgetxattr | Call::Fgetxattr => return self.attribute(&caller),
            Call::Removexattr | Call::Lremovexattr | Call::Fremovexattr => return self.attribute(&caller),
            Call::Getsockopt => return self.tell_peer(&caller),
            Call::Bind => return self.name_socket(&caller),
            Call::Utime | Call::Utimes | Call::Futimesat | Call::Utimensat => return self.touch(&caller),
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

    /// The path at an address in its memory, without its NUL. As all that is found by its number, it may be of a later
    /// process until [`still_waits`](Self::still_waits) says that it is not.
    fn path(&self, address: u64) -> Result<Vec<u8>, Errno> {
        // Opening the memory takes as long as all else that most of these calls need.
        let peeked = if self.memory.get().is_none() { memory::peek_path(self.pid(), address) } else { None };
        peeked.map_or_else(|| self.memory()?.path(address), Ok)
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
