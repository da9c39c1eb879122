//! `rbuild explain`: every code that a message shows.

use crate::support::Project;
use rbuild::spec::codes::{self, CODES};
use std::path::Path;

#[test]
fn an_error() {
    snapshot!(Project::empty().rbuild(["explain", "cycle"]), @r"
    $ rbuild explain cycle
    --- stdout
    error[cycle]: ends the command with exit code 2

    Steps (or variables) need one another in a ring, so none can come first. The
    ring is printed whole, with each reference. Break it at the reference that is
    not really needed, often by moving what two steps share into a third.
    --- exit code 0
    ");
}

#[test]
fn a_warning() {
    snapshot!(Project::empty().rbuild(["explain", "network-open"]), @r#"
    $ rbuild explain network-open
    --- stdout
    warning[network-open]: ends nothing, unless --deny-warnings is given

    A step reaches the network and has no `rerun-after`: what it fetched the first
    time stays in the cache for ever, however old it gets. `rerun-after = "7d"`
    fetches again when the record is older.
    --- exit code 0
    "#);
}

#[test]
fn an_unknown_code_has_a_neighbour() {
    snapshot!(Project::empty().rbuild(["explain", "cycel"]), @r"
    $ rbuild explain cycel
    --- stderr
    error: invalid value 'cycel' for '[CODE]'

      tip: a similar value exists: 'cycle'

    For more information, try '--help'.
    --- exit code 2
    ");
}

#[test]
fn the_list_has_every_code_and_each_is_explained() {
    let project = Project::empty();
    let list = project.rbuild(["explain"]).success();
    let mut lines = list.lines();
    assert_eq!(
        lines.next().unwrap_or_default().split_whitespace().collect::<Vec<_>>(),
        ["code", "kind", "exit", "code"]
    );
    let listed: Vec<&str> = lines.filter_map(|line| line.split_whitespace().next()).collect();
    let known: Vec<&str> = CODES.iter().map(|code| code.code).collect();
    assert_eq!(listed, known);
    for code in [listed.first(), listed.last()].into_iter().flatten() {
        assert!(project.rbuild(["explain", *code]).success().contains(&format!("[{code}]: ")));
    }
}

/// A code that is printed can be explained, and what is explained can be printed.
#[test]
fn the_codes_of_the_source_and_those_that_are_explained_are_the_same() {
    let mut sources = Vec::new();
    read_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("engine/src"), &mut sources);
    let mut text = sources.concat();
    for before in [
        "Error::step(",
        "Error::spec(",
        "Error::source(",
        "OperationError::new(",
        "Diagnostic::error(",
        "Diagnostic::warning(",
        ".coded(",
        "code: ",
        "warn(Some(",
        ".warn)(",
        "STORE_DAMAGED: &str = ",
    ] {
        // A line break after the bracket is the formatter's.
        text = text.replace(&format!("{before}\""), &format!("\u{1}{before}\""));
    }
    for used in text.split('\u{1}').skip(1).filter_map(|rest| rest.split('"').nth(1)) {
        assert!(codes::find(used).is_some(), "`{used}` has no explanation");
    }
    for code in CODES {
        assert!(text.contains(&format!("\"{}\"", code.code)), "nothing says `{}`", code.code);
    }
}

/// The text of every source file but its tests and the explanations, without what the formatter puts between a
/// bracket and what follows.
fn read_sources(folder: &Path, texts: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the source") {
        let path = entry.expect("an entry of it").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && name != "tests" {
            read_sources(&path, texts);
        } else if name.ends_with(".rs") && !["codes.rs", "tests.rs"].contains(&name) {
            let text = std::fs::read_to_string(&path).expect("a source file");
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            texts.push(text.split('(').map(str::trim_start).collect::<Vec<_>>().join("("));
        }
    }
}
