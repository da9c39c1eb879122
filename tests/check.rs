//! `rbuild check`: what is wrong with a build file, with places, all at once.

use crate::support::Project;

/// A project whose sources are there.
fn project(spec: &str) -> Project {
    Project::new(spec).file("src/run", "").file("spare/x", "")
}

const SHOP: &str = r#"version = 1
[source.code]
path = "src"
[step.root]
copy = [{ from = "code", dest = "/code" }]
[test.works]
image = "shop"
run = ["/code/run"]
[image.shop]
from = "root"
output = [{ oci = "dist/shop" }]
"#;

#[test]
fn a_good_file() {
    snapshot!(project(SHOP).rbuild(["check"]), @r"
    $ rbuild check
    --- stdout
    build.toml: 1 source, 1 step, 1 test, 1 image
    --- exit code 0
    ");
}

#[test]
fn every_mistake_at_its_place() {
    let spec = "version = 1\n[step.root]\nform = \"code\"\ncopy = [{ from = \"cod\", dest = \"/\" }]\n[source.code]\npath = \"src\"\n";
    snapshot!(project(spec).rbuild(["check"]), @r#"
    $ rbuild check
    --- stderr
    error[unknown-key]: `form` is not a key of a step
     --> build.toml:3:1
      |
    3 | form = "code"
      | ^^^^
      |
      = help: did you mean `from`?

    error[unknown-name]: no source or step is named `cod`
     --> build.toml:4:18
      |
    4 | copy = [{ from = "cod", dest = "/" }]
      |                  ^^^^^
      |
      = help: did you mean `code`?

    error: the build file has 2 errors

    hint: `rbuild explain unknown-key` tells more
    --- exit code 2
    "#);
}

#[test]
fn what_the_machine_refuses_is_said_in_words() {
    let project = project("version = 1\n[source.code]\npath = \"src/run/x\"\n[step.root]\nfrom = \"code\"\n");
    let told = project.rbuild(["check"]).failure(3);
    assert!(told.contains("source `code`: src/run/x can't be read: Not a directory\n"), "{told}");
    let told = project.rbuild(["check", "--file", "build.toml/x.toml"]).failure(2);
    assert!(told.contains("cannot read build.toml/x.toml: Not a directory\n"), "{told}");
}

#[test]
fn warnings_end_nothing_unless_denied() {
    let project = project(&format!("{SHOP}[source.spare]\npath = \"spare\"\n"));
    snapshot!(project.rbuild(["check"]), @r"
    $ rbuild check
    --- stdout
    build.toml: 2 sources, 1 step, 1 test, 1 image
    --- stderr
    warning[unused]: source `spare` is not used
      --> build.toml:12:9
       |
    12 | [source.spare]
       |         ^^^^^

    --- exit code 0
    ");
    snapshot!(project.rbuild(["check", "--deny-warnings"]), @r"
    $ rbuild check --deny-warnings
    --- stderr
    warning[unused]: source `spare` is not used
      --> build.toml:12:9
       |
    12 | [source.spare]
       |         ^^^^^

    error: 1 warning in build.toml

    hint: without --deny-warnings they end nothing
    --- exit code 2
    ");
}

#[test]
fn every_missing_file_is_told_before_anything_runs() {
    let spec = "version = 1\n[source.a]\npath = \"a\"\n[source.b]\narchive = \"b.tar\"\n[source.c]\noci = \"c:x\"\n\
                [source.d]\npath = \"d\"\n[step.s]\ncopy = [{ from = \"a\", dest = \"/\" }, { from = \"b\", dest = \"/\" }]\n\
                [image.i]\nfrom = \"s\"\n[image.j]\nfrom = \"c\"\n[image.k]\nfrom = \"d\"\n";
    let project = Project::new(spec).file("d/x", "");
    for (line, told) in [
        (vec!["check"], vec!["a", "b", "c"]),
        (vec!["plan"], vec!["a", "b", "c"]),
        (vec!["apply"], vec!["a", "b", "c"]),
        (vec!["apply", "j", "k"], vec!["c"]),
        (vec!["apply", "-k"], vec!["a", "b", "c"]),
    ] {
        let output = project.rbuild(&line).failure(3);
        for source in ["a", "b", "c", "d"] {
            let is_told = output.contains(&format!("source `{source}`"))
                || output.contains(&format!("[source.{source}] failed"));
            assert_eq!(is_told, told.contains(&source), "{line:?} {source}: {output}");
        }
        assert!(line == ["apply", "-k"] || !output.contains("[source.d]"), "{line:?}: {output}");
    }
    project.rbuild(["apply", "k"]).success();
    project.write("build.toml", format!("{spec}[step.x]\nform = \"y\"\n"));
    let told = project.rbuild(["check"]).failure(2);
    assert!(
        told.contains("unknown-key") && told.contains("build.toml:3:8") && told.contains("4 errors"),
        "{told}"
    );
}

#[test]
fn a_lock_that_is_none_is_told_at_its_line() {
    let project = project("version = 1\n[step.s]\nfiles = [{ path = \"/x\", content = \"\" }]\n");
    project.write("rbuild.lock", "version = 1\n<<<<<<< HEAD\nepoch = 1\n=======\nepoch = 2\n>>>>>>> other\n");
    for line in ["check", "plan", "apply s"] {
        let output = project.rbuild(line.split(' '));
        let told = output.failure(2);
        assert!(
            told.starts_with("error[bad-lock]: rbuild.lock:2: this is not a lock file"),
            "{line}: {told}"
        );
        assert!(told.contains("resolve the merge conflict or delete it"), "{line}: {told}");
    }
}

#[test]
fn a_cycle_is_told_whole() {
    let spec = "version = 1\n[step.a]\nfrom = \"b\"\n[step.b]\nfrom = \"a\"\n";
    snapshot!(Project::new(spec).rbuild(["check"]), @r#"
    $ rbuild check
    --- stderr
    error[cycle]: steps need one another: a → b → a
     --> build.toml:3:8
      |
    3 | from = "b"
      |        ^^^ `a` needs `b`
    4 | [step.b]
    5 | from = "a"
      |        --- `b` needs `a`

    hint: `rbuild explain cycle` tells more
    --- exit code 2
    "#);
}

#[test]
fn the_default_must_name_targets() {
    let output = project(&format!("default = [\"shopp\"]\n{SHOP}")).rbuild(["check"]);
    let told = output.failure(2);
    assert!(told.contains("`shopp`") && told.contains("did you mean `shop`?"), "{told}");
}

#[test]
fn both_formats_are_read() {
    let yaml = "version: 1\nsource:\n  code: { path: src }\nimage:\n  shop: { from: code }\n";
    let project = Project::empty().file("build.yaml", yaml).file("src/run", "");
    assert_eq!(project.rbuild(["check"]).success(), "build.yaml: 1 source, 1 image\n");
}

#[test]
fn the_file_is_found_or_named() {
    let project = project(SHOP).file("sub/ci.yml", "version: 1\n").file("sub/build.toml", "version = 1\n");
    for (arguments, file) in [
        (vec!["check"], "build.toml"),
        (vec!["check", "build.toml"], "build.toml"),
        (vec!["check", "-f", "sub/ci.yml"], "sub/ci.yml"),
        (vec!["check", "sub/ci.yml"], "sub/ci.yml"),
        (vec!["check", "sub"], "sub/build.toml"),
        (vec!["check", "--file", "sub"], "sub/build.toml"),
    ] {
        let told = project.rbuild(&arguments).success();
        assert!(told.starts_with(&format!("{file}: ")), "{arguments:?}: {told}");
    }
}

#[test]
fn no_file_or_two_are_an_error() {
    let project = Project::empty();
    snapshot!(project.rbuild(["check"]), @r"
    $ rbuild check
    --- stderr
    error[unreadable]: . holds neither build.toml nor build.yaml

    hint: name another file by -f FILE
    hint: `rbuild explain unreadable` tells more
    --- exit code 2
    ");
    project.write("build.toml", "version = 1\n");
    project.write("build.yaml", "version: 1\n");
    snapshot!(project.rbuild(["check"]), @r"
    $ rbuild check
    --- stderr
    error[unreadable]: . holds both build.toml and build.yaml

    hint: say which one by -f FILE
    hint: `rbuild explain unreadable` tells more
    --- exit code 2
    ");
}

#[test]
fn variables_from_the_command_line() {
    let spec = "version = 1\n[vars]\nbase = { default = \"one\", one-of = [\"one\", \"two\"] }\n\
                [source.one]\npath = \".\"\n[source.two]\npath = \".\"\n[image.shop]\nfrom = \"${base}\"\n";
    let project = Project::new(spec).file("v.toml", "base = \"two\"\n");
    project.rbuild(["check", "--set", "base=two"]).success();
    project.rbuild(["check", "--vars", "v.toml"]).success();
    let told = project.rbuild(["check", "--set", "base=three"]).failure(2);
    assert!(told.contains("three") && told.contains("--set"), "{told}");
    let told = project.rbuild(["check", "--set", "bse=two"]).failure(2);
    assert!(told.contains("did you mean `base`?"), "{told}");
}

#[test]
fn nothing_is_written() {
    let project = project(SHOP);
    project.rbuild(["check"]).success();
    assert!(!project.store().exists());
    assert!(!project.path("rbuild.lock").exists());
}
