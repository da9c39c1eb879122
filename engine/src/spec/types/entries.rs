//! The lines of a step's arrays: accounts, directories, copies, files, links, attributes, mounts.

use super::{Capabilities, CopySource, Destination, Mode, Owner, Reference, Spanned};
use rbuild_tree::TreePath;

/// A line of /etc/group.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Its name.
    pub name: Spanned<String>,
    /// Its number.
    pub gid: u32,
    /// Names of users.
    pub members: Vec<String>,
}

/// A line of /etc/passwd.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// The login name.
    pub name: Spanned<String>,
    /// Its number.
    pub uid: u32,
    /// Its own group; a group of the user's name is made if none has the number.
    pub gid: u32,
    /// Names of further groups.
    pub groups: Vec<Spanned<String>>,
    /// Made 0755 and owned by the user if it is missing; as written, absolute.
    pub home: String,
    /// The login shell.
    pub shell: String,
    /// The GECOS field.
    pub comment: String,
}

/// One of `dirs`.
#[derive(Clone, Debug, PartialEq)]
pub struct Dir {
    /// The directory.
    pub path: Spanned<TreePath>,
    /// A new one is root:root unless said, an existing one changes only if said.
    pub owner: Option<Spanned<Owner>>,
    /// A new one is 0755 unless said (a symbolic mode starts there), an existing one changes only if said.
    pub mode: Option<Mode>,
}

/// One of `copy`.
#[derive(Clone, Debug, PartialEq)]
pub struct Copy {
    /// The tree it takes from.
    pub from: Spanned<Reference>,
    /// What it takes; the whole tree if the file says nothing. Never empty.
    pub src: Vec<Spanned<CopySource>>,
    /// Where it goes. With several sources, a pattern or `parents` always a directory.
    pub dest: Spanned<Destination>,
    /// For everything copied; none: kept.
    pub owner: Option<Spanned<Owner>>,
    /// Octal: for files; symbolic: for directories too, unless `dir_mode` is there.
    pub mode: Option<Mode>,
    /// For directories.
    pub dir_mode: Option<Mode>,
    /// Lines of an ignore list, from each matched directory.
    pub exclude: Vec<Spanned<String>>,
    /// Each under its whole path from the root of `from`.
    pub parents: bool,
    /// A link that `src` names is replaced by what it points to.
    pub follow: bool,
    /// What is at the target is removed first.
    pub replace: bool,
    /// No match is no error.
    pub optional: bool,
}

/// One of `files`. Variables are replaced already where `expand` says so.
#[derive(Clone, Debug, PartialEq)]
pub struct FileText {
    /// The file.
    pub path: Spanned<TreePath>,
    /// All of it.
    pub content: String,
    /// root:root unless said.
    pub owner: Option<Spanned<Owner>>,
    /// Permission bits.
    pub mode: u32,
}

/// One of `links`.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// The link.
    pub path: Spanned<TreePath>,
    /// Symbolic: stored as written. Hard: a path of the tree.
    pub target: Spanned<String>,
    /// A second name of a file instead of a symbolic link.
    pub hard: bool,
}

/// One of `attrs`.
#[derive(Clone, Debug, PartialEq)]
pub struct Attr {
    /// A pattern that must match.
    pub path: Spanned<String>,
    /// The new owner.
    pub owner: Option<Spanned<Owner>>,
    /// Octal: for files (for a directory that is itself matched, too, unless `dir_mode` is there).
    pub mode: Option<Mode>,
    /// For directories.
    pub dir_mode: Option<Mode>,
    /// Everything below, too.
    pub recursive: bool,
    /// The new file capabilities; `Some` of the empty set removes them.
    pub capabilities: Option<Capabilities>,
}

/// One of `mounts`.
#[derive(Clone, Debug, PartialEq)]
pub struct Mount {
    /// Where; never `/`, `/proc`, `/sys` or `/dev`.
    pub target: Spanned<TreePath>,
    /// What.
    pub kind: MountKind,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq)]
pub enum MountKind {
    /// A tree or one file of it.
    Tree {
        /// Which.
        from: Spanned<Reference>,
        /// Writable, and thrown away after; else read-only.
        discard: bool,
    },
    /// A directory kept between builds, one per name, store and platform.
    Cache {
        /// Its name.
        name: Spanned<String>,
        /// Who may use it at once.
        sharing: Sharing,
        /// The step's user unless said.
        owner: Option<Spanned<Owner>>,
        /// Of a new one.
        mode: u32,
    },
    /// Memory.
    Tmpfs {
        /// At most so many bytes.
        size: u64,
        /// Permission bits.
        mode: u32,
    },
}

/// `sharing` of a cache mount; the strictest is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Sharing {
    /// Any number of steps at once.
    #[default]
    Shared,
    /// One step at a time.
    Locked,
    /// A copy each.
    Private,
}
