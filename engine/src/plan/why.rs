//! Why a step is not cached: the first thing that differs, old and new.

use crate::{
    key::{Difference, Ingredients},
    spec::types::Reference,
    store::{Node, Store},
};
use rbuild_overlay::Mismatch;
use rbuild_tree::{Change, Delta, DirectoryChange, Pattern, Snapshot, SnapshotId, TreePath, diff};
use std::{fmt, time::Duration};

/// The reason for a miss.
#[derive(Clone, Debug, PartialEq)]
pub enum Why {
    /// The store knows no build of this file that had it.
    New,
    /// Something that goes into it differs.
    Differs {
        /// What, and for trees the first path in which they differ.
        difference: Difference,
        /// The first path that differs, for trees.
        path: Option<TreePath>,
    },
    /// It read something of this machine that is different now.
    Read(Mismatch),
    /// It failed the last time.
    Failed,
    /// It was ended the last time before it was done.
    Interrupted,
    /// Its record is older than `rerun-after`.
    TooOld(Duration),
    /// Nothing differs, but the store does not have its result any more.
    Lost,
    /// Its result was made where nothing kept it from the network.
    Unfenced,
    /// What it reads can't be recorded here, so it always runs.
    Untraced,
}

impl Why {
    /// The reason, from what the node was in the last build.
    pub(crate) fn compare(store: &Store, ingredients: &Ingredients, last: Option<&Node>) -> Self {
        let Some(last) = last else { return Self::New };
        // It failed before they were known, and never got further.
        let known = last.ingredients != Ingredients::default();
        match ingredients.difference(&last.ingredients).filter(|_| known) {
            Some(difference) => {
                let path = first_path(store, &difference)
                    .or_else(|| first_copied(store, &difference.field, ingredients, &last.ingredients));
                Self::Differs { difference, path }
            }
            None if last.interrupted => Self::Interrupted,
            None if !last.passed => Self::Failed,
            None => Self::Lost,
        }
    }
}

fn load(store: &Store, hex: Option<&str>) -> Option<Snapshot> {
    store.snapshot(&hex?.parse::<SnapshotId>().ok()?).ok()
}

/// The first path in which two snapshots that are ingredients differ.
fn first_path(store: &Store, difference: &Difference) -> Option<TreePath> {
    let (old, new) = (load(store, difference.old.as_deref())?, load(store, difference.new.as_deref())?);
    first_change(&diff(store, &old, &new).ok()?, &|_| true)
}

/// The first path of what a copy takes that differs: its ingredient is one digest, but the tree is noted.
fn first_copied(store: &Store, field: &str, new: &Ingredients, old: &Ingredients) -> Option<TreePath> {
    let copy = field.strip_suffix(" content").filter(|copy| copy.starts_with("copy["))?;
    let (before, after) = (load(store, old.noted(copy))?, load(store, new.noted(copy))?);
    let root = Reference::parse(new.get(&format!("{copy} from"))?).ok()?.path;
    let patterns: Vec<Pattern> = (0..)
        .map_while(|at| new.get(&format!("{copy} src[{at}]")))
        .filter_map(|text| Pattern::parse(if text == "/" { text } else { text.trim_end_matches('/') }).ok())
        .collect();
    // What is left out is not in the key; which path it is cannot be told here.
    if new.get(&format!("{copy} exclude[0]")).is_some() {
        return None;
    }
    let is_taken = |path: &TreePath| {
        let Some(path) = path.strip_prefix(&root) else { return false };
        std::iter::successors(Some(path), TreePath::parent)
            .any(|outer| patterns.iter().any(|pattern| pattern.matches(&outer)))
    };
    first_change(&diff(store, &before, &after).ok()?, &is_taken)
}

/// The first path of a change that is wanted: the deepest that is the same for all that changed there.
fn first_change(delta: &Delta, is_wanted: &dyn Fn(&TreePath) -> bool) -> Option<TreePath> {
    if delta.root.children.is_empty() {
        return Some(TreePath::root());
    }
    first_below(&TreePath::root(), &delta.root, is_wanted)
}

fn first_below(
    path: &TreePath,
    directory: &DirectoryChange,
    is_wanted: &dyn Fn(&TreePath) -> bool,
) -> Option<TreePath> {
    directory.children.iter().find_map(|(name, change)| {
        let path = path.join(name);
        match change {
            Change::Directory(inner) if inner.metadata.is_none() => first_below(&path, inner, is_wanted),
            Change::Directory(inner) => {
                if is_wanted(&path) {
                    Some(path)
                } else {
                    first_below(&path, inner, is_wanted)
                }
            }
            _ => is_wanted(&path).then_some(path),
        }
    })
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => f.write_str("not built before"),
            Self::Differs { difference: Difference { field, .. }, path: Some(path) } => {
                write!(f, "{field}: {path} differs")
            }
            Self::Differs { difference: Difference { field, old, new }, path: None } => match (old, new) {
                (Some(old), Some(new)) if is_digest(old) || is_digest(new) => write!(f, "{field} differs"),
                (Some(old), Some(new)) => tell_lines(f, field, old, new),
                (None, Some(new)) if is_digest(new) => write!(f, "{field} is new"),
                (None, Some(new)) => write!(f, "{field} is new: {}", brief(new)),
                (Some(old), None) if is_digest(old) => write!(f, "{field} is gone"),
                (Some(old), None) => write!(f, "{field} is gone, was {}", brief(old)),
                (None, None) => write!(f, "{field} differs"),
            },
            Self::Read(mismatch) => {
                write!(f, "{} of {} was {}, is {}", mismatch.what, mismatch.path, mismatch.old, mismatch.new)
            }
            Self::Failed => f.write_str("it failed the last time"),
            Self::Interrupted => f.write_str("it was interrupted the last time"),
            Self::TooOld(age) => {
                write!(f, "rerun-after: its result is {} old", crate::report::duration(*age))
            }
            Self::Lost => f.write_str("its result is no longer in the store"),
            Self::Unfenced => {
                f.write_str("its result was made without isolation, where the network was open to it")
            }
            Self::Untraced => f.write_str("what it reads of this machine could not be recorded"),
        }
    }
}

/// The first lines in which two values differ, of long ones from a little before where they do.
fn tell_lines(f: &mut fmt::Formatter<'_>, field: &str, old: &str, new: &str) -> fmt::Result {
    let (mut old_lines, mut new_lines) = (old.split('\n'), new.split('\n'));
    loop {
        match (old_lines.next(), new_lines.next()) {
            (Some(old), Some(new)) if old == new => {}
            (Some(old), Some(new)) => {
                let start = differing(old, new);
                let cut = if start > 0 { "…" } else { "" };
                return write!(
                    f,
                    "{field} was {cut}{}, is {cut}{}",
                    brief(&old[start..]),
                    brief(&new[start..])
                );
            }
            (None, Some("")) => return write!(f, "{field}: a line break at its end is new"),
            (Some(""), None) => return write!(f, "{field}: the line break at its end is gone"),
            (None, Some(new)) => return write!(f, "{field}: {} is added", brief(new)),
            (Some(old), None) => return write!(f, "{field}: {} is gone", brief(old)),
            (None, None) => return write!(f, "{field} differs"),
        }
    }
}

/// From which byte on two lines are told.
fn differing(old: &str, new: &str) -> usize {
    const KEPT: usize = 10;
    const LONG: usize = 20;
    let same = old.char_indices().zip(new.chars()).take_while(|((_, a), b)| a == b);
    let starts: Vec<usize> = same.map(|((at, _), _)| at).collect();
    if starts.len() > LONG { starts[starts.len() - KEPT] } else { 0 }
}

fn is_digest(value: &str) -> bool {
    value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A value fit for a line: the first line of a script.
fn brief(value: &str) -> String {
    const MOST: usize = 40;
    let line = value.lines().next().unwrap_or_default();
    let short: String = line.chars().take(MOST).collect();
    let cut = short.len() < value.trim_end().len();
    format!("{short:?}{}", if cut { "…" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(old: Option<&str>, new: Option<&str>) -> String {
        let (old, new) = (old.map(str::to_owned), new.map(str::to_owned));
        Why::Differs { difference: Difference { field: "run".into(), old, new }, path: None }.to_string()
    }

    #[test]
    fn values_are_told_from_where_they_differ() {
        let long = "install --verbose --directory ";
        let digests = ["ab".repeat(32), "cd".repeat(32)];
        for (old, new, expected) in [
            ("make", "make all", r#"run was "make", is "make all""#),
            ("true", "true ", r#"run was "true", is "true ""#),
            ("one\ntwo\nthree", "one\ntwo\nfour", r#"run was "three", is "four""#),
            ("one\ntwo", "one", r#"run: "two" is gone"#),
            ("one", "one\ntwo", r#"run: "two" is added"#),
            ("one", "one\n", "run: a line break at its end is new"),
            (&format!("{long}a"), &format!("{long}b"), r#"run was …"directory a", is …"directory b""#),
            (&format!("{long}é"), &format!("{long}è"), r#"run was …"directory é", is …"directory è""#),
            (&digests[0], &digests[1], "run differs"),
        ] {
            assert_eq!(told(Some(old), Some(new)), expected);
        }
        assert_eq!(told(None, Some("make\ninstall")), r#"run is new: "make"…"#);
        assert_eq!(told(Some(&digests[0]), None), "run is gone");
    }
}
