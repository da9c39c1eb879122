//! What single operations do, without a mount.
#![allow(clippy::unwrap_used)]

mod support;

use rbuild_overlay::{
    Caller, Errno, FileKind, Lower, NodeId, Options, Overlay, Stat,
    ops::{SetAttributes, SetTime, Special},
};
use rbuild_tree::{Device, Snapshot, Timestamp, TreePath, apply};
use std::{collections::BTreeSet, fs};
use support::{
    Bench,
    view::{children, walk},
};

const ROOT: Caller = Caller { uid: 0, gid: 0, umask: 0o022, pid: 0 };
const USER: Caller = Caller { uid: 1000, gid: 100, umask: 0o027, pid: 0 };
const TOP: NodeId = NodeId::ROOT;

fn empty(bench: &Bench) -> Overlay {
    bench.overlay("scratch", Lower::Snapshot(Snapshot::scratch()))
}

fn file(overlay: &Overlay, parent: NodeId, name: &str, bytes: &[u8]) -> NodeId {
    let id = overlay.mknod(parent, name.as_bytes(), Special::File, 0o644, &ROOT).unwrap().id;
    overlay.write(id, 0, bytes, false).unwrap();
    id
}

fn directory(overlay: &Overlay, parent: NodeId, name: &str) -> NodeId {
    overlay.mkdir(parent, name.as_bytes(), 0o755, &ROOT).unwrap().id
}

fn stat(overlay: &Overlay, id: NodeId) -> Stat {
    overlay.getattr(id).unwrap()
}

/// The same overlay's tree as a lower of a new one.
fn again(bench: &Bench, overlay: &Overlay, scratch: &str) -> Overlay {
    let delta = overlay.commit(None).unwrap().delta;
    let snapshot = apply(&*bench.store, &Snapshot::scratch(), &delta).unwrap();
    bench.overlay(scratch, Lower::Snapshot(snapshot))
}

#[test]
fn names_are_bytes_of_up_to_255() {
    let bench = Bench::new();
    let overlay = empty(&bench);
    let long = [b'n'; 255];
    for name in [&b".wh.x"[..], b"\xff\xfe", b"new\nline", b" ", &long] {
        let made = overlay.mknod(TOP, name, Special::File, 0o644, &ROOT).unwrap();
        assert_eq!(overlay.lookup(TOP, name).unwrap().id, made.id);
        overlay.unlink(TOP, name).unwrap();
    }
    let too_long = [b'n'; 256];
    assert_eq!(overlay.lookup(TOP, &too_long), Err(Errno::NAMETOOLONG));
    assert_eq!(overlay.mkdir(TOP, &too_long, 0, &ROOT), Err(Errno::NAMETOOLONG));
    for bad in [&b""[..], b".", b"..", b"a/b", b"a\0b"] {
        assert_eq!(overlay.mkdir(TOP, bad, 0, &ROOT), Err(Errno::INVAL), "{bad:?}");
        assert_eq!(overlay.rename(TOP, bad, TOP, b"x", 0), Err(Errno::INVAL), "{bad:?}");
    }
}

#[test]
fn a_new_inode_has_the_owner_group_and_mode_that_its_directory_demands() {
    let bench = Bench::new();
    let overlay = empty(&bench);
    let made = overlay.mknod(TOP, b"f", Special::File, 0o4666, &USER).unwrap();
    assert_eq!((made.mode, made.uid, made.gid), (0o4640, 1000, 100));
    let link = overlay.symlink(TOP, b"l", b"target", &USER).unwrap();
    assert_eq!((link.mode, link.size), (0o777, 6));

    let shared = directory(&overlay, TOP, "shared");
    let set = SetAttributes { mode: Some(0o2777), gid: Some(777), ..SetAttributes::default() };
    overlay.setattr(shared, &set, &ROOT).unwrap();
    let inner = overlay.mkdir(shared, b"d", 0o777, &USER).unwrap();
    assert_eq!((inner.mode, inner.uid, inner.gid), (0o2750, 1000, 777));
    let inner = overlay.mknod(shared, b"f", Special::File, 0o666, &USER).unwrap();
    assert_eq!((inner.mode, inner.gid), (0o640, 777));
}

#[test]
fn special_files_are_data() {
    let bench = Bench::new();
    let overlay = empty(&bench);
    let device = |major, minor| Device { major, minor };
    let cases = [
        (Special::CharDevice(device(0, 0)), FileKind::CharDevice, device(0, 0)),
        (Special::BlockDevice(device(8, 300)), FileKind::BlockDevice, device(8, 300)),
        (Special::Fifo, FileKind::Fifo, device(0, 0)),
        (Special::Socket, FileKind::Socket, device(0, 0)),
    ];
    for (index, (special, ..)) in cases.iter().enumerate() {
        overlay.mknod(TOP, &[b'a' + index as u8], *special, 0o600, &ROOT).unwrap();
    }
    let overlay = again(&bench, &overlay, "two");
    for (index, (_, kind, device)) in cases.iter().enumerate() {
        let found = overlay.lookup(TOP, &[b'a' + index as u8]).unwrap();
        assert_eq!((found.kind, found.device, found.mode), (*kind, *device, 0o600));
        assert_eq!(overlay.read(found.id, 0, 1), Err(Errno::INVAL));
    }
}

#[test]
fn inode_numbers_stay_and_are_the_same_in_every_run() {
    let bench = Bench::new();
    let overlay = empty(&bench);
    let d = directory(&overlay, TOP, "d");
    file(&overlay, d, "f", b"one");
    let runs: Vec<Vec<NodeId>> = ["two", "three"]
        .iter()
        .map(|scratch| {
            let overlay = again(&bench, &overlay, scratch);
            let ids = vec![walk(&overlay, "d").unwrap(), walk(&overlay, "d/f").unwrap()];
            overlay.write(ids[1], 3, b"more", false).unwrap();
            overlay.rename(TOP, b"d", TOP, b"e", 0).unwrap();
            overlay.rename(ids[0], b"f", TOP, b"g", 0).unwrap();
            assert_eq!([walk(&overlay, "e").unwrap(), walk(&overlay, "g").unwrap()], ids[..]);
            let new = file(&overlay, ids[0], "f", b"");
            overlay.unlink(ids[0], b"f").unwrap();
            let newer = file(&overlay, ids[0], "f", b"");
            assert_eq!(BTreeSet::from([ids[0], ids[1], new, newer]).len(), 4);
            [ids, vec![new, newer]].concat()
        })
        .collect();
    assert_eq!(runs[0], runs[1]);
}

#[test]
fn link_counts_are_exact() {
    let bench = Bench::new();
    let overlay = empty(&bench);
    let a = file(&overlay, TOP, "a", b"bytes");
    overlay.link(a, TOP, b"b").unwrap();
    let overlay = again(&bench, &overlay, "two");
    let b = walk(&overlay, "b").unwrap();
    assert_eq!((b, stat(&overlay, b).links), (walk(&overlay, "a").unwrap(), 2));
    overlay.write(b, 0, b"BYTES", false).unwrap();
    assert_eq!(overlay.read(walk(&overlay, "a").unwrap(), 0, 9).unwrap(), b"BYTES");
    overlay.unlink(TOP, b"a").unwrap();
    assert_eq!(stat(&overlay, b).links, 1);
    let d = directory(&overlay, TOP, "d");
    assert_eq!(overlay.link(d, TOP, b"x"), Err(Errno::PERM));
    assert_eq!((stat(&overlay, TOP).links, stat(&overlay, d).links), (3, 2));
    let inner = directory(&overlay, d, "inner");
    overlay.rename(d, b"inner", TOP, b"outer", 0).unwrap();
    assert_eq!((stat(&overlay, TOP).links, stat(&overlay, d).links), (4, 2));
    overlay.rmdir(TOP, b"outer").unwrap();
    assert_eq!((stat(&overlay, TOP).links, stat(&overlay, inner).links), (3, 0));
    assert_eq!(overlay.mkdir(inner, b"x", 0, &ROOT), Err(Errno::NOENT));
}

#[test]
fn an_unlinked_file_lives_until_it_is_forgotten() {
    let bench = Bench::new();
    let overlay = empty(&bench);
    let big = file(&overlay, TOP, "f", &[7; 500]);
    overlay.unlink(TOP, b"f").unwrap();
    assert_eq!(stat(&overlay, big).links, 0);
    overlay.write(big, 500, b"more", false).unwrap();
    assert_eq!(overlay.read(big, 498, 9).unwrap(), b"\x07\x07more");
    assert_eq!(overlay.link(big, TOP, b"back"), Err(Errno::NOENT));
    let scratch = || fs::read_dir(bench.folder("scratch")).unwrap().count();
    assert_eq!(scratch(), 1);
    overlay.forget(big, 1);
    assert_eq!((overlay.getattr(big), scratch()), (Err(Errno::STALE), 0));
    assert!(overlay.commit(None).unwrap().delta.root.children.is_empty());
}

#[test]
fn renames() {
    let bench = Bench::new();
    let overlay = empty(&bench);
    let (a, b) = (directory(&overlay, TOP, "a"), directory(&overlay, TOP, "b"));
    let inner = directory(&overlay, a, "inner");
    file(&overlay, b, "f", b"f");
    file(&overlay, TOP, "g", b"g");
    let rename = |from: (NodeId, &str), to: (NodeId, &str), flags| {
        overlay.rename(from.0, from.1.as_bytes(), to.0, to.1.as_bytes(), flags)
    };
    let (noreplace, exchange, whiteout) = (1, 2, 4);
    let refused = [
        ((TOP, "a"), (inner, "x"), 0, Errno::INVAL),
        ((TOP, "a"), (a, "x"), 0, Errno::INVAL),
        ((TOP, "a"), (TOP, "b"), 0, Errno::NOTEMPTY),
        ((a, "inner"), (TOP, "a"), 0, Errno::NOTEMPTY),
        ((TOP, "a"), (TOP, "g"), 0, Errno::NOTDIR),
        ((TOP, "g"), (TOP, "a"), 0, Errno::ISDIR),
        ((TOP, "none"), (TOP, "x"), 0, Errno::NOENT),
        ((TOP, "g"), (TOP, "b"), noreplace, Errno::EXIST),
        ((TOP, "g"), (TOP, "none"), exchange, Errno::NOENT),
        ((a, "inner"), (TOP, "a"), exchange, Errno::INVAL),
        ((TOP, "g"), (TOP, "h"), whiteout | exchange, Errno::INVAL),
        ((TOP, "g"), (TOP, "b"), whiteout | noreplace, Errno::EXIST),
        ((TOP, "g"), (TOP, "h"), noreplace | exchange, Errno::INVAL),
        ((TOP, "g"), (walk(&overlay, "b/f").unwrap(), "h"), 0, Errno::NOTDIR),
    ];
    for (from, to, flags, errno) in refused {
        assert_eq!(rename(from, to, flags), Err(errno), "{from:?} {to:?} {flags}");
    }
    rename((TOP, "b"), (inner, "b"), 0).unwrap();
    assert_eq!(overlay.read(walk(&overlay, "a/inner/b/f").unwrap(), 0, 1).unwrap(), b"f");
    rename((TOP, "g"), (inner, "b"), exchange).unwrap();
    assert_eq!(stat(&overlay, walk(&overlay, "a/inner/b").unwrap()).kind, FileKind::File);
    assert_eq!((stat(&overlay, TOP).links, stat(&overlay, inner).links), (4, 2));
    let empty = directory(&overlay, TOP, "empty");
    rename((TOP, "g"), (TOP, "empty"), 0).unwrap();
    assert_eq!(stat(&overlay, empty).links, 0);
    assert_eq!(children(&overlay, TOP).into_keys().collect::<Vec<_>>(), [&b"a"[..], b"empty"]);
    // Two names of one file: nothing to do.
    let f = walk(&overlay, "empty/f").unwrap();
    overlay.link(f, TOP, b"f2").unwrap();
    rename((TOP, "f2"), (walk(&overlay, "empty").unwrap(), "f"), 0).unwrap();
    assert_eq!(stat(&overlay, f).links, 2);
}

#[test]
fn a_whiteout_that_a_rename_leaves_is_a_device() {
    let bench = Bench::new();
    let overlay = empty(&bench);
    directory(&overlay, TOP, "d");
    file(&overlay, TOP, "f", b"f");
    let overlay = again(&bench, &overlay, "two");
    let whiteout = 4;
    overlay.rename(TOP, b"f", TOP, b"g", whiteout).unwrap();
    overlay.rename(TOP, b"d", TOP, b"e", whiteout).unwrap();
    assert_eq!(stat(&overlay, TOP).links, 3);
    let overlay = again(&bench, &overlay, "three");
    for name in ["f", "d"] {
        let left = stat(&overlay, walk(&overlay, name).unwrap());
        assert_eq!((left.kind, left.mode), (FileKind::CharDevice, 0));
        assert_eq!(left.device, Device { major: 0, minor: 0 });
    }
    assert_eq!(overlay.read(walk(&overlay, "g").unwrap(), 0, 9).unwrap(), b"f");
    assert_eq!(stat(&overlay, walk(&overlay, "e").unwrap()).kind, FileKind::Directory);
}

#[test]
fn listings_go_on_where_they_were() {
    let bench = Bench::new();
    let overlay = empty(&bench);
    let d = directory(&overlay, TOP, "d");
    for index in 0..1000 {
        file(&overlay, d, &format!("e{index:04}"), b"");
    }
    let overlay = again(&bench, &overlay, "two");
    let d = walk(&overlay, "d").unwrap();
    let list = |cookie: u64, count: usize| {
        let mut found = Vec::new();
        let mut take = |entry: &rbuild_overlay::ops::Listed<'_>| {
            found.push((entry.cookie, entry.name.to_vec()));
            found.len() < count
        };
        overlay.readdir(d, cookie, false, &mut take).unwrap();
        found
    };
    let first = list(0, 500);
    assert_eq!([&*first[0].1, &*first[1].1, &*first[2].1], [&b"."[..], b"..", b"e0000"]);
    for (_, name) in &first[2..400] {
        overlay.unlink(d, name).unwrap();
    }
    overlay.unlink(d, b"e0600").unwrap();
    file(&overlay, d, "aaa", b"");
    let rest = list(first[498].0, 2000);
    let names: Vec<&[u8]> = rest.iter().map(|(_, name)| &**name).collect();
    assert_eq!(
        (names.len(), names[0], names[names.len() - 1]),
        (1000 - 497 - 1 + 1, &b"e0497"[..], &b"aaa"[..])
    );
    assert_eq!(
        overlay.readdir(walk(&overlay, "d/aaa").unwrap(), 0, false, &mut |_| true),
        Err(Errno::NOTDIR)
    );
}

/// A program that gives what it is shown another name, and shows itself the rest, comes to an end.
#[test]
fn renaming_while_listing_ends() {
    let bench = Bench::new();
    let made = empty(&bench);
    let make = |overlay: &Overlay, number: i32| file(overlay, TOP, &format!("{number:03}"), b"");
    (0..300).for_each(|number| assert_ne!(make(&made, number), TOP));
    let lower = again(&bench, &made, "lower");
    (300..310).for_each(|number| assert_ne!(make(&lower, number), TOP));
    let (mut cookie, mut seen) = (2, Vec::new());
    loop {
        let mut next = None;
        lower
            .readdir(TOP, cookie, false, &mut |listed| {
                next.get_or_insert((listed.cookie, listed.name.to_vec())).0 == listed.cookie
            })
            .unwrap();
        let Some((at, name)) = next else { break };
        let new = [&name[..], b".bak"].concat();
        lower.rename(TOP, &name, TOP, &new, 0).unwrap();
        if seen.len() % 2 == 0 {
            lower.rename(TOP, &new, TOP, &name, 0).unwrap();
        }
        seen.push(name);
        assert!(seen.len() <= 310, "shown again: {:?}", String::from_utf8_lossy(&seen[seen.len() - 1]));
        cookie = at;
    }
    assert_eq!(seen.len(), 310);
}

#[test]
fn bytes_move_from_lower_to_memory_to_scratch() {
    let bench = Bench::new(); // inline limit 100
    let overlay = empty(&bench);
    file(&overlay, TOP, "small", &[1; 50]);
    file(&overlay, TOP, "large", &[2; 5000]);
    let overlay = again(&bench, &overlay, "two");
    let (small, large) = (walk(&overlay, "small").unwrap(), walk(&overlay, "large").unwrap());
    let scratch = || fs::read_dir(bench.folder("two")).unwrap().count();
    // Metadata moves nothing.
    overlay.setattr(large, &SetAttributes { mode: Some(0o600), ..SetAttributes::default() }, &ROOT).unwrap();
    assert_eq!(scratch(), 0);
    overlay.write(small, 49, b"xy", false).unwrap();
    assert_eq!((overlay.read(small, 48, 9).unwrap(), scratch()), (b"\x01xy".to_vec(), 0));
    overlay.write(small, 99, b"zz", false).unwrap();
    assert_eq!((overlay.read(small, 97, 9).unwrap(), scratch()), (b"\0\0zz".to_vec(), 1));
    overlay.write(large, 2, b"x", false).unwrap();
    assert_eq!((overlay.read(large, 0, 4).unwrap(), scratch()), (b"\x02\x02x\x02".to_vec(), 2));
    assert_eq!(stat(&overlay, large).size, 5000);
    let size = |size| SetAttributes { size: Some(size), ..SetAttributes::default() };
    overlay.setattr(large, &size(3), &ROOT).unwrap();
    overlay.setattr(large, &size(1 << 40), &ROOT).unwrap();
    let found = stat(&overlay, large);
    assert_eq!((found.size, found.blocks < 100), (1 << 40, true));
    assert_eq!(overlay.read(large, (1 << 40) - 2, 9).unwrap(), [0, 0]);
    assert_eq!(overlay.setattr(large, &size(u64::MAX), &ROOT), Err(Errno::FBIG));
    assert_eq!(overlay.write(large, u64::MAX - 1, b"abc", false), Err(Errno::FBIG));
    assert_eq!(overlay.write(TOP, 0, b"x", false), Err(Errno::ISDIR));
    overlay.setattr(large, &size(0), &ROOT).unwrap();
    assert_eq!(overlay.read(large, 0, 9).unwrap(), b"");
}

#[test]
fn blocks_follow_from_the_size_wherever_the_bytes_are() {
    let bench = Bench::new();
    let overlay = empty(&bench);
    for (name, length, blocks) in
        [("empty", 0, 0), ("inline", 80, 8), ("pages", 10_000, 24), ("large", (3 << 20) + 1, 6152)]
    {
        let id = file(&overlay, TOP, name, &vec![5; length]);
        assert_eq!(stat(&overlay, id).blocks, blocks, "{name}");
    }
    let sparse = file(&overlay, TOP, "sparse", b"");
    overlay.write(sparse, 1 << 20, b"middle", false).unwrap();
    overlay
        .setattr(sparse, &SetAttributes { size: Some(4 << 20), ..SetAttributes::default() }, &ROOT)
        .unwrap();
    let names = ["empty", "inline", "pages", "large", "sparse"];
    let blocks = |overlay: &Overlay| {
        names.map(|name| stat(overlay, overlay.lookup(TOP, name.as_bytes()).unwrap().id).blocks)
    };
    let expected = [0, 8, 24, 6152, 8];
    assert_eq!(blocks(&overlay), expected, "written");
    let next = again(&bench, &overlay, "two");
    assert_eq!(blocks(&overlay), expected, "committed");
    assert_eq!(blocks(&next), expected, "in the lower");
    for name in names {
        let id = next.lookup(TOP, name.as_bytes()).unwrap().id;
        next.write(id, stat(&next, id).size, b"x", false).unwrap();
    }
    assert_eq!(blocks(&next), [8, 8, 24, 6152, 16], "copied up");
}

#[test]
fn holes_ranges_and_copies() {
    let bench = Bench::new();
    let overlay = empty(&bench);
    for (name, length) in [("inline", 80_usize), ("scratch", 100_000)] {
        let id = file(&overlay, TOP, name, &vec![5; length]);
        let (punch, keep, zero, collapse) = (3, 1, 0x10, 8);
        overlay.fallocate(id, 10, 20, punch, false).unwrap();
        assert_eq!(overlay.read(id, 9, 3).unwrap(), [5, 0, 0]);
        assert_eq!(overlay.read(id, 29, 2).unwrap(), [0, 5]);
        overlay.fallocate(id, 0, length as u64 * 2, keep, false).unwrap();
        assert_eq!(stat(&overlay, id).size, length as u64);
        overlay.fallocate(id, 0, length as u64 + 10, 0, false).unwrap();
        assert_eq!(stat(&overlay, id).size, length as u64 + 10);
        overlay.fallocate(id, 40, 5, zero, false).unwrap();
        assert_eq!(overlay.read(id, 39, 3).unwrap(), [5, 0, 0]);
        assert_eq!(overlay.fallocate(id, 0, 4096, collapse, false), Err(Errno::OPNOTSUPP));
        assert_eq!(overlay.fallocate(id, 0, 0, 0, false), Err(Errno::INVAL));
    }
    let sparse = file(&overlay, TOP, "sparse", b"");
    overlay.write(sparse, 1 << 20, b"middle", false).unwrap();
    let data = overlay.lseek(sparse, 0, false).unwrap();
    assert!(data > 0 && data <= 1 << 20);
    assert_eq!(overlay.lseek(sparse, 1 << 20, true).unwrap(), (1 << 20) + 6);
    assert_eq!(overlay.lseek(sparse, 1 << 21, false), Err(Errno::NXIO));

    let target = file(&overlay, TOP, "target", b"");
    assert_eq!(overlay.copy_file_range((sparse, (1 << 20) - 2), (target, 1), 100, false).unwrap(), 8);
    assert_eq!(overlay.read(target, 0, 99).unwrap(), b"\0\0\0middle");
    assert_eq!(overlay.copy_file_range((target, 3), (target, 100), 6, false).unwrap(), 6);
    assert_eq!(overlay.read(target, 100, 99).unwrap(), b"middle");
    assert_eq!(overlay.copy_file_range((target, 1000), (sparse, 0), 6, false).unwrap(), 0);
}

#[test]
fn a_write_that_fails_leaves_the_bytes_that_were_there() {
    let bench = Bench::new();
    let overlay = empty(&bench);
    file(&overlay, TOP, "f", &[1; 20]);
    let delta = overlay.commit(None).unwrap().delta;
    let snapshot = apply(&*bench.store, &Snapshot::scratch(), &delta).unwrap();
    let mut options = Options::new(bench.folder("full"));
    (options.inline_limit, options.inline_total) = (100, 10);
    let overlay = Overlay::new(bench.store.clone(), Lower::Snapshot(snapshot), options).unwrap();
    let f = overlay.lookup(TOP, b"f").unwrap().id;
    // No room in memory, and none on the disk.
    fs::remove_dir(bench.folder("full")).unwrap();
    assert!(overlay.write(f, 0, &[2; 50], false).is_err());
    assert_eq!((stat(&overlay, f).size, overlay.read(f, 0, 99).unwrap()), (20, vec![1; 20]));
}

#[test]
fn what_clears_set_id_bits_and_capabilities() {
    let bench = Bench::new();
    let overlay = empty(&bench);
    let capability = [1_u8, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let fresh = |name: &str| {
        let id = file(&overlay, TOP, name, b"x");
        overlay
            .setattr(id, &SetAttributes { mode: Some(0o6777), ..SetAttributes::default() }, &ROOT)
            .unwrap();
        overlay.setxattr(id, b"security.capability", &capability, 0, &ROOT).unwrap();
        id
    };
    let state = |id| (stat(&overlay, id).mode, overlay.getxattr(id, b"security.capability").is_ok());
    for (kill, expected) in [(false, (0o6777, false)), (true, (0o777, false))] {
        let id = fresh(&format!("copied to, {kill}"));
        overlay.copy_file_range((id, 0), (id, 1), 1, kill).unwrap();
        assert_eq!(state(id), expected, "copied");
        let id = fresh(&format!("copied to from a file, {kill}"));
        let large = file(&overlay, TOP, &format!("large, {kill}"), &[7; 1000]);
        overlay.copy_file_range((large, 0), (id, 0), 1000, kill).unwrap();
        assert_eq!(state(id), expected, "copied from file to file");
        let id = fresh(&format!("longer, {kill}"));
        overlay.fallocate(id, 0, 9, 0, kill).unwrap();
        assert_eq!(state(id), expected, "allocated");
        let id = fresh(&format!("as long, {kill}"));
        overlay.fallocate(id, 0, 1, 1, kill).unwrap();
        assert_eq!(state(id), expected, "allocated what is there");
    }
    let size = SetAttributes { size: Some(0), ..SetAttributes::default() };
    let owner = SetAttributes { uid: Some(5), ..SetAttributes::default() };
    let time = SetAttributes { mtime: Some(SetTime::Now), ..SetAttributes::default() };
    assert_eq!(state(fresh("plain")), (0o6777, true));
    let id = fresh("written by root");
    overlay.write(id, 0, b"y", false).unwrap();
    assert_eq!(state(id), (0o6777, false));
    let id = fresh("written by a user");
    overlay.write(id, 0, b"y", true).unwrap();
    assert_eq!(state(id), (0o777, false));
    for (name, set, caller, expected) in [
        ("cut by root", &size, &ROOT, (0o6777, false)),
        ("cut by a user", &size, &USER, (0o777, false)),
        ("given away", &owner, &ROOT, (0o777, false)),
        ("touched", &time, &USER, (0o6777, true)),
        ("chown without owner and group", &SetAttributes::default(), &ROOT, (0o777, false)),
    ] {
        let id = fresh(name);
        overlay.setattr(id, set, caller).unwrap();
        assert_eq!(state(id), expected, "{name}");
    }
    let d = directory(&overlay, TOP, "d");
    overlay.setattr(d, &SetAttributes { mode: Some(0o6777), ..SetAttributes::default() }, &ROOT).unwrap();
    overlay.setattr(d, &SetAttributes::default(), &ROOT).unwrap();
    assert_eq!(stat(&overlay, d).mode, 0o6777);
    // Without group execution the bit means something else.
    let id = fresh("locked");
    overlay.setattr(id, &SetAttributes { mode: Some(0o6707), ..SetAttributes::default() }, &ROOT).unwrap();
    overlay.write(id, 0, b"y", true).unwrap();
    assert_eq!(stat(&overlay, id).mode, 0o2707);
}

#[test]
fn times() {
    let bench = Bench::new();
    let overlay = empty(&bench);
    let d = directory(&overlay, TOP, "d");
    let f = file(&overlay, d, "f", b"x");
    let old = Timestamp { seconds: -5, nanoseconds: 7 };
    let set = |id, atime, mtime| {
        let set = SetAttributes { atime, mtime, ..SetAttributes::default() };
        overlay.setattr(id, &set, &ROOT).unwrap()
    };
    let found = set(f, None, Some(SetTime::At(old)));
    assert_eq!((found.atime, found.mtime), (old, old));
    assert!(found.ctime > old);
    let other = Timestamp::from_seconds(99);
    assert_eq!(set(f, Some(SetTime::At(other)), None).atime, other);
    set(d, None, Some(SetTime::At(old)));
    overlay.write(f, 0, b"y", false).unwrap();
    assert!(stat(&overlay, f).mtime > other);
    assert_eq!(stat(&overlay, d).mtime, old, "a child's bytes are not the directory's");
    set(f, None, Some(SetTime::At(old)));
    overlay.fallocate(f, 0, 1, 1, false).unwrap();
    assert!(stat(&overlay, f).mtime > other, "room for what is there is a change as well");
    overlay.unlink(d, b"f").unwrap();
    assert!(stat(&overlay, d).mtime > old);

    let g = file(&overlay, TOP, "g", b"x");
    set(g, None, Some(SetTime::At(other)));
    // Bytes of a mapping that come late do not undo a date, but they are a change.
    overlay.write_cached(g, 0, b"y", false).unwrap();
    let found = stat(&overlay, g);
    assert_eq!((found.mtime, overlay.read(g, 0, 9).unwrap()), (other, b"y".to_vec()));
    overlay.write(g, 0, b"z", false).unwrap();
    let written = stat(&overlay, g).mtime;
    assert!(written > other);
    overlay.write_cached(g, 0, b"y", false).unwrap();
    assert!(stat(&overlay, g).mtime >= written);
    set(g, None, Some(SetTime::At(other)));
    let overlay = again(&bench, &overlay, "two");
    let g = walk(&overlay, "g").unwrap();
    let found = stat(&overlay, g);
    assert_eq!((found.mtime, found.ctime), (other, other), "an unchanged inode");
    overlay.setxattr(g, b"user.x", b"", 0, &ROOT).unwrap();
    let found = stat(&overlay, g);
    assert!(found.mtime == other && found.ctime > other);
}

#[test]
fn extended_attributes() {
    let bench = Bench::new();
    let overlay = empty(&bench);
    let f = file(&overlay, TOP, "f", b"");
    let set = |name: &[u8], value: &[u8], flags| overlay.setxattr(f, name, value, flags, &ROOT);
    let (create, replace) = (1, 2);
    set(b"user.a", b"v\0w", 0).unwrap();
    assert_eq!(set(b"user.a", b"", create), Err(Errno::EXIST));
    assert_eq!(set(b"user.b", b"", replace), Err(Errno::NODATA));
    set(b"user.overlay.opaque", b"y", 0).unwrap();
    for name in [&b"trusted."[..], b"security.selinux", b"system.x", b"user.", b"x"] {
        assert_eq!(set(name, b"", 0), Err(Errno::OPNOTSUPP), "{name:?}");
    }
    let get = |name: &[u8]| overlay.getxattr(f, name);
    assert_eq!(get(b"user.a").unwrap(), b"v\0w");
    for name in [&b"user.b"[..], b"trusted.x", b"security.selinux", b"system.posix_acl_access"] {
        assert_eq!(get(name), Err(Errno::NODATA), "{name:?}");
    }
    assert_eq!(get(b"system.x"), Err(Errno::OPNOTSUPP));
    assert_eq!(overlay.listxattr(f).unwrap(), b"user.a\0user.overlay.opaque\0");
    assert_eq!(overlay.removexattr(f, b"user.b"), Err(Errno::NODATA));
    overlay.removexattr(f, b"system.posix_acl_access").unwrap();
    // Version 3 of a capability names the root of a namespace: not in an image.
    let mut capability = vec![1, 0, 0, 3];
    capability.extend([0; 16]);
    capability.extend([0, 0, 1, 0]);
    set(b"security.capability", &capability, 0).unwrap();
    assert_eq!(get(b"security.capability").unwrap()[..4], [1, 0, 0, 2]);

    let overlay = again(&bench, &overlay, "two");
    let f = walk(&overlay, "f").unwrap();
    assert_eq!(overlay.listxattr(f).unwrap(), b"security.capability\0user.a\0");
}

#[test]
fn attributes_have_a_budget() {
    let bench = Bench::new();
    let overlay = empty(&bench);
    let value = vec![7; (64 << 10) - 6];
    let set = |id, name: &[u8], value: &[u8]| overlay.setxattr(id, name, value, 0, &ROOT);
    let f = file(&overlay, TOP, "f", b"");
    set(f, b"user.a", &value).unwrap();
    assert_eq!(set(f, b"user.b", b""), Err(Errno::NOSPC));
    set(f, b"user.a", b"small").unwrap();
    set(f, b"user.b", &value[100..]).unwrap();
    overlay.removexattr(f, b"user.b").unwrap();
    // 64 MiB in all, given back with the file.
    let many: Vec<NodeId> = (0..1024).map(|n| file(&overlay, TOP, &n.to_string(), b"")).collect();
    let (last, others) = many.split_last().unwrap();
    others.iter().for_each(|id| set(*id, b"user.a", &value).unwrap());
    assert_eq!(set(*last, b"user.a", &value), Err(Errno::NOSPC));
    overlay.unlink(TOP, b"0").unwrap();
    overlay.forget(many[0], 1);
    set(*last, b"user.a", &value).unwrap();
}

fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let entry = |(tag, bits, id): &(u16, u16, u32)| {
        [&tag.to_le_bytes()[..], &bits.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    [vec![2, 0, 0, 0], entries.iter().flat_map(entry).collect()].concat()
}

#[test]
fn acls_and_modes_agree() {
    let bench = Bench::new();
    let overlay = empty(&bench);
    let (user, named, group, mask, other, none) = (0x01, 0x02, 0x04, 0x10, 0x20, u32::MAX);
    let f = file(&overlay, TOP, "f", b"");
    let access = |id, value: &[u8]| overlay.setxattr(id, b"system.posix_acl_access", value, 0, &ROOT);
    let full = [(user, 7, none), (named, 7, 88), (group, 5, none), (mask, 6, none), (other, 1, none)];
    access(f, &acl(&full)).unwrap();
    assert_eq!(stat(&overlay, f).mode, 0o761);
    overlay.setattr(f, &SetAttributes { mode: Some(0o640), ..SetAttributes::default() }, &ROOT).unwrap();
    let expected = [(user, 6, none), (named, 7, 88), (group, 5, none), (mask, 4, none), (other, 0, none)];
    assert_eq!(overlay.getxattr(f, b"system.posix_acl_access").unwrap(), acl(&expected));
    // One that says no more than the mode is not kept.
    access(f, &acl(&[(user, 6, none), (group, 0, none), (other, 4, none)])).unwrap();
    assert_eq!(stat(&overlay, f).mode, 0o604);
    assert_eq!(overlay.getxattr(f, b"system.posix_acl_access"), Err(Errno::NODATA));
    assert_eq!(access(f, b"junk"), Err(Errno::INVAL));
    assert_eq!(overlay.setxattr(f, b"system.posix_acl_default", &acl(&full), 0, &ROOT), Err(Errno::ACCESS));

    let d = directory(&overlay, TOP, "d");
    let default = [(user, 7, none), (named, 7, 88), (group, 7, none), (mask, 7, none), (other, 7, none)];
    overlay.setxattr(d, b"system.posix_acl_default", &acl(&default), 0, &ROOT).unwrap();
    let strict = Caller { umask: 0o077, ..ROOT };
    let inner = overlay.mknod(d, b"f", Special::File, 0o666, &strict).unwrap();
    assert_eq!(inner.mode, 0o666, "no umask where a default ACL is");
    assert!(overlay.getxattr(inner.id, b"system.posix_acl_default").is_err());
    let inner = overlay.mkdir(d, b"d", 0o755, &strict).unwrap();
    assert_eq!(inner.mode, 0o755);
    assert_eq!(overlay.getxattr(inner.id, b"system.posix_acl_default").unwrap(), acl(&default));
    let link = overlay.symlink(d, b"l", b"x", &strict).unwrap();
    assert_eq!(overlay.listxattr(link.id).unwrap(), b"");
}

#[test]
fn a_read_only_overlay_refuses_every_change() {
    let bench = Bench::new();
    let overlay = empty(&bench);
    let f = file(&overlay, TOP, "f", b"x");
    let delta = overlay.commit(None).unwrap().delta;
    let snapshot = apply(&*bench.store, &Snapshot::scratch(), &delta).unwrap();
    let options = Options { read_only: true, ..Options::new(bench.folder("two")) };
    let overlay = Overlay::new(bench.store.clone(), Lower::Snapshot(snapshot), options).unwrap();
    let f = overlay.lookup(TOP, b"f").map_or(f, |found| found.id);
    let answers = [
        overlay.mkdir(TOP, b"d", 0, &ROOT).map(|_| ()),
        overlay.mknod(TOP, b"d", Special::Fifo, 0, &ROOT).map(|_| ()),
        overlay.symlink(TOP, b"d", b"x", &ROOT).map(|_| ()),
        overlay.link(f, TOP, b"d").map(|_| ()),
        overlay.unlink(TOP, b"f"),
        overlay.rmdir(TOP, b"f"),
        overlay.rename(TOP, b"f", TOP, b"g", 0),
        overlay.write(f, 0, b"", false).map(|_| ()),
        overlay.fallocate(f, 0, 1, 0, false),
        overlay.copy_file_range((f, 0), (f, 1), 1, false).map(|_| ()),
        overlay.setattr(f, &SetAttributes::default(), &ROOT).map(|_| ()),
        overlay.setxattr(f, b"user.x", b"", 0, &ROOT),
        overlay.removexattr(f, b"user.x"),
    ];
    assert_eq!(answers, [Err(Errno::ROFS); 13]);
    assert_eq!(overlay.read(f, 0, 9).unwrap(), b"x");
    overlay.lend(&TreePath::parse(b"a/b").unwrap(), true).unwrap();
    assert_eq!(stat(&overlay, walk(&overlay, "a/b").unwrap()).kind, FileKind::Directory);
    assert!(overlay.commit(None).unwrap().delta.is_empty());
}

#[test]
fn what_is_too_deep_for_a_delta_is_refused() {
    let bench = Bench::new();
    let overlay = empty(&bench);
    let chain = |start: NodeId, count: usize| {
        (0..count).fold(start, |at, _| overlay.mkdir(at, b"d", 0o755, &ROOT).unwrap().id)
    };
    let deepest = chain(TOP, 2000);
    assert_eq!(overlay.mkdir(deepest, b"d", 0o755, &ROOT), Err(Errno::NAMETOOLONG));
    let other = directory(&overlay, TOP, "other");
    directory(&overlay, other, "inner");
    assert_eq!(overlay.rename(TOP, b"other", deepest, b"x", 0), Err(Errno::NAMETOOLONG));
    let changes = overlay.commit(None).unwrap();
    assert!(!changes.delta.is_empty());
}

/// Each move deeper once counted as if all that ever was in memory had moved along.
#[test]
fn directories_move_down_as_often_as_they_like() {
    let bench = Bench::new();
    let overlay = empty(&bench);
    let deep = directory(&overlay, directory(&overlay, TOP, "a"), "b");
    for number in 0..2100 {
        directory(&overlay, TOP, "moved");
        overlay.rename(TOP, b"moved", deep, number.to_string().as_bytes(), 0).unwrap();
    }
    // What is in the moved directory counts, wherever else it is deep.
    let chain = |start: NodeId, count: usize| (0..count).fold(start, |at, _| directory(&overlay, at, "d"));
    let bottom = chain(TOP, 1990);
    directory(&overlay, TOP, "shallow");
    overlay.rename(TOP, b"shallow", bottom, b"shallow", 0).unwrap();
    chain(directory(&overlay, TOP, "tall"), 9);
    assert_eq!(overlay.rename(TOP, b"tall", bottom, b"tall", 0), Ok(()));
    chain(directory(&overlay, TOP, "taller"), 10);
    assert_eq!(overlay.rename(TOP, b"taller", bottom, b"taller", 0), Err(Errno::NAMETOOLONG));
}

#[test]
fn a_damaged_object_is_an_error_never_other_bytes() {
    let bench = Bench::new();
    let overlay = empty(&bench);
    file(&overlay, TOP, "f", &[3; 500]);
    let overlay = again(&bench, &overlay, "two");
    let f = walk(&overlay, "f").unwrap();
    for entry in fs::read_dir(bench.folder("store")).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().contains("object-") {
            fs::File::options().write(true).open(path).unwrap().set_len(100).unwrap();
        }
    }
    assert_eq!(overlay.read(f, 0, 4096), Err(Errno::IO));
    assert_eq!(overlay.write(f, 1, b"x", false), Err(Errno::IO));
    assert!(overlay.getattr(NodeId(424_242)).is_err());
}
