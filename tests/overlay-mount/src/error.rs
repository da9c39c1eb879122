use std::{fmt::Display, io};

/// Why there is no mount, or no result of one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line says nothing that can be mounted.
    #[error("{0}")]
    Usage(String),
    /// A file of this machine can't be read or written.
    #[error("can't {operation}: {source}")]
    Io {
        /// What was done, to which file.
        operation: String,
        /// The cause.
        source: io::Error,
    },
    /// A layer holds what is not understood here.
    #[error("{0}")]
    Layer(String),
    /// Trees can't be read or kept.
    #[error(transparent)]
    Tree(#[from] rbuild_tree::Error),
    /// The overlay failed.
    #[error(transparent)]
    Overlay(#[from] rbuild_overlay::Error),
    /// The process in the background failed and said this.
    #[error("it is not mounted: {0}")]
    Background(String),
}

/// As everywhere.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// For `map_err`: what was done to what.
    pub fn io<E: Into<io::Error>>(operation: &str, what: &dyn Display) -> impl FnOnce(E) -> Self + use<E> {
        let operation = format!("{operation} {what}");
        move |source| Self::Io { operation, source: source.into() }
    }
}
