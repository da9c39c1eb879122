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
    snapshot!(Project::new(SPEC).rbuild(["graph"]), @r#"
    $ rbuild graph
    --- stdout
    digraph build {
      rankdir = LR;
      node [fontname = "sans-serif"];
      "source.code" [label = "code", shape = cylinder];
      "step.jar" [label = "jar", shape = box, tooltip = "the \"shop\""];
      "step.runtime" [label = "runtime", shape = box];
      "test.starts" [label = "starts", shape = diamond];
      "image.shop" [label = "shop", shape = box3d];
      "artifact.jar" [label = "jar", shape = note];
      "source.code" -> "step.jar";
      "step.jar" -> "step.runtime";
      "step.jar" -> "artifact.jar";
      "step.runtime" -> "test.starts";
      "test.starts" -> "image.shop";
    }
    --- exit code 0
    "#);
}

#[test]
fn mermaid() {
    snapshot!(Project::new(SPEC).rbuild(["graph", "--format", "mermaid"]), @r#"
    $ rbuild graph --format mermaid
    --- stdout
    flowchart LR
      n0[("code")]
      n1["jar<br/>the #quot;shop#quot;"]
      n2["runtime"]
      n3{{"starts"}}
      n4[["shop"]]
      n5(["jar"])
      n0 --> n1
      n1 --> n2
      n1 --> n5
      n2 --> n3
      n3 --> n4
    --- exit code 0
    "#);
}

#[test]
fn a_target_and_what_it_needs() {
    snapshot!(Project::new(SPEC).rbuild(["graph", "artifact.jar"]), @r#"
    $ rbuild graph artifact.jar
    --- stdout
    digraph build {
      rankdir = LR;
      node [fontname = "sans-serif"];
      "source.code" [label = "code", shape = cylinder];
      "step.jar" [label = "jar", shape = box, tooltip = "the \"shop\""];
      "artifact.jar" [label = "jar", shape = note];
      "source.code" -> "step.jar";
      "step.jar" -> "artifact.jar";
    }
    --- exit code 0
    "#);
}

#[test]
fn an_ambiguous_or_unknown_target() {
    let project = Project::new(SPEC);
    snapshot!(project.rbuild(["graph", "jar"]), @r"
    $ rbuild graph jar
    --- stderr
    error[bad-value]: `jar` is the name of several targets

    hint: say `step.jar` or `artifact.jar`
    hint: `rbuild explain bad-value` tells more
    --- exit code 2
    ");
    snapshot!(project.rbuild(["graph", "shp"]), @r"
    $ rbuild graph shp
    --- stderr
    error[unknown-name]: `shp` is not an image, artifact, test or step of this file

    hint: did you mean `shop`?
    hint: `rbuild explain unknown-name` tells more
    --- exit code 2
    ");
}

#[test]
fn the_order_of_tables_changes_nothing() {
    let mut tables: Vec<&str> = SPEC.split_inclusive("\n[").collect();
    let head = tables.remove(0);
    tables.reverse();
    let turned =
        format!("{head}{}\n", tables.concat().trim_end_matches('[')).replace("dist/\"\n", "dist/\"\n[");
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
