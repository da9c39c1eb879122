//! What rbuild says of itself: schemas, completions, manual pages, help.

use crate::support::Project;

/// A committed file is what a command prints; else the message is the command that rewrites it.
#[track_caller]
fn assert_committed(path: &str, arguments: &[&str]) {
    let printed = Project::empty().rbuild(arguments).success();
    let committed = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
    let command = format!("cargo run --release -- {} > {path}", arguments.join(" "));
    assert!(committed.is_ok_and(|committed| committed == printed), "{path} is out of date: run `{command}`");
}

#[test]
fn the_schemas_that_are_committed_are_those_of_the_code() {
    assert_committed("schemas/build.schema.json", &["schema"]);
    assert_committed("schemas/build.schema.json", &["schema", "build"]);
    assert_committed("schemas/events.schema.json", &["schema", "events"]);
    assert_committed("schemas/lock.schema.json", &["schema", "lock"]);
}

#[test]
fn completions_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = Project::empty().rbuild(["completions", shell]).success();
        assert!(script.contains("apply") && script.contains("keep-going"), "{shell}");
    }
}

#[test]
fn bash_takes_its_completions() {
    needs!(bash);
    let project = Project::empty();
    project.write("completions.bash", project.rbuild(["completions", "bash"]).success());
    let parsed = std::process::Command::new("bash").arg("-n").arg(project.path("completions.bash")).output();
    assert!(parsed.is_ok_and(|parsed| parsed.status.success() && parsed.stderr.is_empty()));
}

#[test]
fn manual_pages_of_every_command() {
    let project = Project::empty();
    let page = project.rbuild(["man"]).success();
    assert!(page.contains(".TH rbuild 1") && page.contains("RBUILD_STORE"), "{page}");
    project.rbuild(["man", "man/man1"]).success();
    for page in ["rbuild.1", "rbuild-apply.1", "rbuild-graph.1", "rbuild-man.1"] {
        assert!(project.read(&format!("man/man1/{page}")).contains(".SH NAME"), "{page}");
    }
    project.write("file", "");
    let told = project.rbuild(["man", "file"]).failure(3);
    assert!(told.starts_with("error: cannot write manual pages to file\n"), "{told}");
}

#[test]
fn help_names_every_command() {
    snapshot!(Project::empty().rbuild(["-h"]), @"");
}

#[test]
fn long_help_says_what_exit_codes_and_variables_mean() {
    let help = Project::empty().rbuild(["--help"]).success();
    for word in ["Exit codes:", "130", "RBUILD_STORE", "RBUILD_LOG", "SOURCE_DATE_EPOCH", "NO_COLOR"] {
        assert!(help.contains(word), "{word}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 120));
}

#[test]
fn help_of_apply() {
    snapshot!(Project::empty().rbuild(["apply", "-h"]), @"");
}
