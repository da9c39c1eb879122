//! The keys of a build file for people: a line each, from the schema, so that neither can say more than the other.
//!
//! `schemas/README.md` is this module's output.

use super::{build_schema, tables};
use serde_json::Value;
use std::fmt::Write;

const HEAD: &str = "\
# The keys of a build file

Generated from the schema (`rbuild schema reference`); a test keeps it true. `build.schema.json` is for editors,
`events.schema.json` describes the lines of `rbuild apply --progress json`, `metadata.schema.json` the file of
`--metadata-file`, `lock.schema.json` is rbuild.lock.

`description` (for people, in no key) may stand in every table. A step applies its parts in this order, whatever the
order of its keys: `from` or `merge`, `groups`, `users`, `dirs`, `copy`, `files`, `links`, `attrs`, `run`, `remove`.
A path in a tree begins at its root, whether its first `/` is written or not (`workdir = \"src\"` is /src); a path of the
workspace is relative to the folder of the build file. A pattern is over whole paths: `*`, `?`, `[a-z]`, `{a,b}`, `**`.
`host` leaves out /proc, /sys, /dev, /run, /tmp and the store.
";

/// Where each table of the schema stands in a build file.
const PLACES: [(&str, &str); 25] = [
    ("variable", "`[vars]`: `NAME = value`, or `NAME = { … }`"),
    ("path-source", "`[source.NAME]` with `path`"),
    ("archive-source", "`[source.NAME]` with `archive`"),
    ("oci-source", "`[source.NAME]` with `oci`"),
    ("image-source", "`[source.NAME]` with `image`"),
    ("host-source", "`[source.NAME]` with `host`"),
    ("step", "`[step.NAME]`"),
    ("resolve", "`resolve`, each"),
    ("group", "`groups`, each"),
    ("user", "`users`, each"),
    ("dir", "`dirs`, each"),
    ("copy", "`copy`, each"),
    ("file-text", "`files`, each"),
    ("link", "`links`, each"),
    ("attr", "`attrs`, each"),
    ("tree-mount", "`mounts`, each with `from`"),
    ("cache-mount", "`mounts`, each with `cache`"),
    ("tmpfs-mount", "`mounts`, each with `tmpfs`"),
    ("limits", "`limits`"),
    ("test", "`[test.NAME]`: `from` or `image`, else as a step"),
    ("image", "`[image.NAME]`"),
    ("output", "`output`, each one of"),
    ("config", "`config` of steps and images"),
    ("healthcheck", "`healthcheck`"),
    ("artifact", "`[artifact.NAME]`"),
];

/// The whole text.
pub fn reference_text() -> String {
    let mut text = HEAD.to_owned();
    let schema = build_schema();
    add(&mut text, "The file", &schema, &[]);
    let tables = tables::all();
    let find = |wanted: &str| tables.iter().find(|(name, _)| *name == wanted).map(|(_, table)| table);
    let of_step = find("step").map(keys).unwrap_or_default();
    for (name, place) in PLACES {
        let shared: &[&str] = if name == "test" { &of_step } else { &[] };
        if let Some(table) = find(name) {
            // What a test has in common with a step is told there; `from` means something else.
            let left_out: Vec<&str> = shared.iter().copied().filter(|key| *key != "from").collect();
            add(&mut text, place, table, &left_out);
        }
    }
    text
}

fn keys(table: &Value) -> Vec<&str> {
    table["properties"].as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect()
}

fn add(text: &mut String, place: &str, table: &Value, left_out: &[&str]) {
    // Writing to a string can't fail, here and below.
    let _ = write!(text, "\n## {place}\n\n| key | meaning |\n|---|---|\n");
    let required: Vec<&str> =
        table["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (key, schema) in table["properties"].as_object().into_iter().flatten() {
        if key == "description" || left_out.contains(&key.as_str()) {
            continue;
        }
        let mut meaning = schema["description"].as_str().unwrap_or_default().to_owned();
        if let Some(words) = choices(schema) {
            let _ = write!(meaning, " One of {words}.");
        }
        if let Some(default) = schema.get("default") {
            let _ = write!(meaning, " Default: {default}.");
        }
        let must = if required.contains(&key.as_str()) { ", required" } else { "" };
        let _ = writeln!(text, "| `{key}`{must} | {} |", meaning.replace('|', "\\|"));
    }
}

/// The words of a closed list.
fn choices(schema: &Value) -> Option<String> {
    let words = schema["anyOf"].as_array()?.iter().find_map(|form| match form.get("enum") {
        Some(words) => words.as_array(),
        None => form["anyOf"].as_array()?.iter().find_map(|form| form["enum"].as_array()),
    })?;
    Some(words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_and_key_is_told() {
        let text = reference_text();
        let joined = ["source", "mount"];
        for (name, table) in tables::all().iter().filter(|(name, _)| !joined.contains(name)) {
            assert!(PLACES.iter().any(|(known, _)| known == name), "{name} has no place");
            for key in keys(table) {
                assert!(key == "description" || text.contains(&format!("\n| `{key}`")), "{name}.{key}");
            }
        }
    }
}
