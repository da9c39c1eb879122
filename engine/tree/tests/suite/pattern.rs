//! Patterns over paths.

use crate::text::{path, snapshot};
use proptest::prelude::*;
use rbuild_tree::{Editor, MemoryStore, Pattern, TreePath, find};

#[test]
fn each_form_matches_what_it_says() {
    // Pattern, what it matches, what it does not.
    let cases: [(&str, &[&str], &[&str]); 32] = [
        ("a", &["a"], &["b", "a/b", "aa", ""]),
        ("/a/b", &["a/b"], &["a", "b", "a/b/c"]),
        ("a//b/", &["a/b"], &["a"]),
        ("./a/./b", &["a/b"], &["a"]),
        ("", &[""], &["a"]),
        ("/", &[""], &["a"]),
        ("*", &["a", ".hidden", "a.b"], &["a/b", ""]),
        ("/a/*", &["a/b", "a/.b"], &["a", "a/b/c"]),
        ("*.c", &["x.c", ".c", "a.b.c"], &["x.h", "d/x.c", "x.cc"]),
        ("a*b*c", &["abc", "axxbxxc", "abbc"], &["ab", "axb/c"]),
        ("?", &["a", "!"], &["ab", "a/b", ""]),
        ("a?c", &["abc", "a.c"], &["a/c", "ac"]),
        ("**", &["a", "a/b", "a/b/c"], &[""]),
        ("a/**", &["a/b", "a/b/c"], &["a", "ab", "b"]),
        ("**/a", &["a", "x/a", "x/y/a"], &["xa", "a/x", "x/ya"]),
        ("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["ab", "a/xb", "xa/b", "a/b/c"]),
        ("**/*.so", &["x.so", "l/x.so", "l/m/.so"], &["x.so.1"]),
        ("**/.git/**", &[".git/x", "a/.git/x/y"], &[".git", "a/.git", "x.git/y"]),
        ("a/**/**/b", &["a/b", "a/x/b"], &["b"]),
        ("a**b", &["ab", "axxb"], &["a/b"]),
        ("**a", &["a", "xa"], &["x/a"]),
        ("a/***", &["a/b"], &["a/b/c", "a"]),
        ("[a-c]x", &["ax", "bx", "cx"], &["dx", "x", "abx"]),
        ("[!a-c]x", &["dx", ".x"], &["ax", "/x"]),
        ("[]a]", &["]", "a"], &["b"]),
        ("[a-]", &["a", "-"], &["b"]),
        ("[\\]\\-x]", &["]", "-", "x"], &["\\"]),
        ("{a,b}", &["a", "b"], &["ab", "c", "{a,b}"]),
        ("x{,y{1,2}z}", &["x", "xy1z", "xy2z"], &["xyz", "xy3z"]),
        (
            "usr/{lib/**,bin/*sh,share}",
            &["usr/lib/a/b", "usr/bin/bash", "usr/share"],
            &["usr/lib", "usr/share/a"],
        ),
        ("{**/,x}a", &["a", "d/e/a", "xa"], &["ya"]),
        ("\\*\\{a,b\\}[*]", &["*{a,b}*"], &["xa*"]),
    ];
    for (text, yes, no) in cases {
        let pattern = Pattern::parse(text).unwrap();
        assert_eq!(pattern.as_str(), text);
        yes.iter().for_each(|at| assert!(pattern.matches(&path(at)), "{text} {at}"));
        no.iter()
            .filter(|at| !at.starts_with('/'))
            .for_each(|at| assert!(!pattern.matches(&path(at)), "{text} {at}"));
    }
}

#[test]
fn bytes_are_bytes() {
    let text =
        |pattern: &str, at: &[u8]| Pattern::parse(pattern).unwrap().matches(&TreePath::parse(at).unwrap());
    assert!(text("a*", b"a\xff\xfe") && text("a?", b"a\xff") && text("[!a]", b"\xff"));
    assert!(text("ä/*", "ä/ö".as_bytes()) && text("{ä,ö}", "ö".as_bytes()) && !text("?", "ö".as_bytes()));
    assert!(text("a,b}", b"a,b}") && text("a\\\nb", b"a\nb"));
}

#[test]
fn what_can_not_be_a_pattern_is_refused_with_the_reason() {
    let (deep, long) = ("{".repeat(17), "a".repeat(5_000));
    let cases = [
        ("[a", "a `[` is never closed by `]`"),
        ("[", "a `[` is never closed by `]`"),
        ("[]", "a `[` is never closed by `]`"),
        ("[a-", "a `[` is never closed by `]`"),
        ("[b-a]", "the range `b-a` is empty"),
        ("[/]", "a `[...]` matches nothing"),
        ("[ä]", "only ASCII characters can stand in `[...]`; write `{ä,ö}` for others"),
        ("{a,b", "a `{` is never closed by `}`"),
        ("{a,{b}", "a `{` is never closed by `}`"),
        ("a\\", "it ends in a `\\` that escapes nothing"),
        ("a/../b", "`..` is not allowed in a pattern"),
        ("{a,..}", "`..` is not allowed in a pattern"),
        ("..", "`..` is not allowed in a pattern"),
        (deep.as_str(), "`{` nests deeper than 16"),
        (long.as_str(), "a pattern is longer than 4096 bytes"),
    ];
    for (text, reason) in cases {
        assert_eq!(Pattern::parse(text).unwrap_err(), reason, "{text}");
    }
    assert!(Pattern::parse("a/..b/...").is_ok());
    assert!(Pattern::parse("\\.\\./a").unwrap_err().contains("`..` is not allowed"));
}

#[test]
fn patterns_without_anything_special_are_paths() {
    let literal = |text: &str| Pattern::parse(text).unwrap().literal();
    for (text, expected) in
        [("/usr//bin/", "usr/bin"), ("", ""), ("a\\*b", "a*b"), ("a/.", "a"), ("./a", "a")]
    {
        assert_eq!(literal(text), Some(path(expected)), "{text}");
        assert!(Pattern::parse(text).unwrap().matches(&path(expected)), "{text}");
    }
    for text in ["a*", "a?", "[a]", "{a}", "**", "a/**/b"] {
        assert_eq!(literal(text), None, "{text}");
    }
}

#[test]
fn a_walk_can_be_pruned() {
    let cases: [(&str, &[&str], &[&str]); 6] = [
        ("a/b/c", &["", "a", "a/b"], &["b", "a/c", "a/b/c", "ab"]),
        ("a/*/c", &["", "a", "a/x"], &["b", "a/x/c", "a/x/y"]),
        ("a/**", &["", "a", "a/b", "a/b/c"], &["b"]),
        ("**/x", &["", "a", "a/b", "x"], &[]),
        ("{a/b,c}", &["", "a"], &["c", "a/b", "d"]),
        ("*.d", &[""], &["a", "a.d"]),
    ];
    for (text, yes, no) in cases {
        let pattern = Pattern::parse(text).unwrap();
        yes.iter().for_each(|at| assert!(pattern.could_match_below(&path(at)), "{text} {at}"));
        no.iter().for_each(|at| assert!(!pattern.could_match_below(&path(at)), "{text} {at}"));
    }
}

#[test]
fn paths_are_found_in_a_tree() {
    let store = MemoryStore::default();
    let base = snapshot(
        &store,
        "usr/bin/sh = s; usr/bin/.hid = h; usr/lib/libc.so = c; usr/lib/x/libm.so = m; bin -> usr/bin; etc/a-b = x
         etc/a/c = x; l -> etc; loop -> loop; up -> ..; file = f; dead -> no",
    );
    let cases: [(&str, &[&str]); 20] = [
        ("/usr/bin/sh", &["usr/bin/sh"]),
        ("bin/sh", &["usr/bin/sh"]),
        ("bin", &["bin"]),
        ("bin/*", &["usr/bin/.hid", "usr/bin/sh"]),
        ("bin/s*", &["usr/bin/sh"]),
        ("usr/**/*.so", &["usr/lib/libc.so", "usr/lib/x/libm.so"]),
        ("**/*.so", &["usr/lib/libc.so", "usr/lib/x/libm.so"]),
        ("etc/**", &["etc/a", "etc/a-b", "etc/a/c"]),
        ("{etc,usr/bin}/*", &["etc/a", "etc/a-b", "usr/bin/.hid", "usr/bin/sh"]),
        ("*/a", &["etc/a"]),
        ("l*/a", &[]),
        ("l/a", &["etc/a"]),
        ("dead", &["dead"]),
        ("dead/*", &[]),
        ("loop/*", &[]),
        ("file/*", &[]),
        ("file/x", &[]),
        ("no/**", &[]),
        ("up/fil?", &["file"]),
        ("/", &[""]),
    ];
    let mut editor = Editor::new(&store, &base);
    for (text, expected) in cases {
        let found = find(&mut editor, &Pattern::parse(text).unwrap()).unwrap();
        assert_eq!(found, expected.iter().map(|at| path(at)).collect::<Vec<_>>(), "{text}");
    }
    assert_eq!(editor.finish().unwrap(), base);
}

#[test]
fn hostile_patterns_take_no_longer_than_their_length() {
    let at = TreePath::parse(vec!["a".repeat(250); 16].join("/").as_bytes()).unwrap();
    for text in [
        "*a".repeat(1_500) + "b",
        "**/".repeat(1_300) + "b",
        "{a,a}".repeat(800) + "b",
        "{*,**/}".repeat(500) + "b",
        "{{{{{{{{*,a},*},*},*},*},*},*},*}b".repeat(60),
    ] {
        assert!(!Pattern::parse(&text).unwrap().matches(&at));
    }
}

/// As slow and plain as can be: `*`, `?` and `**` on names.
fn plainly(pattern: &[&[u8]], names: &[&[u8]]) -> bool {
    fn name(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([b'*', rest @ ..], text) => (0..=text.len()).any(|at| name(rest, &text[at..])),
            ([b'?', rest @ ..], [_, tail @ ..]) => name(rest, tail),
            ([byte, rest @ ..], [first, tail @ ..]) => byte == first && name(rest, tail),
            _ => false,
        }
    }
    match (pattern, names) {
        ([], []) => true,
        ([b"**"], names) => !names.is_empty(),
        ([b"**", rest @ ..], names) => (0..=names.len()).any(|at| plainly(rest, &names[at..])),
        ([first, rest @ ..], [head, tail @ ..]) => name(first, head) && plainly(rest, tail),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn it_matches_what_the_plain_way_does(
        pattern in prop::collection::vec("[ab*?]{1,4}", 1..5), names in prop::collection::vec("[ab]{1,4}", 0..5),
    ) {
        let plain: Vec<&[u8]> = pattern.iter().map(String::as_bytes).collect();
        let at: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
        let parsed = Pattern::parse(&pattern.join("/")).unwrap();
        let at_path = path(&names.join("/"));
        prop_assert_eq!(parsed.matches(&at_path), plainly(&plain, &at));
        if parsed.matches(&at_path) {
            let mut above = at_path.parent();
            while let Some(directory) = above {
                prop_assert!(parsed.could_match_below(&directory));
                above = directory.parent();
            }
        }
    }

    #[test]
    fn nothing_makes_it_panic(text in "[a/*?.,{}!^\\\\\\[\\]-]{0,20}", at in "[a/.,]{0,10}") {
        if let (Ok(pattern), Ok(at)) = (Pattern::parse(&text), TreePath::parse(at.as_bytes())) {
            let _ = (pattern.matches(&at), pattern.could_match_below(&at), pattern.literal());
        }
    }
}
