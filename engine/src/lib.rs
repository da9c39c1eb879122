//! rbuild: a declarative image builder without a daemon.

pub mod build;
pub mod checkout;
mod chroot;
pub mod container;
mod convert;
pub mod copy;
pub mod doctor;
pub mod error;
pub mod execute;
pub mod graph;
pub mod image;
mod interrupts;
pub mod key;
pub mod lookups;
pub mod mount;
pub mod operations;
mod parallel;
mod paths;
pub mod plan;
pub mod registries;
pub mod report;
pub mod session;
pub mod source;
pub mod spec;
pub mod store;
mod transfer;
pub mod value;
