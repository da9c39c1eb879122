//! Merges of branches: what is joined, what disagrees and how that is told.

use crate::support::Project;
use std::fs;

const HEAD: &str = "version = 1\nepoch = 1764000000\n";

/// One name, three bases: what `left` and `right` do to /f, and what comes of a merge of both.
#[track_caller]
fn merged(left: &str, right: &str, merge: &str) -> crate::support::Output {
    let tables = format!(
        r#"
[step.base]
files = [{{ path = "/f", content = "0" }}, {{ path = "/d/in", content = "0" }}]
[step.left]
from = "base"
{left}
[step.right]
from = "base"
{right}
[step.out]
merge = ["left", "right"]
{merge}
"#
    );
    let project = Project::new(&format!("{HEAD}{tables}"));
    let output = project.rbuild(["apply", "out"]);
    if output.code != Some(0) {
        return output;
    }
    project.rbuild(["inspect", "--tree", "step.out"])
}

const ONE: &str = "files = [{ path = \"/f\", content = \"one\" }]";
const FIVE: &str = "files = [{ path = \"/f\", content = \"three\" }]";
const GONE: &str = "remove = [\"/f\"]";

#[test]
fn merges_join_what_does_not_disagree() {
    for (left, right, merge, size) in [
        (ONE, "", "", Some("3")),
        ("", ONE, "", Some("3")),
        (ONE, ONE, "", Some("3")),
        (GONE, "", "", None),
        (GONE, GONE, "", None),
        (ONE, "files = [{ path = \"/d/new\", content = \"\" }]", "", Some("3")),
        (ONE, FIVE, "conflict = \"first\"", Some("3")),
        (ONE, FIVE, "conflict = \"last\"", Some("5")),
        (GONE, FIVE, "conflict = \"first\"", None),
        (ONE, FIVE, "resolve = [{ path = \"/*\", take = \"right\" }]", Some("5")),
        (
            ONE,
            FIVE,
            "resolve = [{ path = \"/f\", take = \"left\" }, { path = \"/f\", take = \"right\" }]",
            Some("3"),
        ),
        (ONE, FIVE, "resolve = [{ path = \"/f\", take = \"none\" }]", None),
    ] {
        let listing = merged(left, right, merge).success();
        let line = listing.lines().find(|line| line.ends_with(" /f"));
        assert_eq!(
            line.and_then(|line| line.split_whitespace().nth(2)),
            size,
            "{left} | {right} | {merge}: {listing}"
        );
    }
}

#[test]
fn merges_that_disagree_say_where_and_how() {
    let folder = "remove = [\"/d\"]";
    let inside = "files = [{ path = \"/d/in\", content = \"1\" }]";
    for (left, right, told) in [
        (ONE, FIVE, "/f: `left` changed, `right` changed"),
        (ONE, GONE, "/f: `left` changed, `right` removed"),
        (GONE, "attrs = [{ path = \"/f\", mode = \"0600\" }]", "/f: `left` removed, `right` changed"),
        (folder, inside, "/d"),
        (
            "files = [{ path = \"/new\", content = \"1\" }]",
            "dirs = [{ path = \"/new\" }]",
            "/new: `left` added as file, `right` added as directory",
        ),
    ] {
        let error = merged(left, right, "").failure(1);
        assert!(error.contains("error[merge-conflict]") && error.contains(told), "{left} | {right}: {error}");
        assert!(error.contains("resolve = [{ path = \"/"), "{error}");
    }
    let config =
        |value: &str| format!("config = {{ env = {{ X = \"{value}\" }}, labels = {{ l{value} = \"\" }} }}");
    let error = merged(&config("1"), &config("2"), "").failure(1);
    assert!(error.contains("merge-conflict") && error.contains("config") && error.contains('X'), "{error}");
    merged(&config("1"), &config("2"), "config = { env = { X = \"3\" } }").success();
}

/// specs/ci-java's example of what can't be merged, on two real installations.
#[test]
fn debian_two_installations_are_not_merged() {
    needs!(userns, fuse, base);
    let project = Project::empty();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/ci-java");
    for file in ["merge-conflict.toml", "merge-conflict.lock", "base.tar"] {
        fs::copy(folder.join(file), project.path(file)).expect("a file of the spec");
    }
    let told = project.rbuild(["apply", "merge-conflict.toml"]).failure(1);
    for words in [
        "error[merge-conflict]",
        "/var/lib/dpkg/status: `pager` changed, `lister` changed",
        "install in one step",
        "rbuild explain merge-conflict",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(!project.path("dist").exists());
}
