//! The law of layers: applied to what it was made over, a layer gives what it was made from.

use crate::layer::{Maker, path};
use proptest::prelude::*;
use rbuild_oci::{apply_layer, write_layer};
use rbuild_tree::{Device, Kind, Metadata, Snapshot, Timestamp, Tree};

/// A change of a tree; what is impossible at its turn is left out.
#[derive(Clone, Debug)]
enum Change {
    File(String, String, Metadata),
    Directory(String, Metadata),
    Other(String, u8, Metadata),
    Metadata(String, Metadata),
    Link(String, String),
    Remove(String),
    Move(String, String),
}

fn paths() -> impl Strategy<Value = String> {
    // `b.` sorts between `b` and `b/`; the long name needs PAX.
    let name = prop_oneof![
        Just("a".to_owned()),
        Just("b".to_owned()),
        Just("b.".to_owned()),
        Just("\u{fc}".to_owned()),
        Just("long-".repeat(25)),
    ];
    proptest::collection::vec(name, 1..4).prop_map(|names| names.join("/"))
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let time = prop_oneof![Just((0_i64, 0_u32)), Just((1, 5)), Just((-1, 999_999_999)), Just((1 << 34, 0))];
    let owner = prop_oneof![Just(0_u32), Just(1000), Just(4_000_000_000)];
    let xattr = prop_oneof![Just(None), Just(Some(&[0_u8, 10, 13][..]))];
    (0..=0o7777_u32, owner, time, xattr).prop_map(|(mode, uid, (seconds, nanoseconds), xattr)| Metadata {
        mode,
        uid,
        gid: 7,
        mtime: Timestamp { seconds, nanoseconds },
        xattrs: xattr.into_iter().map(|value| (b"user.x".as_slice().into(), value.into())).collect(),
    })
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        4 => (paths(), "[xy]{0,3}", metadata()).prop_map(|(at, content, with)| Change::File(at, content, with)),
        4 => (paths(), metadata()).prop_map(|(at, with)| Change::Directory(at, with)),
        2 => (paths(), 0..4_u8, metadata()).prop_map(|(at, kind, with)| Change::Other(at, kind, with)),
        2 => (paths(), metadata()).prop_map(|(at, with)| Change::Metadata(at, with)),
        3 => (paths(), paths()).prop_map(|(at, new)| Change::Link(at, new)),
        3 => paths().prop_map(Change::Remove),
        1 => (paths(), paths()).prop_map(|(from, to)| Change::Move(from, to)),
    ];
    proptest::collection::vec(change, 0..25)
}

fn changed(maker: &Maker, base: &Snapshot, changes: &[Change]) -> Snapshot {
    maker.edit(base, |hand| {
        for change in changes {
            let editor = &mut hand.editor;
            // Errors are the point: whatever came before may stand in the way.
            let _ = match change {
                Change::File(at, content, with) => {
                    let parent = path(at).parent().unwrap();
                    let parent_is_there =
                        editor.get(&parent).unwrap().is_some_and(|found| found.is_directory());
                    if parent_is_there {
                        hand.file(at, content);
                        hand.editor.set_metadata(&path(at), with.clone()).unwrap();
                    }
                    Ok(())
                }
                Change::Directory(at, with) => editor.make_directories(&path(at), with, with),
                Change::Other(at, kind, with) => {
                    let kind = match kind {
                        0 => Kind::Fifo,
                        1 => Kind::CharDevice(Device { major: 1, minor: 3 }),
                        2 => Kind::Symlink(b"b/..".as_slice().into()),
                        _ => Kind::Directory(Tree::default().id()),
                    };
                    let mode = if matches!(kind, Kind::Symlink(_)) { 0o777 } else { with.mode };
                    let metadata = Metadata { mode, ..with.clone() };
                    editor.insert(&path(at), rbuild_tree::Entry { metadata, kind })
                }
                Change::Metadata(at, with) => match editor.get(&path(at)).unwrap() {
                    Some(found) if found.is_directory() => editor.set_metadata(&path(at), with.clone()),
                    _ => Ok(()),
                },
                Change::Link(at, new) => editor.link(&path(at), &path(new)),
                Change::Remove(at) => editor.remove(&path(at)).map(|_| ()),
                Change::Move(from, to) => match editor.entry(&path(from)).unwrap() {
                    Some(entry) if !path(to).starts_with(&path(from)) => {
                        editor.insert(&path(to), entry).and_then(|()| editor.remove(&path(from)).map(|_| ()))
                    }
                    _ => Ok(()),
                },
            };
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn layers_rebuild_what_they_were_made_from(first in changes(), second in changes()) {
        let maker = Maker::new();
        let base = changed(&maker, &Snapshot::scratch(), &first);
        let result = changed(&maker, &base, &second);
        let lowest = maker.layer(None, &base);
        let over = maker.layer(Some(&base), &result);
        let rebuilt_base = apply_layer(&mut lowest.as_slice(), &Snapshot::scratch(), &maker.store).unwrap();
        prop_assert_eq!(&rebuilt_base, &base);
        let rebuilt = apply_layer(&mut over.as_slice(), &base, &maker.store).unwrap();
        prop_assert_eq!(&rebuilt, &result);
        prop_assert_eq!(maker.layer(Some(&base), &result), over);
    }
}

#[test]
fn deep_and_wide_trees() {
    let maker = Maker::new();
    let deep = vec!["d"; 300].join("/");
    let base = maker.make(|hand| {
        hand.editor
            .make_directories(&path(&deep), &crate::layer::plain(0o755), &crate::layer::plain(0o755))
            .unwrap();
        hand.file(&format!("{deep}/f"), "deep");
        hand.directory("wide");
        for number in 0..20_000 {
            hand.put(&format!("wide/{number}"), Kind::Fifo, crate::layer::plain(0o600));
        }
    });
    let mut out = Vec::new();
    let summary = write_layer(&maker.store, None, &base, Timestamp::default(), &mut out).unwrap();
    assert_eq!(summary.entries, 300 + 1 + 1 + 20_000);
    assert_eq!(apply_layer(&mut out.as_slice(), &Snapshot::scratch(), &maker.store).unwrap(), base);
}

#[test]
fn a_name_that_is_no_text_survives() {
    let maker = Maker::new();
    let name = [b"long-".repeat(30), vec![0xff, b'\n', b'\\', 0xfe]].concat();
    let base = maker.make(|hand| {
        let at = rbuild_tree::TreePath::parse(&name).unwrap();
        let kind = Kind::Symlink(name.clone().into());
        hand.editor.insert(&at, rbuild_tree::Entry { metadata: crate::layer::plain(0o777), kind }).unwrap();
    });
    let tar = maker.layer(None, &base);
    assert_eq!(apply_layer(&mut tar.as_slice(), &Snapshot::scratch(), &maker.store).unwrap(), base);
    let records = b"21 hdrcharset=BINARY\n168 linkpath=long-";
    assert!(tar.windows(records.len()).any(|window| window == records));
}
