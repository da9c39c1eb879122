//! The client against a real registry, against servers that misbehave, and on a bad line.
#![allow(clippy::unwrap_used, missing_docs)]

#[macro_use]
mod support;

mod access;
mod credentials;
mod faults;
mod malformed;
mod network;
mod pull;
mod push;
mod settings;
