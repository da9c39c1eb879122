//! A taken entry before it lands: what `exclude` leaves out goes, owner and modes change, all the way down.
//!
//! Without `exclude`, `owner` and modes a directory stays the digest it is and nothing is read.

use super::{
    attributes::{Rules, Sort},
    error::{OperationError, Result},
};
use crate::{spec::Spanned, store::Store};
use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder},
};
use rbuild_tree::{Entry, Kind, Metadata, Name, Tree, TreeId, TreePath, TreeStore};
use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

/// An ignore list that is anchored at each matched directory.
pub(super) struct Exclude {
    list: Gitignore,
    brings_back: bool,
}

impl Exclude {
    /// Reads it; none if it has no lines.
    pub(super) fn new(lines: &[Spanned<String>]) -> Result<Option<Self>> {
        let mut builder = GitignoreBuilder::new("/");
        for line in lines {
            builder.add_line(None, line).map_err(|error| bad_line(line, &error))?;
        }
        let Some(last) = lines.last() else { return Ok(None) };
        let list = builder.build().map_err(|error| bad_line(last, &error))?;
        Ok(Some(Self { list, brings_back: lines.iter().any(|line| line.starts_with('!')) }))
    }

    /// Whether it leaves a path out, given whether the directory it is in is.
    fn leaves_out(&self, path: &TreePath, is_directory: bool, parent_out: bool) -> bool {
        let absolute = Path::new("/").join(OsStr::from_bytes(path.as_bytes()));
        match self.list.matched(absolute, is_directory) {
            Match::Ignore(_) => true,
            Match::Whitelist(_) => false,
            Match::None => parent_out,
        }
    }
}

fn bad_line(line: &Spanned<String>, error: &ignore::Error) -> OperationError {
    OperationError::new("no-match", format!("exclude {:?}: {error}", line.value)).at(line.span)
}

/// Changes entries on their way.
pub(super) struct Adjust<'a> {
    pub(super) store: &'a Store,
    pub(super) rules: Rules<'a>,
    pub(super) exclude: Option<Exclude>,
}

/// A directory that is being gone through.
struct Open {
    name: Name,
    path: TreePath,
    metadata: Metadata,
    old: TreeId,
    /// Left out, unless something in it is brought back.
    out: bool,
    rest: std::vec::IntoIter<(Name, Entry)>,
    kept: Vec<(Name, Entry)>,
}

impl Adjust<'_> {
    /// The entry as it is to land. What is selected itself is never left out.
    pub(super) fn entry(&self, entry: &Entry) -> Result<Entry> {
        if self.rules.is_empty() && self.exclude.is_none() {
            return Ok(entry.clone());
        }
        match entry.kind {
            Kind::Directory(tree) => self.directory(&entry.metadata, tree),
            _ => Ok(self.leaf(entry)),
        }
    }

    /// Metadata as it is to land.
    pub(super) fn metadata(&self, metadata: &Metadata, sort: Sort) -> Metadata {
        self.rules.apply(metadata, sort)
    }

    fn leaf(&self, entry: &Entry) -> Entry {
        let metadata = self.rules.apply(&entry.metadata, Sort::of(&entry.kind));
        Entry { metadata, kind: entry.kind.clone() }
    }

    /// Deepest first and without recursion: a tree may nest deeper than a stack does.
    fn directory(&self, metadata: &Metadata, tree: TreeId) -> Result<Entry> {
        let mut open = vec![self.open(Name::default(), TreePath::root(), metadata, tree, false)?];
        loop {
            let Some(directory) = open.last_mut() else { return Err(unbalanced()) };
            if let Some((name, entry)) = directory.rest.next() {
                let path = directory.path.join(&name);
                let exclude = self.exclude.as_ref();
                let out = exclude
                    .is_some_and(|list| list.leaves_out(&path, entry.kind.is_directory(), directory.out));
                match entry.kind {
                    Kind::Directory(tree) if !out || exclude.is_some_and(|list| list.brings_back) => {
                        let below = self.open(name, path, &entry.metadata, tree, out)?;
                        open.push(below);
                    }
                    _ if out => {}
                    _ => directory.kept.push((name, self.leaf(&entry))),
                }
                continue;
            }
            let Some(done) = open.pop() else { return Err(unbalanced()) };
            let dropped = done.out && done.kept.is_empty();
            let name = done.name.clone();
            match open.last_mut() {
                Some(_) if dropped => {}
                Some(parent) => parent.kept.push((name, self.close(done)?)),
                None => return self.close(done),
            }
        }
    }

    fn open(&self, name: Name, path: TreePath, metadata: &Metadata, tree: TreeId, out: bool) -> Result<Open> {
        let entries = Tree::clone(&*self.store.tree(&tree)?);
        let metadata = self.rules.apply(metadata, Sort::Directory);
        Ok(Open { name, path, metadata, old: tree, out, rest: entries.into_iter(), kept: Vec::new() })
    }

    fn close(&self, done: Open) -> Result<Entry> {
        let tree = Tree::from_entries(done.kept);
        let id = tree.id();
        if id != done.old {
            self.store.put_tree(&tree)?;
        }
        Ok(Entry { metadata: done.metadata, kind: Kind::Directory(id) })
    }
}

fn unbalanced() -> OperationError {
    crate::error::Error::internal("a directory was closed that was never opened").into()
}
