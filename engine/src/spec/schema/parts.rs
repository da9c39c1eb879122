//! Building blocks of the schema.

use serde_json::{Map, Value, json};

/// A key of a table: its name, what it means, its schema.
pub type Property = (&'static str, &'static str, Value);

pub const DATE: &str = r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:\d\d)$";
pub const MODE: &str = r"^([0-7]{3,4}|[ugoa]*[-+=][-+=rwxXstugo]*(,[ugoa]*[-+=][-+=rwxXstugo]*)*)$";
pub const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9_-]*$";
pub const OWNER: &str = r"^[^\s:/,-][^\s:/,]*(:[^\s:/,-][^\s:/,]*)?$";
pub const REFERENCE: &str = r"^[A-Za-z0-9][A-Za-z0-9_-]*(:/.*)?$";
pub const DURATION: &str = "^[0-9]+[smhd]$";
pub const SIZE: &str = "^[0-9]+[KMGT]?$";

/// A closed table. `description` is a key of every one.
pub fn table(description: &str, required: &[&str], properties: Vec<Property>) -> Value {
    let mut map = Map::new();
    map.insert(
        "description".to_owned(),
        json!({ "type": "string", "description": "For people; in no key." }),
    );
    for (key, meaning, mut schema) in properties {
        if let Value::Object(schema) = &mut schema {
            schema.insert("description".to_owned(), json!(meaning));
        }
        map.insert(key.to_owned(), schema);
    }
    json!({
        "type": "object",
        "description": description,
        "additionalProperties": false,
        "required": required,
        "properties": map,
    })
}

/// More words for a schema.
pub fn with(mut schema: Value, more: Value) -> Value {
    if let (Value::Object(schema), Value::Object(more)) = (&mut schema, more) {
        schema.extend(more);
    }
    schema
}

/// A table of named tables.
pub fn named(table: Value, is_tree: bool) -> Value {
    let mut names = json!({ "pattern": NAME });
    if is_tree {
        names = with(names, json!({ "not": { "const": "scratch" } }));
    }
    json!({ "type": "object", "propertyNames": names, "additionalProperties": table })
}

/// What stands under `$defs`.
pub fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

/// `${name}` and nothing else.
pub fn variable_reference() -> Value {
    json!({ "type": "string", "pattern": r"^\$\{[^}]*\}$" })
}

fn or_variable(schema: Value) -> Value {
    json!({ "anyOf": [schema, reference("variable-reference")] })
}

pub fn text() -> Value {
    json!({ "type": "string" })
}

pub fn not_empty() -> Value {
    json!({ "type": "string", "minLength": 1 })
}

/// A string of a form; one with `${` in it may become anything.
pub fn word(pattern: &str) -> Value {
    json!({ "type": "string", "anyOf": [{ "pattern": pattern }, { "pattern": r"\$\{" }] })
}

/// One of a few strings.
pub fn choice(words: &[&str]) -> Value {
    json!({ "type": "string", "anyOf": [{ "enum": words }, { "pattern": r"\$\{" }] })
}

pub fn flag(default: bool) -> Value {
    with(or_variable(json!({ "type": "boolean" })), json!({ "default": default }))
}

pub fn integer(least: u64, most: Option<u64>) -> Value {
    let number = json!({ "type": "integer", "minimum": least });
    or_variable(match most {
        Some(most) => with(number, json!({ "maximum": most })),
        None => number,
    })
}

pub fn arrays(items: Value, least: usize) -> Value {
    let array = json!({ "type": "array", "items": items });
    or_variable(if least == 0 { array } else { with(array, json!({ "minItems": least })) })
}

pub fn strings() -> Value {
    arrays(text(), 0)
}

/// An array of tables, which no variable can be.
pub fn tables(name: &str) -> Value {
    json!({ "type": "array", "items": reference(name) })
}

/// A string, or several.
pub fn one_or_more() -> Value {
    json!({ "anyOf": [not_empty(), { "type": "array", "items": not_empty(), "minItems": 1 }] })
}

/// Names to strings; `false` removes where that is allowed.
pub fn map(names: &str, removable: bool) -> Value {
    let value = match removable {
        true => json!({ "anyOf": [{ "type": "string" }, { "const": false }] }),
        false => json!({ "type": "string" }),
    };
    json!({ "type": "object", "propertyNames": { "pattern": names }, "additionalProperties": value })
}
