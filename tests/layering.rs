//! Lower modules never name higher ones, in the library's source as in its picture (ARCHITECTURE.md).

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn library() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("engine/src")
}

/// The modules of the library, each using only those before it.
const ORDER: [&str; 28] = [
    "spec",
    "error",
    "key",
    "container",
    "value",
    "report",
    "store",
    "convert",
    "graph",
    "operations",
    "parallel",
    "interrupts",
    "transfer",
    "lookups",
    "registries",
    "source",
    "plan",
    "session",
    "image",
    "copy",
    "folder",
    "checkout",
    "chroot",
    "execute",
    "paths",
    "mount",
    "doctor",
    "build",
];

#[test]
fn modules_name_only_lower_ones() {
    let root = library();
    let mut wrong = Vec::new();
    for (place, module) in ORDER.iter().enumerate() {
        for (file, text) in sources_of(&root, module) {
            for named in modules_named(&text).filter(|named| !ORDER[..=place].contains(named)) {
                wrong.push(format!("{file}: `{named}` is not below `{module}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_has_its_place() {
    let library = fs::read_to_string(library().join("lib.rs")).unwrap();
    let declared: BTreeSet<&str> = library
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'))
        .collect();
    assert_eq!(declared, BTreeSet::from(ORDER));
}

/// The text of `NAME.rs` or of all files in `NAME/`, without the tests at a file's end.
fn sources_of(root: &Path, module: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![root.join(format!("{module}.rs")), root.join(module)];
    while let Some(path) = open.pop() {
        if let Ok(entries) = fs::read_dir(&path) {
            open.extend(entries.flatten().map(|entry| entry.path()).filter(|path| !path.ends_with("tests")));
        } else if let Ok(text) = fs::read_to_string(&path) {
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
            found.push((path.display().to_string(), code));
        }
    }
    assert!(!found.is_empty(), "no source of `{module}`");
    found
}

/// Every `a` of `crate::a` and of `crate::{a, b::c}`.
fn modules_named(text: &str) -> impl Iterator<Item = &str> {
    text.split("crate::").skip(1).flat_map(|rest| {
        let names = match rest.strip_prefix('{') {
            Some(list) => top_level_names(list),
            None => vec![rest],
        };
        names.into_iter().map(|name| {
            let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
            &name[..end]
        })
    })
}

/// What stands at the first level of a list in braces, of which the opening one is left out.
fn top_level_names(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut names) = (0, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(list[start..at].trim());
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(list[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

#[test]
fn names_are_found_in_lists_too() {
    let text = "use crate::{\n    error::{Error, Result},\n    graph,\n};\nuse crate::spec::Kind;";
    assert_eq!(modules_named(text).collect::<Vec<_>>(), ["error", "graph", "spec"]);
}
