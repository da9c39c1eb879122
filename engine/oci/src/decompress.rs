//! Decompression, chosen by the first bytes and not by a name.
//!
//! Plain, gzip (several members), xz (several streams), zstd (several frames, skippable ones too). Memory is bounded:
//! zstd windows up to 128 MiB and xz dictionaries that need up to 256 MiB are read, larger ones are refused.

use std::io::{self, BufReader, Cursor, Read};

/// What a stream is compressed with, as its first bytes tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Not compressed, or not by anything known here.
    Plain,
    /// gzip.
    Gzip,
    /// xz.
    Xz,
    /// zstd.
    Zstd,
    /// bzip2, which is refused.
    Bzip2,
}

const XZ_MEMORY: u64 = 256 << 20;
const XZ_CONCATENATED: u32 = liblzma::stream::CONCATENATED;
const ZSTD_WINDOW_LOG: u32 = 27;

impl Format {
    /// Six bytes are enough to tell.
    pub fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            // A frame, or a skippable one before it.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            _ => Self::Plain,
        }
    }
}

/// Reads `reader` decompressed.
///
/// # Errors
/// What reading the first bytes gave; `Unsupported` for bzip2.
pub fn decompress<'a>(mut reader: Box<dyn Read + Send + 'a>) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut head = Vec::with_capacity(6);
    reader.by_ref().take(6).read_to_end(&mut head)?;
    let format = Format::of(&head);
    let whole = Cursor::new(head).chain(reader);
    Ok(match format {
        Format::Plain => Box::new(whole),
        Format::Gzip => {
            Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(1 << 16, whole)))
        }
        Format::Xz => {
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, XZ_CONCATENATED)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(
                BufReader::with_capacity(1 << 16, whole),
                stream,
            ))
        }
        Format::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(whole)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
        Format::Bzip2 => {
            let reason = "bzip2 is not supported: use gzip, xz or zstd";
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        decompress(Box::new(Cursor::new(bytes)))?.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn every_format_and_its_concatenation() {
        let (one, two) = (b"first part ".repeat(1000), b"second part".repeat(1000));
        let both = [one.as_slice(), &two].concat();
        let zstd = |bytes: &[u8]| zstd::bulk::compress(bytes, 3).unwrap();
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        for (what, bytes) in [
            ("plain", both.clone()),
            ("gzip", [gzip(&one), gzip(&two)].concat()),
            ("xz", [xz(&one), xz(&two)].concat()),
            ("zstd", [zstd(&one), zstd(&two)].concat()),
            ("zstd, skippable frame", [skippable.to_vec(), zstd(&both)].concat()),
        ] {
            assert_eq!(read(bytes).unwrap(), both, "{what}");
        }
        assert_eq!(read(Vec::new()).unwrap(), b"");
        assert_eq!(read(vec![0x1f]).unwrap(), [0x1f]);
    }

    #[test]
    fn what_is_cut_off_or_unknown_is_an_error() {
        let text = b"some text that is long enough".repeat(50);
        for mut bytes in [gzip(&text), xz(&text), zstd::bulk::compress(&text, 3).unwrap()] {
            bytes.truncate(bytes.len() - 5);
            assert!(read(bytes).is_err());
        }
        let error = read(b"BZh91AY&SY".to_vec()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(error.to_string().contains("bzip2"));
    }
}
