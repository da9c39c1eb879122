//! What a test needs of the machine. Where it is missing the test is skipped and says why; in CI (`CI` is set) that is
//! a failure, so that nothing is ever skipped unseen.

use std::{path::Path, sync::OnceLock};

/// Ends the test here unless the machine has all of this: `userns` and `fuse` (sandboxes can be made), `root`, `user`
/// (not root), or the name of a program. Names that are no identifiers stand in quotes: `needs!(fuse, "fusermount3")`.
macro_rules! needs {
    ($($thing:tt),+ $(,)?) => {
        $(
            if $crate::support::needs::is_missing(stringify!($thing), module_path!()) {
                return;
            }
        )+
    };
}

/// Whether a thing is missing; says so.
///
/// # Panics
/// If it is, and `CI` is set.
#[expect(clippy::print_stdout, reason = "a skip is told where the test runner shows it")]
pub fn is_missing(thing: &str, test: &str) -> bool {
    let Err(reason) = look_for(thing.trim_matches('"')) else { return false };
    let in_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
    assert!(!in_ci, "a test of {test} needs {thing}, and in CI nothing is skipped: {reason}");
    println!("skipped: a test of {test} needs {thing}: {reason}");
    true
}

fn look_for(thing: &str) -> Result<(), String> {
    match thing {
        "userns" | "fuse" => sandbox().clone(),
        "root" if !is_root() => Err("this is an ordinary user".to_owned()),
        "user" if is_root() => Err("this is root".to_owned()),
        "root" | "user" => Ok(()),
        "base" if Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/ci-java/base.tar").is_file() => Ok(()),
        "static_program" if crate::environments::static_program().is_file() => Ok(()),
        "static_program" => Err("there is no target/static/rbuild: tests/run makes it".to_owned()),
        "old_kernel" if crate::environments::old_kernel().is_dir() => Ok(()),
        "old_kernel" => Err("there is no target/tools/kernel: tests/run makes it".to_owned()),
        "base" => Err("specs/ci-java/make-base has not made base.tar".to_owned()),
        program => {
            let folders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
            let found = folders.iter().any(|folder| Path::new(folder).join(program).is_file());
            if found { Ok(()) } else { Err(format!("there is no program {program}")) }
        }
    }
}

/// Whether rbuild can make a sandbox here; tried once.
fn sandbox() -> &'static Result<(), String> {
    static PROBED: OnceLock<Result<(), String>> = OnceLock::new();
    PROBED.get_or_init(|| {
        // The sandbox's child is the program itself; this one's `main` is the test harness.
        rbuild_sandbox::Sandbox::set_program(env!("CARGO_BIN_EXE_rbuild"));
        rbuild_sandbox::probe().map(|_| ()).map_err(|error| error.to_string())
    })
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[test]
fn what_is_there_is_found() {
    assert_eq!(look_for("sh"), Ok(()));
    assert_eq!(
        look_for("no-such-program-anywhere"),
        Err("there is no program no-such-program-anywhere".to_owned())
    );
    assert_ne!(look_for("root").is_ok(), look_for("user").is_ok());
}
