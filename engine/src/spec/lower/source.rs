//! `[source.NAME]`

use super::{
    read::{self, Sink},
    table::{Kinds, Table, Words, kind},
};
use crate::spec::{
    Spanned,
    types::{
        ArchiveOwner, ArchiveSource, HostSource, OciSource, PathSource, RegistrySource, Source, SourceKind,
    },
    value::{Key, Node},
    words::{self, Refusal, Word},
};
use std::path::PathBuf;

/// What says which kind of source it is.
pub const KINDS: Kinds<'static> = Kinds {
    what: "a source",
    known: &["path", "archive", "oci", "image", "host"],
    later: &["http", "git", "debian"],
    tables: &[&PATH, &ARCHIVE, &OCI, &IMAGE, &HOST],
};
pub const PATH: Words =
    Words { what: "a `path` source", known: &["path", "only", "exclude", "gitignore"], later: &["platform"] };
pub const ARCHIVE: Words = Words {
    what: "an `archive` source",
    known: &["archive", "sha256", "strip", "owner"],
    later: &["platform"],
};
pub const OCI: Words = Words { what: "an `oci` source", known: &["oci"], later: &["platform"] };
pub const IMAGE: Words = Words { what: "an `image` source", known: &["image"], later: &["platform"] };
pub const HOST: Words = Words { what: "a `host` source", known: &["host", "exclude"], later: &["platform"] };

/// Names more than anyone nests, and less than a number that wraps.
const MAX_STRIP: u32 = 1000;

/// Reads one source.
pub fn source(key: &Key, node: &Node, sink: &mut Sink) -> Option<Source> {
    let (words, read): (_, fn(&Table<'_>, &mut Sink) -> Option<SourceKind>) =
        match kind(node, key.span, &KINDS, sink)? {
            "path" => (&PATH, path),
            "archive" => (&ARCHIVE, archive),
            "oci" => (&OCI, oci),
            "image" => (&IMAGE, image),
            _ => (&HOST, host),
        };
    let table = Table::open(node, key.span, words, sink)?;
    let kind = read(&table, sink)?;
    Some(Source { name: Spanned::new(key.text.clone(), key.span), description: table.description(), kind })
}

fn path(table: &Table<'_>, sink: &mut Sink) -> Option<SourceKind> {
    let path = table.required("path", sink, |node, sink| {
        local(node, sink)?;
        workspace_path(node, sink)
    });
    let source = PathSource {
        only: table.array("only", sink, super::pattern),
        exclude: table.array("exclude", sink, ignore_line),
        gitignore: table.optional("gitignore", sink, read::boolean).unwrap_or(true),
        path: path?,
    };
    Some(SourceKind::Path(source))
}

fn archive(table: &Table<'_>, sink: &mut Sink) -> Option<SourceKind> {
    let path = table.required("archive", sink, |node, sink| {
        local(node, sink)?;
        read::word(node, archive_path, sink)
    });
    let owners = [("keep", ArchiveOwner::Keep), ("root", ArchiveOwner::Root)];
    let owner = table.optional("owner", sink, |node, sink| read::choice(node, &owners, &[], sink));
    let source = ArchiveSource {
        sha256: table.optional("sha256", sink, |node, sink| read::checked(node, sha256, sink)),
        strip: table.optional("strip", sink, |node, sink| read::integer(node, MAX_STRIP, sink)).unwrap_or(0),
        owner: owner.unwrap_or(ArchiveOwner::Keep),
        path: path?,
    };
    Some(SourceKind::Archive(source))
}

fn oci(table: &Table<'_>, sink: &mut Sink) -> Option<SourceKind> {
    let (path, reference) = table.required("oci", sink, |node, sink| {
        local(node, sink)?;
        layout_and_reference(node, sink)
    })?;
    Some(SourceKind::Oci(OciSource { path, reference }))
}

fn image(table: &Table<'_>, sink: &mut Sink) -> Option<SourceKind> {
    let reference = table.required("image", sink, |node, sink| read::checked(node, image_name, sink))?;
    Some(SourceKind::Image(RegistrySource { reference }))
}

fn host(table: &Table<'_>, sink: &mut Sink) -> Option<SourceKind> {
    let path = table.required("host", sink, |node, sink| read::word(node, host_path, sink));
    let exclude = table.array("exclude", sink, |node, sink| read::checked(node, host_exclude, sink));
    Some(SourceKind::Host(HostSource { path: path?, exclude }))
}

/// A path of the workspace, as written.
pub fn workspace_path(node: &Node, sink: &mut Sink) -> Option<Spanned<PathBuf>> {
    read::word(node, not_empty, sink)
}

/// Refuses a registry or an address on the network where a local path is wanted.
fn local(node: &Node, sink: &mut Sink) -> Option<()> {
    let text = node.text().unwrap_or_default();
    let Some((scheme, rest)) = text.split_once("://") else { return Some(()) };
    let refusal = Refusal::not_yet("an address on the network in this place");
    let help = match scheme {
        "docker" => {
            format!("an image of a registry is image = \"{rest}\"")
        }
        _ => format!("fetch it first: curl -fLO {scheme}://{rest}"),
    };
    read::refuse(refusal.help(help), node.span, sink);
    None
}

/// A line of an ignore list: anything but nothing.
pub fn ignore_line(node: &Node, sink: &mut Sink) -> Option<Spanned<String>> {
    read::checked(
        node,
        |text| match text.contains('\n') {
            true => Err(Refusal::bad("a line of an ignore list can't hold a line break")),
            false => Ok(()),
        },
        sink,
    )
}

/// `PATH` or `PATH:REFERENCE` of an image layout.
pub fn layout_and_reference(
    node: &Node,
    sink: &mut Sink,
) -> Option<(Spanned<PathBuf>, Option<Spanned<String>>)> {
    let text = read::string(node, sink)?;
    let (path, reference) = match text.rsplit_once(':') {
        Some((path, reference)) if !reference.contains('/') => (path, Some(reference)),
        _ => (text.as_str(), None),
    };
    if path.is_empty() || reference == Some("") {
        read::bad("a layout is \"DIR\" or \"DIR:REFERENCE\"", node.span, sink);
        return None;
    }
    let reference = reference.map(|reference| Spanned::new(reference.to_owned(), node.span));
    Some((Spanned::new(PathBuf::from(path), node.span), reference))
}

fn not_empty(text: &str) -> Word<PathBuf> {
    if text.is_empty() {
        return Err(Refusal::bad("a path can't be empty").help("the folder of this file is \".\""));
    }
    Ok(PathBuf::from(text))
}

fn image_name(text: &str) -> Word<()> {
    if let Some(rest) = text.strip_prefix("docker://") {
        return Err(Refusal::bad("an image's name has no scheme").help(format!("write \"{rest}\"")));
    }
    let parsed = text.parse::<rbuild_registry::Reference>();
    parsed.map(|_| ()).map_err(|error| Refusal::bad(error.to_string()))
}

fn archive_path(text: &str) -> Word<PathBuf> {
    let lower = text.to_ascii_lowercase();
    for (end, what) in [(".zip", "a zip archive"), (".bz2", "bzip2"), (".tbz", "bzip2"), (".tbz2", "bzip2")] {
        if lower.ends_with(end) {
            return Err(Refusal::not_yet(what));
        }
    }
    not_empty(text)
}

fn host_path(text: &str) -> Word<PathBuf> {
    if !text.starts_with('/') || text.split('/').any(|name| name == "..") {
        return Err(
            Refusal::bad("`host` is a directory of this machine, absolute and without `..`").help("\"/\"")
        );
    }
    Ok(PathBuf::from(text))
}

/// A live tree is never walked, so only a path can be left out of it.
fn host_exclude(text: &str) -> Word<()> {
    if text.contains(['*', '?', '[', '!', '\\']) {
        return Err(Refusal::not_yet("a pattern in `exclude` of a `host` source"));
    }
    if !text.starts_with('/') {
        return Err(
            Refusal::bad("`exclude` of a `host` source has absolute paths").help(format!("\"/{text}\""))
        );
    }
    words::tree_path(text).map(drop)
}

fn sha256(text: &str) -> Word<()> {
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() == 64 && text.bytes().all(hex) {
        return Ok(());
    }
    let refusal = Refusal::bad("a sha256 is 64 lower-case hex digits");
    Err(match text.strip_prefix("sha256:") {
        Some(rest) => refusal.help(format!("without the prefix: \"{rest}\"")),
        None => refusal,
    })
}

/// The name of a source or step.
pub fn tree_name(text: &str) -> Word<()> {
    if text == words::SCRATCH {
        return Err(Refusal::bad("`scratch` is the name of the empty tree"));
    }
    words::name(text)
}
