//! A command in a sandbox, from its start to its end, as the engine sees it.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use crate::child::SHARED;
use crate::control::{FromChild, ToChild, receive};
use crate::environment::explain;
use crate::exit::Exit;
use crate::groups::{Groups, without_groups};
use crate::guard::guarded_program;
use crate::notify::Listener;
use crate::process::{self, Life, Process, control_error};
use crate::{Error, Facts, Limits, Memory, Result, Setup, proc_cure};

/// What a command can't do that should have been supervised.
const ALONE: &str = "this kernel does not let rbuild answer for ids that there are not (that needs Linux 5.9): chown to \
                     others, su, useradd and apt-get fail";

/// What helps where /proc is shared. Looking for it takes a while, and each step asks.
static CURE: OnceLock<Option<&'static str>> = OnceLock::new();

/// Starts sandboxes.
#[derive(Debug)]
pub struct Sandbox;

/// What becomes of the command's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// A pipe for stdout and one for stderr.
    Separate,
    /// One pipe for both, which keeps their order.
    Joined,
}

/// A sandbox whose FUSE filesystems are mounted and wait for their server. Dropping it ends it.
#[derive(Debug)]
pub struct Started {
    /// One for each [`Mount::Fuse`](crate::Mount::Fuse), in order; INIT is not answered yet.
    pub fuse: Vec<OwnedFd>,
    /// The read end of the command's stdout, or of both with [`Output::Joined`].
    pub stdout: Option<OwnedFd>,
    /// The read end of the command's stderr; `None` with [`Output::Joined`].
    pub stderr: Option<OwnedFd>,
    process: Process,
    /// The limits without those that control groups hold it to.
    pub(crate) left: Limits,
}

/// A sandbox whose command has been started. Dropping it ends it.
#[derive(Debug)]
pub struct Running {
    process: Process,
    warnings: Vec<String>,
    devices: Vec<u64>,
    left: Limits,
    /// What was told of its end before anybody waited for it.
    told: Option<FromChild>,
    exit: Option<Exit>,
}

/// Ends a sandbox from any thread.
#[derive(Clone)]
pub struct Killer(Arc<Life>);

impl Sandbox {
    /// Starts another program than this one (`/proc/self/exe`) as child. Its `main` must call
    /// [`enter_if_child`](crate::enter_if_child). For tests, whose `main` is not theirs; the first call counts.
    pub fn set_program(program: impl Into<PathBuf>) {
        process::set_program(program.into());
    }

    /// Starts the sandbox that `setup` describes, up to the point where its FUSE filesystems must be served.
    ///
    /// # Errors
    /// The operation that failed, with its cause and, where it is known, the cure.
    pub fn spawn(setup: &Setup, output: Output) -> Result<Started> {
        Self::spawn_with(setup, output, &[])
    }

    /// The same with the filesystems in memory that overlay mounts ask for, in order.
    ///
    /// # Errors
    /// As [`Sandbox::spawn`].
    pub fn spawn_with(setup: &Setup, output: Output, memories: &[Memory]) -> Result<Started> {
        setup.check()?;
        setup.check_memories(memories.len())?;
        let guarded = match setup.is_bare() {
            false => guarded_program(&setup.ids)?,
            // That takes a mount.
            true => None,
        };
        let mut process = Process::start(guarded.as_deref())?;
        let joined_output = output == Output::Joined;
        let mut theirs = Box::new(setup.clone());
        process.in_place = setup.swap().is_some();
        process.groups = Groups::make(&mut theirs.limits, process.child.id());
        let left = theirs.limits;
        let memories: Vec<_> = memories.iter().map(AsFd::as_fd).collect();
        process.send_with(&ToChild::Setup { setup: theirs, joined_output }, &memories)?;
        process.map(&setup.ids)?;
        let (FromChild::Mounted { pidfd }, descriptors) = process.next("mounted its filesystems")? else {
            return Err(Error::Lost("mounted its filesystems"));
        };
        let mut descriptors = descriptors.into_iter();
        if let Some(init) = pidfd.then(|| descriptors.next()).flatten() {
            // Nobody else sets it.
            let _ = process.life.init.set(init);
        }
        let stdout = descriptors.next();
        let stderr = if joined_output { None } else { descriptors.next() };
        Ok(Started { fuse: descriptors.collect(), stdout, stderr, process, left })
    }
}

impl Started {
    /// Lets the child go on: attach the mounts, change the root, start the command. The FUSE filesystems must be
    /// served by now, by other threads.
    ///
    /// # Errors
    /// The operation that failed, with its cause and, where it is known, the cure.
    pub fn proceed(self) -> Result<Running> {
        let doing = "changed its root";
        self.process.send(&ToChild::Proceed)?;
        match self.process.next(doing)?.0 {
            FromChild::Ready { mut warnings, devices } => {
                let shared = warnings.iter_mut().find(|warning| *warning == SHARED);
                if let Some(warning) = shared
                    && let Some(cure) = CURE.get_or_init(|| proc_cure(Facts::load().place))
                {
                    *warning += &format!("; {cure}");
                }
                warnings.extend(without_groups(&self.left));
                let Self { process, left, .. } = self;
                Ok(Running { process, warnings, devices, left, told: None, exit: None })
            }
            _ => Err(Error::Lost(doing)),
        }
    }

    /// A handle that ends the sandbox from another thread.
    pub fn killer(&self) -> Killer {
        Killer(Arc::clone(&self.process.life))
    }
}

impl Running {
    /// What had to be done otherwise than wished, such as an outer /proc that had to be shared.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The device numbers of the FUSE and overlay filesystems, in order, if the command is supervised.
    pub fn devices(&self) -> &[u64] {
        &self.devices
    }

    /// Where the calls of a supervised command arrive; to be asked for once, before [`Running::wait`]. None if it came to
    /// its end before that, or goes on without, of which there is a warning then.
    ///
    /// # Errors
    /// The control socket can't be read.
    pub fn listener(&mut self) -> Result<Option<Listener>> {
        match receive(&self.process.life.control).map_err(control_error)? {
            Some((FromChild::Listening, descriptors)) => {
                Ok(descriptors.into_iter().next().map(Listener::new))
            }
            Some((FromChild::Alone, _)) => {
                self.warnings.push(ALONE.to_owned());
                Ok(None)
            }
            other => {
                self.told = other.map(|(message, _)| message);
                Ok(None)
            }
        }
    }

    /// Waits for the command, and until every process and mount of the sandbox is gone.
    ///
    /// # Errors
    /// If the sandbox ended without saying how, and nobody asked for that.
    pub fn wait(&mut self) -> Result<Exit> {
        if let Some(exit) = &self.exit {
            return Ok(exit.clone());
        }
        let told = self.read_to_end();
        self.process.reap();
        let exit = match told? {
            Some(exit) => exit,
            None if self.process.life.killed.load(Ordering::Acquire) => Exit::Signal(libc::SIGKILL),
            None => return Err(self.process.lost("ran its command")),
        };
        self.exit = Some(exit.clone());
        Ok(exit)
    }

    /// Whether a process inside was killed since all of them had used up what they may have of memory. Where no control
    /// group could be made they have a limit each, and are refused what is beyond it.
    pub fn is_out_of_memory(&self) -> bool {
        self.process.groups.is_out_of_memory()
    }

    /// The limits that no control group could be made for: each process is held to them by itself.
    pub fn left(&self) -> &Limits {
        &self.left
    }

    /// Kills the sandbox's init, and with it every process inside. [`Running::wait`] is still needed.
    pub fn kill(&self) {
        self.killer().kill();
    }

    /// A handle that ends the sandbox from another thread.
    pub fn killer(&self) -> Killer {
        Killer(Arc::clone(&self.process.life))
    }

    /// Reads until every process of the sandbox has closed the socket. The first report is the precise one: a command
    /// that failed to start also ends.
    fn read_to_end(&mut self) -> Result<Option<Exit>> {
        let mut exit = None;
        let mut told = self.told.take();
        loop {
            exit = exit.or(match told {
                Some(FromChild::ExecFailed(what)) => Some(Exit::ExecFailed { what }),
                Some(FromChild::Ended(how)) => Some(how),
                Some(FromChild::Failed(failure)) => return Err(explain(failure)),
                _ => None,
            });
            told = match receive(&self.process.life.control).map_err(control_error)? {
                Some((message, _)) => Some(message),
                None => return Ok(exit),
            };
        }
    }
}

impl Killer {
    /// Ends the sandbox. Harmless if it has ended.
    pub fn kill(&self) {
        self.0.kill();
    }
}

impl fmt::Debug for Killer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Killer")
    }
}
