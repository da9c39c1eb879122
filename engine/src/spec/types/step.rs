//! `[step.NAME]`, and the body that tests share with steps.

use super::{
    Attr, Config, Copy, Dir, Environment, FileText, Group, Link, Mount, MountKind, Owner, Reference, Spanned,
    User,
};
use rbuild_tree::TreePath;
use std::time::Duration;

/// A tree made from a tree.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Its name.
    pub name: Spanned<String>,
    /// For people; in no key.
    pub description: Option<String>,
    /// What it starts from.
    pub base: Base,
    /// What it does to that.
    pub body: Body,
}

/// What a step starts from.
#[derive(Clone, Debug, PartialEq)]
pub enum Base {
    /// One tree; `scratch` if the file says nothing.
    From(Spanned<Reference>),
    /// Several branches joined.
    Merge(Merge),
}

/// `merge` and what belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Merge {
    /// At least two trees.
    pub branches: Vec<Spanned<Reference>>,
    /// The common ancestor, if the file names it; else the nearest along `from` and `merge`, else `scratch`.
    pub base: Option<Spanned<Reference>>,
    /// What settles the paths that `resolve` does not.
    pub conflict: Conflict,
    /// By pattern; the first that matches wins.
    pub resolve: Vec<Resolve>,
}

/// What settles a conflict of branches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// The step fails.
    Error,
    /// The first branch of the array that changed the path.
    First,
    /// The last one.
    Last,
}

/// One line of `resolve`.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolve {
    /// Paths it speaks of, a pattern.
    pub path: Spanned<String>,
    /// Whose state they take.
    pub take: Take,
}

/// Whose state a conflicting path takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// That of this branch (its place in `merge`).
    Branch(usize),
    /// It shall not be there.
    Absent,
}

/// What a step does, in the order of the fields, whatever the order in the file.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Body {
    /// Lines of /etc/group.
    pub groups: Vec<Group>,
    /// Lines of /etc/passwd and /etc/shadow.
    pub users: Vec<User>,
    /// Directories.
    pub dirs: Vec<Dir>,
    /// Entries of other trees.
    pub copy: Vec<Copy>,
    /// Files whose content stands in the spec.
    pub files: Vec<FileText>,
    /// Symbolic and hard links.
    pub links: Vec<Link>,
    /// Changes of owner, mode and capabilities.
    pub attrs: Vec<Attr>,
    /// The command.
    pub run: Option<Spanned<Run>>,
    /// Patterns of what goes after `run`.
    pub remove: Vec<Spanned<String>>,
    /// For `run`: over the inherited environment; `None` removes. `${env.X}` means the value without this table.
    pub env: Environment,
    /// Names taken from the caller's environment where they are set; in no key.
    pub pass_env: Vec<String>,
    /// Who runs `run`; none: root (in a test of an image: the image's user).
    pub user: Option<Spanned<Owner>>,
    /// Where `run` runs; none: `/` (in a test of an image: the image's).
    pub workdir: Option<Spanned<TreePath>>,
    /// For a string `run`; none: [`Spec::shell`](super::Spec::shell).
    pub shell: Option<Vec<String>>,
    /// What `run` reaches.
    pub network: Network,
    /// Present during `run` only.
    pub mounts: Vec<Mount>,
    /// What `run` may use; in no key.
    pub limits: Limits,
    /// Joined to the inherited config.
    pub config: Config,
    /// A record older than this is not used.
    pub rerun_after: Option<Duration>,
}

/// `run`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// Goes to the shell as its last argument; one that starts with `#!` is written to a file and executed.
    Script(String),
    /// One command with its arguments, without a shell. Never empty.
    Command(Vec<String>),
}

/// `limits`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes of memory of all processes together.
    pub memory: Option<u64>,
    /// Thousandths of a processor, at least one.
    pub cpus: Option<u32>,
    /// How long it may take.
    pub time: Option<Duration>,
}

/// `network`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Network {
    /// Loopback only.
    #[default]
    None,
    /// Loopback, and outward.
    Private,
    /// The machine's own.
    Host,
}

impl Network {
    /// Whether others can be reached.
    pub fn is_open(self) -> bool {
        self != Self::None
    }
}

impl Base {
    /// The trees it joins or is.
    pub fn references(&self) -> Vec<&Spanned<Reference>> {
        match self {
            Self::From(reference) => vec![reference],
            Self::Merge(merge) => merge.branches.iter().chain(&merge.base).collect(),
        }
    }
}

impl Body {
    /// The trees it copies from or mounts, in the order of the fields.
    pub fn references(&self) -> Vec<&Spanned<Reference>> {
        let mounted = self.mounts.iter().filter_map(|mount| match &mount.kind {
            MountKind::Tree { from, .. } => Some(from),
            _ => None,
        });
        self.copy.iter().map(|copy| &copy.from).chain(mounted).collect()
    }
}

impl Step {
    /// Every tree it needs: its base first.
    pub fn references(&self) -> Vec<&Spanned<Reference>> {
        let mut references = self.base.references();
        references.extend(self.body.references());
        references
    }
}
