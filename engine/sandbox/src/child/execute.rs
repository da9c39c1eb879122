//! The command's own process: confined, then replaced by the program.

use std::ffi::{CString, OsStr, OsString};
use std::fmt::Display;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{chdir, execve, setsid};

use crate::control::{FromChild, send};
use crate::exit::ExecFailure;
use crate::{Failure, Part, Setup, elf, sys};

use super::{Pipes, confine};

/// Where programs are looked for if the environment has no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What shells exit with when they cannot execute; nobody sees it, since the reason is reported.
const STATUS_NOT_EXECUTED: i32 = 126;

/// Becomes the command, or reports why not.
pub(crate) fn run(control: &UnixStream, setup: &Setup, pipes: Pipes) -> ! {
    let what = match start(control, setup, pipes) {
        Ok(never) => match never {},
        Err(what) => what,
    };
    // If the engine is gone there is nobody to tell.
    let _ = send(control, &FromChild::ExecFailed(what), &[]);
    sys::exit(STATUS_NOT_EXECUTED)
}

fn start(control: &UnixStream, setup: &Setup, pipes: Pipes) -> Result<std::convert::Infallible, ExecFailure> {
    let other = |failure: Failure| ExecFailure::Other(failure.to_string());
    let errno = |operation: &str, errno| other(failed(operation, errno));
    // A session of its own: `kill 0` in the command must not mean the init.
    setsid().map_err(|error| errno("make a session", error))?;
    let stderr = pipes.stderr.as_ref().unwrap_or(&pipes.stdout);
    for (source, target) in [(&pipes.stdout, 1), (stderr, 2)] {
        sys::replace_descriptor(source, target).map_err(|error| errno("connect the output", error))?;
    }
    confine::reset(setup).map_err(other)?;
    // Root may enter a directory that the user may not, and the user one that root may not (a network filesystem).
    let directory = setup.command.directory.as_os_str();
    let entered = chdir(directory);
    confine::confine(setup, control).map_err(|failure| {
        // Before the report that nothing was executed: of a failure the engine tells the cure. It may be gone.
        let _ = send(control, &FromChild::Failed(failure.clone()), &[]);
        other(failure)
    })?;
    if entered.is_err() {
        let operation = format!("change directory to {}", directory.display());
        chdir(directory).map_err(|error| errno(&operation, error))?;
    }
    Err(execute(setup))
}

fn failed(operation: impl Into<String>, errno: Errno) -> Failure {
    Failure { part: Part::Other, operation: operation.into(), errno: errno as i32 }
}

/// Only returns if the program could not be executed.
fn execute(setup: &Setup) -> ExecFailure {
    let command = &setup.command;
    let Some(program) = command.argv.first() else { return ExecFailure::NotFound(String::new()) };
    let variable = |(name, value): &(OsString, OsString)| {
        CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())
    };
    let arguments: Result<Vec<_>, _> =
        command.argv.iter().map(|text| CString::new(text.as_bytes())).collect();
    let environment: Result<Vec<_>, _> = command.env.iter().map(variable).collect();
    let (Ok(arguments), Ok(environment)) = (arguments, environment) else {
        return ExecFailure::Other(format!(
            "{}: an argument or variable holds a NUL byte",
            program.display()
        ));
    };
    let mut refused = None;
    for candidate in candidates(program, &command.env) {
        let Ok(path) = CString::new(candidate.as_os_str().as_bytes()) else { continue };
        let Err(errno) = execve(&path, &arguments, &environment);
        match errno {
            Errno::ENOENT | Errno::ENOTDIR if fs::metadata(&candidate).is_err() => {}
            // Another one along PATH may do, as shells have it.
            Errno::EACCES => {
                refused.get_or_insert(candidate);
            }
            errno => return classify(&candidate, errno),
        }
    }
    match refused {
        Some(candidate) => classify(&candidate, Errno::EACCES),
        None => ExecFailure::NotFound(shown(program)),
    }
}

fn candidates(program: &OsStr, environment: &[(OsString, OsString)]) -> Vec<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return vec![program.into()];
    }
    let path = environment.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
    let places = path.unwrap_or(OsStr::new(DEFAULT_PATH)).as_bytes().split(|byte| *byte == b':');
    // An empty place is the current directory.
    places.map(|place| Path::new(&OsString::from_vec(place.to_vec())).join(program)).collect()
}

fn classify(path: &Path, errno: Errno) -> ExecFailure {
    let program = shown(path.as_os_str());
    let header = elf::inspect(path);
    match (errno, header.interpreter) {
        (Errno::ENOENT | Errno::ENOTDIR, Some(interpreter)) => {
            ExecFailure::MissingInterpreter { program, interpreter }
        }
        // A script may be executable while its interpreter is not.
        (Errno::EACCES, Some(interpreter)) if is_executable(path) => {
            ExecFailure::Other(format!("{program}: its interpreter {interpreter} is not executable"))
        }
        (Errno::EACCES, _) => ExecFailure::NotExecutable(program),
        (Errno::ENOEXEC, _) => ExecFailure::BadFormat { program, machine: header.machine },
        (Errno::E2BIG, _) => ExecFailure::Other(format!(
            "{program}: arguments and environment are longer than the kernel takes"
        )),
        (errno, _) => ExecFailure::Other(failed(format!("execute {program}"), errno).to_string()),
    }
}

fn is_executable(path: &Path) -> bool {
    let access = rustix::fs::access(path, rustix::fs::Access::EXEC_OK).map_err(io::Error::from);
    access.is_ok() && path.is_file()
}

fn shown(text: &OsStr) -> String {
    let text: &dyn Display = &text.display();
    text.to_string()
}
