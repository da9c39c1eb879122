//! What a copy or a mount takes, as one digest for the step's key: the paths, entries and hard links that are taken,
//! and nothing else of the tree they are in. How they land is written in the step, and so in its key already.

use super::{
    Context,
    adjust::{Adjust, Exclude},
    attributes::Rules,
    copy::reading,
    error::Result,
    place::{Landing, Placement, place},
    select::{Selection, Taken, select_from, taken},
};
use crate::spec::{
    Spanned,
    types::{Copy, Reference},
};
use rbuild_tree::{Entry, Kind, Metadata, Snapshot, Timestamp, Tree, TreeId, TreePath, lookup};
use std::collections::BTreeMap;

/// The digest of what a copy takes, in hex. That an optional one takes nothing has a digest, too.
///
/// # Errors
/// As the copy itself: `no-match`, two of one name.
pub fn copy_digest(context: &Context<'_>, copy: &Copy) -> Result<String> {
    let Selection { list, links, above } = select_from(context, &copy.from, &copy.src, reading(copy))?;
    let exclude = Exclude::new(&copy.exclude)?;
    let adjust = Adjust { store: context.store, rules: Rules::default(), exclude };
    let mut digest = Digest::new(b"rbuild copy 1");
    let mut roots = Roots::new();
    if !list.is_empty() {
        for placement in place(list, &copy.src, &copy.dest, copy.parents)? {
            let Placement { selected, landing, .. } = placement;
            let mut entry = adjust.entry(&selected.entry)?;
            digest.text(selected.path.as_bytes());
            digest.text(&[u8::from(landing == Landing::Content)]);
            let below = match entry.kind {
                Kind::Directory(tree) => Snapshot { tree, ..Snapshot::scratch() },
                _ => Snapshot::scratch(),
            };
            roots.entry(selected.real).or_default().push(below);
            if landing == Landing::Content && !copy.replace {
                // Of a directory whose content is taken nothing but that arrives.
                entry.metadata = Metadata::root(0, Timestamp::default());
            }
            digest.text(entry_digest(entry).as_bytes());
        }
    }
    for (path, metadata) in above {
        digest.text(path.as_bytes());
        let metadata = Metadata { mtime: Timestamp::default(), ..metadata };
        digest.text(entry_digest(Entry { metadata, kind: Kind::Directory(Tree::default().id()) }).as_bytes());
    }
    for group in links.groups() {
        let mut members = Vec::new();
        for member in group {
            if is_taken(context, &roots, member)? {
                members.push(member);
            }
        }
        if members.len() > 1 {
            members.iter().for_each(|member| digest.text(member.as_bytes()));
            digest.text(b"");
        }
    }
    Ok(digest.hex())
}

/// The digest of what a reference names, in hex: a directory with all below it, or a file but for its name.
///
/// # Errors
/// `no-match`
pub fn reference_digest(context: &Context<'_>, reference: &Spanned<Reference>) -> Result<String> {
    Ok(match taken(context, reference)? {
        Taken::Directory(snapshot) => snapshot.id().to_string(),
        Taken::File(_, entry) => {
            let mut digest = Digest::new(b"rbuild file 1");
            digest.text(entry_digest(entry).as_bytes());
            digest.hex()
        }
    })
}

/// What is taken, by where it is in the source; what is below it, if it is a directory.
type Roots = BTreeMap<TreePath, Vec<Snapshot>>;

/// Whether a path of the source is among what is left after `exclude`.
fn is_taken(context: &Context<'_>, roots: &Roots, path: &TreePath) -> Result<bool> {
    for outer in std::iter::successors(Some(path.clone()), TreePath::parent) {
        let Some(tail) = path.strip_prefix(&outer) else { continue };
        for below in roots.get(&outer).into_iter().flatten() {
            if lookup(context.store, below, &tail)?.is_some() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// An entry's digest is that of a directory with only this entry in it.
fn entry_digest(entry: Entry) -> TreeId {
    Tree::from_entries([((*b"entry").into(), entry)]).id()
}

struct Digest(blake3::Hasher);

impl Digest {
    fn new(kind: &[u8]) -> Self {
        let mut digest = Self(blake3::Hasher::new());
        digest.text(kind);
        digest
    }

    /// Each text with its length, so that borders can't be moved.
    fn text(&mut self, text: &[u8]) {
        self.0.update(&(text.len() as u64).to_le_bytes());
        self.0.update(text);
    }

    fn hex(&self) -> String {
        self.0.finalize().to_hex().to_string()
    }
}
