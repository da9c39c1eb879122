//! Messages as data and as text, and where they point.

use super::{codes, load_text};
use crate::spec::{Diagnostic, Diagnostics, Files, Inputs, Kind, Span, codes::CODES, find};
use std::path::Path;

#[test]
fn json_has_lines_columns_and_bytes() {
    let text = "version = 1\n# é\n[step.ü-no]\nform = 'x'\n";
    let diagnostics = load_text("build.toml", text, &Inputs::default()).unwrap_err();
    let json = diagnostics.to_json();
    let unknown = json.as_array().unwrap().iter().find(|one| one["code"] == "unknown-key").unwrap();
    assert_eq!(unknown["severity"], "error");
    assert_eq!(unknown["help"][0], "did you mean `from`?");
    let label = &unknown["labels"][0];
    assert_eq!((&label["line"], &label["column"]), (&4.into(), &1.into()));
    let (start, end) = (label["start"].as_u64().unwrap() as usize, label["end"].as_u64().unwrap() as usize);
    assert_eq!(&text[start..end], "form");
    assert!(label["file"].as_str().unwrap().ends_with("build.toml"));
}

#[test]
fn columns_count_characters() {
    let mut files = Files::default();
    let file = files.add(Path::new("a.toml"), "é = 1\nüx = 2".to_owned());
    assert_eq!(files.place(Span::new(file, 9, 10)).as_deref(), Some("a.toml:2:2"));
    assert_eq!(files.place(Span::new(file, 0, 1)).as_deref(), Some("a.toml:1:1"));
    // Inside a character, and beyond the end.
    assert_eq!(files.position(Span::new(file, 1, 1)), Some((1, 1)));
    assert_eq!(files.position(Span::new(file, 999, 999)), Some((2, 7)));
}

#[test]
fn labels_in_two_files_have_a_snippet_each() {
    let mut files = Files::default();
    let first = files.add(Path::new("build.toml"), "a = 1\nb = 2\n".to_owned());
    let second = files.add(Path::new("vars.yaml"), "b: 3".to_owned());
    let diagnostic = Diagnostic::error("bad-value", "b is too large")
        .at(Span::new(second, 3, 4), "given here")
        .at(Span::new(first, 6, 7), "declared here");
    insta::assert_snapshot!(Diagnostics::new(vec![diagnostic], files).render(false), @r"
    error[bad-value]: b is too large
     --> vars.yaml:1:4
      |
    1 | b: 3
      |    ^ given here
      |
     ::: build.toml:2:1
      |
    2 | b = 2
      | - declared here
    ");
}

#[test]
fn what_is_said_twice_stands_once() {
    let mut files = Files::default();
    let file = files.add(Path::new("f"), "abc".to_owned());
    let one = Diagnostic::error("syntax", "x").at(Span::new(file, 1, 2), "");
    let other = Diagnostic::error("syntax", "y").at(Span::new(file, 1, 2), "");
    let first = Diagnostic::error("syntax", "z").at(Span::new(file, 0, 2), "");
    let list = vec![one.clone(), other.clone(), one.clone(), first.clone()];
    assert_eq!(Diagnostics::new(list, files).list, [first, one, other]);
}

/// Every code that the corpus shows has an explanation, and the loading shows most of those of exit code 2.
#[test]
fn codes_are_shown_by_the_corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/bad");
    let mut shown = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        shown += text.lines().next().unwrap();
        shown += " ";
    }
    for code in
        CODES.iter().filter(|code| code.exit_code == 2 && !["unreadable", "bad-lock"].contains(&code.code))
    {
        assert!(shown.contains(&format!(" {} ", code.code)), "no file of the corpus shows `{}`", code.code);
    }
}

#[test]
fn the_file_of_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    assert!(find(folder.path()).unwrap_err().reason.contains("neither"));
    let yaml = folder.path().join("build.yaml");
    std::fs::write(&yaml, "").unwrap();
    assert_eq!(find(folder.path()), Ok(yaml));
    std::fs::write(folder.path().join("build.toml"), "").unwrap();
    assert!(find(folder.path()).unwrap_err().reason.contains("both"));
}

#[test]
fn files_that_can_not_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let refuse = |name: &str, bytes: Option<&[u8]>| {
        let path = folder.path().join(name);
        if let Some(bytes) = bytes {
            std::fs::write(&path, bytes).unwrap();
        }
        let diagnostics = crate::spec::load(&path, &Inputs::default(), 0).unwrap_err();
        assert_eq!(codes(&diagnostics), ["unreadable"]);
        assert!(diagnostics.list[0].message.contains(name));
        diagnostics.list[0].message.clone()
    };
    refuse("none.toml", None);
    refuse("build.json", Some(b"{}"));
    assert!(refuse("latin.toml", Some(b"a = 1\nb = '\xe9'\n")).ends_with("not UTF-8 in line 2"));
    assert!(refuse("long.yaml", Some(&vec![b'#'; 5 << 20])).ends_with("longer than 4 MiB"));
}

#[test]
fn targets_of_two_kinds_are_told_apart() {
    let text = "version = 1\n[step.a]\n[image.a]\nfrom = 'a'\n";
    let spec = load_text("build.toml", text, &Inputs::default()).unwrap().spec;
    assert_eq!(spec.target("image.a").unwrap().kind, Kind::Image);
    assert_eq!(spec.target("a").unwrap_err().help.as_deref(), Some("say `step.a` or `image.a`"));
}
