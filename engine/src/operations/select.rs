//! What the `src` patterns of a copy, or the `path` of an artifact, take of a tree.

use super::{
    Context,
    error::{OperationError, Result},
    work::no_match,
};
use crate::spec::{
    Span, Spanned,
    types::{CopySource, Reference},
};
use rbuild_tree::{
    Editor, Entry, Found, FoundKind, Links, Metadata, Name, Pattern, Resolved, Snapshot, TreePath, find,
    lookup, resolve, subtree,
};
use std::collections::{BTreeMap, BTreeSet};

/// What a reference names.
#[derive(Clone, Debug, PartialEq)]
pub enum Taken {
    /// A directory as a root of its own.
    Directory(Snapshot),
    /// Anything else, by the name it has.
    File(Name, Entry),
}

/// The part of a tree that a reference names; its path is followed inside the tree.
///
/// # Errors
/// `no-match` if there is nothing; what [`Trees::tree`](super::Trees::tree) says.
pub fn taken(context: &Context<'_>, reference: &Spanned<Reference>) -> Result<Taken> {
    taken_if_there(context, reference)?
        .ok_or_else(|| no_match(format!("`{}` has no {}", reference.name, reference.path)).at(reference.span))
}

fn taken_if_there(context: &Context<'_>, reference: &Spanned<Reference>) -> Result<Option<Taken>> {
    let whole =
        context.trees.tree(reference).map_err(|error| OperationError::from(error).at(reference.span))?;
    let path = &reference.path;
    if path.is_root() {
        return Ok(Some(Taken::Directory(whole)));
    }
    let Some(resolved) = there(resolve(context.store, &whole, path.as_bytes(), true))? else {
        return Ok(None);
    };
    match resolved.found {
        Some(Found { kind: FoundKind::Directory, .. }) => {
            Ok(Some(Taken::Directory(subtree(context.store, &whole, &resolved.path)?)))
        }
        Some(Found { kind: FoundKind::Leaf(kind), metadata }) => {
            let name = path.name().unwrap_or_default().into();
            Ok(Some(Taken::File(name, Entry { metadata, kind })))
        }
        None => Ok(None),
    }
}

/// Through a file, or round in circles, a path leads nowhere.
fn there(resolved: rbuild_tree::Result<Resolved>) -> Result<Option<Resolved>> {
    match resolved {
        Ok(resolved) => Ok(resolved.found.is_some().then_some(resolved)),
        Err(rbuild_tree::Error::At { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// One thing that is taken.
#[derive(Clone, Debug)]
pub(super) struct Selected {
    /// Under which path it was found: what it is called where it lands. The root for a whole tree.
    pub(super) path: TreePath,
    /// Where it is: elsewhere if a link was followed.
    pub(super) real: TreePath,
    /// What it is.
    pub(super) entry: Entry,
    /// The content of a directory is meant, not the directory.
    pub(super) content: bool,
    /// What took it.
    pub(super) span: Span,
}

/// What a copy takes, before anything of it is left out.
pub(super) struct Selection {
    /// In the order of the patterns, those of one sorted bytewise. None twice.
    pub(super) list: Vec<Selected>,
    /// The hard links of the tree it is from.
    pub(super) links: Links,
    /// Directories above what is taken, without it, for `parents`.
    pub(super) above: BTreeMap<TreePath, Metadata>,
}

/// How the patterns are to be read.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    pub(super) follow: bool,
    pub(super) parents: bool,
    pub(super) optional: bool,
}

/// Selects from what a reference names.
pub(super) fn select_from(
    context: &Context<'_>,
    from: &Spanned<Reference>,
    src: &[Spanned<CopySource>],
    reading: Reading,
) -> Result<Selection> {
    match taken_if_there(context, from)? {
        Some(Taken::Directory(snapshot)) => select(context, &snapshot, src, reading, &from.to_string()),
        Some(Taken::File(name, entry)) => single(name, entry, src, from),
        None if reading.optional => Ok(Selection::empty()),
        None => taken(context, from).map(|_| Selection::empty()),
    }
}

impl Selection {
    fn empty() -> Self {
        Self { list: Vec::new(), links: Links::default(), above: BTreeMap::new() }
    }
}

/// A reference to a file is a tree of that one file, and all of it is the file.
fn single(
    name: Name,
    entry: Entry,
    src: &[Spanned<CopySource>],
    from: &Spanned<Reference>,
) -> Result<Selection> {
    let path = TreePath::root().join(&name);
    if let Some(other) = src.iter().find(|src| src.value != CopySource::whole()) {
        let message = format!("`{}` is a file, so there is no {} in it", from.value, other.pattern);
        return Err(no_match(message).at(other.span));
    }
    let selected = Selected { real: path.clone(), path, entry, content: false, span: from.span };
    Ok(Selection { list: vec![selected], ..Selection::empty() })
}

/// Selects from a tree; `origin` names it in messages.
fn select(
    context: &Context<'_>,
    tree: &Snapshot,
    src: &[Spanned<CopySource>],
    reading: Reading,
    origin: &str,
) -> Result<Selection> {
    let mut editor = Editor::new(context.store, tree);
    let (mut list, mut seen) = (Vec::new(), BTreeSet::new());
    for source in src {
        let found = matches(&mut editor, source, reading)?;
        if found.is_empty() && !reading.optional {
            return Err(nothing(&mut editor, source, origin).at(source.span));
        }
        list.extend(found.into_iter().filter(|one| seen.insert((one.path.clone(), one.content))));
    }
    let mut above = BTreeMap::new();
    if reading.parents {
        for parent in list.iter().flat_map(|one| std::iter::successors(one.path.parent(), TreePath::parent)) {
            if !parent.is_root()
                && let Some(entry) = lookup(context.store, tree, &parent)?
            {
                above.insert(parent, entry.metadata);
            }
        }
    }
    Ok(Selection { list, links: tree.links.clone(), above })
}

/// What one pattern takes.
fn matches(editor: &mut Editor<'_>, source: &Spanned<CopySource>, reading: Reading) -> Result<Vec<Selected>> {
    let pattern = Pattern::parse(&source.pattern).map_err(|reason| no_match(reason).at(source.span))?;
    let (mut list, mut directories) = (Vec::new(), BTreeSet::new());
    for path in find(editor, &pattern)? {
        // What lies in a directory that this pattern takes comes along with it.
        if std::iter::successors(path.parent(), TreePath::parent).any(|outer| directories.contains(&outer)) {
            continue;
        }
        let real = if reading.follow || source.content {
            let followed = there(editor.resolve(path.as_bytes(), true))?;
            match followed {
                Some(followed) => followed.path,
                None if reading.follow => {
                    let message = format!("{path} is a symbolic link that points to nothing in its tree");
                    return Err(no_match(message).at(source.span));
                }
                None => continue,
            }
        } else {
            path.clone()
        };
        let Some(entry) = editor.entry(&real)? else { continue };
        if entry.kind.is_directory() {
            directories.insert(path.clone());
        }
        if !source.content || entry.kind.is_directory() {
            list.push(Selected { path, real, entry, content: source.content, span: source.span });
        }
    }
    Ok(list)
}

/// Why a pattern took nothing.
fn nothing(editor: &mut Editor<'_>, source: &CopySource, origin: &str) -> OperationError {
    let written = TreePath::parse(source.pattern.as_bytes()).ok().filter(|_| source.literal);
    let file = written.and_then(|path| editor.resolve(path.as_bytes(), true).ok()?.found);
    match file {
        Some(found) if source.content => {
            let message = format!("{} is a {}, so there is nothing in it", source.pattern, found.word());
            no_match(message).hint("leave out the final `/`")
        }
        _ if source.literal => no_match(format!("`{origin}` has no {}", source.pattern))
            .hint("say `optional = true` if that is fine"),
        _ => no_match(format!("{} matches nothing in `{origin}`", source.pattern))
            .hint("say `optional = true` if that is fine"),
    }
}
