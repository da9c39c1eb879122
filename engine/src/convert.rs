//! Errors of the crates and of the store, as the user is told.

use crate::{error::Error, spec::lock::LockError, store::StoreError};

/// The code of an error that another look at the store may mend: something it should hold is missing or damaged.
pub const STORE_DAMAGED: &str = "store-damaged";

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::environment(format!("can't {}", error.doing)).caused_by(error.source)
    }
}

impl From<LockError> for Error {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Io { operation, path, source } => Self::io(operation, &path, source),
            LockError::Format { .. } => Self::spec("bad-lock", error.to_string()).hint(
                "resolve the merge conflict or delete it: rbuild makes a new one, with a new epoch for all steps",
            ),
        }
    }
}

impl From<rbuild_tree::Error> for Error {
    fn from(error: rbuild_tree::Error) -> Self {
        use rbuild_tree::Error as Tree;
        match error {
            Tree::Missing { .. } | Tree::Encoding { .. } => {
                Self::environment(error.to_string()).coded(STORE_DAMAGED)
            }
            Tree::Io { context, source } => Self::from(StoreError { doing: context, source }),
            Tree::BadPath { .. } => Self::step("bad-value", error.to_string()),
            Tree::At { .. } => Self::step("type-conflict", error.to_string()),
        }
    }
}

impl From<rbuild_oci::Error> for Error {
    fn from(error: rbuild_oci::Error) -> Self {
        use rbuild_oci::Error as Oci;
        match error {
            Oci::Tree(error) => Self::from(error),
            Oci::Object { .. } => Self::environment(error.to_string()).coded(STORE_DAMAGED),
            other => Self::source("source-failed", other.to_string()),
        }
    }
}

impl From<rbuild_overlay::Error> for Error {
    fn from(error: rbuild_overlay::Error) -> Self {
        use rbuild_overlay::Error as Overlay;
        match error {
            Overlay::Tree(error) => Self::from(error),
            Overlay::Io { context, source } => Self::from(StoreError { doing: context, source }),
            Overlay::Aborted => Self::environment(error.to_string()).hint("run the build again"),
            Overlay::Panicked => Self::internal(error.to_string()),
            Overlay::At { .. } => Self::step("step-failed", error.to_string()),
        }
    }
}

impl From<rbuild_sandbox::Error> for Error {
    fn from(error: rbuild_sandbox::Error) -> Self {
        Self::environment(error.to_string()).coded("no-tier")
    }
}

impl From<rbuild_registry::Error> for Error {
    fn from(error: rbuild_registry::Error) -> Self {
        use rbuild_registry::Error as Registry;
        match error {
            Registry::Cancelled => Self::interrupted(),
            Registry::Reference { .. } => Self::spec("bad-value", error.to_string()),
            Registry::Offline { what } => Self::offline(&what),
            Registry::Io { .. } => Self::environment(error.to_string()),
            Registry::Damaged { .. } => Self::source("digest-mismatch", error.to_string()),
            other => Self::source("registry-failed", other.to_string()),
        }
    }
}
