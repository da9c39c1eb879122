//! The seeds of the fuzz targets (tests/fuzz), and what they found, as tests.
#![allow(clippy::unwrap_used)]

#[path = "../../../tests/fuzz/src/challenge.rs"]
mod challenge;
#[path = "../../../tests/fuzz/src/config.rs"]
mod config;
#[path = "../../../tests/fuzz/src/manifest.rs"]
mod manifest;
#[path = "../../../tests/fuzz/src/reference.rs"]
mod reference;

use std::{fs, path::Path};

fn run(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/seeds").join(target);
    let mut count = 0;
    for seed in fs::read_dir(folder).unwrap() {
        let seed = seed.unwrap().path();
        println!("{}", seed.display());
        check(&fs::read(&seed).unwrap());
        count += 1;
    }
    assert!(count > 3, "{count} seeds");
}

#[test]
fn manifests() {
    run("manifest", manifest::check);
}

#[test]
fn configurations() {
    run("config", config::check);
}

#[test]
fn references() {
    run("reference", reference::check);
}

#[test]
fn challenges() {
    run("challenge", challenge::check);
}
