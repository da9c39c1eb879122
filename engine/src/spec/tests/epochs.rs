//! Where the epoch comes from.

use super::{LOCK_EPOCH, load_text};
use crate::spec::{EpochSource, Inputs, parse};

fn with_caller(text: &str) -> Inputs {
    let environment = [("SOURCE_DATE_EPOCH".to_owned(), text.to_owned())].into();
    Inputs { environment, ..Inputs::default() }
}

#[test]
fn the_caller_then_the_file_then_the_lock() {
    let plain = "version = 1\n";
    let dated = "version = 1\nepoch = 5\n";
    let templated = "version = 1\nepoch = \"${e}\"\n[vars]\ne = 6\n";
    for (text, inputs, epoch) in [
        (plain, Inputs::default(), LOCK_EPOCH),
        (dated, Inputs::default(), 5),
        (templated, Inputs::default(), 6),
        (plain, with_caller("7"), 7),
        (dated, with_caller("7"), 7),
    ] {
        assert_eq!(load_text("build.toml", text, &inputs).unwrap().epoch, epoch, "{text}");
    }
}

#[test]
fn the_source_is_known_before_anything_is_resolved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("build.yaml");
    let source = |text: &str, inputs: &Inputs| {
        std::fs::write(&path, text).unwrap();
        parse(&path, inputs).unwrap().epoch()
    };
    assert_eq!(source("version: 1", &Inputs::default()), EpochSource::Lock);
    assert_eq!(source("version: 1\nepoch: 5", &Inputs::default()), EpochSource::Spec(5));
    assert_eq!(source("epoch: 5", &with_caller("7")), EpochSource::Caller(7));
    // Wrong, but given: no lock is asked for.
    assert!(matches!(source("version: 1\nepoch: soon", &Inputs::default()), EpochSource::Spec(_)));
}

#[test]
fn a_wrong_epoch_of_the_caller_is_told() {
    for text in ["", "x", "-1", "1.5", "99999999999999"] {
        let diagnostics = load_text("build.toml", "version = 1\n", &with_caller(text)).unwrap_err();
        assert!(diagnostics.list[0].message.contains("SOURCE_DATE_EPOCH"), "{diagnostics}");
    }
}

#[test]
fn the_epoch_stands_in_values() {
    let text = "version = 1\n[image.a]\nfrom = \"scratch\"\nconfig = { labels = { e = \"${epoch}\" } }\n";
    let loaded = load_text("build.toml", text, &Inputs::default()).unwrap();
    assert_eq!(loaded.spec.images["a"].config.labels["e"].as_deref(), Some("1764000000"));
}
