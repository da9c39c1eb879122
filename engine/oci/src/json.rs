//! Canonical JSON: what is equal has equal bytes, and so an equal digest.
//!
//! Objects have their keys sorted bytewise at every level, no white space, no trailing newline. It does not rely on
//! any map keeping or losing an order: image types hold hash maps, and whether `serde_json` sorts depends on what
//! other crates ask of it.

use crate::{Error, Result};
use serde::Serialize;
use serde_json::Value;

/// The canonical bytes of a value.
///
/// # Errors
/// [`Error::Image`] if it can't be JSON at all (a map whose keys are no strings); image types always can.
pub fn canonical_json<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    serde_json::to_value(value).and_then(|value| write(&mut out, &value)).map_err(|error| Error::Image {
        image: std::any::type_name::<T>().to_owned(),
        reason: format!("it can't be written as JSON: {error}"),
    })?;
    Ok(out)
}

fn write(out: &mut Vec<u8>, value: &Value) -> serde_json::Result<()> {
    match value {
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().collect();
            members.sort_by_key(|(key, _)| *key);
            separated(out, b"{}", members, |out, (key, value)| {
                serde_json::to_writer(&mut *out, key)?;
                out.push(b':');
                write(out, value)
            })
        }
        Value::Array(items) => separated(out, b"[]", items, write),
        plain => serde_json::to_writer(out, plain),
    }
}

fn separated<T>(
    out: &mut Vec<u8>,
    brackets: &[u8; 2],
    items: impl IntoIterator<Item = T>,
    mut write_item: impl FnMut(&mut Vec<u8>, T) -> serde_json::Result<()>,
) -> serde_json::Result<()> {
    out.push(brackets[0]);
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_item(out, item)?;
    }
    out.push(brackets[1]);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn keys_are_sorted_at_every_level() {
        let value: Value =
            serde_json::from_str(r#"{"b":[{"z":1,"a":null}, true, -1.5],"a":{"ä":"\n\"","B":{}},"":[]}"#)
                .unwrap();
        let expected = r#"{"":[],"a":{"B":{},"ä":"\n\""},"b":[{"a":null,"z":1},true,-1.5]}"#;
        assert_eq!(String::from_utf8(canonical_json(&value).unwrap()).unwrap(), expected);
    }

    #[test]
    fn hash_maps_have_one_encoding() {
        let forward: HashMap<String, u32> = (0..100).map(|n| (n.to_string(), n)).collect();
        let backward: HashMap<String, u32> = (0..100).rev().map(|n| (n.to_string(), n)).collect();
        assert_eq!(canonical_json(&forward).unwrap(), canonical_json(&backward).unwrap());
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        let keys = HashMap::from([(vec![1_u8], 1_u8)]);
        assert!(canonical_json(&keys).unwrap_err().to_string().contains("can't be written as JSON"));
    }
}
