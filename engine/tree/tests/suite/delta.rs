//! Differences: found, carried out, put one after the other.

use crate::{
    generate::{any_ops, changed, linking_ops},
    text::{assert_sound, change, file, path, show, snapshot},
};
use proptest::prelude::*;
use rbuild_tree::{
    Change, Delta, DirectoryChange, Links, MemoryStore, Snapshot, TreeStore, apply, compose, diff, encoding,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn applying_a_difference_gives_the_result(before in any_ops(), after in any_ops(), related in any::<bool>()) {
        let store = MemoryStore::default();
        let base = changed(&store, &Snapshot::scratch(), &before);
        let start = if related { base.clone() } else { Snapshot::scratch() };
        let result = changed(&store, &start, &after);
        let delta = diff(&store, &base, &result).unwrap();
        prop_assert_eq!(apply(&store, &base, &delta).unwrap(), result.clone());
        prop_assert_eq!(delta.is_empty(), base == result);
        prop_assert_eq!(encoding::decode_delta(&encoding::encode_delta(&delta)).unwrap(), delta);
    }

    #[test]
    fn two_differences_compose(first in any_ops(), second in any_ops(), third in any_ops()) {
        let store = MemoryStore::default();
        let one = changed(&store, &Snapshot::scratch(), &first);
        let two = changed(&store, &one, &second);
        let three = changed(&store, &two, &third);
        let (early, late) = (diff(&store, &one, &two).unwrap(), diff(&store, &two, &three).unwrap());
        let both = compose(&store, &early, &late).unwrap();
        let result = apply(&store, &one, &both).unwrap();
        assert_sound(&store, &result);
        prop_assert_eq!(result, three);
    }

    #[test]
    fn both_hold_for_many_links(
        first in linking_ops(0..12), second in linking_ops(0..6), third in linking_ops(0..6),
    ) {
        let store = MemoryStore::default();
        let one = changed(&store, &Snapshot::scratch(), &first);
        let two = changed(&store, &one, &second);
        let three = changed(&store, &two, &third);
        let (early, late) = (diff(&store, &one, &two).unwrap(), diff(&store, &two, &three).unwrap());
        prop_assert_eq!(apply(&store, &apply(&store, &one, &early).unwrap(), &late).unwrap(), three.clone());
        let both = compose(&store, &early, &late).unwrap();
        prop_assert_eq!(apply(&store, &one, &both).unwrap(), three);
    }

    #[test]
    fn every_group_a_delta_makes_is_whole_in_it(before in any_ops(), after in any_ops()) {
        let store = MemoryStore::default();
        let base = changed(&store, &Snapshot::scratch(), &before);
        let result = changed(&store, &base, &after);
        let delta = diff(&store, &base, &result).unwrap();
        for group in delta.links.groups() {
            let touched: Vec<bool> = group.iter().map(|path| is_touched(&delta, path)).collect();
            let all_linked_before =
                base.links.groups().iter().any(|known| group.iter().all(|path| known.contains(path)));
            prop_assert!(touched.iter().all(|touched| *touched) || all_linked_before, "{:?}", group);
        }
    }
}

fn is_touched(delta: &Delta, path: &rbuild_tree::TreePath) -> bool {
    !listed(delta).iter().all(|line| {
        let touched = line[2..].trim_end_matches('/');
        line.starts_with("D ") || !path.starts_with(&self::path(touched))
    })
}

/// `- path`, `+ path` for replaced, `D path` for a directory whose own metadata changed.
fn listed(delta: &Delta) -> Vec<String> {
    fn list(change: &DirectoryChange, at: &str, lines: &mut Vec<String>) {
        if change.metadata.is_some() {
            lines.push(format!("D {at}"));
        }
        for (name, child) in &change.children {
            let path = format!("{at}{}", String::from_utf8_lossy(name));
            match child {
                Change::Removed => lines.push(format!("- {path}")),
                Change::Replaced(entry) if entry.kind.is_directory() => lines.push(format!("+ {path}/")),
                Change::Replaced(_) => lines.push(format!("+ {path}")),
                Change::Directory(below) => list(below, &format!("{path}/"), lines),
            }
        }
    }
    let mut lines = Vec::new();
    list(&delta.root, "", &mut lines);
    lines
}

fn groups(links: &Links) -> Vec<String> {
    let text = |path: &rbuild_tree::TreePath| String::from_utf8_lossy(path.as_bytes()).into_owned();
    links.groups().iter().map(|group| group.iter().map(text).collect::<Vec<_>>().join("=")).collect()
}

#[test]
fn a_difference_holds_what_changed_and_no_more() {
    const BASE: &str = "d/e/f = x; d/g = x; h = x; k/l = x; m = y; n => m; o => m";
    let cases: [(&str, &[&str], &[&str]); 17] = [
        ("h @ 0", &[], &[]),
        ("h = y", &["+ h"], &[]),
        ("h = x @ 1", &["+ h"], &[]),
        ("- h", &["- h"], &[]),
        ("d/ ! 700", &["D d/"], &[]),
        ("d/ @ 3; d/e/f = z", &["D d/", "+ d/e/f"], &[]),
        ("new/a/b = x", &["+ new/"], &[]),
        ("- d; d/e/f = x; d/g = x", &[], &[]),
        ("- d; d = x", &["+ d"], &[]),
        ("- h; h/i = x", &["+ h/"], &[]),
        ("- d; d/e/f = y", &["+ d/e/f", "- d/g"], &[]),
        ("m ! 600", &["+ m", "+ n", "+ o"], &["m=n=o"]),
        ("n = y", &["+ m", "+ n", "+ o"], &["m=o"]),
        ("n = z", &["+ n"], &["m=o"]),
        ("- n", &["- n"], &["m=o"]),
        ("- n; - o", &["- n", "- o"], &[]),
        ("k/p => m", &["+ k/p", "+ m", "+ n", "+ o"], &["k/p=m=n=o"]),
    ];
    for (lines, expected, linked) in cases {
        let store = MemoryStore::default();
        let base = snapshot(&store, BASE);
        let delta = diff(&store, &base, &change(&store, &base, lines)).unwrap();
        assert_eq!(listed(&delta), expected, "{lines}");
        assert_eq!(groups(&delta.links), linked, "{lines}");
    }
}

#[test]
fn links_alone_are_a_difference() {
    let cases = [
        ("a = x; b = x", "a = x; b => a", ["+ a", "+ b"].as_slice(), ["a=b"].as_slice()),
        ("a = x; b => a", "a = x; b = x", &["+ a", "+ b"], &[]),
        (
            "a = x; b => a; c = x; d => c",
            "a = x; b = x; c => a; d => b",
            &["+ a", "+ b", "+ c", "+ d"],
            &["a=c", "b=d"],
        ),
        ("a = x; b => a; u/c = x", "a = x; b => a; u/c => b", &["+ a", "+ b", "+ u/c"], &["a=b=u/c"]),
        ("u/a = x; u/b => u/a", "v/a = x; v/b => v/a", &["- u", "+ v/"], &["v/a=v/b"]),
    ];
    for (before, after, expected, linked) in cases {
        let store = MemoryStore::default();
        let (base, result) = (snapshot(&store, before), snapshot(&store, after));
        let delta = diff(&store, &base, &result).unwrap();
        assert_eq!(
            (listed(&delta).as_slice(), groups(&delta.links).as_slice()),
            (
                expected.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>().as_slice(),
                linked.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>().as_slice(),
            )
        );
        assert_eq!(apply(&store, &base, &delta).unwrap(), result);
        let back = diff(&store, &result, &base).unwrap();
        assert_eq!(apply(&store, &result, &back).unwrap(), base);
    }
}

fn with(children: &[(&str, Change)], links: &[&[&str]]) -> Delta {
    let children = children.iter().map(|(name, change)| (name.as_bytes().into(), change.clone())).collect();
    let links = Links::new(links.iter().map(|group| group.iter().map(|name| path(name)).collect()));
    Delta { root: DirectoryChange { metadata: None, children }, links }
}

#[test]
fn a_group_may_name_paths_that_did_not_change_otherwise() {
    // What a step's `ln a b` yields: only `b` is new, `a` and its other name are as they were.
    let store = MemoryStore::default();
    let base = snapshot(&store, "a = x; z => a; c = y");
    let delta = with(&[("b", Change::Replaced(file("x")))], &[&["a", "b", "z"]]);
    let result = apply(&store, &base, &delta).unwrap();
    assert_eq!(show(&store, &result), ["a = x", "b => a", "c = y", "z => a"]);

    let later = with(&[("z", Change::Removed), ("b", Change::Removed)], &[]);
    let both = compose(&store, &delta, &later).unwrap();
    assert_eq!(
        apply(&store, &base, &both).unwrap(),
        apply(&store, &result, &later).unwrap(),
        "what is linked to nothing any more"
    );
}

#[test]
fn a_difference_fits_another_base_or_says_where_it_does_not() {
    let store = MemoryStore::default();
    let base = snapshot(&store, "d/f = x; g = x");
    let delta = diff(&store, &base, &change(&store, &base, "d/h = y; - g")).unwrap();
    let patched = snapshot(&store, "d/f = z; d/i = z; k = x");
    assert_eq!(
        show(&store, &apply(&store, &patched, &delta).unwrap()),
        ["d/f = z", "d/h = y", "d/i = z", "k = x"]
    );

    let cases = [("d = x", "/d: is a file, not a directory"), ("e = x", "/d: does not exist")];
    for (other, message) in cases {
        assert_eq!(apply(&store, &snapshot(&store, other), &delta).unwrap_err().to_string(), message);
    }
    let linked = with(&[("b", Change::Replaced(file("x")))], &[&["a", "b"]]);
    let cases = [
        ("a = y", "/b: differs from the files it is said to be hard-linked to"),
        ("c = y", "/a: does not exist"),
        ("a/", "/a: is a directory, which can't be hard-linked"),
    ];
    for (other, message) in cases {
        assert_eq!(apply(&store, &snapshot(&store, other), &linked).unwrap_err().to_string(), message);
    }
}

#[test]
fn differences_that_do_not_follow_each_other_are_refused() {
    let store = MemoryStore::default();
    let below = Change::Directory(DirectoryChange {
        metadata: None,
        children: [(Box::from(*b"f"), Change::Removed)].into(),
    });
    let later = with(&[("d", below)], &[]);
    for earlier in [Change::Removed, Change::Replaced(file("x"))] {
        let error = compose(&store, &with(&[("d", earlier)], &[]), &later).unwrap_err().to_string();
        assert_eq!(error, "/d: is changed as a directory by the later difference but is none by the earlier");
    }
    assert_eq!(compose(&store, &Delta::default(), &later).unwrap(), later);
    assert_eq!(compose(&store, &later, &Delta::default()).unwrap(), later);
}

#[test]
fn composing_needs_the_store_only_for_what_was_replaced_whole() {
    let store = MemoryStore::default();
    let base = snapshot(&store, "a = x");
    let one = change(&store, &base, "n/d/f = x; n/g = y");
    let two = change(&store, &one, "n/d/f = z; n/ ! 700");
    let both =
        compose(&store, &diff(&store, &base, &one).unwrap(), &diff(&store, &one, &two).unwrap()).unwrap();
    assert_eq!(both, diff(&store, &base, &two).unwrap());
    assert_eq!(listed(&both), ["+ n/"]);
    let Some(Change::Replaced(entry)) = both.root.children.get(b"n".as_slice()) else { panic!("{both:?}") };
    let rbuild_tree::Kind::Directory(tree) = entry.kind else { panic!("{entry:?}") };
    assert_eq!(store.tree(&tree).unwrap().len(), 2);
}
