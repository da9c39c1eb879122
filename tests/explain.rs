//! `rbuild explain`: every code that a message shows.

use crate::support::Project;

#[test]
fn an_error() {
    snapshot!(Project::empty().rbuild(["explain", "cycle"]), @"");
}

#[test]
fn a_warning() {
    snapshot!(Project::empty().rbuild(["explain", "network-open"]), @"");
}

#[test]
fn an_unknown_code_has_a_neighbour() {
    snapshot!(Project::empty().rbuild(["explain", "cycel"]), @"");
}

#[test]
fn the_list_has_every_code_and_each_is_explained() {
    let project = Project::empty();
    let list = project.rbuild(["explain"]).success();
    let mut lines = list.lines();
    assert_eq!(lines.next().unwrap_or_default().split_whitespace().collect::<Vec<_>>(), ["code", "kind", "exit", "code"]);
    let listed: Vec<&str> = lines.filter_map(|line| line.split_whitespace().next()).collect();
    let known: Vec<&str> = rbuild::spec::codes::CODES.iter().map(|code| code.code).collect();
    assert_eq!(listed, known);
    for code in [listed.first(), listed.last()].into_iter().flatten() {
        assert!(project.rbuild(["explain", *code]).success().contains(&format!("[{code}]: ")));
    }
}
