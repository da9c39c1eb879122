//! The `rbuild` command. Everything it can do is in the library; `cli` turns arguments into calls, `ui` tells of them.
#![forbid(unsafe_code)]

mod cli;
mod ui;

use std::process::ExitCode;

fn main() -> ExitCode {
    // A step's sandbox and the worker beside it are this program again, told so by its arguments; it never comes back
    // from here.
    rbuild_sandbox::enter_if_child_with(rbuild::checkout::work);
    rbuild_sandbox::map_large_allocations();
    cli::main()
}
