//! What a kernel may ask of a step's filesystem, in any order and with any numbers: no request makes it panic, what it
//! holds in the end can be committed, and the change over the lower shows the same tree.
//!
//! Left out is what a kernel never sends: names and targets with a NUL in them, copies of a range over itself. Files
//! stay small, since commit reads them whole; a size is either that or more than a file can have.

use rbuild_overlay::{
    Caller, FileKind, Lower, NodeId, Options, Overlay, Store,
    ops::{SetAttributes, SetTime, Special},
};
use rbuild_tree::{
    Device, MemoryStore, ObjectId, Snapshot, Timestamp, Tree, TreeId, TreeStore, apply, entry::is_kept_xattr,
};
use std::{
    collections::HashMap,
    fmt::Write as _,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// More cost time and find nothing.
const MOST_REQUESTS: usize = 200;
const LARGEST: u64 = 20_000;
const CALLER: Caller = Caller { uid: 0, gid: 0, umask: 0o022, pid: 1 };

/// Trees in memory, objects in a folder.
struct Objects(MemoryStore, PathBuf);

impl TreeStore for Objects {
    fn tree(&self, id: &TreeId) -> rbuild_tree::Result<Arc<Tree>> {
        self.0.tree(id)
    }

    fn put_tree(&self, tree: &Tree) -> rbuild_tree::Result<TreeId> {
        self.0.put_tree(tree)
    }
}

impl Store for Objects {
    fn open(&self, id: &ObjectId) -> io::Result<File> {
        File::open(self.1.join(id.to_string()))
    }

    fn put_bytes(&self, bytes: &[u8]) -> io::Result<ObjectId> {
        let id = ObjectId::of(bytes);
        fs::write(self.1.join(id.to_string()), bytes)?;
        Ok(id)
    }

    fn put_file(&self, path: &Path) -> io::Result<(ObjectId, u64)> {
        let file = File::open(path)?;
        let id = rbuild_overlay::hash_file(&file)?;
        fs::rename(path, self.1.join(id.to_string()))?;
        Ok((id, file.metadata()?.len()))
    }
}

/// Two runs of requests, the second over what the first left.
pub fn check(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    let make = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir(&path).expect("a folder");
        path
    };
    let store = Arc::new(Objects(MemoryStore::default(), make("objects")));
    let open = |lower: &Snapshot, scratch: &str| {
        let mut options = Options::new(make(scratch));
        // Small, so that files leave memory.
        (options.inline_limit, options.inline_total, options.record) = (100, 300, true);
        Overlay::new(store.clone(), Lower::Snapshot(lower.clone()), options).expect("an overlay")
    };
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let mut lower = Snapshot::scratch();
    for (requests, scratch, again) in [(first, "1", "1a"), (second, "2", "2a")] {
        let overlay = open(&lower, scratch);
        let mut kernel = Kernel { overlay: &overlay, bytes: requests, known: vec![NodeId::ROOT] };
        for _ in 0..MOST_REQUESTS {
            if kernel.bytes.is_empty() {
                break;
            }
            kernel.ask();
        }
        let before = shown(&overlay);
        let changes = overlay.commit(None).expect("it can be committed");
        assert_eq!(shown(&overlay), before, "a commit changes nothing");
        let result = apply(&*store, &lower, &changes.delta).expect("the change applies to its lower");
        assert_eq!(shown(&open(&result, again)), before, "{:?}", changes.delta);
        lower = result;
    }
}

/// One that asks what the bytes say.
struct Kernel<'a> {
    overlay: &'a Overlay,
    bytes: &'a [u8],
    /// Numbers that were handed out, forgotten ones too.
    known: Vec<NodeId>,
}

impl Kernel<'_> {
    /// One byte; none left is zero.
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *first
    }

    fn number(&mut self) -> u64 {
        let bytes: [u8; 8] = std::array::from_fn(|_| self.byte());
        u64::from_le_bytes(bytes)
    }

    fn word(&mut self) -> u32 {
        u32::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    fn short(&mut self) -> u64 {
        u64::from(u16::from_le_bytes([self.byte(), self.byte()]))
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::from(self.byte()) % of.len()]
    }

    /// A node, mostly one of those last handed out; seldom a number that means nothing.
    fn id(&mut self) -> NodeId {
        match usize::from(self.byte()) {
            255 => NodeId(self.number()),
            byte => self.known[self.known.len() - 1 - byte % self.known.len()],
        }
    }

    fn name(&mut self) -> Vec<u8> {
        let names: [&[u8]; 14] = [
            b"a",
            b"b",
            b"c",
            b"a",
            b"b",
            b"c",
            b"d",
            b".wh.a",
            b".wh..wh..opq",
            b".",
            b"..",
            b"",
            b"a/b",
            b"\xff",
        ];
        match self.byte() {
            254 => vec![b'n'; 255],
            255 => vec![b'n'; 256],
            byte => names[usize::from(byte) % names.len()].to_vec(),
        }
    }

    /// Where in a file, or how large it is to be.
    fn size(&mut self) -> u64 {
        match self.byte() {
            0 => u64::MAX,
            1 => i64::MAX as u64 + 1,
            2..=20 => self.short() % LARGEST,
            byte => u64::from(byte),
        }
    }

    /// Anywhere: nothing is made there.
    fn offset(&mut self) -> u64 {
        if self.byte() == 0 { self.number() } else { self.size() }
    }

    /// What is written or is an attribute's value.
    fn data(&mut self) -> Vec<u8> {
        let (length, fill) = (self.short() % 600, self.byte());
        vec![fill; if length > 500 { (length * 30) as usize } else { length as usize }]
    }

    fn attribute(&mut self) -> &'static [u8] {
        const NAMES: [&[u8]; 12] = [
            b"user.a",
            b"user.b",
            b"user.",
            b"user.overlay.opaque",
            b"trusted.a",
            b"trusted.overlay.opaque",
            b"security.capability",
            b"security.selinux",
            b"system.posix_acl_access",
            b"system.posix_acl_default",
            b"system.posix_acl_other",
            b"",
        ];
        self.one(&NAMES)
    }

    /// An ACL of these entries, whether it makes sense or not; or any bytes.
    fn value(&mut self) -> Vec<u8> {
        let entries = usize::from(self.byte() % 8);
        if entries == 7 {
            return self.data();
        }
        let mut acl = vec![2, 0, 0, 0];
        for _ in 0..entries {
            let tag: u16 = self.one(&[0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40]);
            acl.extend(tag.to_le_bytes());
            acl.extend([self.byte(), 0, self.byte(), 0, 0, 0]);
        }
        acl
    }

    fn caller(&mut self) -> Caller {
        let (uid, gid) = (u32::from(self.byte() % 3), u32::from(self.byte() % 3));
        Caller { uid, gid, umask: self.one(&[0, 0o022, 0o777]), ..CALLER }
    }

    fn time(&mut self) -> Option<SetTime> {
        match self.byte() % 4 {
            0 => Some(SetTime::Now),
            1 => {
                let seconds = self.number().cast_signed();
                Some(SetTime::At(Timestamp { seconds, nanoseconds: self.word() % 1_000_000_000 }))
            }
            _ => None,
        }
    }

    fn maybe<T>(&mut self, some: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.byte().is_multiple_of(2) { Some(some(self)) } else { None }
    }

    fn special(&mut self) -> Special {
        let device = Device { major: self.word(), minor: self.word() };
        let kinds =
            [Special::CharDevice(device), Special::BlockDevice(device), Special::Fifo, Special::Socket];
        self.one(&kinds)
    }

    /// One request. What the answer is, is the business of other tests.
    fn ask(&mut self) {
        let overlay = self.overlay;
        let kind = self.byte() % 28;
        let id = self.id();
        let found = match kind {
            0 => overlay.lookup(id, &self.name()).ok(),
            1..=4 => overlay.create(id, &self.name(), self.word(), self.byte() == 0, &self.caller()).ok(),
            5 => overlay.mknod(id, &self.name(), self.special(), self.word(), &self.caller()).ok(),
            6..=8 => overlay.mkdir(id, &self.name(), self.word(), &self.caller()).ok(),
            9 => overlay.symlink(id, &self.name(), b"a/b", &self.caller()).ok(),
            10 | 11 => overlay.link(id, self.id(), &self.name()).ok(),
            _ => {
                self.ask_of(kind, id);
                None
            }
        };
        self.known.extend(found.map(|stat| stat.id));
    }

    fn ask_of(&mut self, kind: u8, id: NodeId) {
        let overlay = self.overlay;
        let _ = match kind {
            12 => overlay.unlink(id, &self.name()),
            13 => overlay.rmdir(id, &self.name()),
            14..=16 => {
                let flags = self.one(&[0, 0, 1, 2, 4, 5, 3, u32::MAX]);
                overlay.rename(id, &self.name(), self.id(), &self.name(), flags)
            }
            17 => overlay.write(id, self.size(), &self.data(), self.byte() == 0).map(drop),
            18 => overlay.write_cached(id, self.size(), &self.data(), self.byte() == 0).map(drop),
            19 => {
                let set = SetAttributes {
                    mode: self.maybe(Self::word),
                    uid: self.maybe(Self::word),
                    gid: self.maybe(Self::word),
                    size: self.maybe(Self::size),
                    atime: self.time(),
                    mtime: self.time(),
                };
                overlay.setattr(id, &set, &self.caller()).map(drop)
            }
            20 => {
                let mode = if self.byte() == 0 { self.word() } else { self.one(&[0, 1, 3, 0x10, 0x11]) };
                overlay.fallocate(id, self.size(), self.size(), mode, false)
            }
            21 => {
                let (to, from, target, length) = (self.id(), self.offset(), self.size(), self.offset());
                if id == to && from.abs_diff(target) < length {
                    return;
                }
                overlay.copy_file_range((id, from), (to, target), length, false).map(drop)
            }
            22 | 23 => {
                let (name, value, flags) = (self.attribute(), self.value(), self.one(&[0, 1, 2, u32::MAX]));
                overlay.setxattr(id, name, &value, flags, &self.caller())
            }
            24 => overlay.removexattr(id, self.attribute()),
            25 => {
                let count = if self.byte() == 0 { self.number() } else { 1 };
                overlay.forget(id, count);
                Ok(())
            }
            26 => self.list(id),
            _ => self.look(id),
        };
    }

    fn list(&mut self, id: NodeId) -> Result<(), rbuild_overlay::Errno> {
        let (cookie, count, mut room) = (self.offset(), self.byte().is_multiple_of(2), self.byte());
        let mut found = Vec::new();
        let listed = self.overlay.readdir(id, cookie, count, &mut |entry| {
            found.extend(entry.counts.then_some(entry.stat.id));
            room = room.saturating_sub(1);
            room > 0
        });
        self.known.extend(found);
        listed
    }

    fn look(&mut self, id: NodeId) -> Result<(), rbuild_overlay::Errno> {
        let overlay = self.overlay;
        match self.byte() % 8 {
            0 => overlay.getattr(id).map(drop),
            1 => overlay.readlink(id).map(drop),
            2 => overlay.statfs().map(drop),
            3 => overlay.getxattr(id, self.attribute()).map(drop),
            4 => overlay.listxattr(id).map(drop),
            5 => overlay.lseek(id, self.offset(), self.byte() == 0).map(drop),
            _ => overlay.read(id, self.offset(), 1 << 20).map(drop),
        }
    }
}

/// Everything that an overlay shows and an image can have, a line each.
fn shown(overlay: &Overlay) -> String {
    let (mut text, mut first, mut next) = (String::new(), HashMap::new(), vec![(NodeId::ROOT, Vec::new())]);
    while let Some((id, path)) = next.pop() {
        let name: String = path.escape_ascii().to_string();
        let stat = overlay.getattr(id).expect("it was listed");
        let same = first.entry(id).or_insert_with(|| name.clone()).clone();
        let (content, size) = match stat.kind {
            FileKind::File => (overlay.read(id, 0, 1 << 24).expect("its bytes"), Some(stat.size)),
            FileKind::Symlink => (overlay.readlink(id).expect("its target"), Some(stat.size)),
            _ => (Vec::new(), None),
        };
        assert!(
            size.is_none_or(|size| size == content.len() as u64),
            "{name}: {stat:?}, {} bytes",
            content.len()
        );
        let (kind, mode, links, uid, gid) = (stat.kind, stat.mode, stat.links, stat.uid, stat.gid);
        let (time, device, content) = (stat.mtime, stat.device, ObjectId::of(&content));
        writeln!(
            text,
            "/{name} {kind:?} {mode:o} {links} {uid}:{gid} {time:?} {device:?} {content} = /{same}"
        )
        .expect("a string");
        let names = overlay.listxattr(id).expect("its attributes");
        for name in names.split(|byte| *byte == 0).filter(|name| is_kept_xattr(name)) {
            let value = overlay.getxattr(id, name).expect("it was listed");
            writeln!(text, "  {} {}", name.escape_ascii(), value.escape_ascii()).expect("a string");
        }
        if stat.kind == FileKind::Directory {
            next.extend(children(overlay, id, &path));
        }
    }
    text
}

/// The nodes in a directory with their paths, in order.
fn children(overlay: &Overlay, id: NodeId, path: &[u8]) -> Vec<(NodeId, Vec<u8>)> {
    let mut found = Vec::new();
    let listed = overlay.readdir(id, 0, false, &mut |entry| {
        if entry.counts {
            found.push((entry.stat.id, [path, b"/", entry.name].concat()));
        }
        true
    });
    listed.expect("it is a directory");
    found.sort_by(|(_, left), (_, right)| left.cmp(right));
    found
}
