//! What a client tells while it works.

use rbuild_oci::oci_spec::image::Digest;
use std::time::Duration;

/// Is told what happens, by the threads it happens in. It should not wait.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn event(&self, event: Event<'_>);
}

/// What happens.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Bytes of a blob came in.
    Received {
        /// Which blob.
        digest: &'a Digest,
        /// How many, after the last time.
        bytes: u64,
    },
    /// Bytes of a blob went out. Those that go out again after a failure are not told again.
    Sent {
        /// Which blob.
        digest: &'a Digest,
        /// How many, after the last time.
        bytes: u64,
    },
    /// It did not work, and will be tried again.
    Retry {
        /// What was wanted.
        what: &'a str,
        /// What happened.
        reason: &'a str,
        /// The failures so far, in a row.
        failed: u32,
        /// How long it waits now.
        wait: Duration,
    },
    /// A place is given up for the next one: a mirror, or a URL of a foreign layer.
    NextPlace {
        /// What was wanted, and where.
        what: &'a str,
        /// What happened.
        reason: &'a str,
    },
}

/// Listens to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _: Event<'_>) {}
}
