//! From an archive to a tree: whole root filesystems, and layers over what lies below them.
//!
//! One thread reads the archive and places entries in order; others store the content of small files meanwhile.
//! Nothing is ever written outside the store: "extraction" is an edit of a tree in memory, so containment is a
//! matter of paths inside that tree. `/x` and `./x` are `x`; `..` is refused; symbolic links that lie on the way are
//! followed inside the tree, as in a chroot (`lib -> usr/lib`, then `lib/x`, is the everyday case).
//!
//! Memory: what is in flight (8 MiB of content, 16,384 entries), the directories of the tree and the names in them (some
//! 200 bytes an entry; attributes and long paths: 256 MiB), and a constant. Not the content.
//!
//! | module | what |
//! |---|---|
//! | `queue` | content on its way into the store |
//! | `place` | an entry into the tree |
//! | `changeset` | what is special about layers: whiteouts |

mod changeset;
mod place;
mod queue;

use crate::{
    Error, ObjectStore, Result,
    tar::{
        member::{Member, MemberKind},
        read::Archive,
    },
};
use place::{Placer, is_marker};
use queue::{Content, Storing};
use rbuild_tree::{Snapshot, TreePath};
use std::{
    collections::VecDeque,
    io::{self, Read},
};

/// Files up to this size are read into memory and stored by another thread; larger ones are streamed.
const SMALL: u64 = 1 << 20;
/// Entries, and bytes of their attributes and long paths, that may wait to be placed.
const MOST_WAITING: usize = 1 << 14;
const MOST_EXTRA_WAITING: u64 = 16 << 20;

/// Who owns the files of an archive.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Owner {
    /// Whom the archive says.
    #[default]
    Keep,
    /// `root:root`.
    Root,
}

/// How to take an archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Import {
    /// So many leading names of every path are dropped, those of hard links' targets too; entries that have no more
    /// are left out.
    pub strip: usize,
    /// Who owns what comes out.
    pub owner: Owner,
    /// What a hostile archive may cost.
    pub limits: Limits,
}

/// What an archive may cost. Everything else is bounded by the bytes it really has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Entries.
    pub entries: u64,
    /// Bytes of all holes of sparse files together: they cost nothing in the archive but are bytes afterwards.
    pub holes: u64,
    /// Bytes of all files together, without their holes: a compressed archive can hold a thousand times its own size.
    pub content: u64,
    /// Bytes of extended attributes, and of paths and link targets what is beyond 255, of all entries together: they
    /// are in memory.
    pub metadata: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 10_000_000, holes: 16 << 30, content: 256 << 30, metadata: 256 << 20 }
    }
}

impl Limits {
    /// Of a layer whose blob has this many bytes: its files may have 1 GiB, since zeros compress well and an image may
    /// have a few, and 500 times the blob. Programs and text reach 10 times; gzip can't do more than 1032. Its entries,
    /// whose paths are in memory, may be a million and one for each 16 bytes.
    pub fn of_layer(blob: u64) -> Self {
        let content = blob.saturating_mul(500).saturating_add(1 << 30);
        let entries = (blob / 16).saturating_add(1_000_000);
        let most = Self::default();
        Self { content: content.min(most.content), entries: entries.min(most.entries), ..most }
    }
}

impl Default for Import {
    fn default() -> Self {
        Self { strip: 0, owner: Owner::Keep, limits: Limits::default() }
    }
}

/// Reads an uncompressed tar of a root filesystem ([`decompress`](crate::decompress()) goes before).
///
/// A later entry of a path wins over an earlier one; directories join, the later metadata holds. Parents that have no
/// entry are made, root:root 0755 with time 0. The root has the metadata of [`Snapshot::scratch`] unless the archive
/// holds it.
///
/// # Errors
/// [`Error::Entry`], [`Error::Archive`] and [`Error::Truncated`] for bad archives; [`Error::Io`], [`Error::Tree`].
pub fn import(reader: &mut dyn Read, store: &dyn ObjectStore, options: &Import) -> Result<Snapshot> {
    unpack(&mut Archive::new(reader), store, options, false, || Ok(Snapshot::scratch()))
}

/// Applies a layer, an uncompressed OCI changeset, to what lies below it.
///
/// Whiteouts (`.wh.NAME`, `.wh..wh..opq`) hide what lies below and never what the same layer holds, wherever in the
/// archive they stand. A whiteout of nothing is nothing.
///
/// # Errors
/// As [`import`].
pub fn apply_layer(reader: &mut dyn Read, base: &Snapshot, store: &dyn ObjectStore) -> Result<Snapshot> {
    apply_layer_to(reader, || Ok(base.clone()), store, Limits::default())
}

/// Applies a layer to what may be yet to come: its content is stored meanwhile. `below` is called once, when nothing
/// more can be done without what lies below the layer, and may wait for it.
///
/// # Errors
/// As [`import`]; what `below` gives.
pub fn apply_layer_to<E: From<Error>>(
    reader: &mut dyn Read,
    below: impl FnOnce() -> Result<Snapshot, E>,
    store: &dyn ObjectStore,
    limits: Limits,
) -> Result<Snapshot, E> {
    unpack(&mut Archive::new(reader), store, &Import { limits, ..Import::default() }, true, below)
}

/// Reads ahead as far as memory allows before it needs what lies below.
fn unpack<E: From<Error>>(
    archive: &mut Archive<'_>,
    store: &dyn ObjectStore,
    options: &Import,
    is_layer: bool,
    below: impl FnOnce() -> Result<Snapshot, E>,
) -> Result<Snapshot, E> {
    queue::with_threads(store, |storing| {
        let mut entries = Entries::new(options, storing, is_layer);
        while !entries.is_full() && entries.take_next(archive)? {}
        let mut placer = Placer::new(store, &below()?, is_layer);
        loop {
            entries.place_ready(&mut placer)?;
            if !entries.take_next(archive)? {
                break;
            }
        }
        while entries.place_first(&mut placer)? {}
        Ok(placer.finish()?)
    })
}

/// An entry whose content is on its way.
struct Waiting {
    path: TreePath,
    member: Member,
    content: Content,
}

/// Entries between the archive and the tree.
struct Entries<'a, 's> {
    options: &'a Import,
    storing: &'a Storing<'s>,
    is_layer: bool,
    waiting: VecDeque<Waiting>,
    /// Bytes of attributes and long paths of those that wait.
    extra_waiting: u64,
    /// What there was so far of what is limited.
    used: Limits,
}

impl<'a, 's> Entries<'a, 's> {
    fn new(options: &'a Import, storing: &'a Storing<'s>, is_layer: bool) -> Self {
        let used = Limits { entries: 0, holes: 0, content: 0, metadata: 0 };
        Self { options, storing, is_layer, waiting: VecDeque::new(), extra_waiting: 0, used }
    }

    fn is_full(&self) -> bool {
        self.waiting.len() >= MOST_WAITING || self.extra_waiting > MOST_EXTRA_WAITING
    }

    /// Reads one entry with its content and lets it wait for its turn; says whether there was one.
    fn take_next(&mut self, archive: &mut Archive<'_>) -> Result<bool> {
        let Some(mut member) = archive.next()? else { return Ok(false) };
        self.check_limits(&member)?;
        let Some(path) = self.stripped(&member, &member.path)? else { return Ok(true) };
        if let MemberKind::HardLink(target) = &member.kind {
            let stripped = self.stripped(&member, target)?;
            let target = stripped.ok_or_else(|| member.refuse("its hard link's target is stripped away"))?;
            member.kind = MemberKind::HardLink(target.as_bytes().to_vec());
        }
        if self.options.owner == Owner::Root {
            (member.metadata.uid, member.metadata.gid) = (0, 0);
        }
        let is_stored = member.kind == MemberKind::File && !is_marker(&path, self.is_layer);
        let content = if is_stored { self.store(archive, &member)? } else { Content::None };
        self.extra_waiting += member.extra();
        self.waiting.push_back(Waiting { path, member, content });
        Ok(true)
    }

    fn check_limits(&mut self, member: &Member) -> Result<()> {
        let (used, limits) = (&mut self.used, &self.options.limits);
        let holes = member.sparse.as_ref().map_or(0, |sparse| sparse.hole_bytes());
        for (used, more, limit, what) in [
            (&mut used.entries, 1, limits.entries, "entries"),
            (&mut used.holes, holes, limits.holes, "bytes in the holes of sparse files"),
            (&mut used.content, member.size().saturating_sub(holes), limits.content, "bytes in its files"),
            (&mut used.metadata, member.extra(), limits.metadata, "bytes of attributes and long paths"),
        ] {
            *used = used.saturating_add(more);
            if *used > limit {
                return Err(member.refuse(format!("the archive has more than {limit} {what}")));
            }
        }
        Ok(())
    }

    /// A path of the archive as one of the tree; none if nothing is left of it.
    fn stripped(&self, member: &Member, path: &[u8]) -> Result<Option<TreePath>> {
        let path = place::parse(path, self.is_layer).map_err(|error| match error {
            rbuild_tree::Error::BadPath { reason, .. } => member.refuse(reason),
            other => other.into(),
        })?;
        if self.options.strip == 0 {
            return Ok(Some(path));
        }
        let names = path.names().skip(self.options.strip);
        let rest = names.fold(TreePath::root(), |mut rest, name| {
            rest.push(name);
            rest
        });
        Ok((!rest.is_root()).then_some(rest))
    }

    fn store(&mut self, archive: &mut Archive<'_>, member: &Member) -> Result<Content> {
        let size = member.size();
        if size > SMALL {
            let mut reader = archive.expanded(member);
            let stored = self.storing.store_now(&mut reader, size);
            return stored.map(Content::Stored).map_err(|error| archive.content_error(error));
        }
        // The size is what the header claims, so it bounds what is allocated, not what must be there.
        let mut bytes = Vec::with_capacity(size as usize);
        let read = if member.sparse.is_some() {
            archive.expanded(member).read_to_end(&mut bytes)
        } else {
            archive.content().read_to_end(&mut bytes)
        };
        read.map_err(|error| archive.content_error(error))?;
        Ok(self.storing.store_later(bytes))
    }

    /// Places what need not be waited for, and what must be to keep memory bounded.
    fn place_ready(&mut self, placer: &mut Placer<'_>) -> Result<()> {
        while self.is_full() || self.waiting.front_mut().is_some_and(|first| first.content.is_ready()) {
            self.place_first(placer)?;
        }
        Ok(())
    }

    /// Waits for the content of the first entry and places it; says whether there was one.
    fn place_first(&mut self, placer: &mut Placer<'_>) -> Result<bool> {
        let Some(Waiting { path, member, content }) = self.waiting.pop_front() else { return Ok(false) };
        self.extra_waiting -= member.extra();
        let context = || format!("storing archive entry {:?}", member.name());
        let object = content.wait().map_err(|source: io::Error| Error::Io { context: context(), source })?;
        placer.place(&path, member, object)?;
        Ok(true)
    }
}
