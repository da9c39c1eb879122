//! Digests of what comes in: sha256 and no others. All registries have it, and rbuild's store is named by it.

use crate::{Error, Result};
use rbuild_oci::{
    oci_spec::image::{Digest, DigestAlgorithm},
    sha256,
};
use sha2::{Digest as _, Sha256};
use std::{
    fmt::Write,
    io::{self, Read},
};

/// Of a manifest, as the registry says it (distribution-spec, "Pulling manifests").
pub(crate) const HEADER: &str = "docker-content-digest";
const READ_BUFFER: usize = 256 << 10;

/// Whether a digest is one that can be checked here.
pub(crate) fn is_supported(digest: &Digest) -> bool {
    *digest.algorithm() == DigestAlgorithm::Sha256
}

/// Refuses an image or blob of another algorithm.
///
/// # Errors
/// [`Error::Malformed`].
pub(crate) fn check_supported(what: &str, digest: &Digest) -> Result<()> {
    if is_supported(digest) {
        return Ok(());
    }
    let reason = format!("its digest is of {}, but only sha256 is supported", digest.algorithm());
    Err(Error::Malformed { what: what.to_owned(), reason })
}

/// `sha256:HEX` of what a hasher was given.
pub(crate) fn finish(hasher: Sha256) -> String {
    let mut text = "sha256:".to_owned();
    for byte in hasher.finalize() {
        let _ = write!(text, "{byte:02x}"); // writing to a string can't fail
    }
    text
}

/// `sha256:HEX` of all there is to read.
pub(crate) fn of_reader(mut reader: impl Read) -> io::Result<String> {
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; READ_BUFFER]);
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(finish(hasher)),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// Whether bytes are those of a digest; else what they are.
pub(crate) fn verify(digest: &Digest, bytes: &[u8]) -> Result<(), String> {
    let found = sha256(bytes);
    if found == *digest { Ok(()) } else { Err(format!("its digest is {found}")) }
}
