//! A runner of thirty lines that speaks enough of the usual protocol for cargo and nextest.

use std::any::Any;
use std::env;
use std::panic::{catch_unwind, resume_unwind};
use std::process::ExitCode;

use crate::Case;
use crate::support::OLD_KERNEL;

/// Why a test did not run. In CI that is a failure.
struct Skip(String);

/// Ends the test, which cannot run here; without the message of a panic.
pub fn skip(reason: &str) -> ! {
    resume_unwind(Box::new(Skip(reason.to_owned())))
}

pub fn main(tests: &[&[Case]], inner: &[&[Case]]) -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if let [mode, name] = &arguments[..]
        && mode == "--inner"
    {
        let (_, part) = inner.iter().copied().flatten().find(|(known, _)| known == name).unwrap();
        part();
        return ExitCode::SUCCESS;
    }
    // nextest lists by `--list --format terse`, whose second word is no name.
    let format = arguments.iter().position(|argument| argument == "--format").map(|at| at + 1);
    let is_name = |at: usize, argument: &str| !argument.starts_with('-') && Some(at) != format;
    let names: Vec<_> = arguments
        .iter()
        .enumerate()
        .filter(|(at, argument)| is_name(*at, argument))
        .map(|(_, name)| name)
        .collect();
    let wanted = |name: &str| {
        names.is_empty()
            || names.iter().any(|n| if has("--exact") { *n == name } else { name.contains(n.as_str()) })
    };
    let chosen = tests.iter().copied().flatten().filter(|(name, _)| wanted(name));
    if has("--list") {
        if !has("--ignored") {
            chosen.for_each(|(name, _)| println!("{name}: test"));
        }
        return ExitCode::SUCCESS;
    }
    run(chosen)
}

fn run<'a>(chosen: impl Iterator<Item = &'a Case>) -> ExitCode {
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (name, test) in chosen {
        match catch_unwind(test) {
            Ok(()) => passed += 1,
            Err(payload) => match reason(&payload) {
                Some(reason) if env::var_os("CI").is_none() => {
                    skipped += 1;
                    println!("{name}: skipped: {reason}");
                }
                reason => {
                    failed += 1;
                    println!("{name}: FAILED {}", reason.unwrap_or_default());
                }
            },
        }
    }
    let where_ = if env::var_os(OLD_KERNEL).is_some() { " as on an old kernel" } else { "" };
    println!("sandbox{where_}: {passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn reason(payload: &Box<dyn Any + Send>) -> Option<String> {
    payload.downcast_ref::<Skip>().map(|skip| skip.0.clone())
}
