//! Connections to one host: its certificates, its proxy, its limits.

use super::patience::Patience;
use crate::{Error, Result, Settings, error::io_error, url::Origin};
use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};
use ureq::{
    Agent,
    tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem},
    unversioned::{
        resolver::DefaultResolver,
        transport::{Connector, DefaultConnector},
    },
};

/// Parallel transfers that keep their connection for the next one.
const IDLE_CONNECTIONS: usize = 16;
const USER_AGENT: &str = concat!("rbuild/", env!("CARGO_PKG_VERSION"));

/// How long nothing may happen. There is no limit on a transfer as a whole: one that goes on may take as long as it
/// needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// Until there is a connection, TLS and proxy included; and as long before it for the host's name.
    pub connect: Duration,
    /// From the end of a request to the end of the answer's head.
    pub first_byte: Duration,
    /// Between two bytes of a body, in either direction.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect: seconds(20), first_byte: seconds(120), idle: seconds(60) }
    }
}

pub(super) fn build(
    settings: &Settings,
    timeouts: &Timeouts,
    origin: &Origin,
    is_verified: bool,
) -> Result<Agent> {
    let host = origin.authority();
    let proxy = match settings.proxies().for_origin(origin)? {
        // Its address was looked at when it was read.
        Some(proxy) => ureq::Proxy::new(proxy.address()).ok(),
        None => None,
    };
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(proxy)
        .user_agent(USER_AGENT)
        .accept("*/*")
        .accept_encoding("identity") // a blob is the bytes of its digest
        .max_idle_connections(IDLE_CONNECTIONS)
        .max_idle_connections_per_host(IDLE_CONNECTIONS)
        .timeout_resolve(Some(timeouts.connect))
        .timeout_connect(Some(timeouts.connect))
        .timeout_recv_response(Some(timeouts.first_byte))
        .timeout_per_read(Some(timeouts.idle))
        .timeout_per_write(Some(timeouts.idle));
    if origin.is_tls {
        config = config.tls_config(tls(settings, &host, is_verified)?);
    }
    let connector = DefaultConnector::new().chain(Patience);
    Ok(Agent::with_parts(config.build(), connector, DefaultResolver::default()))
}

fn tls(settings: &Settings, host: &str, is_verified: bool) -> Result<TlsConfig> {
    let files = settings.tls(host)?;
    let mut own = Vec::new();
    for path in &files.authorities {
        own.extend(certificates(path)?);
    }
    let client = match &files.client {
        Some((certificate, key)) => Some(client_certificate(certificate, key)?),
        None => None,
    };
    let roots = match system_roots() {
        // A machine without any: those of Mozilla, compiled in.
        [] if own.is_empty() => RootCerts::WebPki,
        system => RootCerts::Specific(Arc::new(system.iter().cloned().chain(own).collect())),
    };
    Ok(TlsConfig::builder().root_certs(roots).client_cert(client).disable_verification(!is_verified).build())
}

fn system_roots() -> &'static [Certificate<'static>] {
    static ROOTS: OnceLock<Vec<Certificate<'static>>> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::debug!(%error, "a certificate of the system can't be read");
        }
        found.certs.iter().map(|certificate| Certificate::from_der(certificate.as_ref()).to_owned()).collect()
    })
}

fn items(path: &Path) -> Result<Vec<PemItem<'static>>> {
    let bytes = std::fs::read(path).map_err(io_error(format!("reading {}", path.display())))?;
    let items: Result<Vec<_>, _> = parse_pem(&bytes).collect();
    items.map_err(|_| refuse(path, "it can't be read as PEM"))
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let found: Vec<Certificate<'static>> = items(path)?
        .into_iter()
        .filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    if found.is_empty() { Err(refuse(path, "it holds no certificate (PEM)")) } else { Ok(found) }
}

fn client_certificate(certificate: &Path, key: &Path) -> Result<ClientCert> {
    let chain = certificates(certificate)?;
    let found = items(key)?.into_iter().find_map(|item| match item {
        PemItem::PrivateKey(key) => Some(key),
        _ => None,
    });
    let private = found.ok_or_else(|| refuse(key, "it holds no private key (PEM, not encrypted)"))?;
    check_pair(&chain, &private).map_err(|()| {
        refuse(key, &format!("it can't be used, or is not the key of {}", certificate.display()))
    })?;
    Ok(ClientCert::new_with_certs(&chain, private))
}

/// ureq panics over a pair that does not fit.
fn check_pair(chain: &[Certificate<'static>], key: &PrivateKey<'static>) -> Result<(), ()> {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain = chain.iter().map(|one| CertificateDer::from(one.der().to_vec())).collect();
    let key = PrivateKeyDer::try_from(key.der().to_vec()).map_err(|_| ())?;
    let provider = rustls::crypto::ring::default_provider();
    rustls::sign::CertifiedKey::from_der(chain, key, &provider).map(|_| ()).map_err(|_| ())
}

fn refuse(path: &Path, reason: &str) -> Error {
    Error::Settings { place: path.display().to_string(), reason: reason.to_owned() }
}
