//! The filesystem as the library wants it: running an operation, and the answers that several requests share.

use super::{Makers, convert, spin::Spinner};
use crate::{Caller, Errno, Overlay, Stat};
use fuser::{FileAttr, Generation, ReplyEmpty, ReplyEntry, ReplyXattr, Request};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::Ordering,
    time::Duration,
};

/// A hundred years.
pub(super) const FOR_EVER: Duration = Duration::from_secs(3_200_000_000);
pub(super) const GENERATION: Generation = Generation(0);

/// An overlay, and who waits for the next request to it.
pub(super) struct Adaptor {
    pub overlay: Overlay,
    pub spinner: Spinner,
    /// Where the kernel knows one id: who its processes are.
    pub makers: Option<Makers>,
}

type Reply<T> = Result<T, fuser::Errno>;

impl Adaptor {
    pub fn new(overlay: Overlay, spinner: Spinner, makers: Option<Makers>) -> Self {
        Self { overlay, spinner, makers }
    }

    /// What the kernel is told of a node. Where it knows one id, everything belongs to that: it refuses to change what is
    /// somebody's whom it does not know.
    pub fn attributes(&self, stat: &Stat) -> FileAttr {
        let attributes = convert::attributes(stat);
        if self.makers.is_some() { FileAttr { uid: 0, gid: 0, ..attributes } } else { attributes }
    }

    /// Who asks; what is made belongs to him.
    pub fn caller(&self, request: &Request, umask: u32) -> Caller {
        let (uid, gid) = match &self.makers {
            Some(makers) => makers(request.pid()),
            None => (request.uid(), request.gid()),
        };
        Caller { uid, gid, umask, pid: request.pid() }
    }

    /// The owner and group that the kernel sets. Where it knows one id it is always that, and means nothing.
    pub fn new_owner(&self, uid: Option<u32>, gid: Option<u32>) -> (Option<u32>, Option<u32>) {
        if self.makers.is_some() { (None, None) } else { (uid, gid) }
    }

    /// Whether a change of content clears set-id bits where the kernel does not say so: root keeps them.
    pub fn kills(&self, request: &Request) -> bool {
        self.caller(request, 0).uid != 0
    }

    /// Runs an operation. One that panics is EIO to the program and makes the step fail, never a hang.
    pub fn run<T>(&self, operation: impl FnOnce(&Overlay) -> Result<T, Errno>) -> Reply<T> {
        let outcome = catch_unwind(AssertUnwindSafe(|| operation(&self.overlay))).unwrap_or_else(|_| {
            self.overlay.0.panicked.store(true, Ordering::Release);
            Err(Errno::IO)
        });
        outcome.map_err(|errno| fuser::Errno::from_i32(errno.raw_os_error()))
    }

    pub fn entry(&self, reply: ReplyEntry, operation: impl FnOnce(&Overlay) -> Result<Stat, Errno>) {
        match self.run(operation) {
            Ok(stat) => reply.entry(&FOR_EVER, &self.attributes(&stat), GENERATION),
            Err(errno) => reply.error(errno),
        }
    }

    pub fn empty(&self, reply: ReplyEmpty, operation: impl FnOnce(&Overlay) -> Result<(), Errno>) {
        match self.run(operation) {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    pub fn xattr(
        &self,
        size: u32,
        reply: ReplyXattr,
        operation: impl FnOnce(&Overlay) -> Result<Vec<u8>, Errno>,
    ) {
        match self.run(operation) {
            Ok(value) => match u32::try_from(value.len()) {
                Ok(length) if size == 0 => reply.size(length),
                Ok(length) if length <= size => reply.data(&value),
                _ => reply.error(fuser::Errno::ERANGE),
            },
            Err(errno) => reply.error(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Error, Lower, NodeId, Options, Store};
    use rbuild_tree::{MemoryStore, ObjectId, Snapshot, Tree, TreeId, TreeStore};
    use std::{fs::File, io, path::Path, sync::Arc};

    /// Keeps no bytes.
    struct Trees(MemoryStore);

    impl TreeStore for Trees {
        fn tree(&self, id: &TreeId) -> rbuild_tree::Result<Arc<Tree>> {
            self.0.tree(id)
        }
        fn put_tree(&self, tree: &Tree) -> rbuild_tree::Result<TreeId> {
            self.0.put_tree(tree)
        }
    }

    impl Store for Trees {
        fn open(&self, _: &ObjectId) -> io::Result<File> {
            Err(io::ErrorKind::NotFound.into())
        }
        fn put_bytes(&self, _: &[u8]) -> io::Result<ObjectId> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn put_file(&self, _: &Path) -> io::Result<(ObjectId, u64)> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    #[test]
    fn a_panic_is_an_error_to_the_program_and_fails_the_step() {
        let scratch = tempfile::tempdir().unwrap();
        let store = Arc::new(Trees(MemoryStore::default()));
        let lower = Lower::Snapshot(Snapshot::scratch());
        let overlay = Overlay::new(store, lower, Options::new(scratch.path())).unwrap();
        let device = File::open("/dev/null").unwrap().into();
        let adaptor = Adaptor::new(overlay.clone(), Spinner::new(device), None);
        assert!(overlay.commit(None).is_ok());
        let poisoning = |overlay: &Overlay| -> Result<(), Errno> {
            let _guard = overlay.0.root.lock();
            panic!("on purpose")
        };
        assert_eq!(adaptor.run(poisoning), Err(fuser::Errno::EIO));
        assert!(adaptor.run(|overlay| overlay.getattr(NodeId::ROOT)).is_ok());
        assert!(matches!(overlay.commit(None), Err(Error::Panicked)));
    }
}
