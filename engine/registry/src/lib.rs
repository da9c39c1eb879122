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
//! # Conformance
//!
//! The end-points of the OCI distribution specification 1.1 ("Endpoints"), by its categories: pull (1-3), push (4-7, 11,
//! 13), content discovery (8, 12), content management (9, 10). The tests are those of `tests/suite`; `faults` has all
//! that pull and push use on a bad line, `RBUILD_FAULT_SEEDS` says for how long.
//!
//! | end-point | request | used for | tests |
//! |---|---|---|---|
//! | end-1 | `GET /v2/` | [`Client::ping`], [`Client::login`]; which of TLS and plain http a host talks | `access::basic_authentication_and_login`, `access::a_private_ca_by_table_and_by_directory` |
//! | end-2 | `GET`, `HEAD` of a blob | pulls, with `Range` after a break; whether it is there already | `pull::an_image_comes_as_it_was_put_in`, `network::a_broken_download_goes_on_by_range`, `push::a_new_image_is_what_skopeo_sees` |
//! | end-3 | `GET`, `HEAD` of a manifest, by tag and digest | pulls, [`Client::resolve`]; `GET` where `HEAD` does not say enough | `pull::an_image_comes_as_it_was_put_in`, `network::a_head_that_is_refused_for_good_is_not_asked_again_by_get` |
//! | end-4a | `POST` for a session | each blob that is sent | `push::one_request_for_a_blob_of_any_size` |
//! | end-4b | `POST` with `digest` and the blob | nothing: few registries take it, and what breaks could not go on | |
//! | end-5 | `PATCH` of a session | the rest after a break; parts where one request is refused as too large (413) | `push::an_upload_goes_on_where_it_broke_off`, `push::a_server_that_takes_no_large_bodies_gets_parts` |
//! | end-6 | `PUT` of a session, with the blob or after its parts | each blob that is sent | `push::one_request_for_a_blob_of_any_size` |
//! | end-7 | `PUT` of a manifest, by tag and digest | images, indexes, artifacts | `push::a_new_image_is_what_skopeo_sees`, `push::an_index_of_images_that_are_there` |
//! | end-8a | `GET` of tags | nothing: a page is asked for | |
//! | end-8b | `GET` of tags with `n`, further pages as `Link` says | [`Client::tags`] | `pull::an_image_comes_as_it_was_put_in`, `pull::tags_come_page_by_page` |
//! | end-9 | `DELETE` of a manifest or tag | nothing: a builder deletes nothing of others | |
//! | end-10 | `DELETE` of a blob | nothing, as end-9 | |
//! | end-11 | `POST` with `mount` and `from` | blobs that another repository of the registry has; what is refused is sent | `push::mounts_from_the_same_registry`, `push::a_refused_mount_goes_on_in_its_session`, `access::tokens_and_mounts` |
//! | end-12a | `GET` of referrers | [`Client::referrers`]; after 404 the tag that stands for them | `pull::referrers_by_interface_and_by_tag`, `push::referrers_of_a_registry_that_keeps_them_under_a_tag` |
//! | end-12b | the same with `artifactType` | nothing: registries may leave the filter out, so it is here | |
//! | end-13 | `GET` of a session | how far an upload got that broke off | `push::an_upload_goes_on_where_it_broke_off`, `push::a_session_where_nobody_answers_is_begun_anew` |
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
