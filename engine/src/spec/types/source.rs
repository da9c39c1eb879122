//! `[source.NAME]`

use super::Spanned;
use std::path::PathBuf;

/// Bytes from outside.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Its name.
    pub name: Spanned<String>,
    /// For people; in no key.
    pub description: Option<String>,
    /// Where the bytes come from.
    pub kind: SourceKind,
}

/// The kinds of source.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceKind {
    /// A local folder or file.
    Path(PathSource),
    /// A local tar.
    Archive(ArchiveSource),
    /// An image of a layout or docker-archive.
    Oci(OciSource),
    /// An image of a registry.
    Image(RegistrySource),
    /// This machine's files.
    Host(HostSource),
}

/// `path = "."`
#[derive(Clone, Debug, PartialEq)]
pub struct PathSource {
    /// As written: relative to the folder of the file.
    pub path: Spanned<PathBuf>,
    /// Patterns of what is taken (a folder means all of it); empty: everything.
    pub only: Vec<Spanned<String>>,
    /// Lines of an ignore list, applied last.
    pub exclude: Vec<Spanned<String>>,
    /// Whether `.gitignore` files count.
    pub gitignore: bool,
}

/// `archive = "root.tar.zst"`
#[derive(Clone, Debug, PartialEq)]
pub struct ArchiveSource {
    /// As written: relative to the folder of the file.
    pub path: Spanned<PathBuf>,
    /// The sha256 the file must have, 64 lower-case hex digits.
    pub sha256: Option<Spanned<String>>,
    /// How many leading names to drop from every entry.
    pub strip: u32,
    /// Who owns the entries.
    pub owner: ArchiveOwner,
}

/// `owner` of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveOwner {
    /// As the archive says.
    Keep,
    /// Everything is root:root.
    Root,
}

/// `oci = "dir-or-tar[:ref]"`
#[derive(Clone, Debug, PartialEq)]
pub struct OciSource {
    /// The layout's folder, or the tar of a layout or docker-archive; as written.
    pub path: Spanned<PathBuf>,
    /// Which image of it; none: the only one.
    pub reference: Option<Spanned<String>>,
}

/// `image = "registry.example/debian:12"`
#[derive(Clone, Debug, PartialEq)]
pub struct RegistrySource {
    /// As written, by tag or digest; a name that docker could read.
    pub reference: Spanned<String>,
}

/// `host = "/"`
#[derive(Clone, Debug, PartialEq)]
pub struct HostSource {
    /// The directory of this machine that is the tree's root; absolute.
    pub path: Spanned<PathBuf>,
    /// Lines of an ignore list.
    pub exclude: Vec<Spanned<String>>,
}
