//! Archives, layers and images through the public interface.
#![allow(clippy::unwrap_used, missing_docs)]

mod changeset;
mod compress;
mod fuzzed;
mod hostile;
mod images;
mod import;
mod layer;
mod roundtrip;
mod sources;
mod support;
