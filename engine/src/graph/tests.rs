#![allow(clippy::unwrap_used)]
use super::*;
use crate::spec::{Inputs, load};

fn spec(text: &str) -> Spec {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("build.toml");
    std::fs::write(&path, format!("version = 1\n{text}")).unwrap();
    load(&path, &Inputs::default(), 0).unwrap_or_else(|wrong| panic!("{wrong}")).spec
}

/// A source, a diamond of steps over it, a test of the image, an artifact, and a branch that nothing asks for.
const SHOP: &str = r#"
[source.code]
path = "."
description = 'the "shop"'
[step.base]
[step.left]
from = "base"
[step.right]
from = "base"
mounts = [{ from = "code", target = "/src" }]
[step.joined]
merge = ["left", "right"]
base = "base"
[step.runtime]
from = "joined"
copy = [{ from = "left", dest = "/" }, { from = "scratch", dest = "/x" }]
[step.spare]
from = "code:/sub"
[test.listed]
from = "joined"
run = "true"
[test.naming]
image = "shop"
run = "true"
[test.alone]
from = "base"
run = "true"
[image.shop]
from = "runtime"
tests = ["listed"]
[artifact.files]
from = "left"
path = "/x"
dest = "x"
"#;

fn names(graph: &Graph, ids: impl IntoIterator<Item = NodeId>) -> Vec<String> {
    ids.into_iter().map(|id| graph.node(id).to_string()).collect()
}

fn find(graph: &Graph, text: &str) -> NodeId {
    let (kind, name) = text.split_once('.').unwrap();
    let kind = Kind::ALL.into_iter().find(|known| known.word() == kind).unwrap();
    graph.find(kind, name).unwrap()
}

#[test]
fn edges_come_from_references() {
    let graph = Graph::build(&spec(SHOP)).unwrap();
    assert_eq!(graph.len(), 12);
    let table: [(&str, &[&str]); 9] = [
        ("source.code", &[]),
        ("step.base", &[]),
        ("step.right", &["source.code", "step.base"]),
        ("step.joined", &["step.base", "step.left", "step.right"]),
        ("step.runtime", &["step.joined", "step.left"]),
        ("test.naming", &["step.runtime"]),
        ("test.listed", &["step.joined"]),
        ("image.shop", &["step.runtime", "test.listed", "test.naming"]),
        ("artifact.files", &["step.left"]),
    ];
    for (node, needs) in table {
        assert_eq!(names(&graph, graph.needs(find(&graph, node))), needs, "{node}");
    }
    assert_eq!(
        names(&graph, graph.dependents(find(&graph, "step.left"))),
        ["step.joined", "step.runtime", "artifact.files"]
    );
    assert_eq!(graph.tree("scratch"), None);
    assert_eq!(graph.tree("code"), Some(find(&graph, "source.code")));
}

#[test]
fn everything_comes_after_what_it_needs() {
    let graph = Graph::build(&spec(SHOP)).unwrap();
    let order = graph.order();
    assert_eq!(order.len(), graph.len());
    let place = |id: NodeId| order.iter().position(|other| *other == id).unwrap();
    for (id, node) in graph.nodes() {
        for need in graph.needs(id) {
            assert!(place(need) < place(id), "{node} before {}", graph.node(need));
        }
    }
}

#[test]
fn the_order_of_tables_means_nothing() {
    let mut tables: Vec<&str> = SHOP.split("\n[").collect();
    tables.reverse();
    let text = tables
        .iter()
        .filter(|table| !table.trim().is_empty())
        .map(|table| format!("\n[{table}"))
        .collect::<String>();
    let (one, other) = (Graph::build(&spec(SHOP)).unwrap(), Graph::build(&spec(&text)).unwrap());
    assert_eq!(names(&one, one.order().to_vec()), names(&other, other.order().to_vec()));
    let all = |graph: &Graph| graph.nodes().map(|(id, _)| id).collect();
    assert_eq!(one.dot(&spec(SHOP), &all(&one)), other.dot(&spec(&text), &all(&other)));
}

#[test]
fn targets() {
    let shop = spec(SHOP);
    let graph = Graph::build(&shop).unwrap();
    let select = |targets: &[&str]| graph.select(&shop, targets).map(|ids| names(&graph, ids));
    let all = ["test.alone", "test.listed", "test.naming", "image.shop", "artifact.files"];
    assert_eq!(select(&[]).unwrap(), all);
    assert_eq!(select(&["shop"]).unwrap(), ["image.shop"]);
    assert_eq!(select(&["step.base", "files", "base"]).unwrap(), ["step.base", "artifact.files"]);
    for (target, code, help) in [
        ("shp", "unknown-name", "did you mean `shop`?"),
        ("image.shp", "unknown-name", "did you mean `image.shop`?"),
        ("code", "unknown-name", "a source is fetched when a target needs it; it is no target itself"),
        ("source.code", "unknown-name", ""),
        ("shop@jdk=17", "not-yet", ""),
    ] {
        let refusal = select(&[target]).unwrap_err();
        assert_eq!(refusal.code, code, "{target}");
        assert!(help.is_empty() || refusal.help.as_deref() == Some(help), "{target}: {refusal:?}");
    }
}

#[test]
fn the_default_of_the_file() {
    let spec =
        spec("default = [\"b\", \"step.a\"]\n[step.a]\n[image.b]\nfrom = \"a\"\n[image.c]\nfrom = \"a\"\n");
    let graph = Graph::build(&spec).unwrap();
    let selected = graph.select::<&str>(&spec, &[]).unwrap();
    assert_eq!(names(&graph, selected), ["step.a", "image.b"]);
}

#[test]
fn what_a_target_needs() {
    let graph = Graph::build(&spec(SHOP)).unwrap();
    let needed = graph.with_needs([find(&graph, "test.listed")]);
    assert_eq!(
        names(&graph, needed),
        ["source.code", "step.base", "step.joined", "step.left", "step.right", "test.listed"]
    );
    let after = graph.with_dependents([find(&graph, "step.right")]);
    assert_eq!(
        names(&graph, after),
        ["step.joined", "step.right", "step.runtime", "test.listed", "test.naming", "image.shop"]
    );
}

#[test]
fn longest_chains_within_what_is_wanted() {
    let graph = Graph::build(&spec(SHOP)).unwrap();
    let seconds = |id: NodeId| Duration::from_secs(if graph.node(id).name == "right" { 10 } else { 1 });
    let chain = |chains: &[Duration], node: &str| chains[find(&graph, node).index()].as_secs();
    let all = graph.with_needs([find(&graph, "image.shop")]);
    let chains = graph.longest_chains(&all, seconds);
    // base, right, joined, runtime, naming, shop
    assert_eq!(chain(&chains, "step.base"), 15);
    assert_eq!(chain(&chains, "step.left"), 5);
    assert_eq!(chain(&chains, "image.shop"), 1);
    assert_eq!(chain(&chains, "artifact.files"), 0);
    let few = graph.with_needs([find(&graph, "artifact.files")]);
    assert_eq!(chain(&graph.longest_chains(&few, seconds), "step.base"), 3);
}

/// A spec that nobody loaded is told as well as one that was.
#[test]
fn cycles_are_told_whole() {
    let mut cyclic =
        spec("[step.a]\n[step.b]\nfrom = \"a\"\n[step.c]\nfrom = \"b\"\n[image.c]\nfrom = \"c\"\n");
    cyclic.steps.get_mut("a").unwrap().base = cyclic.steps["c"].base.clone();
    let told = Graph::build(&cyclic).unwrap_err();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].message, "steps need one another: a → b → a");
    assert_eq!(told[0].labels.len(), 2);
}

#[test]
fn pictures_leave_out_what_follows() {
    let shop = spec(SHOP);
    let graph = Graph::build(&shop).unwrap();
    let within = graph.with_needs([find(&graph, "image.shop")]);
    insta::assert_snapshot!(graph.dot(&shop, &within), @r#"
    digraph build {
      rankdir = LR;
      node [fontname = "sans-serif"];
      "source.code" [label = "code", shape = cylinder, tooltip = "the \"shop\""];
      "step.base" [label = "base", shape = box];
      "step.joined" [label = "joined", shape = box];
      "step.left" [label = "left", shape = box];
      "step.right" [label = "right", shape = box];
      "step.runtime" [label = "runtime", shape = box];
      "test.listed" [label = "listed", shape = diamond];
      "test.naming" [label = "naming", shape = diamond];
      "image.shop" [label = "shop", shape = box3d];
      "source.code" -> "step.right";
      "step.base" -> "step.left";
      "step.base" -> "step.right";
      "step.joined" -> "step.runtime";
      "step.joined" -> "test.listed";
      "step.left" -> "step.joined";
      "step.right" -> "step.joined";
      "step.runtime" -> "test.naming";
      "test.listed" -> "image.shop";
      "test.naming" -> "image.shop";
    }
    "#);
    let few = graph.with_needs([find(&graph, "step.right")]);
    insta::assert_snapshot!(graph.mermaid(&shop, &few), @r#"
    flowchart LR
      n0[("code<br/>the #quot;shop#quot;")]
      n1["base"]
      n4["right"]
      n0 --> n4
      n1 --> n4
    "#);
}
