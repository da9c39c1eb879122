//! Three-way merge: what joins, what is a conflict, how it is settled.

use crate::{
    generate::{Op, any_ops, changed, linking_ops},
    text::{assert_sound, change, path, show, snapshot},
};
use proptest::prelude::*;
use rbuild_tree::{
    Branch, Conflict, MemoryStore, Merged, Policy, Snapshot, Take, TreePath, TreeStore, merge,
};

fn merged(
    store: &dyn TreeStore,
    base: &Snapshot,
    branches: &[&Snapshot],
    policy: Policy,
    resolve: &mut dyn FnMut(&TreePath) -> Option<Take>,
) -> Merged {
    let branches: Vec<Branch<'_>> =
        branches.iter().map(|snapshot| Branch { name: "branch", snapshot }).collect();
    merge(store, base, &branches, policy, resolve).unwrap()
}

/// The result as lines; of conflicts each path with what was done, `|` between.
fn lines(store: &dyn TreeStore, merged: &Merged) -> Vec<String> {
    match merged {
        Merged::Snapshot(snapshot) => {
            assert_sound(store, snapshot);
            show(store, snapshot)
        }
        Merged::Conflicts(conflicts) => conflicts.iter().map(conflict).collect(),
    }
}

fn conflict(Conflict { path, changes }: &Conflict) -> String {
    let words: Vec<String> = changes.iter().map(|(branch, word)| format!("{branch} {word}")).collect();
    format!("{path}: {}", words.join(" | "))
}

const BASE: &str = "a = x; b = x; d/e/f = x; d/g = x; s -> a";

fn check(base: &str, branches: &[&str], expected: &str) {
    let store = MemoryStore::default();
    let base = snapshot(&store, base);
    let sides: Vec<Snapshot> = branches.iter().map(|lines| change(&store, &base, lines)).collect();
    let sides: Vec<&Snapshot> = sides.iter().collect();
    let result = merged(&store, &base, &sides, Policy::Error, &mut |_| None);
    let expected: Vec<&str> = expected.split(';').map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(lines(&store, &result), expected, "{branches:?}");
    let swapped: Vec<&Snapshot> = sides.iter().rev().copied().collect();
    let swapped = merged(&store, &base, &swapped, Policy::Error, &mut |_| None);
    match (&result, &swapped) {
        (Merged::Snapshot(one), Merged::Snapshot(two)) => {
            assert_eq!(one, two, "{branches:?} in another order")
        }
        (Merged::Conflicts(one), Merged::Conflicts(two)) => {
            let paths =
                |all: &[Conflict]| all.iter().map(|conflict| conflict.path.clone()).collect::<Vec<_>>();
            assert_eq!(paths(one), paths(two), "{branches:?} in another order");
        }
        _ => panic!("{branches:?} depends on the order"),
    }
}

#[test]
fn what_branches_do_apart_joins() {
    let cases: [(&[&str], &str); 17] = [
        (&["", ""], "a = x; b = x; d/e/f = x; d/g = x; s -> a"),
        (&["a = y", ""], "a = y; b = x; d/e/f = x; d/g = x; s -> a"),
        (&["a = y", "b = z"], "a = y; b = z; d/e/f = x; d/g = x; s -> a"),
        (&["a = y", "a = y"], "a = y; b = x; d/e/f = x; d/g = x; s -> a"),
        (&["- a", "b = y"], "b = y; d/e/f = x; d/g = x; s -> a"),
        (&["- a", "- a"], "b = x; d/e/f = x; d/g = x; s -> a"),
        (&["- d", "b = y"], "a = x; b = y; s -> a"),
        (&["d/e/h = y", "d/e/i = z"], "a = x; b = x; d/e/f = x; d/e/h = y; d/e/i = z; d/g = x; s -> a"),
        (&["d/e/f = y", "- d/g", "d/k = z"], "a = x; b = x; d/e/f = y; d/k = z; s -> a"),
        (&["n/a = x", "n/b = y"], "a = x; b = x; d/e/f = x; d/g = x; n/a = x; n/b = y; s -> a"),
        (
            &["n/a/b = x", "n/a/b = x; n/c = y"],
            "a = x; b = x; d/e/f = x; d/g = x; n/a/b = x; n/c = y; s -> a",
        ),
        (&["- a; a/n = x", "- a; a/m = y"], "a/m = y; a/n = x; b = x; d/e/f = x; d/g = x; s -> a"),
        (&["- d; d = y", "b = z"], "a = x; b = z; d = y; s -> a"),
        (&["d/ ! 700", "d/g = y"], "a = x; b = x; d/ ! 700; d/e/f = x; d/g = y; s -> a"),
        (&["d/ ! 700", "d/ ! 700"], "a = x; b = x; d/ ! 700; d/e/f = x; d/g = x; s -> a"),
        (&["s -> b", ""], "a = x; b = x; d/e/f = x; d/g = x; s -> b"),
        (&["a = y", "b = y", "n = z", "- d", ""], "a = y; b = y; n = z; s -> a"),
    ];
    for (branches, expected) in cases {
        check(BASE, branches, expected);
    }
}

#[test]
fn the_root_is_merged_like_any_directory() {
    let store = MemoryStore::default();
    let base = snapshot(&store, "a = x");
    let with_mode = |mode, lines: &str| {
        let mut side = change(&store, &base, lines);
        side.root.mode = mode;
        side
    };
    let (left, right) = (with_mode(0o700, "b = y"), with_mode(0o755, "c = z"));
    let both = with_mode(0o700, "b = y; c = z");
    let run = |branches: &[&Snapshot]| merged(&store, &base, branches, Policy::Error, &mut |_| None);
    assert_eq!(run(&[]), Merged::Snapshot(base.clone()));
    assert_eq!(run(&[&left, &right]), Merged::Snapshot(both));
    let other = with_mode(0o711, "c = z");
    assert_eq!(
        lines(&store, &run(&[&left, &other])),
        [
            "/: 0 changed as directory with mode 0700, owner 0:0 | 1 changed as directory with mode 0711, owner 0:0"
        ]
    );
    let result = merged(&store, &base, &[&left, &other], Policy::Last, &mut |_| None);
    assert_eq!(result, Merged::Snapshot(with_mode(0o711, "b = y; c = z")));
}

#[test]
fn a_time_alone_is_never_a_conflict() {
    let cases: [(&[&str], &str); 10] = [
        (&["a = x @ 3", "a = x @ 5"], "a = x @ 5; d/g = x"),
        (&["a = y @ 5", "a = y @ 3"], "a = y @ 5; d/g = x"),
        (&["a = y @ 3", "a = x @ 5"], "a = y @ 5; d/g = x"),
        (&["a = y @ 5", "a = x @ 3"], "a = y @ 5; d/g = x"),
        (&["- a", "a = x @ 3"], "d/g = x"),
        (&["d/ @ 3", "d/ @ 5"], "a = x; d/ @ 5; d/g = x"),
        (&["d/ @ 5 ! 700", "d/ @ 3"], "a = x; d/ @ 5 ! 700; d/g = x"),
        (&["- d", "d/g = x @ 4; d/ @ 4"], "a = x"),
        (&["- d; d = y", "d/g = x @ 4"], "a = x; d = y"),
        (&["n/ @ 2; n/f = x @ 3", "n/ @ 4; n/f = x @ 2"], "a = x; d/g = x; n/ @ 4; n/f = x @ 3"),
    ];
    for (branches, expected) in cases {
        check("a = x; d/g = x", branches, expected);
    }
}

#[test]
fn conflicts_name_the_path_and_what_each_did() {
    let cases: [(&[&str], &str); 14] = [
        (&["a = y", "a = z"], "/a: 0 changed | 1 changed"),
        (&["a = y", "", "a = z"], "/a: 0 changed | 2 changed"),
        (&["- a", "a = y"], "/a: 0 removed | 1 changed"),
        (&["n = x", "n = y"], "/n: 0 added as file | 1 added as file"),
        (&["n = x", "n/f = y"], "/n: 0 added as file | 1 added as directory"),
        (&["- d", "d/g = y"], "/d: 0 removed | 1 changed below"),
        (&["- d; d = y", "d/g = y"], "/d: 0 replaced by a file | 1 changed below"),
        (&["d/e/f = y", "- d/e"], "/d/e: 0 changed below | 1 removed"),
        (
            &["- a; a -> b", "a ! 600"],
            "/a: 0 replaced by a symbolic link | 1 changed owner, mode or attributes",
        ),
        (
            &["d/ ! 700", "d/ ! 711"],
            "/d: 0 changed as directory with mode 0700, owner 0:0 | 1 changed as directory with mode 0711, owner 0:0",
        ),
        (
            &["n/ ! 700", "n/ ! 711"],
            "/n: 0 added as directory with mode 0700, owner 0:0 | 1 added as directory with mode 0711, owner 0:0",
        ),
        (&["s -> b", "s -> d"], "/s: 0 changed | 1 changed"),
        (
            &["s -> b; a = y; d/g = p", "s -> d; a = z; d/g = q"],
            "/a: 0 changed | 1 changed; /d/g: 0 changed | 1 changed; /s: 0 changed | 1 changed",
        ),
        (&["a = y", "a = y", "a = z"], "/a: 0 changed | 1 changed | 2 changed"),
    ];
    for (branches, expected) in cases {
        check(BASE, branches, expected);
    }
}

#[test]
fn a_policy_or_the_caller_settles() {
    let store = MemoryStore::default();
    let base = snapshot(&store, "a = x; d/g = x; e/h = x");
    let (left, right) = (
        change(&store, &base, "a = y; d/ ! 700; d/n = y; - e"),
        change(&store, &base, "a = z; d/ ! 711; d/m = z; e/h = z"),
    );
    let sides = [&base, &left, &right];
    let mut asked = Vec::new();
    let mut settle = |policy, take: &dyn Fn(&str) -> Option<Take>| {
        asked.clear();
        let result = merged(&store, &base, &sides, policy, &mut |at| {
            asked.push(at.to_string());
            take(&at.to_string())
        });
        (lines(&store, &result), asked.clone())
    };
    let nobody = |_: &str| None;
    assert_eq!(settle(Policy::First, &nobody).0, ["a = y", "d/ ! 700", "d/g = x", "d/m = z", "d/n = y"]);
    assert_eq!(
        settle(Policy::Last, &nobody).0,
        ["a = z", "d/ ! 711", "d/g = x", "d/m = z", "d/n = y", "e/h = z"]
    );
    let (open, asked_for) = settle(Policy::Error, &nobody);
    assert_eq!(open.iter().map(|line| &line[..2]).collect::<Vec<_>>(), ["/a", "/d", "/e"]);
    assert_eq!(asked_for.len(), 3, "each is asked for once: {asked_for:?}");
    let some = |at: &str| (at == "/a").then_some(Take::Absent);
    assert_eq!(settle(Policy::Last, &some).0, ["d/ ! 711", "d/g = x", "d/m = z", "d/n = y", "e/h = z"]);
    let each = |at: &str| match at {
        "/a" => Some(Take::Branch(0)),
        "/d" => Some(Take::Absent),
        _ => Some(Take::Branch(2)),
    };
    assert_eq!(settle(Policy::Error, &each).0, ["a = x", "e/h = z"]);

    let branches = [Branch { name: "l", snapshot: &left }, Branch { name: "r", snapshot: &right }];
    let error = merge(&store, &base, &branches, Policy::Error, &mut |_| Some(Take::Branch(2))).unwrap_err();
    assert!(error.to_string().ends_with("is settled by branch 2 of 2"), "{error}");
}

#[test]
fn a_file_with_several_names_is_merged_as_one() {
    const LINKED: &str = "a = x; b => a; c = x";
    let cases: [(&[&str], &str); 23] = [
        (&["c => b", "c ! 600"], "a = x ! 600; b => a; c => a"),
        (&["c => b", "a ! 600"], "a = x ! 600; b => a; c => a"),
        (&["b = x", "a ! 600"], "a = x ! 600; b = x ! 600; c = x"),
        (&["- a; a = y; c => a", "n => c"], "a = y; b = x; c => a; n => a"),
        (&["d = x; c => d", "c ! 600"], "a = x; b => a; c = x ! 600; d => c"),
        (&["a ! 600", ""], "a = x ! 600; b => a; c = x"),
        (&["a ! 600", "n => b"], "a = x ! 600; b => a; c = x; n => a"),
        (&["b = y", "n => b"], "a = x; b = y; c = x; n => a"),
        (&["b = x", "n => b"], "a = x; b = x; c = x; n => a"),
        (&["n => a", "n => b"], "a = x; b => a; c = x; n => a"),
        (&["n => a", "m => a"], "a = x; b => a; c = x; m => a; n => a"),
        (&["n => a", "m => c"], "a = x; b => a; c = x; m => c; n => a"),
        (&["- a", "n => b"], "b = x; c = x; n => b"),
        (&["- a", "- b"], "c = x"),
        (&["- a; - b", "n => b"], "c = x; n = x"),
        (&["b => c", ""], "a = x; b = x; c => b"),
        (&["b => c", "c ! 600"], "a = x; b = x ! 600; c => b"),
        (&["a => c; b => c", "n => c"], "a = x; b => a; c => a; n => a"),
        (&["n = y; m => n", "n = y; m => n"], "a = x; b => a; c = x; m = y; n => m"),
        (&["n = y; m => n", "n = y; o => n"], "a = x; b => a; c = x; m = y; n => m; o => m"),
        (
            &["a ! 600", "b ! 711"],
            "/a: 0 changed owner, mode or attributes | 1 changed owner, mode or attributes; /b: 0 changed owner, mode or attributes | 1 changed owner, mode or attributes",
        ),
        (&["a = x @ 4; b => a", "a = x @ 6; b => a; n => a"], "a = x @ 6; b => a; c = x; n => a"),
        (&["- a", "b = y"], "b = y; c = x"),
    ];
    for (branches, expected) in cases {
        check(LINKED, branches, expected);
    }
    let both = "/a: 0 changed owner, mode or attributes | 1 changed owner, mode or attributes; /b: 0 changed owner, mode or attributes | 1 changed owner, mode or attributes";
    check(LINKED, &["a ! 600; n => a", "b ! 711"], both);
    let elsewhere = "/d: 0 linked to another file | 1 changed owner, mode or attributes";
    check("a = x; b => a; c = x; d => c; e => c", &["d => a", "d = x ! 600; e => c"], elsewhere);
}

#[test]
fn settling_one_name_of_a_file_tears_nothing() {
    let store = MemoryStore::default();
    let base = snapshot(&store, "a = x; b => a");
    let (left, right) = (change(&store, &base, "a ! 600"), change(&store, &base, "a ! 711; n => a"));
    let take = |a: Option<Take>, b: Option<Take>| {
        let result = merged(&store, &base, &[&left, &right], Policy::Last, &mut |at| {
            if *at == path("a") { a } else { b }
        });
        lines(&store, &result)
    };
    assert_eq!(take(None, None), ["a = x ! 711", "b => a", "n => a"]);
    let (first, second) = (Some(Take::Branch(0)), Some(Take::Branch(1)));
    assert_eq!(take(first, first), ["a = x ! 600", "b => a", "n => a"]);
    assert_eq!(take(first, second), ["a = x ! 600", "b => a", "n => a"]);
    assert_eq!(take(Some(Take::Absent), second), ["b = x ! 711", "n => b"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn one_branch_alone_is_taken_as_it_is(before in any_ops(), after in any_ops(), copies in 1..4_usize) {
        let store = MemoryStore::default();
        let base = changed(&store, &Snapshot::scratch(), &before);
        let side = changed(&store, &base, &after);
        let nothing = |branches: &[&Snapshot]| merged(&store, &base, branches, Policy::Error, &mut |_| None);
        prop_assert_eq!(nothing(&vec![&side; copies]), Merged::Snapshot(side.clone()));
        prop_assert_eq!(nothing(&[&base, &side]), Merged::Snapshot(side.clone()));
        prop_assert_eq!(nothing(&[&side, &base, &base]), Merged::Snapshot(side.clone()));
    }

    #[test]
    fn a_branch_of_links_is_taken_as_it_is(before in linking_ops(0..12), after in linking_ops(0..6)) {
        let store = MemoryStore::default();
        let base = changed(&store, &Snapshot::scratch(), &before);
        let side = changed(&store, &base, &after);
        for branches in [vec![&side], vec![&side, &side], vec![&base, &side], vec![&side, &base, &side]] {
            let result = merged(&store, &base, &branches, Policy::Error, &mut |_| None);
            prop_assert_eq!(result, Merged::Snapshot(side.clone()));
        }
    }

    #[test]
    fn order_does_not_matter_and_nothing_is_torn(
        before in any_ops(), first in any_ops(), second in any_ops(), third in any_ops(),
    ) {
        let [first, second, third] = [first, second, third].map(|ops| ops[..ops.len() / 3].to_vec());
        check_orders(&before, &[first, second, third])?;
    }

    #[test]
    fn nor_does_it_for_links(
        before in linking_ops(0..12), first in linking_ops(0..4), second in linking_ops(0..4),
        third in linking_ops(0..3),
    ) {
        check_orders(&before, &[first, second, third])?;
    }
}

fn check_orders(before: &[Op], branches: &[Vec<Op>; 3]) -> Result<(), TestCaseError> {
    let store = MemoryStore::default();
    let base = changed(&store, &Snapshot::scratch(), before);
    let [one, two, three] = branches.each_ref().map(|ops| changed(&store, &base, ops));
    let run = |branches: &[&Snapshot], policy| merged(&store, &base, branches, policy, &mut |_| None);
    match (run(&[&one, &two, &three], Policy::Error), run(&[&three, &two, &one], Policy::Error)) {
        (Merged::Snapshot(forth), Merged::Snapshot(back)) => {
            assert_sound(&store, &forth);
            prop_assert_eq!(forth, back);
        }
        (Merged::Conflicts(forth), Merged::Conflicts(back)) => {
            let paths =
                |all: Vec<Conflict>| all.into_iter().map(|conflict| conflict.path).collect::<Vec<_>>();
            prop_assert_eq!(paths(forth), paths(back));
        }
        (forth, back) => prop_assert!(false, "{:?} but {:?}", forth, back),
    }
    for policy in [Policy::First, Policy::Last] {
        let Merged::Snapshot(snapshot) = run(&[&one, &two, &three], policy) else {
            return Err(TestCaseError::fail("a policy leaves no conflict"));
        };
        assert_sound(&store, &snapshot);
    }
    Ok(())
}
