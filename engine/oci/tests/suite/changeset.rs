//! Layers over what lies below them.

use crate::support::{Tar, shown};
use rbuild_oci::{Import, Result, apply_layer, import, memory::MemoryObjects};

/// What a layer makes of a lower tree.
fn applied(lower: Tar, layer: Tar) -> Result<String> {
    let store = MemoryObjects::default();
    let base = import(&mut lower.end().as_slice(), &store, &Import::default()).unwrap();
    apply_layer(&mut layer.end().as_slice(), &base, &store).map(|snapshot| shown(&store, &snapshot))
}

fn lower() -> Tar {
    Tar::new().directory("d").file("d/a", "1").directory("d/sub").file("d/sub/b", "2").file("f", "3")
}

#[test]
fn whiteouts_hide_what_lies_below() {
    for (layer, expected) in [
        (Tar::new().file(".wh.f", ""), "d 750 /d\nf 644 /d/a \"1\"\nd 750 /d/sub\nf 644 /d/sub/b \"2\""),
        (Tar::new().file(".wh.d", "").file("./d/.wh.nothing", ""), "f 644 /f \"3\""),
        (Tar::new().file("d/.wh..wh..opq", ""), "d 750 /d\nf 644 /f \"3\""),
        (Tar::new().file(".wh..wh..opq", ""), ""),
        (Tar::new().file(".wh.none", "").file("f/.wh.x", "").file("none/.wh..wh..opq", ""), "same"),
        (Tar::new().file(".wh..wh.plnk/1.2", "").file(".wh..wh.aufs", ""), "same"),
    ] {
        let expected = match expected {
            "same" => "d 750 /d\nf 644 /d/a \"1\"\nd 750 /d/sub\nf 644 /d/sub/b \"2\"\nf 644 /f \"3\"",
            other => other,
        };
        assert_eq!(applied(lower(), layer).unwrap(), expected);
    }
}

#[test]
fn whiteouts_never_hide_their_own_layer() {
    let new = |tar: Tar| tar.file("d/new", "4").file("d/sub/c", "5");
    let expected = "d 750 /d\nf 644 /d/new \"4\"\nd 755 /d/sub\nf 644 /d/sub/c \"5\"\nf 644 /f \"3\"";
    let opaque = "d/.wh..wh..opq";
    assert_eq!(applied(lower(), new(Tar::new().directory("d").file(opaque, ""))).unwrap(), expected);
    assert_eq!(applied(lower(), new(Tar::new().directory("d")).file(opaque, "")).unwrap(), expected);
    assert_eq!(applied(lower(), new(Tar::new().file(".wh.d", "").directory("d"))).unwrap(), expected);
    assert_eq!(applied(lower(), new(Tar::new().directory("d")).file(".wh.d", "")).unwrap(), expected);
    let implied = expected.replace("d 750 /d\n", "d 755 /d\n");
    assert_eq!(applied(lower(), new(Tar::new().file(".wh.d", ""))).unwrap(), implied);
    assert_eq!(applied(lower(), new(Tar::new()).file(".wh.d", "")).unwrap(), implied);
    for layer in [Tar::new().file("f", "6").file(".wh.f", ""), Tar::new().file(".wh.f", "").file("f", "6")] {
        assert!(applied(lower(), layer).unwrap().ends_with("f 644 /f \"6\""));
    }
}

#[test]
fn kinds_replace_each_other() {
    let with_link = || lower().symlink("l", "d");
    for (layer, expected) in [
        (Tar::new().file("d", "now"), "f 644 /d \"now\"\nf 644 /f \"3\"\nl 777 /l -> d"),
        (Tar::new().directory("f").file("f/x", ""), "d 750 /f\nf 644 /f/x \"\"\nl 777 /l -> d"),
        (Tar::new().file("f/x", ""), "d 755 /f\nf 644 /f/x \"\"\nl 777 /l -> d"),
        (Tar::new().symlink("f", "d"), "l 777 /f -> d\nl 777 /l -> d"),
        (Tar::new().directory("l").file("l/x", ""), "f 644 /f \"3\"\nd 750 /l\nf 644 /l/x \"\""),
    ] {
        let text = applied(with_link(), layer).unwrap();
        assert!(text.ends_with(expected), "{text}\n  should end with\n{expected}");
    }
    // Without an entry for it, a symbolic link of a lower layer stays and is followed.
    let text = applied(with_link(), Tar::new().file("l/x", "").file("l/.wh.a", "")).unwrap();
    assert_eq!(
        text,
        "d 750 /d\nd 750 /d/sub\nf 644 /d/sub/b \"2\"\nf 644 /d/x \"\"\nf 644 /f \"3\"\nl 777 /l -> d"
    );
    let error = applied(lower(), Tar::new().file("new", "").file("new/x", "")).unwrap_err();
    assert!(
        error.to_string().contains("\"new/x\"") && error.to_string().contains("/new: is a file"),
        "{error}"
    );
}

#[test]
fn a_directory_entry_changes_only_metadata() {
    let layer = Tar::new().entry(b'5', b"d/", b"", |header| {
        header.mode(0o700).unwrap().uid(7).unwrap();
    });
    let text = applied(lower(), layer).unwrap();
    assert!(text.starts_with("d 700 7:0 /d\nf 644 /d/a \"1\"\nd 750 /d/sub\n"), "{text}");
}

#[test]
fn hard_links() {
    let lower = || Tar::new().file("a", "1").hard_link("b", "a").file("c", "2");
    for (layer, expected) in [
        (Tar::new().hard_link("n", "b"), "= /a /b /n"),
        (Tar::new().file("a", "3"), "f 644 /a \"3\"\nf 644 /b \"1\"\nf 644 /c \"2\""),
        (Tar::new().file("a", "3").hard_link("b", "a"), "f 644 /b \"3\"\nf 644 /c \"2\"\n= /a /b"),
        (Tar::new().file(".wh.a", "").hard_link("n", "b"), "f 644 /n \"1\"\n= /b /n"),
        (Tar::new().hard_link("c", "c"), "f 644 /c \"2\"\n= /a /b"),
        (Tar::new().symlink("s", "x").hard_link("t", "s"), "l 777 /t -> x\n= /a /b\n= /s /t"),
    ] {
        let text = applied(lower(), layer).unwrap();
        assert!(text.ends_with(expected), "{text}\n  should end with\n{expected}");
    }
    let gone = applied(lower(), Tar::new().file(".wh.a", "").hard_link("n", "a")).unwrap_err();
    assert!(gone.to_string().contains("target \"a\" does not exist"), "{gone}");
}

#[test]
fn impossible_whiteouts_are_refused() {
    for name in [".wh.", "d/.wh..", ".wh...", ".wh.x/y"] {
        let error = applied(lower(), Tar::new().file(name, "")).unwrap_err();
        assert!(error.to_string().contains(&format!("{name:?}")), "{error}");
    }
    // In an archive that is no layer they are names like others.
    let store = MemoryObjects::default();
    let tar = Tar::new().file(".wh.x", "y").end();
    let snapshot = import(&mut tar.as_slice(), &store, &Import::default()).unwrap();
    assert_eq!(shown(&store, &snapshot), "f 644 /.wh.x \"y\"");
}

#[test]
fn the_longest_name_can_be_hidden() {
    let name = "n".repeat(255);
    let lower = Tar::new().pax(&[("path", name.as_bytes())]).file("x", "");
    let whiteout = format!("./.wh.{name}");
    let layer = Tar::new().pax(&[("path", whiteout.as_bytes())]).file("x", "");
    assert_eq!(applied(lower, layer).unwrap(), "");
}

/// Each marker once listed all that its layer had put into the directory: minutes for a megabyte of layer.
#[test]
fn many_markers_of_one_directory_cost_no_more_than_their_number() {
    let many = 20_000;
    let mut layer = Tar::new().directory("d");
    for number in 0..many {
        layer = layer.file(&format!("d/{number}"), "").file("d/.wh..wh..opq", "");
    }
    let started = std::time::Instant::now();
    let shown = applied(lower(), layer).unwrap();
    assert_eq!(shown.lines().count(), many + 2, "the directory, its files and `f`");
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

#[test]
fn a_second_marker_hides_nothing_new() {
    let opaque = "d/.wh..wh..opq";
    let layer = Tar::new()
        .file(opaque, "")
        .directory("d/sub")
        .file("d/sub/c", "5")
        .file(opaque, "")
        .file(".wh.d", "");
    assert_eq!(
        applied(lower(), layer).unwrap(),
        "d 755 /d\nd 750 /d/sub\nf 644 /d/sub/c \"5\"\nf 644 /f \"3\""
    );
    // A marker of the inner directory first, then of the outer one.
    let layer = Tar::new().file("d/sub/.wh..wh..opq", "").file("d/sub/c", "5").file(opaque, "");
    assert_eq!(
        applied(lower(), layer).unwrap(),
        "d 750 /d\nd 755 /d/sub\nf 644 /d/sub/c \"5\"\nf 644 /f \"3\""
    );
}
