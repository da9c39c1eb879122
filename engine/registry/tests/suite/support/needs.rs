//! What a test needs, programs mostly. Where it is missing the test is skipped and says so; in CI that is a failure.

/// Ends the test here unless all these programs are there.
macro_rules! needs {
    ($($program:literal),+ $(,)?) => {
        $(
            if $crate::support::needs::is_missing($program, module_path!()) {
                return;
            }
        )+
    };
}

pub fn is_missing(program: &str, test: &str) -> bool {
    let folders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    if folders.iter().any(|folder| std::path::Path::new(folder).join(program).is_file()) {
        return false;
    }
    skip(program, test);
    true
}

/// Says that a test ends here for want of something; in CI it fails.
#[expect(clippy::print_stdout, reason = "a skip is told where the test runner shows it")]
pub fn skip(need: &str, test: &str) {
    let in_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
    assert!(!in_ci, "a test of {test} needs {need}, and in CI nothing is skipped");
    println!("skipped: a test of {test} needs {need}");
}
