//! Root filesystems as Merkle trees, as git keeps a project.
//!
//! A [`Tree`] is one directory: sorted entries with every piece of metadata as data. A [`Snapshot`] is a root
//! filesystem: the root directory's own metadata, its tree and the table of hard links. A [`Delta`] is the
//! difference of two of them. Equal content has equal identity (blake3 of the canonical encoding, see
//! [`encoding`]), so a diff costs what changed and a copy costs nothing.
//!
//! This crate is pure: the only way out is [`TreeStore`], two methods that fetch and keep one directory.
//!
//! | module | what |
//! |---|---|
//! | [`id`] | the identities, a type each |
//! | [`path`] | paths inside a tree: bytes, no `..`, no leading `/` |
//! | [`entry`] | what a directory says of one name |
//! | [`tree`], [`snapshot`], [`delta`] | the nouns |
//! | [`edit`] | a snapshot being changed, directories loaded when looked at |
//! | [`mod@walk`] | reading one: every entry, one path, a directory as a root of its own |
//! | [`mod@diff`], [`mod@apply`], [`mod@compose`] | deltas: found, carried out, put one after the other |
//! | [`mod@merge`] | branches of a common base joined, conflicts named |
//! | [`pattern`] | `*`, `**`, `[a-z]`, `{a,b}` over paths |
//! | [`encoding`] | their canonical bytes, versioned |
//! | [`store`] | the reader/writer trait, and one in memory |
#![forbid(unsafe_code)]

pub mod apply;
pub mod compose;
pub mod delta;
pub mod diff;
pub mod edit;
pub mod encoding;
pub mod entry;
mod error;
pub mod id;
pub mod merge;
pub mod path;
pub mod pattern;
pub mod snapshot;
pub mod store;
pub mod tree;
pub mod walk;

pub use apply::apply;
pub use compose::compose;
pub use delta::{Change, Delta, DirectoryChange};
pub use diff::diff;
pub use edit::{Editor, Found, FoundKind, Resolved};
pub use entry::{Device, Entry, Kind, Metadata, Timestamp, Xattrs};
pub use error::{Error, Result};
pub use id::{DeltaId, ObjectId, SnapshotId, TreeId};
pub use merge::{Branch, Conflict, Merged, Policy, Take, merge};
pub use path::TreePath;
pub use pattern::{Pattern, find};
pub use snapshot::{Links, Snapshot};
pub use store::{MemoryStore, TreeStore};
pub use tree::{Name, Tree};
pub use walk::{lookup, resolve, subtree, walk};
