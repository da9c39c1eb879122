//! Streams to blobs: the same bytes whatever the threads and the writes.

use rbuild_oci::{Blob, BlobWriter, COMPRESSOR, Compression, decompress, oci_spec::image::MediaType, sha256};
use std::io::{self, Cursor, Read, Write};

/// Text that compresses, and some that does not.
fn stream(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut bytes = Vec::with_capacity(length + 16);
    while bytes.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let word = [&b"alpha "[..], b"beta ", b"gamma delta ", b"\0\0\0\0"][(state >> 60) as usize % 4];
        bytes.extend_from_slice(word);
        bytes.push((state >> 50) as u8);
    }
    bytes.truncate(length);
    bytes
}

fn blob(bytes: &[u8], compression: Compression, piece: usize) -> (Blob, Vec<u8>) {
    let mut writer = BlobWriter::new(Vec::new(), compression);
    for piece in bytes.chunks(piece) {
        writer.write_all(piece).unwrap();
        writer.flush().unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn digests_and_sizes_are_those_of_the_bytes() {
    let bytes = stream(9_500_000);
    for compression in [Compression::Gzip, Compression::Zstd, Compression::None] {
        let (blob, out) = blob(&bytes, compression, 1 << 16);
        assert_eq!(blob.diff_id, sha256(&bytes));
        assert_eq!((blob.digest.clone(), blob.size), (sha256(&out), out.len() as u64), "{compression:?}");
        assert_eq!(blob.uncompressed_size, bytes.len() as u64);
        let mut back = Vec::new();
        decompress(Box::new(Cursor::new(out))).unwrap().read_to_end(&mut back).unwrap();
        assert!(back == bytes, "{compression:?}");
    }
}

#[test]
fn how_it_is_written_does_not_matter() {
    let bytes = stream(5_300_000);
    for compression in [Compression::Gzip, Compression::Zstd, Compression::None] {
        let whole = blob(&bytes, compression, usize::MAX);
        for piece in [1_000, (1 << 20) + 1, 4 << 20] {
            assert!(blob(&bytes, compression, piece) == whole, "{compression:?} {piece}");
        }
    }
}

/// What one thread would write.
#[test]
fn blocks_are_independent_of_each_other() {
    let bytes = stream(3 << 20);
    let single = |block: &[u8]| blob(block, Compression::Gzip, usize::MAX).1;
    let expected: Vec<u8> = bytes.chunks(1 << 20).flat_map(single).collect();
    assert!(blob(&bytes, Compression::Gzip, 777).1 == expected);
}

#[test]
fn nothing_is_still_a_stream() {
    for compression in [Compression::Gzip, Compression::Zstd, Compression::None] {
        let (blob, out) = blob(b"", compression, 1);
        assert_eq!(blob.diff_id, sha256(b""));
        assert_eq!(out.is_empty(), compression == Compression::None);
        let mut back = Vec::new();
        decompress(Box::new(Cursor::new(out))).unwrap().read_to_end(&mut back).unwrap();
        assert!(back.is_empty());
    }
}

/// If this fails the compressors have changed: give `COMPRESSOR` another name and pin the new bytes.
#[test]
fn the_bytes_are_those_of_the_named_compressor() {
    assert_eq!(COMPRESSOR, "libdeflate1.26-6-1m,zstd1.5.7-3-4m");
    let bytes = stream(1_500_000);
    for (compression, golden) in [
        (Compression::Gzip, "sha256:28430a4bcbb76ce8e8d0a070d4f869d7da01d2de1349e090f8e5ee6727f45d85"),
        (Compression::Zstd, "sha256:cdcee3908d68307f77caef731d7c755127246de3e5bc4a73d42903d77e58b16d"),
    ] {
        assert_eq!(blob(&bytes, compression, 1 << 16).0.digest.to_string(), golden, "{compression:?}");
    }
}

#[test]
fn media_types() {
    assert_eq!(Compression::default().layer_media_type(), MediaType::ImageLayerGzip);
    assert_eq!(Compression::Zstd.layer_media_type(), MediaType::ImageLayerZstd);
    assert_eq!(Compression::None.layer_media_type(), MediaType::ImageLayer);
}

#[test]
fn a_failing_output_is_an_error() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut writer = BlobWriter::new(Full(1 << 20), Compression::Gzip);
    let result = writer.write_all(&stream(40 << 20)).and_then(|()| writer.finish().map(|_| ()));
    assert_eq!(result.unwrap_err().kind(), io::ErrorKind::StorageFull);
}
