//! The encodings are fixed for ever, read back what was written, and take nothing else.

use crate::text::{metadata, path};
use proptest::prelude::*;
use rbuild_tree::{
    Change, Delta, Device, DirectoryChange, Entry, Kind, Links, Metadata, Name, ObjectId, Snapshot,
    Timestamp, Tree, TreeId, TreePath, encoding,
};

/// One entry of every kind, with every piece of metadata.
fn every_kind() -> Tree {
    let entry = |kind| Entry { metadata: metadata(0o644, 1_700_000_000), kind };
    let mut special = entry(Kind::File { object: ObjectId::of(b"hello"), size: 5 });
    special.metadata = Metadata {
        mode: 0o6755,
        uid: 1_000,
        gid: u32::MAX,
        mtime: Timestamp { seconds: -2, nanoseconds: 999_999_999 },
        xattrs: [(b"security.capability".as_slice(), b"\x01\0\0\x02".as_slice()), (b"user.x", b"")]
            .map(|(name, value)| (name.into(), value.into()))
            .into(),
    };
    let kinds = [
        ("file", entry(Kind::File { object: ObjectId::of(b""), size: 0 })),
        ("special", special),
        ("directory", entry(Kind::Directory(Tree::default().id()))),
        ("link", entry(Kind::Symlink(b"../\xfftarget".as_slice().into()))),
        ("char", entry(Kind::CharDevice(Device { major: 1, minor: 3 }))),
        ("block", entry(Kind::BlockDevice(Device { major: 259, minor: 1_048_575 }))),
        ("fifo", entry(Kind::Fifo)),
        ("socket", entry(Kind::Socket)),
        ("not \u{fffd} text", entry(Kind::Fifo)),
    ];
    Tree::from_entries(kinds.map(|(name, entry)| (name.as_bytes().into(), entry)))
}

fn links() -> Links {
    Links::new([vec![path("b"), path("a")], vec![path("x/y"), path("c"), path("z")]])
}

fn delta() -> Delta {
    let tree = every_kind();
    let replaced = |name: &str| Change::Replaced(tree.get(name.as_bytes()).unwrap().clone());
    let inner = DirectoryChange {
        metadata: Some(metadata(0o700, 7)),
        children: [(Name::from(*b"gone"), Change::Removed), (Name::from(*b"new"), replaced("special"))]
            .into(),
    };
    let outer = DirectoryChange {
        metadata: None,
        children: [(Name::from(*b"d"), Change::Directory(inner)), (Name::from(*b"f"), replaced("directory"))]
            .into(),
    };
    Delta { root: outer, links: links() }
}

#[test]
fn golden_digests() {
    let tree = every_kind();
    let snapshot = Snapshot { root: metadata(0o755, 0), tree: tree.id(), links: links() };
    let cases = [
        (
            "empty tree",
            Tree::default().id().to_string(),
            "d71cd62c21d300b8aab01147c4c31a55ae89f33f8af17cc70611d9c4bbeadff6",
        ),
        ("tree", tree.id().to_string(), "9164a389de3e5b9e82a311ccf8f93aaf6d9c1b19d44ad05f2cb859e0301df666"),
        (
            "scratch",
            Snapshot::scratch().id().to_string(),
            "56dbd2696a43e5d0a2121a1a1ee92303c5617d8a3cae690052e08dfc37e06658",
        ),
        (
            "snapshot",
            snapshot.id().to_string(),
            "23de15bbbdc33095e0c963930929f4781d179bf2f5569d6e32f5dd1279ee8589",
        ),
        (
            "empty delta",
            Delta::default().id().to_string(),
            "2928b3c3c82488a9359bc36a18fbf33d3e603014cf9f86945121fea6c8c58b59",
        ),
        (
            "delta",
            delta().id().to_string(),
            "20d81aec9b48c23a7963931582c5634b6b2f6bf8e7f1d7ec2f47422f501b0bfd",
        ),
    ];
    for (what, digest, golden) in cases {
        assert_eq!(digest, golden, "the encoding of {what} changed: that is a format break");
    }
}

#[test]
fn golden_bytes() {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(&encoding::encode_tree(&Tree::default())), "72627401".to_owned() + "00");
    let fifo = Entry { metadata: metadata(0o4755, -1), kind: Kind::Fifo };
    let tree = Tree::from_entries([(Name::from(*b"p"), fifo)]);
    // Magic, one entry, name "p"; mode 0o4755 = 2541, uid, gid, -1 s, 0 ns, no attributes; fifo.
    assert_eq!(
        hex(&encoding::encode_tree(&tree)),
        "72627401".to_owned() + "01" + "0170" + "ed1300000100" + "00" + "05"
    );
    let delta = Delta {
        root: DirectoryChange { metadata: None, children: [(Name::from(*b"x"), Change::Removed)].into() },
        links: Links::new([vec![path("a"), path("b/c")]]),
    };
    assert_eq!(
        hex(&encoding::encode_delta(&delta)),
        "72626401".to_owned() + "00" + "01" + "0178" + "00" + "01" + "02" + "0161" + "03622f63"
    );
}

#[test]
fn only_canonical_bytes_are_taken() {
    let tree = |tail: &[u8]| encoding::decode_tree(&[b"rbt\x01", tail].concat()).map(drop);
    let snapshot = |tail: &[u8]| {
        let head = [b"rbs\x01".as_slice(), &[0; 6], &[7; 32]].concat();
        encoding::decode_snapshot(&[head.as_slice(), tail].concat()).map(drop)
    };
    let fifo = |name: &[u8]| [&[name.len() as u8], name, &[0; 6], &[5]].concat();
    let entries = |names: &[&[u8]]| {
        [vec![names.len() as u8], names.iter().flat_map(|name| fifo(name)).collect()].concat()
    };
    let sound = [tree(&[0]), tree(&entries(&[b"a", b"b"])), snapshot(&[0]), snapshot(b"\x01\x02\x01a\x01b")];
    assert!(sound.iter().all(Result::is_ok), "{sound:?}");
    let cases = [
        (encoding::decode_tree(b"rbt").map(drop), "it ends too early"),
        (
            encoding::decode_tree(b"rbt\x02\0").map(drop),
            "it does not start with the magic bytes of this version",
        ),
        (
            encoding::decode_tree(b"rbs\x01\0").map(drop),
            "it does not start with the magic bytes of this version",
        ),
        (tree(&[0, 0]), "bytes are left over"),
        (tree(&[0x80, 0]), "a number is not in its shortest form"),
        (tree(&[0xff; 10]), "a number is not in its shortest form"),
        (tree(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), "it ends too early"),
        (tree(&entries(&[b"b", b"a"])), "names are not ascending"),
        (tree(&entries(&[b"a", b"a"])), "names are not ascending"),
        (tree(&entries(&[b""])), "a name is not valid"),
        (tree(&entries(&[b".."])), "a name is not valid"),
        (tree(&entries(&[b"a/b"])), "a name is not valid"),
        (tree(&entries(&[b"a\0"])), "a name is not valid"),
        (tree(b"\x01\x01a\0\0\0\0\0\0\x07"), "an entry is of no known kind"),
        (tree(b"\x01\x01a\x80\x20\0\0\0\0\0\x05"), "mode or time is out of range"),
        (tree(b"\x01\x01a\0\0\0\0\0\x02\x01b\0\x01a\0\x05"), "extended attributes are not ascending"),
        (snapshot(b"\x01\x01\x01a"), "the link table is not in order"),
        (snapshot(b"\x01\x02\x01b\x01a"), "the link table is not in order"),
        (snapshot(b"\x01\x02\x01a\x01a"), "the link table is not in order"),
        (snapshot(b"\x02\x02\x01c\x01d\x02\x01a\x01b"), "the link table is not in order"),
        (snapshot(b"\x02\x02\x01a\x01b\x02\x01b\x01c"), "the link table is not in order"),
        (snapshot(b"\x01\x02\x04a//b\x01c"), "a path in the link table is not valid"),
        (snapshot(b"\x01\x02\x02/a\x01b"), "a path in the link table is not valid"),
        (snapshot(b"\x01\x02\x00\x01a"), "a path in the link table is not valid"),
        (snapshot(b"\x01\x02\x02..\x01a"), "a path in the link table is not valid"),
        (encoding::decode_delta(b"rbd\x01\x02").map(drop), "a directory's change is of no known kind"),
        (encoding::decode_delta(b"rbd\x01\0\x01\x01a\x03").map(drop), "a change is of no known kind"),
        (encoding::decode_delta(b"rbd\x01\0\x02\x01b\0\x01a\0\0").map(drop), "names are not ascending"),
    ];
    for (at, (result, reason)) in cases.into_iter().enumerate() {
        let message = result.expect_err(reason).to_string();
        assert!(message.starts_with("damaged ") && message.ends_with(reason), "{at}: {message}");
    }
    let nested = [b"rbd\x01".as_slice(), &b"\0\x01\x01a\x02".repeat(100_000)].concat();
    assert!(encoding::decode_delta(&nested).unwrap_err().to_string().ends_with("it nests too deep"));
}

fn any_name() -> impl Strategy<Value = Name> {
    prop::collection::vec(any::<u8>(), 1..6)
        .prop_map(Name::from)
        .prop_filter("a name", |name| rbuild_tree::tree::is_valid_name(name))
}

fn any_metadata() -> impl Strategy<Value = Metadata> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..5).prop_map(Box::<[u8]>::from);
    let xattrs = prop::collection::btree_map(bytes(), bytes(), 0..3);
    (0..=0o7777_u32, any::<u32>(), any::<u32>(), any::<i64>(), 0..1_000_000_000_u32, xattrs).prop_map(
        |(mode, uid, gid, seconds, nanoseconds, xattrs)| Metadata {
            mode,
            uid,
            gid,
            mtime: Timestamp { seconds, nanoseconds },
            xattrs,
        },
    )
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let device = || (any::<u32>(), any::<u32>()).prop_map(|(major, minor)| Device { major, minor });
    let kind = prop_oneof![
        (any::<[u8; 32]>(), any::<u64>())
            .prop_map(|(object, size)| Kind::File { object: ObjectId::from_bytes(object), size }),
        any::<[u8; 32]>().prop_map(|tree| Kind::Directory(TreeId::from_bytes(tree))),
        prop::collection::vec(any::<u8>(), 0..9).prop_map(|target| Kind::Symlink(target.into())),
        device().prop_map(Kind::CharDevice),
        device().prop_map(Kind::BlockDevice),
        Just(Kind::Fifo),
        Just(Kind::Socket),
    ];
    (any_metadata(), kind).prop_map(|(metadata, kind)| Entry { metadata, kind })
}

fn any_links() -> impl Strategy<Value = Links> {
    let at = prop::collection::vec(any_name(), 1..3)
        .prop_map(|names| names.iter().fold(TreePath::root(), |path, name| path.join(name)));
    prop::collection::vec(prop::collection::vec(at, 0..4), 0..4).prop_map(Links::new)
}

fn any_change() -> impl Strategy<Value = DirectoryChange> {
    let leaf = prop_oneof![Just(Change::Removed), any_entry().prop_map(Change::Replaced)];
    let change = leaf.prop_recursive(4, 20, 4, |inner| {
        (prop::option::of(any_metadata()), prop::collection::btree_map(any_name(), inner, 0..4))
            .prop_map(|(metadata, children)| Change::Directory(DirectoryChange { metadata, children }))
    });
    (prop::option::of(any_metadata()), prop::collection::btree_map(any_name(), change, 0..4))
        .prop_map(|(metadata, children)| DirectoryChange { metadata, children })
}

fn any_tree() -> impl Strategy<Value = Tree> {
    prop::collection::vec((any_name(), any_entry()), 0..6).prop_map(Tree::from_entries)
}

fn any_snapshot() -> impl Strategy<Value = Snapshot> {
    (any_metadata(), any::<[u8; 32]>(), any_links()).prop_map(|(root, tree, links)| Snapshot {
        root,
        tree: TreeId::from_bytes(tree),
        links,
    })
}

fn any_delta() -> impl Strategy<Value = Delta> {
    (any_change(), any_links()).prop_map(|(root, links)| Delta { root, links })
}

/// Reads bytes as each of the three; whatever is taken must be written again as the same bytes.
fn assert_canonical(bytes: &[u8]) {
    if let Ok(tree) = encoding::decode_tree(bytes) {
        assert_eq!(encoding::encode_tree(&tree), bytes);
    }
    if let Ok(snapshot) = encoding::decode_snapshot(bytes) {
        assert_eq!(encoding::encode_snapshot(&snapshot), bytes);
    }
    if let Ok(delta) = encoding::decode_delta(bytes) {
        assert_eq!(encoding::encode_delta(&delta), bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_is_written_is_read(tree in any_tree(), snapshot in any_snapshot(), delta in any_delta()) {
        prop_assert_eq!(encoding::decode_tree(&encoding::encode_tree(&tree)).unwrap(), tree);
        prop_assert_eq!(encoding::decode_snapshot(&encoding::encode_snapshot(&snapshot)).unwrap(), snapshot);
        prop_assert_eq!(encoding::decode_delta(&encoding::encode_delta(&delta)).unwrap(), delta);
    }

    #[test]
    fn damaged_bytes_are_refused_or_canonical(
        tree in any_tree(), snapshot in any_snapshot(), delta in any_delta(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0..3_u8, any::<u8>()), 1..4),
    ) {
        let all = [encoding::encode_tree(&tree), encoding::encode_snapshot(&snapshot), encoding::encode_delta(&delta)];
        for mut bytes in all {
            for (place, what, byte) in &damage {
                // The magic bytes stay, or little else would be read.
                let at = 4 + place.index(bytes.len().max(6) - 4);
                match what {
                    0 if at < bytes.len() => bytes[at] = *byte,
                    1 if at < bytes.len() => drop(bytes.remove(at)),
                    _ => bytes.insert(at.min(bytes.len()), *byte),
                }
            }
            assert_canonical(&bytes);
        }
    }

    #[test]
    fn noise_is_refused_or_canonical(magic in 0..3_usize, tail in prop::collection::vec(0..9_u8, 0..60)) {
        let magic = [b"rbt\x01", b"rbs\x01", b"rbd\x01"][magic];
        assert_canonical(&[magic.as_slice(), &tail].concat());
    }
}
