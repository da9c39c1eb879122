//! From dirty nodes to a delta.
//!
//! Nothing is scanned: every node that changed is in a list, and from those the directories above are found by their
//! names. Then the tree is walked from the root along touched names only. A directory that still is where the lower
//! has it becomes a change of its names; anything that moved or is new becomes an entry, its bytes an object of the
//! store. What turns out equal to the lower is no change.

mod build;
mod change;
mod links;
mod touched;

use crate::{
    Errno, Error, Overlay, Trace,
    node::{Inode, Name, Node},
};
use rbuild_tree::{Delta, Links, Metadata, Timestamp, TreePath};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, PoisonError, atomic::Ordering},
    thread,
};

use crate::NodeId;

/// Directories nest up to `MAX_DEPTH`, and so does the walk.
const STACK: usize = 64 << 20;

/// What a step did.
#[derive(Debug)]
pub struct Changes {
    /// The difference to the lower; to the live directory itself if that is one, earlier steps' included.
    pub delta: Delta,
    /// What the step saw of its lower; none if that was not asked for, or can't be told.
    pub trace: Option<Trace>,
    /// What the user should know, a sentence each.
    pub warnings: Vec<String>,
}

/// One commit under way.
struct Commit<'a> {
    overlay: &'a Overlay,
    clamp: Option<Timestamp>,
    /// Names that may differ, or have something below them that may, by directory.
    touched: HashMap<NodeId, BTreeSet<Name>>,
    /// Directories whose own touched names and ancestors are noted.
    closed: HashSet<NodeId>,
    /// Nodes to write out although they equal the lower, since a name joined them.
    forced: HashSet<NodeId>,
    /// Nodes of several names that the delta's link table must hold.
    linked: BTreeMap<NodeId, Arc<Node>>,
    /// Whether an attribute was set that the result can't have.
    dropped: bool,
    warnings: Vec<String>,
}

impl Overlay {
    /// Whether all that was answered is right.
    ///
    /// # Errors
    /// [`Error::Panicked`] if an operation failed inside, [`rbuild_tree::Error::Missing`] if the store had not got
    /// what a program read: it saw EIO; [`Error::Io`] of the scratch folder if it was too small for what a program wrote.
    pub fn check(&self) -> Result<(), Error> {
        if self.0.panicked.load(Ordering::Acquire) {
            return Err(Error::Panicked);
        }
        self.0.store.check()?;
        // Also if the program made the best of it: elsewhere, with more room, it had come to another result.
        let folder = self.0.scratch.path();
        let full = |errno: &Errno| Error::io("keep what a step wrote in", folder)((*errno).into());
        self.0.full.get().map_or(Ok(()), |errno| Err(full(errno)))
    }

    /// The answer to a program that wrote; remembers that there was no room.
    pub(crate) fn written<T>(&self, answer: Result<T, Errno>) -> Result<T, Errno> {
        if let Err(errno @ (Errno::NOSPC | Errno::DQUOT)) = answer {
            let _ = self.0.full.set(errno);
        }
        answer
    }

    /// What changed since the mount began, with the bytes moved into the store. Call it when nobody uses the mount
    /// any more. Times later than `clamp` of what the step wrote become `clamp`; older ones and those of the lower
    /// stay.
    ///
    /// # Errors
    /// As [`Overlay::check`]; the store or the lower can't be read or written.
    pub fn commit(&self, clamp: Option<Timestamp>) -> Result<Changes, Error> {
        self.check()?;
        thread::scope(|scope| {
            let name = "overlay commit".to_owned();
            let commit = || Commit::new(self, clamp).run();
            let handle = thread::Builder::new().name(name).stack_size(STACK).spawn_scoped(scope, commit);
            let handle =
                handle.map_err(|source| Error::Io { context: "start a thread".to_owned(), source })?;
            handle.join().map_err(|_| Error::Panicked)?
        })
    }
}

impl<'a> Commit<'a> {
    fn new(overlay: &'a Overlay, clamp: Option<Timestamp>) -> Self {
        Self {
            overlay,
            clamp,
            touched: HashMap::new(),
            closed: HashSet::new(),
            forced: HashSet::new(),
            linked: BTreeMap::new(),
            dropped: false,
            warnings: Vec::new(),
        }
    }

    fn run(mut self) -> Result<Changes, Error> {
        let dirty = self.overlay.0.dirty.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let dirty: Vec<Arc<Node>> = dirty.into_iter().filter_map(|id| self.overlay.node(id).ok()).collect();
        dirty.iter().for_each(|node| self.touch(node));
        self.touch(&self.overlay.0.root);
        self.find_links(&dirty)?;
        let root = self.directory_change(&Arc::clone(&self.overlay.0.root), &TreePath::root())?;
        if self.dropped {
            let warning = "attributes `trusted.*` were set: an image can't hold them, and they are left out";
            self.warnings.push(warning.to_owned());
        }
        let links = Links::new(self.groups(&root));
        let delta = Delta { root, links };
        let recorder = self.overlay.0.recorder.as_ref();
        let trace = recorder.map(|recorder| recorder.finish(self.overlay.0.base.live())).transpose();
        let trace = trace.unwrap_or_else(|reason| {
            self.warnings.push(format!("this step can't be cached: {reason}"));
            None
        });
        Ok(Changes { delta, trace, warnings: self.warnings })
    }

    /// The metadata to write for a node.
    fn metadata(&mut self, inode: &Inode) -> Metadata {
        let mut metadata = inode.metadata();
        metadata.xattrs.retain(|name, _| {
            let kept = (self.overlay.0.keep_xattr)(name);
            self.dropped |= !kept && name.starts_with(b"trusted.");
            kept
        });
        if let Some(clamp) = self.clamp
            && was_written(inode)
        {
            metadata.mtime = metadata.mtime.min(clamp);
        }
        metadata
    }
}

/// Whether the step set the time of a node.
fn was_written(inode: &Inode) -> bool {
    match (&inode.origin, &inode.original) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(_), Some(original)) => original.metadata.mtime != inode.mtime,
    }
}
