//! A layer of any bytes over a small tree.

use super::whiteouts::{self, Item, Kind};
use rbuild_oci::{Error, Import, ObjectStore, apply_layer, import, memory::MemoryObjects, write_layer};
use rbuild_tree::{
    Kind as TreeKind, ObjectId, Result as TreeResult, Snapshot, Timestamp, Tree, TreeId, TreeStore, lookup,
    walk,
};
use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Bytes of content that are kept: a few bytes of a sparse file can mean as many as one likes.
const ROOM: u64 = 4 << 20;

/// What comes out is a sound tree without markers, and a layer that makes it of the tree below; an error is one line.
pub fn check(bytes: &[u8]) {
    let store = Store::default();
    let base = base(&store);
    let result = match apply_layer(&mut with_checksums(bytes).as_slice(), &base, &store) {
        Ok(result) => result,
        Err(error) => return check_error(&error),
    };
    check_tree(&store, &result);
    let mut layer = Vec::new();
    let summary = write_layer(&store, Some(&base), &result, Timestamp::default(), &mut layer);
    assert_eq!(summary.expect("it can be written").skipped_sockets, []);
    let again = apply_layer(&mut layer.as_slice(), &base, &store).expect("what is written is a layer");
    assert_eq!(again, result);
}

/// What calls itself a header gets the checksum of one; else hardly any would be looked into.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for block in bytes.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    bytes
}

fn check_error(error: &Error) {
    let message = error.to_string();
    assert!(!message.is_empty() && !message.contains(char::is_control), "{message:?}");
    assert!(message.len() < 16 << 10, "{} bytes of message", message.len());
}

fn check_tree(store: &Store, result: &Snapshot) {
    let walked = walk(store, &result.tree, &mut |path, entry| {
        assert!(!path.names().any(|name| name.starts_with(b".wh.")), "{path}");
        if let TreeKind::File { object, size } = &entry.kind {
            assert_eq!(store.objects.bytes(object).map(|bytes| bytes.len() as u64), Some(*size), "{path}");
        }
        Ok(())
    });
    walked.expect("the tree is there");
    for group in result.links.groups() {
        let first = lookup(store, result, &group[0]).expect("the tree is there");
        assert!(group.len() > 1 && first.is_some(), "{group:?}");
        for path in group {
            assert_eq!(lookup(store, result, path).expect("the tree is there"), first, "{group:?}");
        }
    }
}

/// `/a`, `/a/b`, `/f` with a second name, `/l -> a`.
fn base(store: &Store) -> Snapshot {
    let item = |path: &str, kind| Item { kind, path: path.to_owned(), mode: 0o750 };
    let items = [
        item("a", Kind::Directory),
        item("a/b", Kind::File),
        item("f", Kind::File),
        item("a/g", Kind::HardLink("f".to_owned())),
        item("s", Kind::Symlink),
    ];
    let archive = whiteouts::archive(&items);
    import(&mut archive.as_slice(), store, &Import::default()).expect("the tree below")
}

#[derive(Default)]
struct Store {
    objects: MemoryObjects,
    used: AtomicU64,
}

impl TreeStore for Store {
    fn tree(&self, id: &TreeId) -> TreeResult<Arc<Tree>> {
        self.objects.tree(id)
    }

    fn put_tree(&self, tree: &Tree) -> TreeResult<TreeId> {
        self.objects.put_tree(tree)
    }
}

impl ObjectStore for Store {
    fn open(&self, id: &ObjectId) -> io::Result<Box<dyn Read + Send>> {
        self.objects.open(id)
    }

    fn put_stream(&self, bytes: &mut dyn Read, size: u64) -> io::Result<(ObjectId, u64)> {
        if self.used.fetch_add(size, Ordering::Relaxed).saturating_add(size) > ROOM {
            return Err(io::Error::other("the store is full"));
        }
        self.objects.put_stream(bytes, size)
    }
}
