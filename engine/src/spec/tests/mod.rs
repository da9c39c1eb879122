//! The loading as a whole, on files of `tests/corpus` and on short texts.
#![allow(clippy::unwrap_used)]

mod corpus;
mod epochs;
mod messages;
mod random;
mod variables;

use super::{Diagnostics, Inputs, Loaded, load};
use std::path::Path;

/// An epoch that is nobody's default.
const LOCK_EPOCH: i64 = 1_764_000_000;

/// Loads `text` as a file of this name in a folder of its own.
fn load_text(name: &str, text: &str, inputs: &Inputs) -> Result<Loaded, Diagnostics> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    load(&path, inputs, LOCK_EPOCH)
}

fn codes(diagnostics: &Diagnostics) -> Vec<&str> {
    diagnostics.list.iter().map(|diagnostic| diagnostic.code).collect()
}

/// The rendered text, with the folder of the file left out.
fn render(diagnostics: &Diagnostics, path: &Path) -> String {
    let folder = format!("{}/", path.parent().unwrap().display());
    diagnostics.render(false).replace(&folder, "")
}
