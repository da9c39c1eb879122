//! Steps that run nothing, through the whole program: placement, metadata, patterns, links, and what makes such a step
//! run again. The finer rules are tested beside the code that makes them.

use crate::support::Project;
use std::{fs, os::unix::fs::symlink};

const HEAD: &str = "version = 1\nepoch = 1764000000\n";

/// A project with these tables, and its step `out` built.
#[track_caller]
fn built(tables: &str) -> Project {
    build(Project::new(&format!("{HEAD}{tables}")))
}

#[track_caller]
fn build(project: Project) -> Project {
    project.rbuild(["apply", "out"]).success();
    project
}

/// What `apply out` says of these tables, which it can't build.
#[track_caller]
fn refused(tables: &str) -> String {
    Project::new(&format!("{HEAD}{tables}")).rbuild(["apply", "out"]).failure(1)
}

/// The tree of step `out` without its root: `-rw-r--r-- 0:0 /etc/motd`, and the groups of names that are one file.
#[track_caller]
fn tree(project: &Project) -> Vec<String> {
    let listing = project.rbuild(["inspect", "--tree", "step.out"]).success();
    let line = |line: &str| match line.split_once(" /") {
        Some((metadata, path)) if !line.starts_with("one file") => {
            let words: Vec<&str> = metadata.split_whitespace().collect();
            format!("{} {} /{path}", words[0], words[1])
        }
        _ => line.to_owned(),
    };
    listing.lines().skip(1).map(line).collect()
}

/// The paths of step `out`.
#[track_caller]
fn paths(project: &Project) -> Vec<String> {
    let of = |line: String| Some(line.split_once(" /")?.1.to_owned());
    tree(project).into_iter().filter(|line| !line.starts_with("one file")).filter_map(of).collect()
}

/// A tree to copy from, as `[step.src]`.
const SRC: &str = r#"
[step.src]
files = [
  { path = "/a/f", content = "f" },
  { path = "/a/x/one", content = "1" },
  { path = "/a/x/two.md", content = "2" },
  { path = "/a/x/deep/three", content = "3" },
]
"#;

#[test]
fn copies_go_where_the_table_says() {
    let inside = ["x/", "x/deep/", "x/deep/three", "x/one", "x/two.md"];
    let below = |prefix: &str, keep: &[&str]| -> Vec<String> {
        let mut paths: Vec<String> =
            prefix.match_indices('/').map(|(at, _)| prefix[..=at].to_owned()).collect();
        paths.extend(keep.iter().map(|path| format!("{prefix}{path}")));
        paths.sort_unstable();
        paths
    };
    let contents: Vec<&str> = inside[1..].iter().map(|path| &path[2..]).collect();
    for (copy, expected) in [
        (r#"src = "/a/f", dest = "/d/""#, below("d/", &["f"])),
        (r#"src = "/a/f", dest = "/d""#, vec!["d".to_owned()]),
        (r#"src = "/a/x", dest = "/d/""#, below("d/", &inside)),
        (r#"src = "/a/x", dest = "/d""#, below("d/", &contents)),
        (r#"src = "/a/x/", dest = "/d/""#, below("d/", &contents)),
        (r#"src = "/a/x/", dest = "/d""#, below("d/", &contents)),
        (r#"src = ["/a/f", "/a/x"], dest = "/d/e/""#, below("d/e/", &[&["f"][..], &inside].concat())),
        (r#"src = "/a/x/*", dest = "/""#, contents.iter().map(|path| (*path).to_owned()).collect()),
        (r#"src = "/**/*.md", dest = "/d/""#, below("d/", &["two.md"])),
        (r#"src = "/a/x/o*", dest = "/d/", parents = true"#, below("d/a/x/", &["one"])),
        (r#"src = "/none/*", dest = "/d/", optional = true"#, vec![]),
    ] {
        let project = built(&format!("{SRC}[step.out]\ncopy = [{{ from = \"src\", {copy} }}]\n"));
        assert_eq!(paths(&project), expected, "{copy}");
    }
}

#[test]
fn copies_that_can_not_be_meant() {
    let exists = "dirs = [{ path = \"/d\" }]";
    let file = "files = [{ path = \"/d\", content = \"\" }]";
    for (base, copy, code, told) in [
        (exists, r#"src = "/a/f", dest = "/d""#, "type-conflict", "/d/"),
        (file, r#"src = "/a/x", dest = "/d""#, "type-conflict", "/d"),
        ("", r#"src = "/a/missing", dest = "/d/""#, "no-match", "/a/missing"),
        ("", r#"src = "/a/*.txt", dest = "/d/""#, "no-match", "/a/*.txt"),
        (file, r#"src = "/a/f", dest = "/d/e/""#, "type-conflict", "/d"),
        ("", r#"src = "/a/f", dest = "/d/", owner = "nobody""#, "unknown-owner", "nobody"),
    ] {
        let tables = format!(
            "{SRC}[step.base]\n{base}\n[step.out]\nfrom = \"base\"\ncopy = [{{ from = \"src\", {copy} }}]\n"
        );
        let error = refused(&tables);
        assert!(error.contains(&format!("error[{code}]")) && error.contains(told), "{copy}: {error}");
    }
}

#[test]
fn directories_on_the_way_are_made_or_left() {
    let project = built(
        r#"
[step.base]
dirs = [{ path = "/old", owner = "5:6", mode = "0710" }, { path = "/real", mode = "0750" }]
links = [{ path = "/into", target = "/real" }, { path = "/out", target = "../../../../real" }]
[step.src]
files = [{ path = "/f", content = "f", mode = "0600", owner = "7:8" }]
[step.out]
from = "base"
copy = [
  { from = "src", src = "/f", dest = "/new/last/", owner = "9" },
  { from = "src", src = "/f", dest = "/old/", mode = "0640" },
  { from = "src", src = "/f", dest = "/into/" },
  { from = "src", src = "/f", dest = "/out/sub/" },
]
"#,
    );
    let expected = [
        "lrwxrwxrwx 0:0 /into -> /real",
        "drwxr-xr-x 0:0 /new/",
        "drwxr-xr-x 9:9 /new/last/",
        "-rw------- 9:9 /new/last/f",
        "drwx--x--- 5:6 /old/",
        "-rw-r----- 7:8 /old/f",
        "lrwxrwxrwx 0:0 /out -> ../../../../real",
        "drwxr-x--- 0:0 /real/",
        "-rw------- 7:8 /real/f",
        "drwxr-xr-x 0:0 /real/sub/",
        "-rw------- 7:8 /real/sub/f",
    ];
    assert_eq!(tree(&project), expected);
}

/// Neither a link that is copied nor one that is followed ever reads this machine's files.
#[test]
fn links_lead_nowhere_outside_their_tree() {
    let spec = r#"version = 1
[source.code]
path = "src"
[step.out]
copy = [
  { from = "code", dest = "/plain" },
  { from = "code", src = "/inside", dest = "/followed", follow = true },
  { from = "code", src = "/climbs", dest = "/climbed", follow = true },
]
"#;
    let project = Project::new(spec)
        .file("secret", "outside")
        .file("src/etc/passwd", "mine")
        .file("src/secret", "in the tree");
    let links = [
        ("inside", "/etc/passwd"),
        ("climbs", "../../../secret"),
        ("dangling", "no/where"),
        ("folder", "/etc"),
    ];
    for (name, target) in links {
        symlink(target, project.path("src").join(name)).expect("a link");
    }
    let project = build(project);
    let expected = [
        "-rw-r--r-- 0:0 /climbed",
        "-rw-r--r-- 0:0 /followed",
        "drwxr-xr-x 0:0 /plain/",
        "lrwxrwxrwx 0:0 /plain/climbs -> ../../../secret",
        "lrwxrwxrwx 0:0 /plain/dangling -> no/where",
        "drwxr-xr-x 0:0 /plain/etc/",
        "-rw-r--r-- 0:0 /plain/etc/passwd",
        "lrwxrwxrwx 0:0 /plain/folder -> /etc",
        "lrwxrwxrwx 0:0 /plain/inside -> /etc/passwd",
        "-rw-r--r-- 0:0 /plain/secret",
    ];
    assert_eq!(tree(&project), expected);
    assert_eq!(content(&project, &["climbed", "followed"]), ["in the tree", "mine"]);
    for (name, target) in [("host", "/etc/hostname"), ("loop", "loop")] {
        symlink(target, project.path("src").join(name)).expect("a link");
        project.write("build.toml", spec.replace("/inside", &format!("/{name}")));
        assert!(project.rbuild(["apply", "out"]).failure(1).contains(name));
    }
}

/// What these files of step `out` hold.
#[track_caller]
fn content(project: &Project, files: &[&str]) -> Vec<String> {
    let spec = project.read("build.toml");
    project.write(
        "content.toml",
        format!("{spec}\n[image.content]\nfrom = \"out\"\noutput = [{{ dir = \"content\" }}]\n"),
    );
    project.rbuild(["apply", "-f", "content.toml", "content"]).success();
    files.iter().map(|file| project.read(&format!("content/{file}"))).collect()
}

#[test]
fn patterns_and_ignore_lists() {
    let spec = r#"version = 1
[source.code]
path = "src"
exclude = ["*.tmp", "/build/", "!keep.tmp"]
[source.allowed]
path = "src"
exclude = ["*", "!/odd/", "!/odd/**"]
[step.out]
copy = [
  { from = "code", dest = "/code", exclude = ["odd/"] },
  { from = "allowed", dest = "/allowed" },
  { from = "code", src = "/odd/\\[a\\]", dest = "/literal/" },
  { from = "code", src = "/odd/[ab]*", dest = "/class/" },
  { from = "code", src = "/odd/{b,none}*", dest = "/either/" },
]
"#;
    let mut project = Project::new(spec);
    for file in [
        "a.tmp",
        "keep.tmp",
        "main.c",
        "build/out",
        "deep/build/out",
        "deep/x.tmp",
        "odd/[a]",
        "odd/a",
        "odd/b b",
        ".hidden",
        "ignored.o",
        ".git/config",
    ] {
        project = project.file(&format!("src/{file}"), file);
    }
    project = project.file("src/.gitignore", "*.o\n");
    let project = build(project);
    let expected = [
        "allowed/",
        "allowed/odd/",
        "allowed/odd/[a]",
        "allowed/odd/a",
        "allowed/odd/b b",
        "class/",
        "class/a",
        "class/b b",
        "code/",
        "code/.gitignore",
        "code/.hidden",
        "code/deep/",
        "code/deep/build/",
        "code/deep/build/out",
        "code/keep.tmp",
        "code/main.c",
        "either/",
        "either/b b",
        "literal/",
        "literal/[a]",
    ];
    assert_eq!(paths(&project), expected);
}

#[test]
fn modes_owners_and_capabilities_in_their_order() {
    let project = built(
        r#"
[step.base]
users = [{ name = "app", uid = 1000 }]
dirs = [{ path = "/shared", mode = "3775" }]
files = [
  { path = "/su", content = "", mode = "6755" },
  { path = "/su-moved", content = "", mode = "6755" },
  { path = "/su-kept", content = "", mode = "4755" },
  { path = "/able", content = "", mode = "0755" },
  { path = "/able-moved", content = "", mode = "0755" },
]
attrs = [{ path = "/able*", capabilities = "cap_net_raw+ep" }]
[step.changed]
from = "base"
attrs = [
  { path = "/su-moved", owner = "app" },
  { path = "/su-kept", owner = "app", mode = "4711" },
  { path = "/able-moved", owner = "5" },
]
[step.out]
copy = [
  { from = "changed", src = "/{su,able,shared}*", dest = "/" },
  { from = "changed", src = "/{su,able}", dest = "/owned/", owner = "3:4" },
]
"#,
    );
    let expected = [
        "-rwxr-xr-x 0:0 /able {security.capability}",
        "-rwxr-xr-x 5:5 /able-moved",
        "drwxr-xr-x 3:4 /owned/",
        "-rwxr-xr-x 3:4 /owned/able",
        "-rwxr-xr-x 3:4 /owned/su",
        "drwxrwsr-t 0:0 /shared/",
        "-rwsr-sr-x 0:0 /su",
        "-rws--x--x 1000:1000 /su-kept",
        "-rwxr-xr-x 1000:1000 /su-moved",
    ];
    assert_eq!(tree(&project), expected);
}

#[test]
fn hard_links_follow_the_part_that_is_copied() {
    let project = built(
        r#"
[step.base]
files = [{ path = "/x/one", content = "same" }, { path = "/x/alone", content = "same" }]
links = [
  { path = "/x/two", target = "/x/one", hard = true },
  { path = "/y/three", target = "/x/one", hard = true },
]
[step.changed]
from = "base"
files = [{ path = "/y/three", content = "other" }]
[step.out]
copy = [
  { from = "base", dest = "/all" },
  { from = "base", src = "/x/", dest = "/part" },
  { from = "base", src = "/y/", dest = "/single" },
  { from = "changed", dest = "/changed" },
]
"#,
    );
    let groups: Vec<String> =
        tree(&project).into_iter().filter(|line| line.starts_with("one file")).collect();
    let expected = [
        "one file: /all/x/one /all/x/two /all/y/three",
        "one file: /changed/x/one /changed/x/two",
        "one file: /part/one /part/two",
    ];
    assert_eq!(groups, expected);
    assert_eq!(content(&project, &["changed/x/one", "changed/y/three"]), ["same", "other"]);
}

#[test]
fn a_path_that_becomes_another_kind_is_seen() {
    let spec = format!(
        "{HEAD}[source.code]\npath = \"src\"\n[step.out]\ncopy = [{{ from = \"code\", dest = \"/c\" }}]\n"
    );
    let project = build(Project::new(&spec).file("src/d/f", "1"));
    assert_eq!(paths(&project), ["c/", "c/d/", "c/d/f"]);
    fs::remove_dir_all(project.path("src/d")).expect("a folder");
    let project = build(project.file("src/d", "1"));
    assert_eq!(paths(&project), ["c/", "c/d"]);
    fs::remove_file(project.path("src/d")).expect("a file");
    symlink("f", project.path("src/d")).expect("a link");
    assert_eq!(paths(&build(project)), ["c/", "c/d -> f"]);
}

/// What ran in a build, of the steps a, b and out.
#[track_caller]
fn ran(project: &Project) -> Vec<String> {
    let output = project.rbuild(["apply", "--progress", "json"]);
    assert_eq!(output.code, Some(0), "{output}");
    let events =
        output.stdout.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let started = events.filter(|event| event["event"] == "started");
    let mut names: Vec<String> =
        started.filter_map(|event| Some(event["node"].as_str()?.to_owned())).collect();
    names.retain(|name| name.starts_with("step."));
    names.sort_unstable();
    names
}

const CHAIN: &str = r#"version = 1
epoch = 1764000000
[source.code]
path = "src"
[step.a]
copy = [{ from = "code", src = "/*.txt", dest = "/a/" }]
[step.b]
from = "a"
files = [{ path = "/b", content = "b" }]
[step.out]
from = "b"
copy = [{ from = "code", src = "/other", dest = "/o" }]
config = { labels = { x = "1" } }
[image.out]
from = "out"
tags = ["x:1"]
output = [{ oci = "dist" }]
"#;

fn chain() -> Project {
    Project::new(CHAIN).file("src/one.txt", "one").file("src/other", "other").file("src/unused", "unused")
}

#[test]
fn what_only_looks_different_runs_nothing() {
    let project = chain();
    assert_eq!(ran(&project), ["step.a", "step.b", "step.out"]);
    let digest = project.layout("dist").digest("1");
    assert_eq!(ran(&project), [""; 0]);
    // Neither the time, nor the group's permissions, nor a file that no step takes, nor the place.
    project.write("src/one.txt", "one");
    project.chmod("src/other", 0o600);
    project.write("src/unused", "changed");
    assert_eq!(ran(&project), [""; 0]);
    assert_eq!(project.layout("dist").digest("1"), digest);
    for (from, to) in [
        ("[step.b]\n", "# a comment\n[step.b]\ndescription = \"told\"\n"),
        ("x = \"1\"", "x = \"2\""),
        ("tags = [\"x:1\"]", "tags = [\"x:1\", \"y:2\"]"),
        ("oci = \"dist\"", "oci = \"dist/deeper\""),
        ("src = \"/other\", dest = \"/o\"", "dest = \"/o\", src = \"/other\""),
    ] {
        let changed = project.read("build.toml").replace(from, to);
        assert_ne!(changed, project.read("build.toml"), "{from}");
        project.write("build.toml", changed);
        assert_eq!(ran(&project), [""; 0], "{to}");
    }
}

#[test]
fn what_is_different_runs_what_it_concerns() {
    let project = chain();
    ran(&project);
    project.write("src/other", "OTHER");
    assert_eq!(ran(&project), ["step.out"]);
    project.chmod("src/one.txt", 0o755);
    assert_eq!(ran(&project), ["step.a", "step.b", "step.out"]);
    // A pattern that matches one more.
    project.write("src/two.txt", "two");
    assert_eq!(ran(&project), ["step.a", "step.b", "step.out"]);
    // A name that is another one, with the same content.
    fs::rename(project.path("src/two.txt"), project.path("src/three.txt")).expect("a new name");
    assert_eq!(ran(&project), ["step.a", "step.b", "step.out"]);
    // A step that comes to the same: nothing after it runs.
    let spec = project.read("build.toml");
    project.write("build.toml", spec.replace("content = \"b\"", "content = \"b\", mode = \"0644\""));
    assert!(!ran(&project).contains(&"step.out".to_owned()));
    project.write("build.toml", spec.replace("dest = \"/o\"", "dest = \"/o\", mode = \"0600\""));
    assert_eq!(ran(&project), ["step.out"]);
    // Back to what was built before.
    project.write("build.toml", spec);
    assert_eq!(ran(&project), [""; 0]);
}
