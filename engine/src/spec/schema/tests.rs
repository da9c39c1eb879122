#![allow(clippy::unwrap_used)]
use super::*;
use crate::spec::lower;
use std::collections::BTreeSet;

/// How the committed file is rewritten.
const REWRITE: &str = "cargo run --release -- schema > schemas/build.schema.json";

#[test]
fn the_committed_schema_is_this_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/build.schema.json");
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == build_schema_text(),
        "schemas/build.schema.json is not what the code makes; run\n    {REWRITE}"
    );
}

#[test]
fn it_is_a_schema() {
    let schema = build_schema();
    assert!(jsonschema::meta::is_valid(&schema));
    jsonschema::validator_for(&schema).unwrap();
}

/// Lowering and schema have the same keys in every table.
#[test]
fn keys_are_those_of_the_lowering() {
    let schema = build_schema();
    for (name, words) in lower::ALL {
        let table = if *name == "file" { &schema } else { &schema["$defs"][*name] };
        let properties = table["properties"].as_object().unwrap_or_else(|| panic!("no table `{name}`"));
        let mut expected: BTreeSet<&str> = words.known.iter().copied().collect();
        expected.insert("description");
        assert_eq!(properties.keys().map(String::as_str).collect::<BTreeSet<_>>(), expected, "{name}");
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let text = build_schema_text();
    let definitions = &build_schema()["$defs"];
    let names = text.split("\"#/$defs/").skip(1).map(|rest| rest.split('"').next().unwrap());
    for name in names {
        assert!(definitions.get(name).is_some(), "{name}");
    }
}
