//! Commands, timed. What they print goes nowhere unless they fail; then the bench ends and shows it.

use super::RBUILD;
use nix::sys::resource::{UsageWho, getrusage};
use std::{
    ffi::OsString,
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

/// The first argument that makes a bench measure the peak memory of the command that follows.
pub const PEAK: &str = "--peak";

/// Runs a command to its end; gives the wall time from before its start.
///
/// # Panics
/// If it cannot be started or fails.
pub fn time(command: &mut Command) -> Duration {
    let start = Instant::now();
    must(command);
    start.elapsed()
}

/// Runs a command that has to succeed; gives its standard output.
///
/// # Panics
/// If it cannot be started or fails.
pub fn must(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, text(&output.stderr));
    text(&output.stdout)
}

/// Runs a command that has to succeed; gives its wall time, and the highest resident set in bytes that it or one of
/// its descendants had. The kernel keeps that figure per parent, so a copy of this program stands in between.
pub fn time_and_peak(command: &Command) -> (Duration, u64) {
    let bench = std::env::current_exe().expect("the path of this program");
    let mut wrapped = Command::new(bench);
    wrapped.arg(PEAK).arg(command.get_program()).args(command.get_args()).env_clear();
    wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = command.get_current_dir() {
        wrapped.current_dir(folder);
    }
    let report = must(&mut wrapped);
    let mut numbers = report.split_whitespace().map(|word| word.parse().expect("a number of the report"));
    let nanoseconds = numbers.next().expect("the wall time");
    (Duration::from_nanos(nanoseconds), numbers.next().expect("the peak"))
}

/// The other side of [`time_and_peak`]: prints nanoseconds and bytes.
pub fn report_peak(command: &[OsString]) -> ExitCode {
    let Some((program, arguments)) = command.split_first() else { return ExitCode::FAILURE };
    let wall = time(Command::new(program).args(arguments));
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the usage of what was waited for");
    println!("{} {}", wall.as_nanos(), usage.max_rss() * 1024);
    ExitCode::SUCCESS
}

/// Processor time, user and system, of every process that was waited for until now.
pub fn processor_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the usage of what was waited for");
    let parts = [usage.user_time(), usage.system_time()];
    parts.iter().map(|part| Duration::from_micros(micros(part.tv_sec(), part.tv_usec()))).sum()
}

fn micros(seconds: i64, micros: i64) -> u64 {
    u64::try_from(seconds * 1_000_000 + micros).unwrap_or_default()
}

/// rbuild with an environment that is the same everywhere; what apt may need to reach its mirror passes.
pub fn rbuild() -> Command {
    let mut command = Command::new(RBUILD);
    clean(&mut command);
    command
}

/// Gives a command an environment that is the same everywhere, but for the proxies.
pub fn clean(command: &mut Command) {
    let proxies =
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().to_lowercase().ends_with("_proxy"));
    command
        .env_clear()
        .envs(proxies)
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root")
        .env("LC_ALL", "C.UTF-8");
}
