//! `plan`: what `apply` would do, by the very decisions it would take.

use super::{
    Request,
    prepare::{self, Locking},
};
use crate::{
    error::Result,
    execute::{Cancel, Planned, foresee},
    report::Silent,
};
use std::sync::Arc;

/// Foresees a build.
///
/// # Errors
/// What is wrong with the file, the command line, the store or a source.
pub fn plan(request: &Request) -> Result<Vec<Planned>> {
    let cancel = Arc::new(Cancel::default());
    let engine = prepare::engine(request, Locking::Look, Arc::new(Silent), cancel, false)?;
    foresee(&engine)
}
