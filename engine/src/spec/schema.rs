//! The JSON Schema of a build file: what editors complete and check with.
//!
//! `schemas/build.schema.json` is this module's output. It says what a schema can say: keys, types, closed lists of
//! words, the form of small grammars, which keys exclude one another. What needs the whole file (references, cycles,
//! conflicts) or a parser (patterns, symbolic modes in full) stays with the loading. Tests hold both to the same lists
//! of keys and to the same corpus of good and bad files.
//!
//! A string that is nothing but `${name}` takes the variable's type, so it is allowed wherever a single value or an
//! array is; a string with `${` in it is taken for any form.

mod parts;
mod reference;
mod tables;

pub use reference::reference_text;

use parts::{arrays, integer, reference, strings, text};
use serde_json::{Map, Value, json};

/// The schema as a value; keys are sorted.
pub fn build_schema() -> Value {
    let mut definitions = Map::new();
    definitions.insert("variable-reference".to_owned(), parts::variable_reference());
    for (name, table) in tables::all() {
        definitions.insert(name.to_owned(), table);
    }
    let mut schema = parts::table(
        "A build file of rbuild.",
        &["version"],
        vec![
            ("version", "Format of this file.", json!({ "const": 1 })),
            ("vars", "Values that can be given on the command line, used as ${name}.", tables::variables()),
            (
                "default",
                "What `apply` builds without a target; all images, artifacts and tests if it is not there.",
                strings(),
            ),
            (
                "epoch",
                "Time of new files, and SOURCE_DATE_EPOCH of every command: RFC 3339, or seconds since 1970.",
                json!({ "anyOf": [integer(0, Some(253_402_300_799)), parts::word(parts::DATE)] }),
            ),
            (
                "shell",
                "The command that every string `run` is given to as its last argument.",
                arrays(text(), 1),
            ),
            ("source", "Bytes from outside.", parts::named(reference("source"), true)),
            ("step", "Trees made from trees.", parts::named(reference("step"), true)),
            (
                "test",
                "Commands that must pass before an image leaves.",
                parts::named(reference("test"), false),
            ),
            ("image", "Images to be written.", parts::named(reference("image"), false)),
            ("artifact", "Files that go back to the workspace.", parts::named(reference("artifact"), false)),
        ],
    );
    if let Value::Object(schema) = &mut schema {
        schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        schema.insert("title".to_owned(), json!("rbuild build file"));
        schema.insert("$defs".to_owned(), Value::Object(definitions));
    }
    schema
}

/// The schema as it is printed and committed.
pub fn build_schema_text() -> String {
    let mut text = serde_json::to_string_pretty(&build_schema()).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests;
