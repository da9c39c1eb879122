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
        match ingredients.difference(&last.ingredients) {
            Some(difference) => {
                let path = first_path(store, &difference);
                Self::Differs { difference, path }
            }
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
                (Some(old), Some(new)) => write!(f, "{field} was {}, is {}", brief(old), brief(new)),
                (None, Some(new)) => write!(f, "{field} is new: {}", brief(new)),
                (Some(old), None) => write!(f, "{field} is gone, was {}", brief(old)),
                (None, None) => write!(f, "{field} differs"),
            },
            Self::Read(mismatch) => {
                write!(f, "{} of {} was {}, is {}", mismatch.what, mismatch.path, mismatch.old, mismatch.new)
            }
            Self::Failed => f.write_str("it failed the last time"),
            Self::TooOld(age) => {
                write!(f, "rerun-after: its result is {} old", crate::report::duration(*age))
            }
            Self::Lost => f.write_str("its result is no longer in the store"),
            Self::Untraced => f.write_str("what it reads of this machine could not be recorded"),
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
