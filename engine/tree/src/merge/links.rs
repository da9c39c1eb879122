//! Which paths of a merged tree are one file, and what that file is.
//!
//! Each path is merged by the inode it names ([`inodes`](super::inodes)), three-way like all else; and each inode by
//! its entry, which all of its names get. So a file that one branch changed and another gave a second name is changed under
//! both, and a name that one branch cut loose from a file (as `sed -i` does) stays loose, whatever others do to the file.
//!
//! Groups that base and branches have alike need none of this.

use super::{
    Branch, Judge, Take,
    decide::{are_alike, word},
    inodes::{Inode, Label, Version, sort_out},
};
use crate::{Editor, Entry, FoundKind, Links, Result, Snapshot, TreePath, TreeStore};
use std::collections::{BTreeMap, BTreeSet};

/// Makes the names of each file of a merged tree equal and says which they are.
pub(super) fn merge(
    store: &dyn TreeStore,
    editor: &mut Editor<'_>,
    judge: &mut Judge<'_>,
    base: &Snapshot,
    branches: &[Branch<'_>],
) -> Result<Links> {
    let snapshots: Vec<&Snapshot> = branches.iter().map(|branch| branch.snapshot).collect();
    let (settled, paths) = sort_out(base, &snapshots, !judge.taken.is_empty());
    if paths.is_empty() {
        return Ok(Links::from_disjoint(settled));
    }
    let base = Version::of_base(store, base, &paths)?;
    let mut sides = Vec::new();
    for snapshot in snapshots {
        sides.push(Version::of_branch(store, snapshot, &paths, &base)?);
    }
    let mut merger = LinkMerger { base, sides, joined: BTreeMap::new() };
    merger.join_united();
    let groups = merger.group(editor, judge, &paths)?;
    let (mut links, histories) = (settled, merger.histories());
    for (label, members) in groups.into_iter().filter(|(_, members)| members.len() > 1) {
        let Some(history) = histories.get(&label) else { continue };
        let Some(entry) = merger.entry(judge, history, &members)? else {
            members.iter().try_for_each(|path| editor.remove(path).map(drop))?;
            continue;
        };
        for path in &members {
            editor.insert(path, entry.clone())?;
        }
        links.push(members.into_iter().cloned().collect());
    }
    Ok(Links::from_disjoint(links))
}

/// What one file was and became.
#[derive(Default)]
struct History<'a> {
    /// In the base.
    before: Vec<&'a Entry>,
    /// In the branches where it differs, by their place.
    touched: Vec<(usize, &'a Entry)>,
    /// Those of them that differ in more than its time.
    real: Vec<(usize, &'a Entry)>,
}

struct LinkMerger<'a> {
    base: Version<'a>,
    sides: Vec<Version<'a>>,
    /// Labels that turned out to be one: each points towards the one that stands for all.
    joined: BTreeMap<Label<'a>, Label<'a>>,
}

impl<'a> LinkMerger<'a> {
    /// Two equal files that a branch made one are one file, whichever of the two inodes it kept.
    fn join_united(&mut self) {
        let mut united = Vec::new();
        for side in &self.sides {
            let kept: BTreeSet<Inode<'a>> = side.continues.values().copied().collect();
            let mut homes: BTreeMap<Inode<'a>, BTreeSet<Inode<'a>>> = BTreeMap::new();
            for (path, old) in self.base.inodes.iter().filter(|(_, old)| !kept.contains(*old)) {
                homes.entry(old).or_default().extend(side.inodes.get(path));
            }
            for (gone, homes) in homes.into_iter().filter(|(_, homes)| homes.len() == 1) {
                let host = homes.first().and_then(|home| side.continues.get(home));
                let entries =
                    host.and_then(|host| Some((self.base.entries.get(host)?, self.base.entries.get(gone)?)));
                if let (Some(host), Some((left, right))) = (host, entries)
                    && are_alike(left, right)
                {
                    united.push((Label::Base(host), Label::Base(gone)));
                }
            }
        }
        united.into_iter().for_each(|(host, gone)| self.join(host, gone));
    }

    /// The paths that are files in the merged tree, by what they name.
    fn group(
        &mut self,
        editor: &mut Editor<'_>,
        judge: &mut Judge<'_>,
        paths: &BTreeSet<&'a TreePath>,
    ) -> Result<BTreeMap<Label<'a>, Vec<&'a TreePath>>> {
        let mut chosen: Vec<(Vec<Label<'a>>, &'a TreePath)> = Vec::new();
        for path in paths {
            let Some(found) = editor.get(path)? else { continue };
            let FoundKind::Leaf(kind) = found.kind else { continue };
            let mut merged = Entry { metadata: found.metadata, kind };
            if !judge.has_seen(path) && self.is_torn(path, &merged) {
                // What it is taken for is what it names then, too; if nobody knows, that does not matter.
                judge.settle(path, self.words(path))?;
                match self.taken_entry(judge, path) {
                    Some(entry) => merged = entry,
                    None => {
                        editor.remove(path)?;
                        continue;
                    }
                }
                editor.insert(path, merged.clone())?;
            }
            chosen.push((self.labels(judge, path, &merged), *path));
        }
        let mut groups: BTreeMap<Label<'a>, Vec<&'a TreePath>> = BTreeMap::new();
        for (labels, _) in &chosen {
            labels.windows(2).for_each(|pair| self.join(pair[0], pair[1]));
        }
        for (labels, path) in chosen {
            if let Some(label) = labels.first() {
                groups.entry(self.stand_in(*label)).or_default().push(path);
            }
        }
        Ok(groups)
    }

    /// The labels that branches moved a path to, with the branch.
    fn moved(&self, path: &'a TreePath) -> Vec<(usize, Label<'a>)> {
        let before = self.before(path).map(|label| self.stand_in(label));
        let all = (0..self.sides.len()).filter_map(|branch| Some((branch, self.label(branch, path)?)));
        all.filter(|(_, label)| Some(self.stand_in(*label)) != before).collect()
    }

    /// Whether one branch linked a path to another file, and another branch made something else of it.
    fn is_torn(&self, path: &'a TreePath, merged: &Entry) -> bool {
        self.moved(path).iter().any(|(branch, _)| {
            let side = &self.sides[*branch];
            side.is_linked(path) && !side.entry(path).is_some_and(|entry| are_alike(entry, merged))
        })
    }

    /// What a path of the merged tree names: more than one label if branches made the same thing.
    fn labels(&self, judge: &Judge<'_>, path: &'a TreePath, merged: &Entry) -> Vec<Label<'a>> {
        if let Some(Take::Branch(branch)) = judge.taken(path) {
            return self.label(branch, path).into_iter().collect();
        }
        let moved = self.moved(path);
        let same =
            |branch: usize| self.sides[branch].entry(path).is_some_and(|entry| are_alike(entry, merged));
        let agreeing: Vec<Label<'a>> =
            moved.iter().filter(|(branch, _)| same(*branch)).map(|(_, label)| *label).collect();
        match (agreeing.is_empty(), moved.is_empty()) {
            (false, _) => agreeing,
            (true, false) => moved.into_iter().map(|(_, label)| label).collect(),
            (true, true) => self.before(path).into_iter().collect(),
        }
    }

    fn before(&self, path: &TreePath) -> Option<Label<'a>> {
        self.base.inodes.get(path).map(|inode| Label::Base(inode))
    }

    fn label(&self, branch: usize, path: &TreePath) -> Option<Label<'a>> {
        Some(self.label_of(branch, self.sides.get(branch)?.inodes.get(path)?))
    }

    fn label_of(&self, branch: usize, inode: Inode<'a>) -> Label<'a> {
        self.sides[branch].continues.get(inode).map_or(Label::New(branch, inode), |old| Label::Base(old))
    }

    fn stand_in(&self, mut label: Label<'a>) -> Label<'a> {
        while let Some(next) = self.joined.get(&label) {
            label = *next;
        }
        label
    }

    fn join(&mut self, left: Label<'a>, right: Label<'a>) {
        let (left, right) = (self.stand_in(left), self.stand_in(right));
        if left != right {
            self.joined.insert(left.max(right), left.min(right));
        }
    }

    /// What the base had of each file, and what branches made of it.
    fn histories(&self) -> BTreeMap<Label<'a>, History<'_>> {
        let mut histories: BTreeMap<Label<'a>, History<'_>> = BTreeMap::new();
        for (inode, entry) in &self.base.entries {
            histories.entry(self.stand_in(Label::Base(inode))).or_default().before.push(entry);
        }
        for (branch, side) in self.sides.iter().enumerate() {
            for (inode, (touched, real)) in self.changes(branch) {
                let (Some(entry), true) = (side.entries.get(inode), touched) else { continue };
                let history = histories.entry(self.stand_in(self.label_of(branch, inode))).or_default();
                history.touched.push((branch, entry));
                if real {
                    history.real.push((branch, entry));
                }
            }
        }
        histories
    }

    /// For each inode of a branch: whether it differs from what the base had of it, and whether in more than its time.
    fn changes(&self, branch: usize) -> BTreeMap<Inode<'a>, (bool, bool)> {
        let side = &self.sides[branch];
        let mut changes: BTreeMap<Inode<'a>, (bool, bool)> = BTreeMap::new();
        for (path, inode) in &side.inodes {
            let label = self.label_of(branch, inode);
            let is_same_file =
                self.before(path).is_some_and(|old| self.stand_in(old) == self.stand_in(label));
            let (old, new) = (self.base.entry(path), side.entries.get(inode));
            let (touched, real) = changes.entry(inode).or_default();
            if matches!(label, Label::New(..)) {
                (*touched, *real) = (true, true);
            } else if let (true, Some(old), Some(new)) = (is_same_file, old, new) {
                *touched |= old != new;
                *real |= !are_alike(old, new);
            }
        }
        changes
    }

    /// What a file is: merged over all branches like a single path. None if it is to be absent, or nobody knows.
    fn entry(
        &self,
        judge: &mut Judge<'_>,
        history: &History<'_>,
        members: &[&TreePath],
    ) -> Result<Option<Entry>> {
        if let Some(entry) = members.iter().find_map(|path| self.taken_entry(judge, path)) {
            return Ok(Some(entry));
        }
        if members.iter().any(|path| judge.has_seen(path)) {
            return Ok(None);
        }
        let real = history.real.iter().map(|(_, entry)| *entry);
        let candidates: Vec<&Entry> =
            if history.real.is_empty() { history.before.clone() } else { real.collect() };
        let Some(first) = candidates.first() else { return Ok(None) };
        if candidates.iter().all(|entry| are_alike(first, entry)) {
            return Ok(Some(at_latest(first, &history.touched)));
        }
        let changers: BTreeSet<usize> = history.real.iter().map(|(branch, _)| *branch).collect();
        let words = changers.into_iter().map(|branch| (branch, "changed, with all its hard links".into()));
        Ok(match judge.settle(members[0], words.collect())? {
            Some(Take::Branch(branch)) => {
                let of_branch = history.real.iter().find(|(changer, _)| *changer == branch);
                of_branch.map(|(_, entry)| *entry).or(history.before.first().copied()).cloned()
            }
            Some(Take::Absent) | None => None,
        })
    }

    fn words(&self, path: &TreePath) -> Vec<(usize, String)> {
        let (old, before) = (self.base.entry(path), self.before(path));
        let of_branch = |branch: usize| match self.sides[branch].entry(path) {
            entry if entry != old => Some((branch, word(old, entry))),
            _ if self.label(branch, path) != before => Some((branch, "linked to another file".into())),
            _ => None,
        };
        (0..self.sides.len()).filter_map(of_branch).collect()
    }

    /// How a settled path has it.
    fn taken_entry(&self, judge: &Judge<'_>, path: &TreePath) -> Option<Entry> {
        match judge.taken(path)? {
            Take::Branch(branch) => self.sides.get(branch)?.entry(path).cloned(),
            Take::Absent => None,
        }
    }
}

/// An entry with the latest time of those that changed it.
fn at_latest(entry: &Entry, changed: &[(usize, &Entry)]) -> Entry {
    let mut entry = entry.clone();
    if let Some(latest) = changed.iter().map(|(_, other)| other.metadata.mtime).max() {
        entry.metadata.mtime = latest;
    }
    entry
}
