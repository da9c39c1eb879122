//! The directory of one step.

use super::{Laid, Roots, changes, ground::Ground, in_place::InPlace, look::Before, stamps::Stamps};
use crate::{
    error::{Error, Result},
    store::remove_all,
};
use rbuild_sandbox::{Mount, Swap};
use rbuild_tree::{Delta, Snapshot, Timestamp, diff};
use std::{collections::HashSet, path::Path};

/// What one filesystem of a step shows.
pub struct Wanted {
    /// The tree.
    pub tree: Snapshot,
    /// A path in it that is all that is shown, if it is not empty.
    pub part: String,
}

/// A directory that is the root of a step, until it is left or dropped.
pub struct StepRoot<'a> {
    roots: &'a Roots,
    laid: Option<Laid>,
    stamps: Stamps,
    ground: Ground<'a>,
    /// Of filesystems that are shown in it.
    others: Vec<(Laid, Stamps)>,
    /// What trades places with the container's files, if something does.
    swap: Option<Swap>,
    covered: Vec<String>,
    left: Option<Delta>,
}

impl<'a> StepRoot<'a> {
    /// Makes it, with all that mounts would show. `wanted` says what each filesystem of ours among them shows, in order;
    /// the first is the root.
    ///
    /// # Errors
    /// The store lacks something, the disk is full, the build is stopped.
    pub fn make(roots: &'a Roots, mounts: &[Mount], wanted: Vec<Wanted>, epoch: Timestamp) -> Result<Self> {
        let mut wanted = wanted.into_iter();
        let root = wanted.next().ok_or_else(|| Error::internal("a step without a root"))?;
        let laid = roots.take(&root.tree)?;
        let mut ground = Ground::new(roots.scratch(), &laid.folder, roots.in_place.as_ref(), epoch);
        let mut others = Vec::new();
        for mount in &mounts[1..] {
            let shown = match mount {
                Mount::Fuse { .. } => wanted.next(),
                _ => None,
            };
            let from = match shown {
                Some(shown) => {
                    let other = roots.take(&shown.tree)?;
                    let from = other.folder.join(shown.part);
                    let stamps = note_all(roots, &other)?;
                    others.push((other, stamps));
                    Some(from)
                }
                None => None,
            };
            ground.put(mount, from.as_deref())?;
        }
        let (swap, covered) = match &roots.in_place {
            Some(in_place) => {
                let (swap, covered) = in_place.swap(&mut ground, &laid.folder)?;
                (Some(swap), covered)
            }
            None => Default::default(),
        };
        let stamps = Stamps::note(&roots.store, &laid.tree, &laid.folder, &ground.hidden)?;
        Stamps::wait();
        Ok(Self { roots, laid: Some(laid), stamps, ground, others, swap, covered, left: None })
    }

    /// How it becomes the root of a command.
    pub fn mount(&self) -> Mount {
        let path = self.laid.as_ref().map_or(Path::new(""), |laid| &laid.folder).to_owned();
        self.swap.clone().map_or(Mount::Chroot { path }, Mount::InPlace)
    }

    /// Where the tree has something, and the step sees the container's: what it makes there is no part of the tree.
    pub fn covered(&self) -> &[String] {
        &self.covered
    }

    /// Sees what the step changed, now that it has ended, and takes out what mounts would have shown. Times later than
    /// `epoch` of what it wrote become `epoch`.
    ///
    /// # Errors
    /// The store can't be written; something that no tree can hold.
    pub fn leave(&mut self, epoch: Timestamp) -> Result<()> {
        self.settle()?;
        let Some(laid) = self.laid.take() else { return Ok(()) };
        let before = Before {
            store: &self.roots.store,
            folder: &laid.folder,
            tree: &laid.tree,
            stamps: &self.stamps,
            hidden: &self.ground.hidden,
            lent: &self.ground.lent,
            epoch,
            stopped: &self.roots.stopped,
        };
        let left = changes::read(&before);
        let cleared = self.ground.clear_all();
        let left = match (left, cleared) {
            (Ok(left), Ok(())) => left,
            (Err(error), _) | (_, Err(error)) => {
                let _ = remove_all(&laid.folder);
                return Err(error);
            }
        };
        self.left = Some(diff(&*self.roots.store, &laid.tree, &left)?);
        self.roots.give(Laid { folder: laid.folder, tree: left });
        for (other, stamps) in self.others.drain(..) {
            // Nothing keeps a step from writing to it.
            let is_same = note_all(self.roots, &other)?.is_same(&stamps);
            match is_same {
                true => self.roots.give(other),
                false => drop(remove_all(&other.folder)),
            }
        }
        Ok(())
    }

    /// Takes out what mounts would have shown, without a look at what the step changed.
    ///
    /// # Errors
    /// What the machine says; the rest is done all the same.
    pub fn abandon(&mut self) -> Result<()> {
        self.settle()?;
        let cleared = self.ground.clear_all();
        // What they hold nobody knows.
        let others = self.others.drain(..).map(|(other, _)| other);
        for laid in self.laid.take().into_iter().chain(others) {
            let _ = remove_all(&laid.folder);
        }
        cleared
    }

    /// Puts the container's files back, which somebody else has done if nobody was killed.
    fn settle(&self) -> Result<()> {
        self.roots.in_place.as_ref().map_or(Ok(()), InPlace::settle)
    }

    /// What the step changed of the root: the difference to what it was shown.
    ///
    /// # Errors
    /// It was not left yet.
    pub fn changes(&mut self) -> Result<Delta> {
        self.left.take().ok_or_else(|| Error::internal("the step was not left"))
    }
}

fn note_all(roots: &Roots, laid: &Laid) -> Result<Stamps> {
    Stamps::note(&roots.store, &laid.tree, &laid.folder, &HashSet::new())
}

impl Drop for StepRoot<'_> {
    fn drop(&mut self) {
        // What can't be put back is in the scratch folder, which goes with the build.
        let _ = self.abandon();
    }
}
