//! Sandboxes, really made.
//!
//! The root is the machine's own `/`, read-only, so nothing needs to be installed. This test has a `main` of its own
//! because a sandbox's child is this very program again. What needs other circumstances (another user, hidden parts
//! of /proc, an old kernel) runs this program once more in them: those parts are in [`INNER`].
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod command;
mod confinement;
mod fuse;
mod ids;
mod life;
mod mounts;
mod notify;
mod overlay;
mod runner;
mod support;

/// A test or a part of one.
type Case = (&'static str, fn());

const TESTS: &[&[Case]] = &[
    command::TESTS,
    confinement::TESTS,
    fuse::TESTS,
    ids::TESTS,
    life::TESTS,
    mounts::TESTS,
    notify::TESTS,
    overlay::TESTS,
];

/// Run in circumstances that a test has made.
const INNER: &[&[Case]] = &[confinement::INNER, ids::INNER, life::INNER, mounts::INNER];

fn main() -> std::process::ExitCode {
    rbuild_sandbox::enter_if_child_with(overlay::work);
    runner::main(TESTS, INNER)
}
