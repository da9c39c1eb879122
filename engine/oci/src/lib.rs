//! OCI layers, layouts and archives, read and written as streams.
//!
//! Everything here stands between the outside world's formats and [`rbuild_tree`]'s trees: archives come in as
//! snapshots, differences of snapshots go out as layers, layers become images in a layout or an archive. Memory does
//! not grow with the content. What comes from outside is checked by digest, and an archive is never trusted.
//!
//! | module | what |
//! |---|---|
//! | [`object`], [`memory`] | the store that is needed: trees and the bytes of files |
//! | [`mod@decompress`] | gzip, xz, zstd, told apart by their first bytes |
//! | [`unpack`] | tar to tree: root filesystems and layers |
//! | [`layer`] | the difference of two trees to a tar |
//! | [`compress`] | a stream to a blob: compressed in parallel, digests on the way |
//! | [`image`], [`json`] | configuration, manifest, index, and their canonical bytes |
//! | [`layout`], [`archive`] | writing images: a layout directory, `oci-archive`, `docker-archive` |
//! | [`source`] | reading the same |
//! | [`mod@reference`], [`platform`] | names and tags; which machine an image is for |
#![forbid(unsafe_code)]

pub mod archive;
pub mod compress;
pub mod decompress;
mod digest;
mod error;
pub mod image;
pub mod json;
pub mod layer;
pub mod layout;
pub mod memory;
pub mod object;
pub mod platform;
mod pool;
pub mod reference;
pub mod source;
mod tar;
pub mod unpack;

pub use archive::{write_docker_archive, write_oci_archive};
pub use compress::{Blob, BlobWriter, COMPRESSOR, Compression};
pub use decompress::decompress;
pub use digest::sha256;
pub use error::{Error, Result};
pub use image::{Exported, HistoryEntry, Image, ImageSpec, Index, LayerDescriptor};
pub use json::canonical_json;
pub use layer::{LayerSummary, write_layer};
pub use layout::{BlobPaths, write_layout};
pub use object::ObjectStore;
pub use oci_spec;
pub use platform::Platform;
pub use reference::ImageName;
pub use source::{ImageSource, StoredImage};
pub use unpack::{Import, Limits, Owner, apply_layer, apply_layer_to, import};
