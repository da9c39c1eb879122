//! What the benches share: how one starts, where it works, how things are timed and shown.
//!
//! ```sh
//! cargo bench --bench chain                          # one question
//! RBUILD_BENCH_ROUNDS=9 cargo bench --bench warm     # more rounds than it takes by itself
//! ```
//!
//! Each bench asks one question and prints tables. What is compared is measured in the same run, in turns
//! ([`contest::Contest`]), because the speed of a machine changes from minute to minute; only ratios mean something
//! elsewhere. Everything lies below Cargo's `target/tmp`, so all sides use one disk, and is removed at the end - not
//! before: for up to five minutes after a removal ext4 searches past every freed inode when it makes a file, which makes
//! whatever writes many files several times slower (seen: an import 3.0 s instead of 0.65 s). The head of each bench
//! tells what making a file takes; if it says that this is slow, wait.
//! A bench is never a test: it fails only if something it runs fails, and ends at once, with a sentence and exit code
//! 0, where the machine lacks what it needs. Cargo's bench profile is the release profile: nothing is built twice.
#![allow(dead_code, reason = "each bench uses a part of it")]
#![allow(clippy::print_stdout, reason = "a bench is there to print")]

pub mod chroot;
pub mod contest;
pub mod project;
pub mod run;
pub mod scratch;

use contest::cpus;
use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

/// What a bench cannot do without.
#[derive(Clone, Copy)]
pub enum Need {
    /// Uid 0: chroot needs it.
    Root,
    /// The Debian root of `specs/ci-java`.
    Base,
    /// Namespaces and FUSE.
    Sandbox,
    /// A program on the PATH.
    Program(&'static str),
}

/// Runs a bench: its question, what it needs, and the function that answers.
pub fn main(question: &str, needs: &[Need], answer: impl FnOnce()) -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if arguments.first().is_some_and(|first| first == run::PEAK) {
        return run::report_peak(&arguments[1..]);
    }
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("a bench measures only when `cargo bench` runs it");
        return ExitCode::SUCCESS;
    }
    println!("{question}");
    for need in needs {
        if let Err(reason) = need.check() {
            println!("  not measured: {reason}");
            return ExitCode::SUCCESS;
        }
    }
    println!("  {} processors, load {}, Linux {}", cpus(), first_word("/proc/loadavg"), kernel());
    let _scratch = scratch::Folder::make();
    let each = scratch::time_to_make_a_file();
    let slow =
        if each > SLOW_FILE { ": SLOW, something was removed here lately; wait five minutes" } else { "" };
    println!("  making a file takes {} us{slow}", each.as_micros());
    answer();
    ExitCode::SUCCESS
}

impl Need {
    fn check(self) -> Result<(), String> {
        match self {
            Need::Root if !nix::unistd::geteuid().is_root() => Err("a plain chroot needs root".to_owned()),
            Need::Base if !base().is_file() => Err("no base archive: run specs/ci-java/make-base".to_owned()),
            Need::Sandbox => {
                rbuild_sandbox::Sandbox::set_program(RBUILD);
                rbuild_sandbox::probe().map(|_| ()).map_err(|error| error.to_string())
            }
            Need::Program(name) if !has_program(name) => Err(format!("there is no program {name}")),
            Need::Root | Need::Base | Need::Program(_) => Ok(()),
        }
    }
}

/// What making a file takes at most on a disk at rest: there it is 15 us.
const SLOW_FILE: Duration = Duration::from_micros(60);

/// The program that is measured.
pub const RBUILD: &str = env!("CARGO_BIN_EXE_rbuild");

/// The folder of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Debian root that `specs/ci-java/make-base` makes: an uncompressed tar.
pub fn base() -> PathBuf {
    repository().join("specs/ci-java/base.tar")
}

/// Whether the PATH has a program.
pub fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

/// Writes what waits in memory to the disk, so that one run does not pay for the one before.
pub fn settle() {
    run::must(&mut Command::new("sync"));
}

/// Removes a folder and all in it, if it is there.
pub fn remove(path: &Path) {
    run::must(Command::new("rm").args([OsStr::new("-rf"), OsStr::new("--"), path.as_os_str()]));
}

fn first_word(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().next().unwrap_or("unknown").to_owned()
}

fn kernel() -> String {
    first_word("/proc/sys/kernel/osrelease")
}
