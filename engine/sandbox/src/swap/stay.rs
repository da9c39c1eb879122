//! What stays, known by more than its name: a command may rename a directory above a mount or a store, which goes along.

use super::{Named, Outcome, Part, Swap};

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Device and inode of what stays, in the order of [`Swap::open`] and [`Swap::kept`]; none of what is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identities(Vec<Option<(u64, u64)>>);

impl Swap {
    /// All that stays, outer ones first.
    fn staying(&self) -> impl Iterator<Item = &PathBuf> {
        self.open.iter().filter(|path| !path.as_os_str().is_empty()).chain(&self.kept)
    }

    pub(super) fn identities(&self) -> Identities {
        Identities(self.staying().map(|path| identity(&self.root.join(path))).collect())
    }

    /// Has what stays be where it was; what is in its place gets another name. Gives what had moved.
    pub(super) fn bring_back(&self, identities: &Identities) -> Outcome<Vec<PathBuf>> {
        let mut moved = Vec::new();
        for (path, known) in self.staying().zip(&identities.0) {
            let place = self.root.join(path);
            let Some(known) = known.filter(|known| identity(&place) != Some(*known)) else { continue };
            // An empty directory that stayed for what is in it, and is gone, is made again.
            let Some(now) = self.find(known) else { continue };
            let back = || {
                place.parent().map_or(Ok(()), fs::create_dir_all)?;
                if fs::symlink_metadata(&place).is_ok() {
                    fs::rename(&place, self.unused())?;
                }
                fs::rename(&now, &place)
            };
            back().named(Part::InPlace, || format!("move {} back to {}", now.display(), place.display()))?;
            moved.push(path.clone());
        }
        Ok(moved)
    }

    /// Where something is in the root.
    fn find(&self, wanted: (u64, u64)) -> Option<PathBuf> {
        let mut open = vec![self.root.clone()];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                let path = entry.path();
                let Ok(found) = fs::symlink_metadata(&path) else { continue };
                if (found.dev(), found.ino()) == wanted {
                    return Some(path);
                }
                let stays =
                    path.strip_prefix(&self.root).is_ok_and(|path| self.kept.iter().any(|kept| kept == path));
                if found.is_dir() && !stays {
                    open.push(path);
                }
            }
        }
        None
    }

    /// A name in the root that nothing has.
    fn unused(&self) -> PathBuf {
        let names = (0_u32..).map(|number| self.root.join(format!(".rbuild-moved-{number}")));
        let mut free = names.filter(|path| fs::symlink_metadata(path).is_err());
        free.next().unwrap_or_else(|| self.root.join(".rbuild-moved"))
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}
