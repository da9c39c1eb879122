//! `rbuild explain`: every code that a message shows.

use crate::support::Project;

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
    let known: Vec<&str> = rbuild::spec::codes::CODES.iter().map(|code| code.code).collect();
    assert_eq!(listed, known);
    for code in [listed.first(), listed.last()].into_iter().flatten() {
        assert!(project.rbuild(["explain", *code]).success().contains(&format!("[{code}]: ")));
    }
}
