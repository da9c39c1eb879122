use std::io;

/// What can go wrong between here and a registry.
///
/// Every text names the image, blob, host or file it is about. No text holds a secret or the query of a URL (where
/// signatures are).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What is no reference.
    #[error("invalid reference {text:?}: {reason}")]
    Reference {
        /// As it was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file or table of settings that can't be used.
    #[error("{place}: {reason}")]
    Settings {
        /// The file or table.
        place: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A file of credentials or a credential helper that can't be used.
    #[error("{place}: {reason}")]
    Credentials {
        /// The file or helper.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// `registries.conf` blocks it.
    #[error("{repository} is blocked by {place}")]
    Blocked {
        /// The repository.
        repository: String,
        /// The file that says so.
        place: String,
    },
    /// There was no answer, or it broke off, as often as it was tried.
    #[error("{what}: {reason}")]
    Unreachable {
        /// What was wanted, from which host.
        what: String,
        /// What happened.
        reason: String,
    },
    /// The registry or its token server lets nobody in, or not with these credentials.
    #[error("{what}: access is denied: {reason}")]
    Denied {
        /// What was wanted, from which host.
        what: String,
        /// The registry's words, and what to do.
        reason: String,
    },
    /// The registry does not have it.
    #[error("{what}: not found{}", colon(reason))]
    NotFound {
        /// What was wanted, from which host.
        what: String,
        /// The registry's words; may be empty.
        reason: String,
    },
    /// The registry answered with another status than it should.
    #[error("{what}: the registry answered {status}{}", colon(reason))]
    Refused {
        /// What was wanted, from which host.
        what: String,
        /// The status of HTTP.
        status: u16,
        /// The registry's words; may be empty.
        reason: String,
    },
    /// A manifest, index, configuration or answer that is not as it must be.
    #[error("{what}: {reason}")]
    Malformed {
        /// The image and the document in it.
        what: String,
        /// The entry, and what is wrong with it.
        reason: String,
    },
    /// Bytes that are not those of the digest.
    #[error("{what} is damaged: {reason}")]
    Damaged {
        /// The blob or document, and whence it came.
        what: String,
        /// What was seen.
        reason: String,
    },
    /// An index without an image for this machine.
    #[error("{image} has no image for {wanted}, but for {offered}")]
    NoPlatform {
        /// The image.
        image: String,
        /// The platform asked for.
        wanted: String,
        /// The platforms there are.
        offered: String,
    },
    /// The origin failed, after its mirrors had failed too.
    #[error("{source} (before it: {mirrors})")]
    AfterMirrors {
        /// Each mirror and its failure.
        mirrors: String,
        /// The origin's failure.
        source: Box<Error>,
    },
    /// It would have to be asked for, and nobody is.
    #[error("{what} is not known here, and nobody may be asked for it")]
    Offline {
        /// The manifest or blob.
        what: String,
    },
    /// [`Cancel`](crate::Cancel) was used.
    #[error("cancelled")]
    Cancelled,
    /// Reading or writing on this machine failed.
    #[error("{context}: {source}")]
    Io {
        /// Which operation on what.
        context: String,
        /// The cause.
        source: io::Error,
    },
}

/// The result of an operation with a registry.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether asking elsewhere is of no use.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Cancelled | Self::Offline { .. })
    }

    /// Whether the registry says that it does not have it.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::NotFound { .. } => true,
            Self::AfterMirrors { source, .. } => source.is_not_found(),
            _ => false,
        }
    }

    /// Whether access is denied.
    pub fn is_denied(&self) -> bool {
        match self {
            Self::Denied { .. } => true,
            Self::AfterMirrors { source, .. } => source.is_denied(),
            _ => false,
        }
    }

    /// Whether it might go well a little later: no answer, a broken one, or a registry that is busy.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Damaged { .. } => true,
            Self::Refused { status, .. } => is_transient_status(*status),
            Self::AfterMirrors { source, .. } => source.is_transient(),
            _ => false,
        }
    }

    /// For readers, whose errors are [`io::Error`]; [`Self::from_io`] gives it back.
    pub(crate) fn into_io(self) -> io::Error {
        let kind = match &self {
            Self::Damaged { .. } | Self::Malformed { .. } => io::ErrorKind::InvalidData,
            Self::NotFound { .. } => io::ErrorKind::NotFound,
            Self::Denied { .. } => io::ErrorKind::PermissionDenied,
            Self::Io { source, .. } => source.kind(),
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, self)
    }

    /// The error inside an [`io::Error`] that a [`Blob`](crate::Blob) gave; else one that names the operation.
    pub fn from_io(context: impl Into<String>, error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(inner) => inner,
            Err(source) => Self::Io { context: context.into(), source },
        }
    }
}

/// Statuses that a later try may not meet again.
pub(crate) fn is_transient_status(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504) || (505..600).contains(&status)
}

fn colon(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

/// For `map_err`: says what was being done.
pub(crate) fn io_error(context: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { context: context.into(), source }
}

/// A URL or name without what stands before its last `@`, which may be a password.
pub(crate) fn without_user(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (scheme, rest));
    let colon = if scheme.is_empty() { "" } else { "://" };
    let (stars, host) = rest.rsplit_once('@').map_or(("", rest), |(_, host)| ("***@", host));
    format!("{scheme}{colon}{stars}{host}")
}

/// An image's name without the user and password that somebody wrote before its host.
pub(crate) fn name_without_user(text: &str) -> String {
    let (scheme, rest) = text.find("://").map_or(("", text), |at| text.split_at(at + 3));
    match rest.split_once('/') {
        Some((host, path)) if host.contains('@') => {
            format!("{scheme}***@{}/{path}", host.rsplit('@').next().unwrap_or_default())
        }
        _ => text.to_owned(),
    }
}

/// A stranger's words on one line: no control characters, no more than a few hundred characters.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 300;
    let mut out: String =
        text.trim().chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.trim().chars().nth(LONGEST).is_some() {
        out.push_str("...");
    }
    out
}
