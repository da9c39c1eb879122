//! Why a step is not cached: the first thing that differs, old and new.

use crate::{
    key::{Difference, Ingredients},
    store::{Node, Store},
};
use rbuild_overlay::Mismatch;
use rbuild_tree::{Change, Delta, Snapshot, SnapshotId, TreePath, diff};
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
                let path = first_path(store, &difference);
                Self::Differs { difference, path }
            }
            None if last.interrupted => Self::Interrupted,
            None if !last.passed => Self::Failed,
            None => Self::Lost,
        }
    }
}

/// The first path in which two snapshots that are ingredients differ.
fn first_path(store: &Store, difference: &Difference) -> Option<TreePath> {
    let load = |hex: &Option<String>| -> Option<Snapshot> {
        store.snapshot(&hex.as_ref()?.parse::<SnapshotId>().ok()?).ok()
    };
    let delta = diff(store, &load(&difference.old)?, &load(&difference.new)?).ok()?;
    Some(first_change(&delta))
}

fn first_change(delta: &Delta) -> TreePath {
    let (mut path, mut directory) = (TreePath::root(), &delta.root);
    while let Some((name, change)) = directory.children.first_key_value() {
        path.push(name);
        match change {
            Change::Directory(inner) if inner.metadata.is_none() => directory = inner,
            _ => break,
        }
    }
    path
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => f.write_str("not built before"),
            Self::Differs { difference: Difference { field, .. }, path: Some(path) } => {
                write!(f, "{field}: {path} differs")
            }
            Self::Differs { difference: Difference { field, old, new }, path: None } => match (old, new) {
                (Some(old), Some(new)) => {
                    let (old_end, new_end) = differing(old, new);
                    let cut = if old_end.len() < old.len() { "…" } else { "" };
                    write!(f, "{field} was {cut}{}, is {cut}{}", brief(old_end), brief(new_end))
                }
                (None, Some(new)) => write!(f, "{field} is new: {}", brief(new)),
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
            Self::Untraced => f.write_str("what it reads of this machine could not be recorded"),
        }
    }
}

/// Two values from where they differ: from that line on, and of a long line from a little before.
fn differing<'a>(mut old: &'a str, mut new: &'a str) -> (&'a str, &'a str) {
    const KEPT: usize = 10;
    while let (Some((line, old_rest)), Some((other, new_rest))) = (old.split_once('\n'), new.split_once('\n'))
    {
        if line != other {
            break;
        }
        (old, new) = (old_rest, new_rest);
    }
    let same = old.char_indices().zip(new.chars()).take_while(|((_, a), b)| a == b);
    let starts: Vec<usize> = same.map(|((at, _), _)| at).collect();
    match starts.len() {
        0..=20 => (old, new),
        length => {
            let start = starts[length - KEPT];
            (&old[start..], &new[start..])
        }
    }
}

/// A value fit for a line: the first line of a script, the first digits of a digest.
fn brief(value: &str) -> String {
    const MOST: usize = 40;
    let is_digest = value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digest {
        return value[..12].to_owned();
    }
    let line = value.trim().lines().next().unwrap_or_default();
    let short: String = line.chars().take(MOST).collect();
    let cut = short.len() < value.trim().len();
    format!("{short:?}{}", if cut { "…" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_from_where_they_differ() {
        let long = "[FileText { path: \"/etc/x\", content: \"";
        for (old, new, told) in [
            ("make", "make all", ("make", "make all")),
            ("one\ntwo\nthree", "one\ntwo\nfour", ("three", "four")),
            ("one\n", "one\ntwo", ("", "two")),
            (&format!("{long}a"), &format!("{long}b"), ("ontent: \"a", "ontent: \"b")),
            (&format!("{long}é"), &format!("{long}è"), ("ontent: \"é", "ontent: \"è")),
        ] {
            let (old_told, new_told) = differing(old, new);
            assert!(old_told.ends_with(told.0) && new_told.ends_with(told.1), "{old_told:?} {new_told:?}");
            assert!(old_told.len() <= told.0.len() + 2 && new_told.len() <= told.1.len() + 2);
        }
    }
}
