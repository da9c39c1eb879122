//! `rbuild check`: what is wrong with a build file, with places, all at once.

use crate::support::Project;

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
    snapshot!(Project::new(SHOP).rbuild(["check"]), @"");
}

#[test]
fn every_mistake_at_its_place() {
    let spec = "version = 1\n[step.root]\nform = \"code\"\ncopy = [{ from = \"cod\", dest = \"/\" }]\n[source.code]\npath = \"src\"\n";
    snapshot!(Project::new(spec).rbuild(["check"]), @"");
}

#[test]
fn warnings_end_nothing_unless_denied() {
    let project = Project::new(&format!("{SHOP}[source.spare]\npath = \"spare\"\n"));
    snapshot!(project.rbuild(["check"]), @"");
    snapshot!(project.rbuild(["check", "--deny-warnings"]), @"");
}

#[test]
fn a_cycle_is_told_whole() {
    let spec = "version = 1\n[step.a]\nfrom = \"b\"\n[step.b]\nfrom = \"a\"\n";
    snapshot!(Project::new(spec).rbuild(["check"]), @"");
}

#[test]
fn the_default_must_name_targets() {
    let output = Project::new(&format!("default = [\"shopp\"]\n{SHOP}")).rbuild(["check"]);
    let told = output.failure(2);
    assert!(told.contains("`shopp`") && told.contains("did you mean `shop`?"), "{told}");
}

#[test]
fn both_formats_are_read() {
    let yaml = "version: 1\nsource:\n  code: { path: src }\nimage:\n  shop: { from: code }\n";
    let project = Project::empty().file("build.yaml", yaml);
    assert_eq!(project.rbuild(["check"]).success(), "build.yaml: 1 source, 1 image\n");
}

#[test]
fn the_file_is_found_or_named() {
    let project = Project::new(SHOP).file("sub/ci.yml", "version: 1\n").file("sub/build.toml", "version = 1\n");
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
    snapshot!(project.rbuild(["check"]), @"");
    project.write("build.toml", "version = 1\n");
    project.write("build.yaml", "version: 1\n");
    snapshot!(project.rbuild(["check"]), @"");
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
    let project = Project::new(SHOP);
    project.rbuild(["check"]).success();
    assert!(!project.store().exists());
    assert!(!project.path("rbuild.lock").exists());
}
