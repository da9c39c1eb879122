//! Symbolic links are followed inside the tree and nowhere else.

use crate::text::{path, show, snapshot};
use rbuild_tree::{Editor, MemoryStore, lookup, resolve};

const TREE: &str = "usr/bin/sh = s; bin -> usr/bin; usr/lib/x = y; lib -> /usr/lib; etc/passwd = p
    up -> ../../../etc; usr/local -> ../etc; chain -> bin; loop -> loop; a -> b; b -> a; dangling -> no/where
    to-file -> etc/passwd; through -> etc/passwd/x; empty/; deep -> usr/bin/../lib/./x; root -> /; abs -> /no";

#[test]
fn paths_lead_where_they_do_in_a_chroot() {
    let store = MemoryStore::default();
    let base = snapshot(&store, TREE);
    // What is asked, where it leads with the last part followed, where without; `?` marks what does not exist.
    let cases = [
        ("bin/sh", "usr/bin/sh", "usr/bin/sh"),
        ("/bin/sh", "usr/bin/sh", "usr/bin/sh"),
        ("lib/x", "usr/lib/x", "usr/lib/x"),
        ("bin", "usr/bin", "bin"),
        ("chain", "usr/bin", "chain"),
        ("chain/new/deeper", "usr/bin/new/deeper?", "usr/bin/new/deeper?"),
        ("up/passwd", "etc/passwd", "etc/passwd"),
        ("usr/local/passwd", "etc/passwd", "etc/passwd"),
        ("dangling", "no/where?", "dangling"),
        ("dangling/x", "no/where/x?", "no/where/x?"),
        ("abs/x", "no/x?", "no/x?"),
        ("to-file", "etc/passwd", "to-file"),
        ("deep", "usr/lib/x", "deep"),
        ("root/root/root/bin/sh", "usr/bin/sh", "usr/bin/sh"),
        ("", "", ""),
        ("/", "", ""),
        ("..", "", ""),
        ("../../usr", "usr", "usr"),
        ("bin/../lib", "usr/lib", "usr/lib"),
        ("no/../etc", "etc", "etc"),
        ("no/no/../../../../etc/passwd", "etc/passwd", "etc/passwd"),
        ("no/..", "", ""),
        ("empty/./no", "empty/no?", "empty/no?"),
    ];
    for (asked, followed, unfollowed) in cases {
        for (follow_last, expected) in [(true, followed), (false, unfollowed)] {
            let resolved = resolve(&store, &base, asked.as_bytes(), follow_last).unwrap();
            let (expected, exists) =
                expected.strip_suffix('?').map_or((expected, true), |name| (name, false));
            assert_eq!(
                (resolved.path.clone(), resolved.found.is_some()),
                (path(expected), exists),
                "{asked}"
            );
            let there = lookup(&store, &base, &resolved.path).unwrap();
            assert_eq!(resolved.found.map(|found| found.metadata), there.map(|entry| entry.metadata));
        }
    }
}

#[test]
fn what_leads_nowhere_is_named() {
    let store = MemoryStore::default();
    let base = snapshot(&store, TREE);
    let mut editor = Editor::new(&store, &base);
    let long = "n".repeat(256);
    let cases = [
        ("loop", "/loop: more than 40 symbolic links follow each other"),
        ("a/x", "/a: more than 40 symbolic links follow each other"),
        ("etc/passwd/x", "/etc/passwd: is a file, not a directory"),
        ("through", "/etc/passwd: is a file, not a directory"),
        (long.as_str(), "a name holds a NUL byte or is longer than 255 bytes"),
    ];
    for (asked, message) in cases {
        let error = editor.resolve(asked.as_bytes(), true).unwrap_err().to_string();
        assert!(error.ends_with(message), "{asked}: {error}");
    }
    assert!(editor.resolve(b"loop", false).unwrap().found.is_some());
    assert_eq!(editor.finish().unwrap(), base);
}

#[test]
fn forty_links_are_followed_and_no_more() {
    let store = MemoryStore::default();
    let links: Vec<String> = (0..41).map(|at| format!("l{at} -> l{}", at + 1)).collect();
    let base = snapshot(&store, &(links.join(";") + ";l41 = x"));
    assert_eq!(show(&store, &base).len(), 42);
    assert_eq!(resolve(&store, &base, b"l1", true).unwrap().path, path("l41"));
    assert!(resolve(&store, &base, b"l0", true).is_err());
}

#[test]
fn a_hostile_pile_of_names_ends() {
    let store = MemoryStore::default();
    let long = vec!["d"; 3_000].join("/");
    let base = snapshot(&store, "d/x = x");
    let error = resolve(&store, &base, long.as_bytes(), true).unwrap_err().to_string();
    assert!(error.ends_with("nests deeper than 2000 directories"), "{error}");
}
