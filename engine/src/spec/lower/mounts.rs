//! One of `mounts`.

use super::{
    entries::mode,
    read::{self, Sink},
    table::{Kinds, Table, Words, kind},
};
use crate::spec::{
    Diagnostic,
    types::{Mount, MountKind, Sharing},
    value::Node,
    words::{self, Owner, Reference, Refusal, Word},
};
use rbuild_tree::TreePath;

/// What says which kind of mount it is.
pub const KINDS: Kinds<'static> = Kinds {
    what: "a mount",
    known: &["from", "cache", "tmpfs"],
    later: &["secret", "ssh"],
    tables: &[&TREE, &CACHE, &TMPFS],
};
pub const TREE: Words = Words { what: "a `from` mount", known: &["from", "target", "write"], later: &[] };
pub const CACHE: Words =
    Words { what: "a `cache` mount", known: &["cache", "target", "sharing", "owner", "mode"], later: &[] };
pub const TMPFS: Words = Words { what: "a `tmpfs` mount", known: &["tmpfs", "target", "mode"], later: &[] };

const CACHE_MODE: u32 = 0o755;
const TMPFS_MODE: u32 = 0o1777;

pub fn mount(node: &Node, sink: &mut Sink) -> Option<Mount> {
    let (words, read): (_, fn(&Table<'_>, &mut Sink) -> Option<MountKind>) =
        match kind(node, node.span, &KINDS, sink)? {
            "from" => (&TREE, tree),
            "cache" => (&CACHE, cache),
            _ => (&TMPFS, tmpfs),
        };
    let table = Table::open(node, node.span, words, sink)?;
    let target = table.required("target", sink, |node, sink| read::word(node, target, sink));
    let kind = read(&table, sink);
    Some(Mount { target: target?, kind: kind? })
}

fn tree(table: &Table<'_>, sink: &mut Sink) -> Option<MountKind> {
    let from = table.required("from", sink, |node, sink| read::word(node, Reference::parse, sink));
    let writes = [("discard", true)];
    let discard = table.optional("write", sink, |node, sink| read::choice(node, &writes, &[], sink));
    Some(MountKind::Tree { from: from?, discard: discard.unwrap_or(false) })
}

fn cache(table: &Table<'_>, sink: &mut Sink) -> Option<MountKind> {
    let name = table.required("cache", sink, |node, sink| read::checked(node, words::name, sink));
    let ways = [("shared", Sharing::Shared), ("locked", Sharing::Locked), ("private", Sharing::Private)];
    let sharing = table.optional("sharing", sink, |node, sink| read::choice(node, &ways, &[], sink));
    let owner = table.optional("owner", sink, |node, sink| read::word(node, Owner::parse, sink));
    let mode = mode(table, "mode", sink).map_or(CACHE_MODE, |mode| mode.apply(CACHE_MODE, true));
    Some(MountKind::Cache { name: name?, sharing: sharing.unwrap_or_default(), owner, mode })
}

fn tmpfs(table: &Table<'_>, sink: &mut Sink) -> Option<MountKind> {
    let size = table.required("tmpfs", sink, |node, sink| read::word(node, words::size, sink));
    let mode = mode(table, "mode", sink).map_or(TMPFS_MODE, |mode| mode.apply(TMPFS_MODE, true));
    Some(MountKind::Tmpfs { size: size?.value, mode })
}

fn target(text: &str) -> Word<TreePath> {
    let path = words::tree_path(text)?;
    let sandbox: [&[u8]; 3] = [b"proc", b"sys", b"dev"];
    if path.is_root() || sandbox.contains(&path.as_bytes()) {
        return Err(Refusal::bad(format!("nothing can be mounted over `{path}`")));
    }
    Ok(path)
}

/// Tells two mounts at one target.
pub fn tell_twice(mounts: &[Mount], sink: &mut Sink) {
    for (number, mount) in mounts.iter().enumerate() {
        if let Some(first) = mounts[..number].iter().find(|first| first.target == mount.target) {
            let message = format!("two mounts at `{}`", mount.target);
            let diagnostic = Diagnostic::error("duplicate-name", message).at(mount.target.span, "");
            sink.push(diagnostic.at(first.target.span, "the other one"));
        }
    }
}
