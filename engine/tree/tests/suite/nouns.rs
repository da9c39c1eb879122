//! Paths, names, trees, link tables: what they take and how they print.

use crate::text::{change, file, path, snapshot};
use rbuild_tree::{
    Error, Links, MemoryStore, ObjectId, Tree, TreeId, TreePath, TreeStore,
    entry::{CAPABILITY, image_value, is_kept_xattr},
    lookup,
    tree::is_valid_name,
    walk,
};
use std::{collections::BTreeMap, ops::Bound};

#[test]
fn capabilities_of_a_user_namespace_become_plain_ones() {
    let third = [&[1, 0, 0, 3][..], &[0xff; 16], &[0, 0, 1, 0]].concat();
    let second = [&[1, 0, 0, 2][..], &[0xff; 16]].concat();
    assert_eq!(*image_value(CAPABILITY, &third), *second);
    for (name, value) in
        [(CAPABILITY, &second[..]), (b"user.x", &third), (CAPABILITY, b"junk"), (CAPABILITY, b"")]
    {
        assert_eq!(*image_value(name, value), *value);
    }
}

#[test]
fn paths_are_read_as_a_person_writes_them() {
    for (text, expected) in [
        ("/usr/lib", "usr/lib"),
        ("usr//lib/", "usr/lib"),
        ("./a/./b/.", "a/b"),
        ("", ""),
        ("///", ""),
        ("...", "..."),
    ] {
        assert_eq!(TreePath::parse(text.as_bytes()).unwrap().as_bytes(), expected.as_bytes(), "{text}");
    }
    let long = "n".repeat(256);
    let cases =
        [("a/..", "`..` is not allowed"), ("a\0b", "NUL byte"), (long.as_str(), "longer than 255 bytes")];
    for (text, reason) in cases {
        let message = TreePath::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(message.starts_with("bad path \"") && message.contains(reason), "{message}");
    }
}

#[test]
fn paths_know_what_they_are_below() {
    let cases = [
        ("a/b/c", "a/b", Some("c")),
        ("a/b/c", "", Some("a/b/c")),
        ("a/b", "a/b", Some("")),
        ("a/bc", "a/b", None),
        ("a", "a/b", None),
    ];
    for (below, above, rest) in cases {
        assert_eq!(path(below).strip_prefix(&path(above)), rest.map(path), "{below} {above}");
        assert_eq!(path(below).starts_with(&path(above)), rest.is_some());
        if let Some(rest) = rest {
            assert_eq!(path(above).join_path(&path(rest)), path(below));
        }
    }
    assert_eq!(
        (path("a/b").parent(), path("a").parent(), path("").parent()),
        (Some(path("a")), Some(path("")), None)
    );
    assert_eq!((path("a/b").name(), path("").name()), (Some(b"b".as_slice()), None));
}

#[test]
fn paths_print_without_harm() {
    let path = TreePath::parse(b"a\xff/\x1b[31m\nb").unwrap();
    assert_eq!(path.to_string(), "/a\u{fffd}/\\u{1b}[31m\\nb");
    assert_eq!(TreePath::root().to_string(), "/");
}

#[test]
fn maps_of_paths_are_searched_by_bytes() {
    let map: BTreeMap<TreePath, i32> = [(path("a/b"), 1), (path("a-b"), 2), (path("a0"), 3)].into();
    assert_eq!(map.get(b"a/b".as_slice()), Some(&1));
    let below = (Bound::Included(b"a/".as_slice()), Bound::Excluded(b"a0".as_slice()));
    assert_eq!(map.range::<[u8], _>(below).map(|(_, at)| *at).collect::<Vec<_>>(), [1]);
}

#[test]
fn names_and_attributes_are_checked() {
    for name in ["a", ".a", "...", "a b", &"n".repeat(255)] {
        assert!(is_valid_name(name.as_bytes()), "{name}");
    }
    for name in ["", ".", "..", "a/b", "a\0", &"n".repeat(256)] {
        assert!(!is_valid_name(name.as_bytes()), "{name}");
    }
    for (name, kept) in [
        ("user.x", true),
        ("security.capability", true),
        ("system.posix_acl_access", true),
        ("user.overlay.opaque", false),
        ("user.fuseoverlayfs.origin", false),
        ("trusted.overlay.opaque", false),
        ("security.selinux", false),
        ("user", false),
    ] {
        assert_eq!(is_kept_xattr(name.as_bytes()), kept, "{name}");
    }
}

#[test]
fn a_tree_is_sorted_whatever_the_order() {
    let name = |name: &str| Box::<[u8]>::from(name.as_bytes());
    let mut tree =
        Tree::from_entries([(name("b"), file("x")), (name("a"), file("y")), (name("b"), file("z"))]);
    assert_eq!(tree.iter().map(|(name, _)| name).collect::<Vec<_>>(), [b"a", b"b"]);
    assert_eq!(tree.get(b"b"), Some(&file("z")), "the later one wins");
    let before = tree.id();
    tree.insert(b"aa", file("x"));
    tree.insert(b"a", file("w"));
    assert_eq!((tree.len(), tree.is_empty()), (3, false));
    assert_eq!((tree.remove(b"aa"), tree.remove(b"no")), (Some(file("x")), None));
    tree.insert(b"a", file("y"));
    assert_eq!(tree.id(), before);
    assert_eq!(tree.into_iter().count(), 2);
}

#[test]
fn groups_that_share_a_path_are_one() {
    let links =
        |groups: &[&[&str]]| Links::new(groups.iter().map(|group| group.iter().map(|at| path(at)).collect()));
    assert_eq!(links(&[&["b", "a"], &["d", "c"], &["c", "b"], &["x"], &[]]), links(&[&["a", "b", "c", "d"]]));
    assert_eq!(links(&[&["z", "y"], &["b", "a"]]).groups()[0], [path("a"), path("b")]);
    assert!(links(&[&["a"], &["a", "a"]]).is_empty());
}

#[test]
fn identities_are_read_as_they_print() {
    let id = ObjectId::of(b"x");
    assert_eq!(id.to_string().parse::<ObjectId>().unwrap(), id);
    assert_eq!(id.short(), id.to_string()[..12]);
    let error = "123".parse::<TreeId>().unwrap_err().to_string();
    assert_eq!(error, "damaged digest: \"123\" is not 64 hex digits");
}

#[test]
fn a_walk_goes_in_order_and_stops_where_the_visitor_says() {
    let store = MemoryStore::default();
    let base = snapshot(&store, "b/x = x; a/z = x; a/y/w = x; a-b = x");
    let mut seen = Vec::new();
    walk(&store, &base.tree, &mut |at, _| {
        seen.push(at.to_string());
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, ["/a", "/a/y", "/a/y/w", "/a/z", "/a-b", "/b", "/b/x"]);
    let mut count = 0;
    let result = walk(&store, &base.tree, &mut |at, _| {
        count += 1;
        if *at == path("a/y") { Err(Error::At { path: at.clone(), reason: "enough".into() }) } else { Ok(()) }
    });
    assert_eq!((count, result.unwrap_err().to_string().as_str()), (2, "/a/y: enough"));
}

#[test]
fn a_lookup_follows_nothing() {
    let store = MemoryStore::default();
    let base = change(&store, &snapshot(&store, "a/f = x; l -> a"), "a/g = y");
    for (at, there) in [
        ("a/f", true),
        ("a/g", true),
        ("a", true),
        ("", true),
        ("l", true),
        ("l/f", false),
        ("a/f/x", false),
        ("no/no", false),
    ] {
        assert_eq!(lookup(&store, &base, &path(at)).unwrap().is_some(), there, "{at}");
    }
    let gone = TreeId::of(b"gone");
    assert_eq!(store.tree(&gone).unwrap_err().to_string(), format!("tree {gone} is missing from the store"));
}
