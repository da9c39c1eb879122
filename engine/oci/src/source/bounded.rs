//! What a layer may expand to, beyond its files: a few kilobytes of zstd can be petabytes of zeros.

use crate::Limits;
use std::io::{self, Read};

/// A decompressed stream that ends in an error where it is larger than [`Limits::of_layer`].
pub(super) struct Bounded<R> {
    inner: R,
    blob: u64,
    most: u64,
    seen: u64,
}

impl<R: Read> Bounded<R> {
    /// Of a blob of this many bytes.
    pub(super) fn new(inner: R, blob: u64) -> Self {
        Self { inner, blob, most: Limits::of_layer(blob).content, seen: 0 }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.seen += count as u64;
        if self.seen <= self.most {
            return Ok(count);
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "{} compressed bytes expand to more than {}, as those of decompression bombs do",
                self.blob, self.most
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(blob: u64, bytes: u64) -> io::Result<u64> {
        io::copy(&mut Bounded::new(io::repeat(0).take(bytes), blob), &mut io::sink())
    }

    #[test]
    fn only_what_the_size_warrants_passes() {
        let most = (1 << 30) + 5000;
        assert_eq!(read(10, most).unwrap(), most);
        let error = read(10, most + 1).unwrap_err().to_string();
        assert!(error.starts_with("10 compressed bytes expand to more than 1073746824,"), "{error}");
        assert_eq!(read(u64::MAX, 7).unwrap(), 7);
    }
}
