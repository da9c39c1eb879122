//! How a command ended.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// It exited by itself, with this status.
    Code(i32),
    /// A signal ended it; SIGKILL also if the sandbox was killed through a [`Killer`](crate::Killer).
    Signal(i32),
    /// It never began.
    ExecFailed {
        /// Why.
        what: ExecFailure,
    },
}

/// Why a command never began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExecFailure {
    /// There is no such program; a name without a slash was looked for along PATH.
    NotFound(String),
    /// The program is there, but the interpreter it names (`#!` line or dynamic loader) is not.
    MissingInterpreter {
        /// The program.
        program: String,
        /// The interpreter it names.
        interpreter: String,
    },
    /// It is a directory, or its mode or mount forbids executing it.
    NotExecutable(String),
    /// The kernel does not know the format.
    BadFormat {
        /// The program.
        program: String,
        /// The machine it was built for, if its header says so.
        machine: Option<String>,
    },
    /// Anything else, with its operation.
    Other(String),
}

impl fmt::Display for ExecFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(program) => write!(f, "{program}: not found"),
            Self::MissingInterpreter { program, interpreter } => {
                write!(f, "{program}: its interpreter {interpreter} is missing")
            }
            Self::NotExecutable(program) => write!(f, "{program}: not executable"),
            Self::BadFormat { program, machine: Some(machine) } => {
                write!(f, "{program}: built for {machine}, which this machine cannot run")
            }
            Self::BadFormat { program, machine: None } => {
                write!(f, "{program}: neither a program nor a script with a #! line")
            }
            Self::Other(what) => f.write_str(what),
        }
    }
}
