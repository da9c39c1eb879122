//! What is written to a layer, byte for byte where it matters.

use crate::support::listed;
use rbuild_oci::{Error, ObjectStore, memory::MemoryObjects, sha256, write_layer};
use rbuild_tree::{Device, Editor, Entry, Kind, Metadata, ObjectId, Snapshot, Timestamp, Tree, TreePath};

/// Trees made by hand.
pub struct Maker {
    pub store: MemoryObjects,
}

impl Maker {
    pub fn new() -> Self {
        Self { store: MemoryObjects::default() }
    }

    /// Changes a snapshot.
    pub fn edit(&self, base: &Snapshot, change: impl FnOnce(&mut Hand<'_>)) -> Snapshot {
        let mut hand = Hand { store: &self.store, editor: Editor::new(&self.store, base) };
        change(&mut hand);
        hand.editor.finish().unwrap()
    }

    pub fn make(&self, change: impl FnOnce(&mut Hand<'_>)) -> Snapshot {
        self.edit(&Snapshot::scratch(), change)
    }

    pub fn layer(&self, base: Option<&Snapshot>, result: &Snapshot) -> Vec<u8> {
        let mut out = Vec::new();
        write_layer(&self.store, base, result, Timestamp::from_seconds(99), &mut out).unwrap();
        out
    }
}

pub struct Hand<'s> {
    store: &'s MemoryObjects,
    pub editor: Editor<'s>,
}

pub fn path(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).unwrap()
}

pub fn plain(mode: u32) -> Metadata {
    Metadata::root(mode, Timestamp::from_seconds(1))
}

impl Hand<'_> {
    pub fn put(&mut self, at: &str, kind: Kind, metadata: Metadata) {
        self.editor.insert(&path(at), Entry { metadata, kind }).unwrap();
    }

    pub fn file(&mut self, at: &str, content: &str) {
        let (object, size) = self.store.put_stream(&mut content.as_bytes(), 0).unwrap();
        self.put(at, Kind::File { object, size }, plain(0o644));
    }

    pub fn directory(&mut self, at: &str) {
        self.put(at, Kind::Directory(Tree::default().id()), plain(0o755));
    }

    pub fn link(&mut self, existing: &str, new: &str) {
        self.editor.link(&path(existing), &path(new)).unwrap();
    }

    pub fn remove(&mut self, at: &str) {
        assert!(self.editor.remove(&path(at)).unwrap());
    }
}

fn everything(maker: &Maker) -> Snapshot {
    maker.make(|hand| {
        hand.directory("d");
        hand.file("d/file", "content");
        hand.link("d/file", "d/again");
        hand.link("d/file", "a-first");
        hand.put("d/link", Kind::Symlink(b"../x".as_slice().into()), plain(0o777));
        hand.put("dev", Kind::CharDevice(Device { major: 5, minor: 1_000_000 }), plain(0o600));
        hand.put("disk", Kind::BlockDevice(Device { major: 8, minor: 0 }), plain(0o660));
        hand.put("pipe", Kind::Fifo, plain(0o644));
        hand.put("socket", Kind::Socket, plain(0o755));
        let xattrs = [("user.b", &[0_u8, 10, 255][..]), ("user.a", b"1")];
        let xattrs = xattrs.map(|(name, value)| (name.as_bytes().into(), value.into())).into();
        let (object, size) = maker.store.put_stream(&mut &b"x"[..], 1).unwrap();
        let mtime = Timestamp { seconds: -2, nanoseconds: 500_000_000 };
        let metadata = Metadata { mode: 0o4755, uid: 4_204_350, gid: 65_534, mtime, xattrs };
        hand.put(&format!("d/\u{e4}{}", "n".repeat(150)), Kind::File { object, size }, metadata);
    })
}

#[test]
fn all_kinds_in_order() {
    let maker = Maker::new();
    let result = everything(&maker);
    let mut out = Vec::new();
    let summary = write_layer(&maker.store, None, &result, Timestamp::default(), &mut out).unwrap();
    assert_eq!(
        listed(&out),
        [
            "0 a-first",
            "5 d/",
            "1 d/again > a-first",
            "1 d/file > a-first",
            "2 d/link > ../x",
            &format!(
                "0 d/\u{e4}{} [SCHILY.xattr.user.a] [SCHILY.xattr.user.b] [mtime] [path] [uid]",
                "n".repeat(150)
            ),
            "3 dev",
            "4 disk",
            "6 pipe",
        ]
    );
    assert_eq!((summary.entries, summary.bytes), (9, out.len() as u64));
    assert_eq!(summary.skipped_sockets, [path("socket")]);
    assert_eq!(&out[out.len() - 1024..], [0; 1024]);
    // The format is remembered by digest: other bytes for the same tree are a break that the changelog must tell.
    assert_eq!(
        sha256(&out).to_string(),
        "sha256:092556eb7f004e82bdc14553ddf93f818cd13b89e869a345cbc68b3fcda19297"
    );
}

#[test]
fn only_what_changed_and_what_stands_above_it() {
    let maker = Maker::new();
    let base = maker.make(|hand| {
        for directory in ["d", "d/e", "d/e/f", "same", "gone", "gone/deep"] {
            hand.directory(directory);
        }
        for file in ["d/e/f/x", "d/e/y", "same/z", "gone/deep/1", "gone/2", "top"] {
            hand.file(file, file);
        }
    });
    let change =
        |change: &dyn Fn(&mut Hand<'_>)| listed(&maker.layer(Some(&base), &maker.edit(&base, change)));
    assert_eq!(change(&|_| {}), [""; 0]);
    assert_eq!(change(&|hand| hand.file("d/e/f/x", "new")), ["5 d/", "5 d/e/", "5 d/e/f/", "0 d/e/f/x"]);
    assert_eq!(change(&|hand| hand.remove("d/e/y")), ["5 d/", "5 d/e/", "0 d/e/.wh.y"]);
    assert_eq!(change(&|hand| hand.remove("gone")), ["0 .wh.gone"]);
    assert_eq!(
        change(&|hand| {
            hand.remove("top");
            hand.file("a", "");
            hand.remove("gone");
        }),
        ["0 .wh.gone", "0 .wh.top", "0 a"]
    );
    assert_eq!(
        change(&|hand| hand.editor.set_metadata(&path("d/e"), plain(0o700)).unwrap()),
        ["5 d/", "5 d/e/"]
    );
    assert_eq!(change(&|hand| hand.editor.set_metadata(&path(""), plain(0o700)).unwrap()), ["5 ./"]);
    assert_eq!(change(&|hand| hand.file("gone", "a file now")), ["0 gone"]);
    assert_eq!(change(&|hand| hand.directory("top")), ["5 top/"]);
    assert_eq!(
        change(&|hand| {
            let moved = hand.editor.entry(&path("d/e")).unwrap().unwrap();
            hand.remove("d/e");
            hand.editor.insert(&path("m"), moved).unwrap();
        }),
        ["5 d/", "0 d/.wh.e", "5 m/", "5 m/f/", "0 m/f/x", "0 m/y"]
    );
}

#[test]
fn whiteouts_have_the_time_that_was_given() {
    let maker = Maker::new();
    let base = maker.make(|hand| hand.file("x", ""));
    let out = maker.layer(Some(&base), &Snapshot::scratch());
    assert_eq!(&out[100..108], b"0000000\0", "mode");
    assert_eq!(&out[136..148], b"00000000143\0", "time 99");
    assert_eq!(out.len(), 512 + 1024);
}

#[test]
fn groups_are_written_whole() {
    let maker = Maker::new();
    let base = maker.make(|hand| {
        hand.file("a", "1");
        hand.link("a", "b");
        hand.link("a", "c");
        hand.file("other", "2");
    });
    let change =
        |change: &dyn Fn(&mut Hand<'_>)| listed(&maker.layer(Some(&base), &maker.edit(&base, change)));
    assert_eq!(change(&|hand| hand.link("b", "n")), ["0 a", "1 b > a", "1 c > a", "1 n > a"]);
    assert_eq!(
        change(&|hand| hand.editor.set_metadata(&path("c"), plain(0o600)).unwrap()),
        ["0 a", "1 b > a", "1 c > a"]
    );
    assert_eq!(change(&|hand| hand.file("b", "cut loose")), ["0 b"]);
    assert_eq!(change(&|hand| hand.remove("a")), ["0 .wh.a"]);
}

#[test]
fn sockets_are_in_no_layer_and_hide_what_was_there() {
    let maker = Maker::new();
    let base = maker.make(|hand| {
        hand.file("f", "");
        hand.put("s", Kind::Socket, plain(0o600));
    });
    let result = maker.edit(&base, |hand| {
        hand.put("f", Kind::Socket, plain(0o600));
        hand.remove("s");
    });
    assert_eq!(listed(&maker.layer(Some(&base), &result)), ["0 .wh.f"]);
}

#[test]
fn names_that_look_like_whiteouts_are_refused() {
    let maker = Maker::new();
    let result = maker.make(|hand| {
        hand.directory("d");
        hand.file("d/.wh.x", "");
    });
    let error = write_layer(&maker.store, None, &result, Timestamp::default(), &mut Vec::new()).unwrap_err();
    assert!(matches!(&error, Error::NotInLayer { path: at, .. } if *at == path("d/.wh.x")), "{error}");
    assert!(error.to_string().starts_with("/d/.wh.x can't be written to a layer"), "{error}");
}

/// In an archive the first `=` ends a name: `user.a=b` would come back as `user.a`.
#[test]
fn attributes_whose_name_an_archive_would_cut_are_refused() {
    let maker = Maker::new();
    let named = |name: &[u8]| {
        let mut metadata = plain(0o644);
        metadata.xattrs.insert(name.into(), b"value"[..].into());
        maker.make(|hand| hand.put("f", Kind::Fifo, metadata))
    };
    let write =
        |result: &Snapshot| write_layer(&maker.store, None, result, Timestamp::default(), &mut Vec::new());
    let error = write(&named(b"user.a=b")).unwrap_err();
    assert!(matches!(&error, Error::NotInLayer { path: at, .. } if *at == path("f")), "{error}");
    assert!(write(&named(b"user.100%")).is_ok());
}

#[test]
fn damaged_objects_are_named() {
    for (damage, reason) in [
        (Some(&b"conten!"[..]), "another digest"),
        (Some(b"short"), "lacks 2 of its 7 bytes"),
        (Some(b"much too long"), "more than 7 bytes"),
        (None, "no such object"),
    ] {
        let maker = Maker::new();
        let id = ObjectId::of(b"content");
        let result = maker.make(|hand| hand.put("f", Kind::File { object: id, size: 7 }, plain(0o644)));
        if let Some(bytes) = damage {
            maker.store.put_as(id, bytes);
        }
        let error =
            write_layer(&maker.store, None, &result, Timestamp::default(), &mut Vec::new()).unwrap_err();
        let is_it =
            matches!(&error, Error::Object { id: named, path: at, .. } if *named == id && *at == path("f"));
        assert!(is_it && error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn a_full_disk_is_an_error() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::from(std::io::ErrorKind::StorageFull))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let maker = Maker::new();
    let result = maker.make(|hand| hand.file("f", "x"));
    let error = write_layer(&maker.store, None, &result, Timestamp::default(), &mut Full).unwrap_err();
    assert!(error.to_string().starts_with("writing /f to a layer: "), "{error}");
}
