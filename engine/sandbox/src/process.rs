//! The child of the engine's side: start it, write its maps, talk with it, kill it.

use std::env;
use std::fs::OpenOptions;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::process::{Signal, pidfd_send_signal};

use crate::child::CHILD_NAME;
use crate::control::{FromChild, ToChild, receive, send};
use crate::environment::explain;
use crate::error::Named;
use crate::groups::Groups;
use crate::{Error, Failure, IdMap, Part, Result};

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// What keeps a sandbox alive, and ends it.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) control: UnixStream,
    /// The init's pidfd: a pid could be another process's by now. Unset before kernel 5.3.
    pub(crate) init: OnceLock<OwnedFd>,
    pub(crate) killed: AtomicBool,
}

impl Life {
    pub(crate) fn kill(&self) {
        self.killed.store(true, Ordering::Release);
        if let Some(init) = self.init.get() {
            // It may have ended already.
            let _ = pidfd_send_signal(init.as_fd(), Signal::KILL);
        }
        // The end of the stream makes every process of the sandbox exit, also where there is no pidfd yet.
        let _ = self.control.shutdown(Shutdown::Write);
    }
}

/// The set-up child; reaped on every way out.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) child: Child,
    reaped: bool,
    /// Nobody else is around but the command.
    pub(crate) in_place: bool,
    pub(crate) life: Arc<Life>,
    /// They go after the child.
    pub(crate) groups: Groups,
}

impl Process {
    /// From the guarded program, if there is one.
    pub(crate) fn start(guarded: Option<&OwnedFd>) -> Result<Self> {
        let program = match guarded {
            Some(file) => format!("/proc/self/fd/{}", file.as_raw_fd()).into(),
            None => program(),
        };
        // Else it would seem that the program is missing.
        let null = OpenOptions::new().write(true).open("/dev/null");
        let null = OwnedFd::from(null.named(Part::Null, || "open /dev/null").map_err(explain)?);
        let (control, theirs) = UnixStream::pair().map_err(control_error)?;
        // The socket is the child's stdin: an inheritable descriptor could leak into a process that another thread
        // starts at the same time. Its own process group, since a Ctrl-C at the terminal is the engine's to handle.
        let child = Command::new(&program)
            .arg0(CHILD_NAME)
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stdout(null.try_clone().map_err(control_error)?)
            .stderr(null)
            .process_group(0)
            .spawn()
            .map_err(|source| Error::Start { program: described(), source })?;
        let life = Life { control, init: OnceLock::new(), killed: AtomicBool::new(false) };
        Ok(Self { child, reaped: false, in_place: false, life: Arc::new(life), groups: Groups::default() })
    }

    /// A child that is gone is told by `next`, with its last words.
    pub(crate) fn send(&self, message: &ToChild) -> Result<()> {
        self.send_with(message, &[])
    }

    pub(crate) fn send_with(&self, message: &ToChild, descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        match send(&self.life.control, message, descriptors) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(control_error(error)),
            _ => Ok(()),
        }
    }

    /// Waits for its namespaces and writes the maps of its ids.
    pub(crate) fn map(&self, ids: &IdMap) -> Result<()> {
        let doing = "made its namespaces";
        let FromChild::Unshared = self.next(doing)?.0 else { return Err(Error::Lost(doing)) };
        ids.write(self.child.id())?;
        self.send(&ToChild::Mapped)
    }

    pub(crate) fn control(&self) -> &UnixStream {
        &self.life.control
    }

    pub(crate) fn next(&self, doing: &'static str) -> Result<(FromChild, Vec<OwnedFd>)> {
        match receive(&self.life.control) {
            Ok(Some((FromChild::Failed(failure), _))) => Err(explain(failure)),
            Ok(Some(other)) => Ok(other),
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(control_error(error)),
            _ => Err(self.lost(doing)),
        }
    }

    /// Why it may have ended without a word.
    pub(crate) fn lost(&self, doing: &'static str) -> Error {
        if self.groups.is_out_of_memory() { Error::OutOfMemory(doing) } else { Error::Lost(doing) }
    }

    pub(crate) fn reap(&mut self) {
        if !self.reaped {
            // Only fails if somebody else has reaped it.
            let ended = self.child.wait();
            self.reaped = true;
            if self.in_place && !ended.is_ok_and(|status| status.success()) {
                // It could not end the command any more.
                crate::processes::Process::end_others();
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped {
            self.life.kill();
            self.reap();
        }
    }
}

pub(crate) fn control_error(source: io::Error) -> Error {
    Error::Io { operation: "talk to the sandbox".into(), source }
}

/// What is started instead of this program; the first call counts.
pub(crate) fn set_program(program: PathBuf) {
    // A second call is ignored as documented.
    let _ = PROGRAM.set(program);
}

pub(crate) fn program() -> PathBuf {
    PROGRAM.get().cloned().unwrap_or_else(|| "/proc/self/exe".into())
}

/// A name that means something to a person.
fn described() -> PathBuf {
    PROGRAM.get().cloned().or_else(|| env::current_exe().ok()).unwrap_or_else(program)
}

/// A failure that the engine itself found is explained the same way.
impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        explain(failure)
    }
}
