//! What can be said of a whole file before anything is run.
//!
//! | file | codes |
//! |---|---|
//! | `names` | `unknown-name`, `bad-value` for layers that are not in an image's chain |
//! | [`cycle`] | `cycle` |
//! | `writes` | `write-conflict` |
//! | `host` | `bad-value` and `not-yet` for what can't be done with trees that stand on `source.host` |
//! | `sources` | `source-failed` for local files that are not there |
//! | `warnings` | `unused`, `network-open`, `copy-nests` |
//!
//! The spec may be partial here: tables that are wrong are left out of it, but [`Declared`] has their names.

pub mod cycle;
mod host;
mod names;
mod sources;
mod warnings;
mod writes;

pub use sources::missing as missing_sources;

use super::{Spec, lower::Declared, lower::read::Sink, value::Node};
use std::{collections::BTreeSet, path::Path};

/// Tells everything that is wrong with the file as a whole; `root` is what `spec` was read from.
pub fn errors(root: &Node, spec: &Spec, declared: &Declared, path: &Path, sink: &mut Sink) {
    names::check(root, spec, declared, sink);
    sink.extend(cycle::cycles(spec));
    writes::check(spec, path, sink);
    host::check(spec, sink);
}

/// Tells what is suspicious. `mentions` are texts that could be names for some value of a variable.
pub fn warnings(spec: &Spec, declared: &Declared, mentions: &BTreeSet<String>, sink: &mut Sink) {
    warnings::check(spec, declared, mentions, sink);
}
