//! sha256, the digest of OCI, on streams.

use oci_spec::image::Digest;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read};

/// The digest that a finished hasher stands for.
pub(crate) fn finish(hasher: Sha256) -> Digest {
    use std::fmt::Write;
    let mut text = String::with_capacity(71);
    text.push_str("sha256:");
    for byte in hasher.finalize() {
        let _ = write!(text, "{byte:02x}"); // writing to a string can't fail
    }
    match Digest::try_from(text) {
        Ok(digest) => digest,
        Err(error) => unreachable!("64 hex digits are a digest: {error}"),
    }
}

/// The digest of bytes.
pub fn sha256(bytes: &[u8]) -> Digest {
    finish(Sha256::new_with_prefix(bytes))
}

/// Reads a blob and ends in an error if it is not the one that was asked for.
///
/// The check is at the end of the stream, so a reader must read to the end (a read that gives 0) to know.
pub(crate) struct Verified<R> {
    inner: R,
    hasher: Option<Sha256>,
    what: &'static str,
    expected: Digest,
    size: Option<u64>,
    seen: u64,
}

impl<R: Read> Verified<R> {
    /// Expects this digest, and this size if it is known.
    pub fn new(inner: R, what: &'static str, expected: Digest, size: Option<u64>) -> Self {
        Self { inner, hasher: Some(Sha256::new()), what, expected, size, seen: 0 }
    }

    fn damaged(&self, seen: &str) -> io::Error {
        let reason = format!("{} {} is damaged: {seen}", self.what, self.expected);
        io::Error::new(io::ErrorKind::InvalidData, reason)
    }

    fn check_end(&mut self) -> io::Result<()> {
        if let Some(size) = self.size.filter(|size| *size != self.seen) {
            return Err(self.damaged(&format!("it has {} bytes instead of {size}", self.seen)));
        }
        match self.hasher.take().map(finish) {
            Some(digest) if digest != self.expected => Err(self.damaged(&format!("its digest is {digest}"))),
            _ => Ok(()),
        }
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            self.check_end()?;
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        self.seen += count as u64;
        match self.size {
            Some(size) if self.seen > size => Err(self.damaged(&format!("it has more than {size} bytes"))),
            _ => Ok(count),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(bytes: &[u8], size: Option<u64>) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Verified::new(bytes, "blob", sha256(b"hello"), size).read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn only_the_right_bytes_pass() {
        assert_eq!(
            sha256(b"hello").to_string(),
            "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
        );
        assert_eq!(read(b"hello", None).unwrap(), b"hello");
        assert_eq!(read(b"hello", Some(5)).unwrap(), b"hello");
        assert!(read(b"hallo", Some(5)).unwrap_err().to_string().contains("its digest is sha256:"));
        assert!(read(b"hell", Some(5)).unwrap_err().to_string().contains("4 bytes instead of 5"));
        assert!(read(b"hello!", Some(5)).unwrap_err().to_string().contains("more than 5"));
    }
}
