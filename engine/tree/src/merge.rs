//! Three-way merge: branches of a common base become one.
//!
//! A path changed by one branch is taken; changed equally by several it is taken once; removed by one and untouched by
//! the others it is removed. Directories join, name by name. Anything else is a conflict, "changed" against "removed"
//! too. A time alone is never a conflict: the latest is taken. A directory's owner, mode and attributes are one thing:
//! two branches that change them differently disagree.
//!
//! A conflict is settled by the caller's `resolve`, asked once a conflicting path, else by the policy; a settled path is
//! taken from one branch with all below it. What stays open is returned in whole, sorted, so that a user sees everything at
//! once.
//!
//! The trees are merged first, as if every name were a file of its own (`decide` judges one name). Hard links follow
//! (`links`): a file that one branch changed and another gave a new name must be changed under all its names.

mod decide;
mod inodes;
mod links;

use crate::{
    Editor, Entry, Kind, Metadata, Result, Snapshot, Tree, TreeId, TreePath, TreeStore,
    edit::at,
    walk::{EMPTY, fetch},
};
use decide::{Decision, decide, merge_metadata, word};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// One side of a merge.
#[derive(Clone, Copy, Debug)]
pub struct Branch<'a> {
    /// What the user calls it; the merge itself speaks of branches by their place.
    pub name: &'a str,
    /// What it made of the base.
    pub snapshot: &'a Snapshot,
}

/// How a conflict is settled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Take {
    /// As this branch has it, by its place.
    Branch(usize),
    /// Nothing is there.
    Absent,
}

/// What branches disagree about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// Where.
    pub path: TreePath,
    /// What each branch that changed it did: its place, and a few words ("removed", "added as directory").
    pub changes: Vec<(usize, String)>,
}

/// What to do with conflicts that nobody settled.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Policy {
    /// Return them.
    #[default]
    Error,
    /// Take the first branch, in order, of those that changed the path.
    First,
    /// Take the last one.
    Last,
}

/// What came out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Merged {
    /// One root filesystem.
    Snapshot(Snapshot),
    /// Why there is none: every conflict, sorted by path.
    Conflicts(Vec<Conflict>),
}

/// Joins branches of `base`.
///
/// # Errors
/// Those of the store; [`Error::At`](crate::Error::At) if `resolve` names a branch that is not there, or where
/// directories nest too deep. Conflicts are no error but a result.
pub fn merge(
    store: &dyn TreeStore,
    base: &Snapshot,
    branches: &[Branch<'_>],
    policy: Policy,
    resolve: &mut dyn FnMut(&TreePath) -> Option<Take>,
) -> Result<Merged> {
    let editor = Editor::without_links(store, base.root.clone(), base.tree);
    let judge =
        Judge { policy, resolve, count: branches.len(), taken: BTreeMap::new(), conflicts: BTreeMap::new() };
    let mut merger = Merger { store, editor, judge, pending: Vec::new() };
    merger.trees(base, branches)?;
    let links = links::merge(store, &mut merger.editor, &mut merger.judge, base, branches)?;
    if merger.judge.conflicts.is_empty() {
        return Ok(Merged::Snapshot(Snapshot { links, ..merger.editor.finish()? }));
    }
    let conflicts = merger.judge.conflicts.into_iter();
    Ok(Merged::Conflicts(conflicts.map(|(path, changes)| Conflict { path, changes }).collect()))
}

/// Settles conflicts and remembers how.
struct Judge<'a> {
    policy: Policy,
    resolve: &'a mut dyn FnMut(&TreePath) -> Option<Take>,
    /// How many branches there are.
    count: usize,
    /// Paths that were settled; what lies below them is settled too.
    taken: BTreeMap<TreePath, Take>,
    /// Paths that were not.
    conflicts: BTreeMap<TreePath, Vec<(usize, String)>>,
}

impl Judge<'_> {
    /// What is to be taken where these branches disagree; none if nobody knows, which is noted.
    fn settle(&mut self, path: &TreePath, changes: Vec<(usize, String)>) -> Result<Option<Take>> {
        let by_policy = match self.policy {
            Policy::Error => None,
            Policy::First => changes.first(),
            Policy::Last => changes.last(),
        };
        let take = (self.resolve)(path).or(by_policy.map(|(branch, _)| Take::Branch(*branch)));
        match take {
            Some(Take::Branch(branch)) if branch >= self.count => {
                return Err(at(path, format!("is settled by branch {branch} of {}", self.count)));
            }
            Some(take) => {
                self.taken.insert(path.clone(), take);
            }
            None => {
                self.conflicts.insert(path.clone(), changes);
            }
        }
        Ok(take)
    }

    /// Whether branches are known to disagree about a path: each is asked about once.
    fn has_seen(&self, path: &TreePath) -> bool {
        self.conflicts.contains_key(path) || self.taken(path).is_some()
    }

    /// How a path was settled, or a directory it lies in.
    fn taken(&self, path: &TreePath) -> Option<Take> {
        if self.taken.is_empty() {
            return None;
        }
        let mut here = Some(path.clone());
        while let Some(path) = here {
            if let Some(take) = self.taken.get(&path) {
                return Some(*take);
            }
            here = path.parent();
        }
        None
    }
}

/// Directories that several branches changed, to be joined name by name.
struct Join {
    path: TreePath,
    base: TreeId,
    /// Branch and tree.
    branches: Vec<(usize, TreeId)>,
}

struct Merger<'a> {
    store: &'a dyn TreeStore,
    /// Starts as the base; what branches changed is put into it.
    editor: Editor<'a>,
    judge: Judge<'a>,
    pending: Vec<Join>,
}

/// What a name is in the base and in each branch that is asked.
struct Versions<'a> {
    base: Option<&'a Entry>,
    /// Branch and what it has.
    branches: Vec<(usize, Option<&'a Entry>)>,
}

impl<'a> Versions<'a> {
    fn of(&self, branch: usize) -> Option<&'a Entry> {
        // A branch that is not asked did not change the directory.
        self.branches.iter().find(|(asked, _)| *asked == branch).map_or(self.base, |(_, entry)| *entry)
    }

    fn words(&self, branches: &[usize]) -> Vec<(usize, String)> {
        branches.iter().map(|branch| (*branch, word(self.base, self.of(*branch)))).collect()
    }
}

impl Merger<'_> {
    fn trees(&mut self, base: &Snapshot, branches: &[Branch<'_>]) -> Result<()> {
        let root = |snapshot: &Snapshot| Entry {
            metadata: snapshot.root.clone(),
            kind: Kind::Directory(snapshot.tree),
        };
        let entries: Vec<Entry> = branches.iter().map(|branch| root(branch.snapshot)).collect();
        let branches = entries.iter().map(Some).enumerate().collect();
        self.name(TreePath::root(), &Versions { base: Some(&root(base)), branches })?;
        while let Some(join) = self.pending.pop() {
            self.join(&join)?;
        }
        Ok(())
    }

    fn join(&mut self, join: &Join) -> Result<()> {
        let base = fetch(self.store, &join.base)?;
        let mut trees: Vec<(usize, Arc<Tree>)> = Vec::new();
        for (branch, tree) in &join.branches {
            trees.push((*branch, fetch(self.store, tree)?));
        }
        let names: BTreeSet<&[u8]> = trees
            .iter()
            .map(|(_, tree)| tree)
            .chain([&base])
            .flat_map(|tree| tree.iter().map(|(name, _)| name))
            .collect();
        for name in names {
            let branches = trees.iter().map(|(branch, tree)| (*branch, tree.get(name))).collect();
            self.name(join.path.join(name), &Versions { base: base.get(name), branches })?;
        }
        Ok(())
    }

    fn name(&mut self, path: TreePath, versions: &Versions<'_>) -> Result<()> {
        match decide(self.store, versions)? {
            Decision::Keep => Ok(()),
            Decision::Take(Some(entry)) => self.editor.insert(&path, entry),
            Decision::Take(None) => self.editor.remove(&path).map(drop),
            Decision::Join(changed) => self.directories(path, versions, &changed),
            Decision::Conflict(changed) => match self.judge.settle(&path, versions.words(&changed))? {
                Some(take) => self.take(&path, versions, take),
                None => Ok(()),
            },
        }
    }

    /// Directories in all branches that changed the path.
    fn directories(&mut self, path: TreePath, versions: &Versions<'_>, changed: &[usize]) -> Result<()> {
        let metadata = match merge_metadata(versions, changed) {
            Ok(metadata) => metadata,
            Err(disagreeing) => {
                let words = metadata_words(versions, &disagreeing);
                let take = self.judge.settle(&path, words)?;
                // Nothing below is settled by this, so that the directories still join.
                let chosen = match take {
                    None => versions.base.or_else(|| versions.of(changed[0])),
                    Some(Take::Absent) => None,
                    Some(Take::Branch(branch)) => versions.of(branch),
                };
                match (chosen, take) {
                    (Some(Entry { metadata, kind: Kind::Directory(_) }), _) => {
                        self.judge.taken.remove(&path);
                        metadata.clone()
                    }
                    (None, Some(take)) | (Some(_), Some(take)) => return self.take(&path, versions, take),
                    (_, None) => return Ok(()),
                }
            }
        };
        self.join_below(path, metadata, versions, changed)
    }

    fn join_below(
        &mut self,
        path: TreePath,
        metadata: Metadata,
        versions: &Versions<'_>,
        changed: &[usize],
    ) -> Result<()> {
        let base = tree_of(versions.base).unwrap_or(*EMPTY);
        let trees = changed.iter().filter_map(|branch| Some((*branch, tree_of(versions.of(*branch))?)));
        let branches: Vec<(usize, TreeId)> = trees.filter(|(_, tree)| *tree != base).collect();
        let distinct: BTreeSet<TreeId> = branches.iter().map(|(_, tree)| *tree).collect();
        let tree = match distinct.first() {
            Some(only) if distinct.len() == 1 => *only,
            _ => base,
        };
        self.editor.insert(&path, Entry { metadata, kind: Kind::Directory(tree) })?;
        if distinct.len() > 1 {
            self.pending.push(Join { path, base, branches });
        }
        Ok(())
    }

    /// Takes a path with all below it from one branch, or takes it away.
    fn take(&mut self, path: &TreePath, versions: &Versions<'_>, take: Take) -> Result<()> {
        let chosen = match take {
            Take::Branch(branch) => versions.of(branch),
            Take::Absent => None,
        };
        match chosen {
            Some(entry) => self.editor.insert(path, entry.clone()),
            None => self.editor.remove(path).map(drop),
        }
    }
}

fn tree_of(entry: Option<&Entry>) -> Option<TreeId> {
    match entry?.kind {
        Kind::Directory(tree) => Some(tree),
        _ => None,
    }
}

fn metadata_words(versions: &Versions<'_>, branches: &[usize]) -> Vec<(usize, String)> {
    let word = |branch: &usize| {
        let Some(Entry { metadata, .. }) = versions.of(*branch) else {
            return (*branch, String::from("removed"));
        };
        let Metadata { mode, uid, gid, .. } = metadata;
        let verb = if versions.base.is_some() { "changed" } else { "added" };
        (*branch, format!("{verb} as directory with mode {mode:04o}, owner {uid}:{gid}"))
    };
    branches.iter().map(word).collect()
}
