//! `rbuild graph`: pictures of the build graph.

use crate::support::Project;

const SPEC: &str = r#"version = 1
[source.code]
path = "src"
[step.jar]
description = "the \"shop\""
copy = [{ from = "code", dest = "/code" }]
[step.runtime]
copy = [{ from = "jar", dest = "/opt/shop" }, { from = "code", dest = "/doc" }]
[test.starts]
image = "shop"
run = ["/opt/shop"]
[image.shop]
from = "runtime"
[artifact.jar]
from = "jar"
path = "/code/*"
dest = "dist/"
"#;

#[test]
fn dot() {
    snapshot!(Project::new(SPEC).rbuild(["graph"]), @"");
}

#[test]
fn mermaid() {
    snapshot!(Project::new(SPEC).rbuild(["graph", "--format", "mermaid"]), @"");
}

#[test]
fn a_target_and_what_it_needs() {
    snapshot!(Project::new(SPEC).rbuild(["graph", "artifact.jar"]), @"");
}

#[test]
fn an_ambiguous_or_unknown_target() {
    let project = Project::new(SPEC);
    snapshot!(project.rbuild(["graph", "jar"]), @"");
    snapshot!(project.rbuild(["graph", "shp"]), @"");
}

#[test]
fn the_order_of_tables_changes_nothing() {
    let mut tables: Vec<&str> = SPEC.split_inclusive("\n[").collect();
    let head = tables.remove(0);
    tables.reverse();
    let turned = format!("{head}{}\n", tables.concat().trim_end_matches('[')).replace("dist/\"\n", "dist/\"\n[");
    let turned = turned.trim_end_matches('[').to_owned();
    let drawn = |spec: &str| Project::new(spec).rbuild(["graph"]).success();
    assert_eq!(drawn(&turned), drawn(SPEC), "{turned}");
}

#[test]
fn graphviz_takes_it() {
    needs!(dot);
    let project = Project::new(SPEC);
    project.write("graph.dot", project.rbuild(["graph"]).success());
    let drawn = std::process::Command::new("dot").arg("-Tsvg").arg(project.path("graph.dot")).output();
    assert!(drawn.is_ok_and(|drawn| drawn.status.success()));
}
