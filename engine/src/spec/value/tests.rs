#![allow(clippy::unwrap_used)]
use super::*;
use crate::spec::{Files, Severity};
use proptest::prelude::*;

fn read(format: Format, text: &str) -> (Node, Vec<Diagnostic>) {
    let mut files = Files::default();
    let file = files.add(Path::new("f"), text.to_owned());
    let mut diagnostics = Vec::new();
    let node = parse(format, text, file, &mut diagnostics);
    (node, diagnostics)
}

/// The tree without places, as a short text.
fn show(node: &Node) -> String {
    match &node.value {
        Value::String(text) => format!("{text:?}"),
        Value::Template(value) => format!("template {value}"),
        Value::Integer(number) => number.to_string(),
        Value::Float(_, text) => format!("float {text}"),
        Value::Boolean(boolean) => boolean.to_string(),
        Value::DateTime(text) => format!("date {text}"),
        Value::Null | Value::Unknown => "null".to_owned(),
        Value::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) => {
            let entries: Vec<String> =
                entries.iter().map(|(key, node)| format!("{}: {}", key.text, show(node))).collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

/// The text under every place, depth first.
fn places<'a>(node: &Node, text: &'a str, found: &mut Vec<&'a str>) {
    match &node.value {
        Value::List(items) => items.iter().for_each(|item| places(item, text, found)),
        Value::Map(entries) => entries.iter().for_each(|(key, node)| {
            found.push(&text[key.span.start..key.span.end]);
            places(node, text, found);
        }),
        _ => found.push(&text[node.span.start..node.span.end]),
    }
}

#[test]
fn values_of_both_formats() {
    let toml = "a = 'x'\nb = 1\nc = 1.10\nd = true\ne = 2026-01-02T03:04:05Z\nf = [1, 'y']\n[g.h]\ni = {}\n[g]\nj = 0x1f\n";
    let (node, diagnostics) = read(Format::Toml, toml);
    assert_eq!(diagnostics, []);
    assert_eq!(
        show(&node),
        r#"{a: "x", b: 1, c: float 1.10, d: true, e: date 2026-01-02T03:04:05Z, f: [1, "y"], g: {h: {i: {}}, j: 31}}"#
    );
    let yaml =
        "a: x\nb: 1\nc: 1.10\nd: true\ne: 2026-01-02\nf: [1, 'y']\ng:\n  h: {i: {}}\n  j: 0x1f\nk: ~\nl:\n";
    let (node, diagnostics) = read(Format::Yaml, yaml);
    assert_eq!(diagnostics, []);
    assert_eq!(
        show(&node),
        r#"{a: "x", b: 1, c: float 1.10, d: true, e: "2026-01-02", f: [1, "y"], g: {h: {i: {}}, j: 31}, k: null, l: null}"#
    );
}

#[test]
fn yaml_is_the_core_schema() {
    let table = [
        ("yes", "\"yes\""),
        ("no", "\"no\""),
        ("on", "\"on\""),
        ("Off", "\"Off\""),
        ("True", "true"),
        ("FALSE", "false"),
        ("1_000", "\"1_000\""),
        ("0b11", "\"0b11\""),
        ("0o17", "15"),
        ("0x1F", "31"),
        ("-7", "-7"),
        ("+7", "7"),
        ("0644", "float 0644"),
        ("1e3", "float 1e3"),
        (".inf", "float .inf"),
        (".nan", "float .nan"),
        ("99999999999999999999", "float 99999999999999999999"),
        ("'1'", "\"1\""),
        ("\"true\"", "\"true\""),
        ("12:30", "\"12:30\""),
        ("null", "null"),
        ("nothing", "\"nothing\""),
        ("|\n  a\n  b\n", "\"a\\nb\\n\""),
    ];
    for (text, expected) in table {
        let (node, diagnostics) = read(Format::Yaml, &format!("k: {text}"));
        assert_eq!(diagnostics, [], "{text}");
        assert_eq!(show(&node), format!("{{k: {expected}}}"), "{text}");
    }
}

#[test]
fn aliases_are_copies_with_the_place_of_what_they_stand_for() {
    let text = "a: &x {b: [1, 2]}\nc: *x\n";
    let (node, diagnostics) = read(Format::Yaml, text);
    assert_eq!(diagnostics, []);
    assert_eq!(show(&node), "{a: {b: [1, 2]}, c: {b: [1, 2]}}");
    let mut found = Vec::new();
    places(node.get("c").unwrap(), text, &mut found);
    assert_eq!(found, ["b", "1", "2"]);
}

#[test]
fn places_are_exact() {
    for (format, text) in [
        (Format::Toml, "é = 'ü'\n[a.b-c]\nd = [ 1, \"x\" ]\n"),
        (Format::Yaml, "é: 'ü'\na:\n  b-c:\n    d: [ 1, \"x\" ]\n"),
    ] {
        let (node, _) = read(format, text);
        let mut found = Vec::new();
        places(&node, text, &mut found);
        assert_eq!(found, ["é", "'ü'", "a", "b-c", "d", "1", "\"x\""], "{format:?}");
    }
}

#[test]
fn mistakes_have_codes_and_places() {
    let table = [
        (Format::Toml, "a = 1\na = 2\n", "duplicate-name", "a"),
        (Format::Toml, "[a]\n[a]\n", "duplicate-name", ""),
        (Format::Toml, "a = \n", "syntax", ""),
        (Format::Toml, "a = [1\n", "syntax", ""),
        (Format::Yaml, "a: 1\na: 2\n", "duplicate-name", ""),
        (Format::Yaml, "a: [1\n", "syntax", ""),
        (Format::Yaml, "a: *x\n", "syntax", ""),
        (Format::Yaml, "a: 1\n---\nb: 2\n", "syntax", ""),
        (Format::Yaml, "a: &x {b: 1}\nc:\n  <<: *x\n", "syntax", ""),
        (Format::Yaml, "a: !!str 1\n", "syntax", ""),
        (Format::Yaml, "a: !thing {b: 1}\n", "syntax", ""),
        (Format::Yaml, "!!str a: 1\n", "syntax", ""),
        (Format::Yaml, "~: 1\n", "syntax", ""),
        (Format::Yaml, "- a\n", "wrong-type", ""),
        (Format::Yaml, "just text\n", "wrong-type", ""),
    ];
    for (format, text, code, _) in table {
        let (_, diagnostics) = read(format, text);
        let codes: Vec<&str> = diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
        assert_eq!(codes, [code], "{text:?}: {diagnostics:?}");
    }
}

#[test]
fn an_empty_file_is_an_empty_table() {
    assert_eq!(show(&read(Format::Toml, "").0), "{}");
    assert_eq!(show(&read(Format::Yaml, "").0), "{}");
    assert_eq!(show(&read(Format::Yaml, "# nothing\n").0), "{}");
}

#[test]
fn several_mistakes_of_toml_are_told_at_once() {
    let (node, diagnostics) = read(Format::Toml, "a = \nb = 1\nc = tru\nd = 2\n");
    assert!(diagnostics.len() >= 2, "{diagnostics:?}");
    assert_eq!(node.get("d").map(show).as_deref(), Some("2"));
}

#[test]
fn bombs_cost_little() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    for (format, text) in [
        (Format::Yaml, bomb),
        (Format::Yaml, format!("a: {}", "[".repeat(20_000))),
        (Format::Yaml, format!("a: {}{}", "[".repeat(100), "]".repeat(100))),
        (Format::Yaml, format!("a: [{}]", "1, ".repeat(60_000))),
        (Format::Toml, format!("a = {}{}", "[".repeat(20_000), "]".repeat(20_000))),
        (Format::Toml, format!("a = {}{}", "[".repeat(70), "]".repeat(70))),
        (Format::Toml, format!("a = [{}]", "1, ".repeat(60_000))),
        (Format::Toml, format!("[{}]", vec!["a"; 5_000].join("."))),
    ] {
        let (_, diagnostics) = read(format, &text);
        assert!(!diagnostics.is_empty(), "{format:?} {}", &text[..20]);
    }
}

#[test]
fn newer_toml_is_told_once() {
    let warned = |text: &str| {
        let (_, diagnostics) = read(Format::Toml, text);
        assert!(diagnostics.iter().all(|one| one.severity == Severity::Warning), "{text}: {diagnostics:?}");
        diagnostics.len()
    };
    for text in [
        "a = { b = 1,\n c = 2 }",
        "a = {\n b = 1 }\nd = {\n e = 1 }",
        "a = { b = 1, }",
        "a = { b.c = 1, b.d = [\n1], }",
        "a = { b = 1 # so\n}",
        "a = \"\\x41\"",
        "a = \"\\e\"",
        "a = 07:32",
    ] {
        assert_eq!(warned(text), 1, "{text}");
    }
    for text in [
        "a = { b = 1, c = 2 }",
        "a = { b = [\n1,\n2,\n] }",
        "a = { b.c = '''\n''', b.d = 1 }",
        "a = {}",
        "a = { }",
        "a = \"\\\\x41\"",
        "a = '\\x41'",
        "a = 07:32:00",
    ] {
        assert_eq!(warned(text), 0, "{text}");
    }
}

proptest! {
    #[test]
    fn nothing_panics(text in "\\PC{0,60}") {
        read(Format::Toml, &text);
        read(Format::Yaml, &text);
    }

    #[test]
    fn nothing_that_looks_like_a_file_panics(text in "[a-c=:{}\\[\\],'\"\\\\#&*!|>\n \\-1.é]{0,80}") {
        for format in [Format::Toml, Format::Yaml] {
            let (node, diagnostics) = read(format, &text);
            let mut found = Vec::new();
            places(&node, &text, &mut found);
            let mut files = Files::default();
            files.add(Path::new("f"), text.clone());
            crate::spec::Diagnostics::new(diagnostics, files).render(false);
        }
    }
}
