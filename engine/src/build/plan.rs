//! `plan`: what `apply` would do, by the very decisions it would take.

use super::{
    Request,
    prepare::{self, Locking},
};
use crate::{
    error::Result,
    execute::{Cancel, foresee},
    report::Silent,
};
use std::sync::Arc;

/// What would become of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// `step.jar`
    pub node: String,
    /// What is written about it in the file.
    pub description: Option<String>,
    /// `cached`, `run`, `waiting` (what it needs must run first), or `look` (sources, images and artifacts).
    pub decision: &'static str,
    /// Why it would run; what it waits for.
    pub why: String,
}

/// Foresees a build.
///
/// # Errors
/// What is wrong with the file, the command line, the store or a source.
pub fn plan(request: &Request) -> Result<Vec<Planned>> {
    let cancel = Arc::new(Cancel::default());
    let engine = prepare::engine(request, Locking::Look, Arc::new(Silent), cancel, false)?;
    foresee(&engine)
}
