//! What must hold whatever comes in: one module a target, each with one function that panics if it does not.

pub mod challenge;
pub mod config;
pub mod layer;
pub mod manifest;
pub mod reference;
pub mod requests;
pub mod whiteouts;
