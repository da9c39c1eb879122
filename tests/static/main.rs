//! `rbuild` once more, for `tests/run` to link without dynamic dependencies.
//!
//! A test target, since it shares every compiled dependency with the tests: half a minute, where the program by itself
//! takes four. As such it has the program's unit tests in it, of which none is run here.
#![forbid(unsafe_code)]
#![allow(dead_code, unused_imports)]

#[path = "../../engine/src/cli/mod.rs"]
mod cli;
#[path = "../../engine/src/ui/mod.rs"]
mod ui;

/// As in engine/src/main.rs.
fn main() -> std::process::ExitCode {
    rbuild_sandbox::enter_if_child_with(rbuild::checkout::work);
    rbuild_sandbox::map_large_allocations();
    cli::main()
}
