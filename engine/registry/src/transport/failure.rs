//! What went wrong with a connection, in words, and whether another try may help.

use super::Timeouts;
use crate::{Error, error::quoted};
use rustls::{CertificateError, Error as TlsError};
use std::io;

/// Whether another try may help.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Transience {
    /// It will be the same again.
    Never,
    /// Likely a mistake, or a server that is just starting: once more.
    Brief,
    /// The network's whim.
    Yes,
}

/// A request without an answer.
#[derive(Debug)]
pub(crate) struct Failure {
    pub transience: Transience,
    /// The host answered, but with no TLS.
    pub is_no_tls: bool,
    /// Who failed, if it is known.
    host: Option<String>,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    /// Nothing the network did.
    Own(Error),
    Network(String),
}

impl Failure {
    pub fn network(transience: Transience, reason: impl Into<String>) -> Self {
        Self { transience, is_no_tls: false, host: None, cause: Cause::Network(reason.into()) }
    }

    /// An error with words of its own.
    pub fn own(transience: Transience, error: Error) -> Self {
        Self { transience, is_no_tls: false, host: None, cause: Cause::Own(error) }
    }

    /// Says which host it was, and through which proxy it was talked to.
    pub fn at(mut self, host: String, proxy: Option<&str>) -> Self {
        if let (Cause::Network(reason), Some(proxy)) = (&mut self.cause, proxy) {
            reason.push_str(&format!(" (through the proxy {proxy})"));
        }
        self.host = Some(host);
        self
    }

    /// The error, about this.
    pub fn about(self, what: &str) -> Error {
        let reason = self.reason(what);
        match self.cause {
            Cause::Own(error) => error,
            Cause::Network(_) => Error::Unreachable { what: what.to_owned(), reason },
        }
    }

    /// In words, for a text that begins with this: the host is named unless it is there. A registry may send one
    /// elsewhere, or answer at another host than its name says.
    pub fn reason(&self, what: &str) -> String {
        match (&self.cause, &self.host) {
            (Cause::Own(error), _) => error.to_string(),
            (Cause::Network(reason), Some(host)) if !what.contains(host) => format!("{host}: {reason}"),
            (Cause::Network(reason), _) => reason.clone(),
        }
    }

    pub fn is_cancelled(&self) -> bool {
        matches!(self.cause, Cause::Own(Error::Cancelled))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::own(Transience::Never, error)
    }
}

pub(super) fn explain(error: ureq::Error, timeouts: &Timeouts) -> Failure {
    use Transience::{Brief, Never, Yes};
    use ureq::Timeout;
    let seconds = |duration: std::time::Duration| format!("{} s", duration.as_secs_f32());
    match error {
        ureq::Error::Io(error) => explain_io(error),
        ureq::Error::Rustls(error) => explain_tls(&error),
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
            Failure::network(Brief, format!("no connection within {}", seconds(timeouts.connect)))
        }
        ureq::Error::Timeout(Timeout::RecvResponse) => {
            Failure::network(Yes, format!("no answer within {}", seconds(timeouts.first_byte)))
        }
        ureq::Error::Timeout(_) => {
            Failure::network(Yes, format!("nothing moved for {}", seconds(timeouts.idle)))
        }
        ureq::Error::HostNotFound => Failure::network(Brief, "the host's name is not known"),
        ureq::Error::ConnectProxyFailed(words) => {
            Failure::network(Never, format!("the proxy makes no connection: {}", quoted(&words)))
        }
        ureq::Error::LargeResponseHeader(..) => {
            Failure::network(Never, "the head of the answer is too large")
        }
        ureq::Error::Tls(words) => Failure::network(Never, format!("TLS: {words}")),
        ureq::Error::Protocol(error) => {
            Failure::network(Yes, format!("the answer is no HTTP: {}", quoted(&error.to_string())))
        }
        other => Failure::network(Yes, quoted(&other.to_string())),
    }
}

fn explain_io(error: io::Error) -> Failure {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, NotConnected, UnexpectedEof,
    };
    let error = match error.downcast::<Error>() {
        Ok(own) => return own.into(), // what was to be sent could not be read
        Err(error) => error,
    };
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) {
        return explain_tls(tls);
    }
    match error.kind() {
        ConnectionRefused => Failure::network(Transience::Brief, "the connection is refused"),
        ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof | NotConnected => {
            // A server that does not know TLS may hang up over it.
            Failure { is_no_tls: true, ..Failure::network(Transience::Yes, "the connection broke off") }
        }
        _ => Failure::network(Transience::Yes, quoted(&error.to_string())),
    }
}

const NO_TLS: &str = "the answer is no TLS: if that is how it is, say `http = true` under `[registries.\"HOST:PORT\"]` \
                      in ~/.config/rbuild/config.toml";

fn explain_tls(error: &TlsError) -> Failure {
    match error {
        TlsError::InvalidCertificate(reason) => {
            Failure::network(Transience::Never, explain_certificate(reason))
        }
        TlsError::InvalidMessage(_) => {
            Failure { is_no_tls: true, ..Failure::network(Transience::Yes, NO_TLS) }
        }
        TlsError::AlertReceived(alert) => {
            let reason =
                format!("the host ends TLS with the alert {alert:?}; does it want a client certificate?");
            Failure::network(Transience::Never, reason)
        }
        other => Failure::network(Transience::Yes, format!("TLS: {}", quoted(&other.to_string()))),
    }
}

fn explain_certificate(reason: &CertificateError) -> String {
    match reason {
        CertificateError::UnknownIssuer => {
            "the host's certificate is from a CA that is not trusted here: name the CA's file in \
             ~/.config/rbuild/config.toml (`[registries.\"HOST:PORT\"]`, `ca = \"FILE\"`), or put it into certs.d"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "the host's certificate has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the host's certificate is not valid yet: is this machine's clock right?"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the host's certificate is for another name"
        }
        other => return format!("the host's certificate is refused: {other}"),
    }
    .to_owned()
}
