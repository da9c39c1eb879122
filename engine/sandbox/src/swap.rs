//! Entries of a root that trade places with those of a directory, for a command that gets a root without chroot(2).
//!
//! What stays where it is (mount points, which can't be moved; a store) is said beforehand, and so are the directories
//! that stay while what is in them moves: those above it, at least. They take the owner, mode and times of the
//! directory's own meanwhile, but no extended attributes.
//!
//! All is done by renames. Where a directory can't be renamed, since it is of an image's layer (overlayfs answers EXDEV),
//! another one is made and what is in it moves (`carry.rs`); that is once, since the new one is of no layer.
//!
//! How far it went is in a file, [`Swap::restore`] goes back from wherever that was: another process, or a later run. The way
//! back takes no room on the disk, which the command may have filled.
//!
//! ```text
//! FOLDER/state      stage, what stays, owner, mode and times of the directories that stay
//! FOLDER/returning  the same, once all of the tree is out of the root
//! FOLDER/aside      what was in the root
//! ```
//!
//! **Limit**: killed in the middle of a directory that can't be renamed, it and those above it get another time of their last change.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, unlinkat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{Named, Outcome};
use crate::{Failure, Part, Result, text};

mod carry;
mod stay;
#[cfg(test)]
mod tests;

use carry::{Attributes, Carrier, below, made_below, open};
use stay::Identities;

/// Which entries trade places.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swap {
    /// The root: `/`, but in tests.
    #[serde(with = "text::path")]
    pub root: PathBuf,
    /// The directory whose entries take the places, on the root's filesystem.
    #[serde(with = "text::path")]
    pub tree: PathBuf,
    /// A folder of that filesystem, for what was there and how far it went; it is among what stays.
    #[serde(with = "text::path")]
    pub folder: PathBuf,
    /// What stays with all that is in it, by its path in the root (`etc/hosts`).
    #[serde(with = "text::paths")]
    pub kept: Vec<PathBuf>,
    /// Directories that stay while what is in them moves, by their paths in the root and in the tree, outer ones first;
    /// the first is `""`. All above what is kept are among them.
    #[serde(with = "text::paths")]
    pub open: Vec<PathBuf>,
}

/// How far it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Stage {
    /// In the root are its own entries, some of which are aside.
    Leaving,
    /// In the root are entries of the tree.
    Entered,
}

#[derive(Serialize, Deserialize)]
struct State {
    swap: Swap,
    stage: Stage,
    /// Of the directories that stay, in order.
    attributes: Vec<Attributes>,
    identities: Identities,
}

/// Files that say that a swap is under way.
const STATES: [&str; 2] = ["state", "returning"];

impl Swap {
    /// Puts the entries of the tree into the root. If that fails, [`Swap::restore`] is needed.
    pub(crate) fn enter(&self) -> Outcome<()> {
        self.enter_by(&mut || Ok(()))
    }

    /// Puts them back into the tree, with what the command made of them, and the root's own to their places.
    pub(crate) fn leave(&self) -> Outcome<()> {
        let Some(state) = State::load(&self.folder)? else { return Ok(()) };
        let moved = state.go_back(&mut || Ok(()))?;
        let Some(first) = moved.first() else { return Ok(()) };
        Err(Failure {
            part: Part::InPlace,
            operation: format!(
                "the command moved {}, where something of the container stays; it is back, and the step is not kept",
                Path::new("/").join(first).display()
            ),
            errno: 0,
        })
    }

    /// Whether one is under way that has this folder.
    pub fn is_under_way(folder: &Path) -> bool {
        STATES.iter().any(|name| folder.join(name).exists())
    }

    /// Goes back from wherever a swap was that has this folder; false if there is none.
    ///
    /// # Errors
    /// The operation that failed, with its cause. What is left can be tried again.
    pub fn restore(folder: &Path) -> Result<bool> {
        let Some(state) = State::load(folder)? else { return Ok(false) };
        state.go_back(&mut || Ok(()))?;
        Ok(true)
    }

    /// The same, asking before each move.
    fn enter_by(&self, before: Before<'_>) -> Outcome<()> {
        if Self::is_under_way(&self.folder) {
            let operation =
                format!("files of the container are in {} still", self.folder.join("aside").display());
            return Err(Failure { part: Part::InPlace, operation, errno: 0 });
        }
        let (root, tree) = (top(&self.root)?, top(&self.tree)?);
        let of_all = |top: &OwnedFd, whose| {
            self.open.iter().map(|path| attributes(top, path, whose)).collect::<Outcome<Vec<_>>>()
        };
        let theirs = of_all(&tree, "the step's ")?;
        let mut state = State {
            swap: self.clone(),
            stage: Stage::Leaving,
            attributes: of_all(&root, "")?,
            identities: self.identities(),
        };
        state.write()?;
        let aside = self.folder.join("aside");
        fs::create_dir_all(&aside).named(Part::InPlace, || format!("make {}", aside.display()))?;
        let aside = top(&aside)?;
        let mut carrier = Carrier::new(before, top(&self.folder)?);
        for path in &self.open {
            self.carry(&mut carrier, (path, "aside"), &root, &aside, &self.open)?;
        }
        state.stage = Stage::Entered;
        state.write()?;
        for path in &self.open {
            self.carry(&mut carrier, (path, "in"), &tree, &root, &self.open)?;
        }
        give_all(&root, self.open.iter().zip(&theirs))
    }

    /// Moves what is in one of the directories that stay, but for those in it.
    fn carry(
        &self,
        carrier: &mut Carrier<'_>,
        (path, direction): (&Path, &str),
        from: &OwnedFd,
        to: &OwnedFd,
        open: &[PathBuf],
    ) -> Outcome<()> {
        let at = |name: &[u8]| path.join(std::ffi::OsStr::from_bytes(name));
        let named = |path: &Path| format!("move {} {direction}", Path::new("/").join(path).display());
        let source = below(from, path).named(Part::InPlace, || named(path))?;
        let target = made_below(to, path).named(Part::InPlace, || named(path))?;
        for name in carry::names(&source).named(Part::InPlace, || named(path))? {
            let inner = at(name.to_bytes());
            if !self.kept.contains(&inner) && !open.contains(&inner) {
                carrier.entry(&source, &name, &target).named(Part::InPlace, || named(&inner))?;
            }
        }
        Ok(())
    }
}

/// Asked before each move, for tests that end there.
type Before<'a> = &'a mut dyn FnMut() -> rustix::io::Result<()>;

impl State {
    /// What a folder says; nothing if no swap is under way.
    fn load(folder: &Path) -> Outcome<Option<Self>> {
        for name in STATES {
            let path = folder.join(name);
            let read = || format!("read {}", path.display());
            match fs::read(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                bytes => {
                    let bytes = bytes.named(Part::InPlace, read)?;
                    let state = serde_json::from_slice(&bytes).map_err(io::Error::from);
                    return state.map(Some).named(Part::InPlace, read);
                }
            }
        }
        Ok(None)
    }

    fn write(&self) -> Outcome<()> {
        let [path, new] = ["state", "state.new"].map(|name| self.swap.folder.join(name));
        let write = || fs::write(&new, serde_json::to_vec(self)?).and_then(|()| fs::rename(&new, &path));
        write().named(Part::InPlace, || format!("write {}", path.display()))
    }

    /// Gives what stays and was moved by the command.
    fn go_back(self, before: Before<'_>) -> Outcome<Vec<PathBuf>> {
        let Swap { folder, open, .. } = &self.swap;
        let root = top(&self.swap.root)?;
        let mut carrier = Carrier::new(before, top(folder)?);
        let [state, returning] = STATES.map(|name| folder.join(name));
        let mut moved = Vec::new();
        if self.stage == Stage::Entered && state.exists() {
            moved = self.swap.bring_back(&self.identities)?;
            self.swap.gather(&mut carrier, &root)?;
            fs::rename(&state, &returning).named(Part::InPlace, || format!("rename {}", state.display()))?;
        }
        // There is none yet if it ended before the first move.
        if let Ok(aside) = top(&folder.join("aside")) {
            for path in open.iter().filter(|path| below(&aside, path).is_ok()) {
                self.swap.carry(&mut carrier, (path, "back"), &aside, &root, open)?;
            }
            for path in open.iter().rev() {
                // They are empty now.
                let _ = unlinkat(CWD, folder.join("aside").join(path), AtFlags::REMOVEDIR);
            }
        }
        give_all(&root, open.iter().zip(&self.attributes))?;
        let _ = fs::remove_file(folder.join(carry::PART));
        for path in [state, returning] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.named(Part::InPlace, || format!("remove {}", path.display()))?,
            }
        }
        Ok(moved)
    }
}

impl Swap {
    /// Puts what is in the root into the tree. The command may have removed directories that stay otherwise, or have put
    /// something else into their place.
    fn gather(&self, carrier: &mut Carrier<'_>, root: &OwnedFd) -> Outcome<()> {
        fs::create_dir_all(&self.tree).named(Part::InPlace, || format!("make {}", self.tree.display()))?;
        let tree = top(&self.tree)?;
        let is_there = |path: &&PathBuf| below(root, path).is_ok();
        let (there, gone): (Vec<&PathBuf>, Vec<&PathBuf>) = self.open.iter().partition(is_there);
        for path in gone.iter().rev() {
            // It was emptied before.
            let _ = unlinkat(&tree, *path, AtFlags::REMOVEDIR);
        }
        let there: Vec<PathBuf> = there.into_iter().cloned().collect();
        let left = there.iter().map(|path| attributes(root, path, "")).collect::<Outcome<Vec<_>>>()?;
        for path in &there {
            self.carry(carrier, (path, "out"), root, &tree, &there)?;
        }
        give_all(&tree, there.iter().zip(&left))
    }
}

fn top(path: &Path) -> Outcome<OwnedFd> {
    open(CWD, path).named(Part::InPlace, || format!("open {}", path.display()))
}

fn attributes(top: &OwnedFd, path: &Path, whose: &str) -> Outcome<Attributes> {
    let found = below(top, path).and_then(|directory| Attributes::of(&directory));
    found.named(Part::InPlace, || format!("look at {whose}{}", Path::new("/").join(path).display()))
}

/// Inner ones first, whose change changes the times of outer ones.
fn give_all<'a, I>(top: &OwnedFd, all: I) -> Outcome<()>
where
    I: DoubleEndedIterator<Item = (&'a PathBuf, &'a Attributes)>,
{
    for (path, attributes) in all.rev() {
        let given = below(top, path).and_then(|directory| attributes.give(&directory));
        given.named(Part::InPlace, || {
            format!("set owner, mode and times of {}", Path::new("/").join(path).display())
        })?;
    }
    Ok(())
}
