//! A blocking client of OCI registries (the OCI distribution specification, docker's registry API 2).
//!
//! Base images come in through it, built images go out, through networks as they are: what breaks off goes on where it
//! broke off, what is busy is asked again, and no byte is taken that is not its digest's.
//!
//! ```no_run
//! use rbuild_oci::Platform;
//! use rbuild_registry::{Client, Credentials, Environment, Options, RegistryTables, Settings};
//!
//! let environment = Environment::of_process();
//! let settings = Settings::load(&environment, RegistryTables::new())?;
//! let client = Client::new(settings, Credentials::new(environment), Options::default());
//! let debian = client.reference("debian:12")?;
//! let image = client.image(&debian, &Platform::host())?;
//! for layer in &image.layers {
//!     let mut blob = client.blob(debian.repository(), &layer.descriptor)?;
//!     std::io::copy(&mut blob, &mut std::io::sink()).map_err(|error| rbuild_registry::Error::from_io("layer", error))?;
//! }
//! # Ok::<(), rbuild_registry::Error>(())
//! ```
//!
//! | module | what |
//! |---|---|
//! | `reference` | names as docker reads them |
//! | `settings` | mirrors, locations, certificates, proxies: rbuild's own table, podman's and docker's files |
//! | `credential` | who the user is: config.json, auth.json, helpers; login and logout |
//! | [`challenge`](Challenge), `auth` | `WWW-Authenticate`, tokens, basic |
//! | `transport` | one request: connections, TLS, time limits, redirects, tries, [`Cancel`] |
//! | `core` | one call: the request with its authorization, tried until it is answered |
//! | [`document`] | manifests, indexes, configurations: read and checked |
//! | `pull`, `push` | what comes, what goes |
//! | `client` | [`Client`], the way in |
//!
//! # Why not oci-client
//!
//! The ecosystem's client, oci-client 0.18, was to be used unless a need could not be met by it. Read in its source,
//! these can't, and they go through all of it:
//!
//! - A token is asked for one repository (`_auth`: `repository:NAME:pull,push`), so a mount from a private one is
//!   denied; and a refused mount's 202, which opens an upload session, is an error (`extract_location_header`), with
//!   the session lost.
//! - Credentials are a name and password, or a finished token (`RegistryAuth`). Identity tokens, which need a POST
//!   with `refresh_token`, have no way in; of several `WWW-Authenticate` headers the first alone is looked at.
//! - A push is never taken up again: there is no question for a session's offset. A pull can begin at an offset
//!   (`pull_blob_stream_partial`), but whoever reads must do it.
//! - Nothing is tried again, and `Retry-After` is not read: not on 429, not on 5xx, not on a break.
//! - There are no client certificates, and certificates are the client's, not a host's; no mirrors.
//! - Answers are read whole, of any size, where manifests and token servers are concerned.
//! - It is async (tokio, reqwest) with rustls over aws-lc, which needs a C compiler and cmake: some 150 crates.
//!
//! So this is a client of its own on ureq 3.5 (blocking, rustls over ring, about 30 crates). What ureq gives: HTTP/1.1,
//! a pool, proxies by CONNECT, limits for reads and writes, an end from outside (`Agent::shutdown`). What was added:
//! a limit on silence apart from the one on the first byte, proxies chosen by scheme and `NO_PROXY` with networks and
//! domains, redirects followed here so that `Authorization` stays with its host, and everything about registries.
//!
//! # The distribution specification
//!
//! | category | used | for |
//! |---|---|---|
//! | pull | `GET`, `HEAD` of manifests by tag and digest; `GET` (with `Range`), `HEAD` of blobs | images; resuming |
//! | push | `POST` with `mount` and `from`; `POST` + `PUT`, after 413 `POST` + `PATCH` + `PUT`; `GET` of a session | blobs; resuming |
//! | push | `PUT` of manifests by tag and digest | images, indexes, artifacts |
//! | content discovery | `tags/list` with `Link`; `referrers`, and its tag where there is none | what there is |
//! | content management | nothing | nothing is deleted |
//!
//! `POST` with `digest` (a push in one request) is left out: too few registries know it.
//!
//! # Limits
//!
//! HTTP/1.1 only. Plain http through a proxy uses CONNECT. A connection that is being made ends by its time limit and
//! not at once by [`Cancel`]. At level `trace`, and only there, ureq logs addresses with their queries, where signed
//! ones have their signature.
#![forbid(unsafe_code)]

mod auth;
mod challenge;
mod client;
mod core;
mod credential;
mod digest;
pub mod document;
mod documents;
mod environment;
mod error;
mod observer;
mod pull;
mod push;
mod reference;
mod secret;
#[cfg(test)]
mod seeds;
mod settings;
mod transport;
mod url;

// Its modules, which are tests here too, name this crate.
#[cfg(test)]
extern crate self as rbuild_registry;

/// What tests/fuzz reaches beyond the interface.
#[cfg(any(test, fuzzing))]
pub mod fuzzing {
    pub use crate::pull::choose;
}

pub use challenge::Challenge;
pub use client::{Client, Options};
pub use credential::{Credential, Credentials};
pub use documents::{Documents, NoDocuments};
pub use environment::Environment;
pub use error::{Error, Result};
pub use observer::{Event, Observer, Silent};
pub use pull::{Blob, BlobTarget, Manifest, RemoteImage, RemoteLayer};
pub use push::{Pushed, UploadSizes};
pub use reference::{Reference, Repository};
pub use secret::Secret;
pub use settings::{RegistryTable, RegistryTables, Settings};
pub use transport::{BlobSource, Cancel, RetryPolicy, Timeouts};
