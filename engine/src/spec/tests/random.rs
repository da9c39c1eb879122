//! No text makes the loading panic, and what it says can always be shown.

use super::{Inputs, load_text};
use proptest::prelude::*;
use std::path::PathBuf;

/// The files of the corpus: what mutations start from.
fn corpus() -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut texts = Vec::new();
    for kind in ["good", "bad"] {
        for entry in std::fs::read_dir(folder.join(kind)).unwrap() {
            let path = entry.unwrap().path();
            let extension = path.extension().unwrap().to_str().unwrap().to_owned();
            texts.push((format!("build.{extension}"), std::fs::read_to_string(&path).unwrap()));
        }
    }
    texts.sort();
    texts
}

fn survives(name: &str, text: &str) {
    let diagnostics = match load_text(name, text, &Inputs::default()) {
        Ok(loaded) => loaded.warnings,
        Err(diagnostics) => {
            assert!(diagnostics.has_errors());
            diagnostics
        }
    };
    diagnostics.render(true);
    assert!(diagnostics.to_json().is_array());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in "\\PC{0,80}") {
        survives("build.toml", &text);
        survives("build.yaml", &text);
    }

    /// A part of a real file taken out, doubled, or replaced by something odd.
    #[test]
    fn mutated_files(
        file in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        length in 0_usize..40,
        odd in prop::sample::select(vec![
            "", "\"", "'", "${", "}", "${x}", "[", "]", "{", "= 1\n", "\n", "\t", "é", "\0", "0644", "..", ":", "*",
            "false", "-1", "[[step]]\n", "step = 1\n", "99999999999999999999", "&a ", "*a", "- ", "\u{feff}",
        ]),
    ) {
        let corpus = corpus();
        let (name, text) = file.get(&corpus);
        let mut characters: Vec<char> = text.chars().collect();
        let at = at.index(characters.len());
        let end = (at + length).min(characters.len());
        characters.splice(at..end, odd.chars());
        survives(name, &characters.into_iter().collect::<String>());
    }

    /// One line twice, or two lines swapped: the shape survives, the meaning does not.
    #[test]
    fn shuffled_lines(
        file in any::<prop::sample::Index>(),
        (left, right) in any::<(prop::sample::Index, prop::sample::Index)>(),
        double in any::<bool>(),
    ) {
        let corpus = corpus();
        let (name, text) = file.get(&corpus);
        let mut lines: Vec<&str> = text.lines().collect();
        let (left, right) = (left.index(lines.len()), right.index(lines.len()));
        if double { lines.insert(left, lines[right]) } else { lines.swap(left, right) }
        survives(name, &lines.join("\n"));
    }
}
