//! Good files load, bad ones are refused with the codes their first line gives, and the schema agrees.
//!
//! What is said of each bad file is kept in `snapshots/`, named as the file. After a change of words:
//! `INSTA_UPDATE=always cargo test --release -p rbuild corpus`, then look at the difference.

use super::{LOCK_EPOCH, codes, render};
use crate::spec::{
    Diagnostics, Files, Inputs,
    diagnostic::Label,
    load,
    schema::build_schema,
    value::{self, Format, Node, Value},
};
use serde_json::json;
use std::{collections::BTreeMap, path::PathBuf};

fn files(kind: &str) -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(kind);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

fn stem(path: &std::path::Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}

/// The codes of the first line, `# codes: a b`, and whether a schema can tell.
fn expected(path: &std::path::Path) -> (Vec<String>, bool) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let first = lines.next().unwrap().strip_prefix("# codes: ").unwrap();
    let mut codes: Vec<String> = first.split(' ').map(str::to_owned).collect();
    codes.sort();
    (codes, lines.next() != Some("# a schema can't tell"))
}

fn refused(path: &std::path::Path) -> Diagnostics {
    match load(path, &Inputs::default(), LOCK_EPOCH) {
        Ok(_) => panic!("{} is not refused", path.display()),
        Err(diagnostics) => diagnostics,
    }
}

/// Snapshots are named as the files.
fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_snapshot_path("snapshots");
    settings.set_omit_expression(true);
    settings
}

#[test]
fn good_files_load_without_a_word() {
    for path in files("good") {
        match load(&path, &Inputs::default(), LOCK_EPOCH) {
            Ok(loaded) => {
                let warnings = loaded.warnings.render(false);
                let allowed = ["shop", "everything"].contains(&stem(&path).as_str());
                assert!(warnings.is_empty() || allowed, "{}:\n{warnings}", path.display());
            }
            Err(diagnostics) => panic!("{}:\n{diagnostics}", path.display()),
        }
    }
}

#[test]
fn both_formats_say_the_same() {
    let mut specs = BTreeMap::new();
    let mut pairs = 0;
    for path in files("good") {
        let spec = load(&path, &Inputs::default(), LOCK_EPOCH).unwrap().spec;
        if let Some(other) = specs.insert(stem(&path), spec.clone()) {
            assert_eq!(format!("{spec:#?}"), format!("{other:#?}"));
            assert_eq!(spec, other);
            pairs += 1;
        }
    }
    assert!(pairs >= 2);
}

#[test]
fn bad_files_are_refused_with_their_codes() {
    let mut wrong = String::new();
    for path in files("bad") {
        let diagnostics = refused(&path);
        let mut found: Vec<&str> = diagnostics.errors().map(|error| error.code).collect();
        found.sort_unstable();
        let expected = expected(&path).0;
        if found != expected {
            wrong += &format!("{}: {found:?}, not {expected:?}\n{diagnostics}\n\n", stem(&path));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn what_is_said_of_bad_files() {
    settings().bind(|| {
        for path in files("bad") {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            insta::assert_snapshot!(name, render(&refused(&path), &path));
        }
    });
}

/// What is suggested is put in the place of the mistake: then nothing is wrong there any more.
#[test]
fn suggestions_are_right() {
    let folder = tempfile::tempdir().unwrap();
    let mut tried = 0;
    for path in files("bad").iter().filter(|path| path.extension().unwrap() == "toml") {
        let text = std::fs::read_to_string(path).unwrap();
        for one in refused(path).list {
            let Some(span) = one.labels.first().map(|label| label.span) else { continue };
            let written = &text[span.start..span.end];
            for fresh in one.help.iter().flat_map(|help| suggested(help, written)) {
                let again = folder.path().join("build.toml");
                let changed = format!("{}{fresh}{}", &text[..span.start], &text[span.end..]);
                std::fs::write(&again, changed).unwrap();
                let told = load(&again, &Inputs::default(), LOCK_EPOCH).err().unwrap_or_default();
                let here = |label: &Label| (span.start..span.start + fresh.len()).contains(&label.span.start);
                let mut wrong = told.errors().filter(|error| error.labels.first().is_some_and(here));
                let wrong = wrong.next().map(|error| &error.message);
                assert_eq!(wrong, None, "{}: `{fresh}` instead of `{written}`", path.display());
                tried += 1;
            }
        }
    }
    assert!(tried >= 20, "{tried}");
}

/// The texts that a help says to write instead of `written`.
fn suggested(help: &str, written: &str) -> Vec<String> {
    let quoted = |text: &str| text.split('"').skip(1).step_by(2).map(|word| format!("\"{word}\"")).collect();
    if help == "remove the quotes" {
        return vec![written.trim_matches('"').to_owned()];
    }
    if let Some(text) = help.strip_prefix("put it in brackets: ") {
        return vec![text.to_owned()];
    }
    let meant = help.strip_prefix("did you mean `").and_then(|rest| rest.strip_suffix("`?"));
    // What is meant instead of a word elsewhere is not tried.
    if let Some(name) = meant.filter(|name| !name.contains('`')) {
        let quote = if written.starts_with('"') { "\"" } else { "" };
        return vec![format!("{quote}{name}{quote}")];
    }
    match help.strip_prefix("write ") {
        Some(text) if !text.contains('"') => text.split(" or ").map(str::to_owned).collect(),
        _ if ["write ", "quote it: ", "did you mean \""].iter().any(|start| help.starts_with(start)) => {
            quoted(help)
        }
        _ => Vec::new(),
    }
}

/// The same mistake in TOML and YAML gives the same words.
#[test]
fn both_formats_give_the_same_messages() {
    let said = |path: &std::path::Path| -> Vec<String> {
        let diagnostics = refused(path);
        let mut said: Vec<String> =
            diagnostics.errors().map(|one| format!("{} {} {:?}", one.code, one.message, one.help)).collect();
        said.sort();
        said
    };
    let mut pairs = 0;
    for path in files("bad").iter().filter(|path| path.extension().unwrap() == "yaml") {
        let other = path.with_extension("toml");
        // The parsers have their own words for broken syntax.
        if other.exists() && !["syntax", "duplicate-key"].contains(&stem(path).as_str()) {
            assert_eq!(said(path), said(&other), "{}", path.display());
            pairs += 1;
        }
    }
    assert!(pairs >= 10, "{pairs}");
}

#[test]
fn warnings_are_spoken_and_nothing_is_refused() {
    for path in files("warned") {
        let loaded = load(&path, &Inputs::default(), LOCK_EPOCH).unwrap();
        let mut found = codes(&loaded.warnings);
        found.sort_unstable();
        assert_eq!(found, expected(&path).0, "{}:\n{}", path.display(), loaded.warnings);
        settings().bind(|| insta::assert_snapshot!(stem(&path), render(&loaded.warnings, &path)));
    }
}

/// A file as a schema sees it; none if it can't be parsed.
fn json_of(path: &std::path::Path) -> Option<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut files = Files::default();
    let file = files.add(path, text.clone());
    let mut told = Vec::new();
    let root = value::parse(Format::of(path).unwrap(), &text, file, &mut told);
    told.iter().all(|one| one.code == "toml-1.1").then(|| to_json(&root))
}

fn to_json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::String(text) | Value::DateTime(text) => json!(text),
        Value::Integer(number) => json!(number),
        Value::Float(number, _) => json!(number),
        Value::Boolean(boolean) => json!(boolean),
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Map(entries) => entries.iter().map(|(key, node)| (key.text.clone(), to_json(node))).collect(),
        Value::Null | Value::Unknown | Value::Template(_) => serde_json::Value::Null,
    }
}

#[test]
fn the_schema_agrees() {
    let schema = jsonschema::validator_for(&build_schema()).unwrap();
    for path in files("good").into_iter().chain(files("warned")) {
        let file = json_of(&path).unwrap();
        let errors: Vec<String> = schema
            .iter_errors(&file)
            .map(|error| format!("{} at {}", error, error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", path.display());
    }
    let mut wrong = Vec::new();
    for path in files("bad") {
        let Some(file) = json_of(&path) else { continue };
        if schema.is_valid(&file) == expected(&path).1 {
            wrong.push(path);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
