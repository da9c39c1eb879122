//! From a stream to a blob: compressed on all processors, both digests taken on the way.
//!
//! The stream is cut into blocks of a fixed size, each compressed by itself (a gzip member, a zstd frame; every
//! decompressor reads them as one stream) and written in order. So the bytes depend on the stream alone, never on how
//! many threads there are or how the stream was written. Memory: two blocks a thread are in flight.
//!
//! Which bytes come out depends on the compressors' versions too: [`COMPRESSOR`] belongs into the key of everything
//! that remembers a blob, and a test pins the bytes.

use crate::{digest, pool};
use libdeflater::{CompressionLvl, Compressor};
use oci_spec::image::{Digest, MediaType};
use sha2::{Digest as _, Sha256};
use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, channel, sync_channel},
    },
    thread::JoinHandle,
};

/// What makes a blob's bytes, beside the stream: changes whenever the same stream would give other bytes.
pub const COMPRESSOR: &str = "libdeflate1.26-6-1m,zstd1.5.7-3-4m";

const GZIP_LEVEL: i32 = 6;
const ZSTD_LEVEL: i32 = 3;
const GZIP_BLOCK: usize = 1 << 20;
const ZSTD_BLOCK: usize = 4 << 20;

/// How a layer is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum Compression {
    /// gzip, which everything reads.
    #[default]
    Gzip,
    /// zstd: faster, smaller.
    Zstd,
    /// Not at all.
    None,
}

impl Compression {
    /// The media type of a layer compressed so.
    pub fn layer_media_type(self) -> MediaType {
        match self {
            Self::Gzip => MediaType::ImageLayerGzip,
            Self::Zstd => MediaType::ImageLayerZstd,
            Self::None => MediaType::ImageLayer,
        }
    }

    fn block_size(self) -> usize {
        match self {
            Self::Gzip | Self::None => GZIP_BLOCK,
            Self::Zstd => ZSTD_BLOCK,
        }
    }

    fn compress(self, block: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip => gzip_member(block),
            Self::Zstd => zstd::bulk::compress(block, ZSTD_LEVEL),
            Self::None => Ok(block.to_vec()),
        }
    }
}

fn gzip_member(block: &[u8]) -> io::Result<Vec<u8>> {
    let level = CompressionLvl::new(GZIP_LEVEL).map_err(|_| io::Error::other("no such gzip level"))?;
    let mut compressor = Compressor::new(level);
    let mut out = vec![0; compressor.gzip_compress_bound(block.len())];
    let size = compressor.gzip_compress(block, &mut out).map_err(io::Error::other)?;
    out.truncate(size);
    Ok(out)
}

/// What a stream has become.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Blob {
    /// How it was compressed.
    pub compression: Compression,
    /// Digest of the uncompressed stream.
    pub diff_id: Digest,
    /// Bytes of the uncompressed stream.
    pub uncompressed_size: u64,
    /// Digest of the blob.
    pub digest: Digest,
    /// Bytes of the blob.
    pub size: u64,
}

/// Writes a stream as a blob to `out`. [`BlobWriter::finish`] must be called, else the end is missing.
pub struct BlobWriter<W> {
    out: W,
    compression: Compression,
    block: Vec<u8>,
    blocks: u64,
    compressed: VecDeque<Receiver<io::Result<Vec<u8>>>>,
    most_in_flight: usize,
    diff: DiffId,
    hasher: Sha256,
    size: u64,
}

impl<W: Write> BlobWriter<W> {
    /// Starts a blob.
    pub fn new(out: W, compression: Compression) -> Self {
        Self {
            out,
            compression,
            block: Vec::with_capacity(compression.block_size()),
            blocks: 0,
            compressed: VecDeque::new(),
            most_in_flight: 2 * pool::threads(),
            diff: DiffId::start(),
            hasher: Sha256::new(),
            size: 0,
        }
    }

    /// Writes what is left; gives the digests, and `out` back.
    ///
    /// # Errors
    /// What compressing or writing to `out` gave.
    pub fn finish(mut self) -> io::Result<(Blob, W)> {
        if !self.block.is_empty() || self.blocks == 0 {
            self.end_block()?; // an empty stream has one, empty, block: no bytes are no gzip
        }
        while self.write_first()? {}
        self.out.flush()?;
        let (diff_id, uncompressed_size) = self.diff.finish()?;
        let digest = match self.compression {
            Compression::None => diff_id.clone(),
            _ => digest::finish(self.hasher),
        };
        let blob =
            Blob { compression: self.compression, diff_id, uncompressed_size, digest, size: self.size };
        Ok((blob, self.out))
    }

    fn end_block(&mut self) -> io::Result<()> {
        let next = Vec::with_capacity(self.compression.block_size());
        let block = Arc::new(std::mem::replace(&mut self.block, next));
        self.blocks += 1;
        self.diff.update(Arc::clone(&block));
        if self.compression == Compression::None {
            return self.write_out(&block);
        }
        let (sender, receiver) = channel();
        let compression = self.compression;
        pool::spawn(move || {
            let _ = sender.send(compression.compress(&block)); // the writer is gone: nobody wants it
        });
        self.compressed.push_back(receiver);
        while self.compressed.len() > self.most_in_flight {
            self.write_first()?;
        }
        Ok(())
    }

    /// Waits for the first block in flight and writes it; says whether there was one.
    fn write_first(&mut self) -> io::Result<bool> {
        let Some(receiver) = self.compressed.pop_front() else { return Ok(false) };
        let bytes = receiver.recv().map_err(|_| io::Error::other("a thread that compresses died"))??;
        self.hasher.update(&bytes);
        self.write_out(&bytes)?;
        Ok(true)
    }

    fn write_out(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.size += bytes.len() as u64;
        self.out.write_all(bytes)
    }
}

impl<W: Write> Write for BlobWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.compression.block_size() - self.block.len();
        let count = room.min(bytes.len());
        self.block.extend_from_slice(&bytes[..count]);
        if count == room {
            self.end_block()?;
        }
        Ok(count)
    }

    /// Does nothing: where a block ends is not the caller's choice, or the bytes would depend on it.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The digest of the uncompressed stream, on a thread of its own: one processor alone could not keep up with many
/// that compress.
struct DiffId {
    blocks: SyncSender<Arc<Vec<u8>>>,
    thread: Option<JoinHandle<(Sha256, u64)>>,
    /// Used instead if the thread could not be started.
    here: (Sha256, u64),
}

impl DiffId {
    fn start() -> Self {
        let (blocks, received) = sync_channel::<Arc<Vec<u8>>>(2);
        let work = move || {
            received.iter().fold((Sha256::new(), 0), |(mut hasher, size), block| {
                hasher.update(&**block);
                (hasher, size + block.len() as u64)
            })
        };
        let thread = std::thread::Builder::new().name("rbuild-diff-id".to_owned()).spawn(work).ok();
        Self { blocks, thread, here: (Sha256::new(), 0) }
    }

    fn update(&mut self, block: Arc<Vec<u8>>) {
        if self.thread.is_some() {
            let _ = self.blocks.send(block); // if it died, `finish` says so
        } else {
            self.here.0.update(&**block);
            self.here.1 += block.len() as u64;
        }
    }

    fn finish(self) -> io::Result<(Digest, u64)> {
        let Self { blocks, thread, here } = self;
        drop(blocks);
        let (hasher, size) = match thread {
            Some(thread) => thread.join().map_err(|_| io::Error::other("a thread that hashes died"))?,
            None => here,
        };
        Ok((digest::finish(hasher), size))
    }
}
