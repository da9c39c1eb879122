//! `RBUILD_LOG`: what the engine says of its own work, for whoever works on it.

use rbuild::error::{Error, Result};
use std::io::{self, IsTerminal};
use tracing_subscriber::EnvFilter;

const VARIABLE: &str = "RBUILD_LOG";
/// Whoever talks HTTP shows at `trace` the bytes that go over the line, passwords among them.
const HARMLESS: [&str; 3] = ["ureq=debug", "ureq_proto=debug", "rustls=debug"];

/// Writes to the standard error what `RBUILD_LOG` lets through; nothing if it is not set.
///
/// # Errors
/// It is no filter.
pub fn start() -> Result<()> {
    let Some(text) = std::env::var_os(VARIABLE).filter(|text| !text.is_empty()) else { return Ok(()) };
    let filter = EnvFilter::builder().parse(text.to_string_lossy()).map_err(|error| {
        Error::usage(format!("{VARIABLE} is no filter"))
            .caused_by(error)
            .hint("`debug`, or a list of modules with their levels as `rbuild=trace,rbuild_overlay=info`")
    })?;
    let filter = HARMLESS.iter().try_fold(filter, |filter, directive| {
        let parsed = directive.parse().map_err(|error| Error::internal(format!("{directive}: {error}")))?;
        Ok::<_, Error>(filter.add_directive(parsed))
    })?;
    let colour =
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colour);
    // A second one can't be set, and there is no first in this process.
    let _ = subscriber.try_init();
    Ok(())
}
