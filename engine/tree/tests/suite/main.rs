//! What trees must do, one binary.
#![allow(clippy::unwrap_used, missing_docs)]

mod delta;
mod editor;
mod encoding;
mod generate;
mod merge;
mod nouns;
mod pattern;
mod resolve;
mod size;
mod text;
