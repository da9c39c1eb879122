//! What commit says of a step.
#![allow(clippy::unwrap_used)]

mod support;

use rbuild_overlay::{
    Caller, Errno, Live, Lower, NodeId, Options, Overlay,
    ops::{SetAttributes, SetTime, Special},
};
use rbuild_tree::{
    Change, Delta, DirectoryChange, Kind, ObjectId, Snapshot, Timestamp, TreePath, apply, lookup,
};
use std::{fs, path::PathBuf};
use support::{Bench, view::walk};

const ROOT: Caller = Caller { uid: 0, gid: 0, umask: 0o022, pid: 0 };
const TOP: NodeId = NodeId::ROOT;
const OLD: Timestamp = Timestamp::from_seconds(100);
const CLAMP: Timestamp = Timestamp::from_seconds(1_000);

fn at(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).unwrap()
}

fn put(overlay: &Overlay, parent: NodeId, name: &str, bytes: &[u8]) -> NodeId {
    let id = overlay.mknod(parent, name.as_bytes(), Special::File, 0o644, &ROOT).unwrap().id;
    overlay.write(id, 0, bytes, false).unwrap();
    id
}

fn date(overlay: &Overlay, id: NodeId, time: Timestamp) {
    let set = SetAttributes { mtime: Some(SetTime::At(time)), ..SetAttributes::default() };
    overlay.setattr(id, &set, &ROOT).unwrap();
}

/// `d/{f,g}`, `e/`, `h` and `i` linked, everything dated.
fn base(bench: &Bench) -> Snapshot {
    let overlay = bench.overlay("base", Lower::Snapshot(Snapshot::scratch()));
    let d = overlay.mkdir(TOP, b"d", 0o755, &ROOT).unwrap().id;
    let e = overlay.mkdir(TOP, b"e", 0o755, &ROOT).unwrap().id;
    let h = put(&overlay, TOP, "h", b"linked");
    overlay.link(h, TOP, b"i").unwrap();
    let (f, g) = (put(&overlay, d, "f", b"one"), put(&overlay, d, "g", &[9; 5000]));
    for id in [d, e, f, g, h, TOP] {
        date(&overlay, id, OLD);
    }
    let delta = overlay.commit(Some(CLAMP)).unwrap().delta;
    apply(&*bench.store, &Snapshot::scratch(), &delta).unwrap()
}

fn over(bench: &Bench, snapshot: &Snapshot, scratch: &str) -> Overlay {
    bench.overlay(scratch, Lower::Snapshot(snapshot.clone()))
}

fn commit(overlay: &Overlay) -> Delta {
    overlay.commit(Some(CLAMP)).unwrap().delta
}

/// The change at a path, if there is one.
fn change<'a>(delta: &'a Delta, path: &str) -> Option<&'a Change> {
    let path = at(path);
    let mut directory: &DirectoryChange = &delta.root;
    let mut names = path.names().peekable();
    while let Some(name) = names.next() {
        let change = directory.children.get(name)?;
        if names.peek().is_none() {
            return Some(change);
        }
        let Change::Directory(inner) = change else { return None };
        directory = inner;
    }
    None
}

fn names(delta: &Delta) -> Vec<String> {
    delta.root.children.keys().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

#[test]
fn nothing_done_is_no_change() {
    let bench = Bench::new();
    let base = base(&bench);
    let overlay = over(&bench, &base, "s");
    let f = walk(&overlay, "d/f").unwrap();
    overlay.read(f, 0, 9).unwrap();
    assert!(commit(&overlay).is_empty());
    // The same bytes and metadata again.
    overlay.write(f, 0, b"one", false).unwrap();
    date(&overlay, f, OLD);
    let set = SetAttributes { mode: Some(0o644), ..SetAttributes::default() };
    overlay.setattr(walk(&overlay, "h").unwrap(), &set, &ROOT).unwrap();
    assert_eq!(commit(&overlay), Delta::default());
    // Made and taken away: only the time of the directory is left.
    let d = walk(&overlay, "d").unwrap();
    put(&overlay, d, "new", b"x");
    overlay.unlink(d, b"new").unwrap();
    let delta = commit(&overlay);
    let Some(Change::Directory(inner)) = change(&delta, "d") else { panic!("{delta:?}") };
    assert!(inner.children.is_empty() && inner.metadata.as_ref().unwrap().mtime == CLAMP);
    date(&overlay, d, OLD);
    assert!(commit(&overlay).is_empty());
}

#[test]
fn each_change_is_said_where_it_is() {
    let bench = Bench::new();
    let base = base(&bench);
    let overlay = over(&bench, &base, "s");
    let d = walk(&overlay, "d").unwrap();
    overlay.unlink(d, b"f").unwrap();
    let set = SetAttributes { mode: Some(0o600), ..SetAttributes::default() };
    overlay.setattr(walk(&overlay, "d/g").unwrap(), &set, &ROOT).unwrap();
    overlay.rmdir(TOP, b"e").unwrap();
    put(&overlay, TOP, "e", b"a file now");
    put(&overlay, TOP, "empty", b"");
    let delta = commit(&overlay);
    assert_eq!(names(&delta), ["d", "e", "empty"]);
    assert_eq!(change(&delta, "d/f"), Some(&Change::Removed));
    let Some(Change::Replaced(entry)) = change(&delta, "d/g") else { panic!("{delta:?}") };
    assert_eq!((entry.metadata.mode, entry.metadata.mtime), (0o600, OLD));
    assert_eq!(entry.kind, Kind::File { object: ObjectId::of(&[9; 5000]), size: 5000 });
    let Some(Change::Replaced(entry)) = change(&delta, "empty") else { panic!("{delta:?}") };
    assert_eq!(entry.kind, Kind::File { object: ObjectId::of(b""), size: 0 });
    assert!(
        rbuild_overlay::Store::open(&*bench.store, &ObjectId::of(b"")).is_ok(),
        "whoever copies files need not know of this one"
    );
    assert_eq!(entry.metadata.mtime, CLAMP);
    assert!(delta.links.is_empty());
}

#[test]
fn times_are_clamped_only_if_the_step_set_them() {
    let bench = Bench::new();
    let late = Timestamp::from_seconds(5_000);
    let overlay = bench.overlay("base", Lower::Snapshot(Snapshot::scratch()));
    let f = put(&overlay, TOP, "late", b"x");
    date(&overlay, f, late);
    let delta = overlay.commit(None).unwrap().delta;
    let base = apply(&*bench.store, &Snapshot::scratch(), &delta).unwrap();

    let overlay = over(&bench, &base, "s");
    let f = walk(&overlay, "late").unwrap();
    overlay.setattr(f, &SetAttributes { uid: Some(7), ..SetAttributes::default() }, &ROOT).unwrap();
    overlay.rename(TOP, b"late", TOP, b"moved", 0).unwrap();
    for (name, time) in [("old", OLD), ("new", late)] {
        let id = put(&overlay, TOP, name, b"x");
        date(&overlay, id, time);
    }
    overlay.symlink(TOP, b"link", b"x", &ROOT).unwrap();
    overlay.mkdir(TOP, b"dir", 0o755, &ROOT).unwrap();
    let delta = commit(&overlay);
    let mtime = |name: &str| match change(&delta, name) {
        Some(Change::Replaced(entry)) => entry.metadata.mtime,
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(["moved", "old", "new", "link", "dir"].map(mtime), [late, OLD, CLAMP, CLAMP, CLAMP]);
    assert_eq!(delta.root.metadata.unwrap().mtime, CLAMP);
}

/// A layer reads every object that it holds.
#[test]
fn the_store_holds_the_object_of_an_empty_file() {
    let object = |bench: &Bench| rbuild_overlay::Store::open(&*bench.store, &ObjectId::of(b""));
    let bench = Bench::new();
    let overlay = bench.overlay("new", Lower::Snapshot(Snapshot::scratch()));
    overlay.mknod(TOP, b"f", Special::File, 0o644, &ROOT).unwrap();
    assert!(object(&bench).is_err());
    commit(&overlay);
    assert_eq!(object(&bench).unwrap().metadata().unwrap().len(), 0);

    let bench = Bench::new();
    let root = bench.folder("live");
    fs::write(root.join("f"), "").unwrap();
    let overlay = bench.overlay("touched", bench.live(&root, None));
    date(&overlay, overlay.lookup(TOP, b"f").unwrap().id, OLD);
    commit(&overlay);
    assert_eq!(object(&bench).unwrap().metadata().unwrap().len(), 0);
}

#[test]
fn a_moved_directory_keeps_its_tree() {
    let bench = Bench::new();
    let base = base(&bench);
    let Kind::Directory(tree) = lookup(&*bench.store, &base, &at("d")).unwrap().unwrap().kind else {
        panic!()
    };
    let overlay = over(&bench, &base, "s");
    overlay.rename(TOP, b"d", walk(&overlay, "e").unwrap(), b"x", 0).unwrap();
    let delta = commit(&overlay);
    assert_eq!(change(&delta, "d"), Some(&Change::Removed));
    let Some(Change::Replaced(entry)) = change(&delta, "e/x") else { panic!("{delta:?}") };
    assert_eq!((&entry.kind, entry.metadata.mtime), (&Kind::Directory(tree), OLD));
    // And back: only times are left.
    overlay.rename(walk(&overlay, "e").unwrap(), b"x", TOP, b"d", 0).unwrap();
    let delta = commit(&overlay);
    assert_eq!((names(&delta), delta.root.metadata.is_some()), (vec!["e".to_owned()], true));
}

#[test]
fn hard_links_are_told_as_groups() {
    let bench = Bench::new();
    let base = base(&bench);
    let group = |paths: &[&str]| paths.iter().map(|path| at(path)).collect::<Vec<_>>();

    // A change through one name is a change of all, looked at or not.
    let overlay = over(&bench, &base, "one");
    overlay.write(walk(&overlay, "i").unwrap(), 0, b"L", false).unwrap();
    let delta = commit(&overlay);
    assert_eq!(names(&delta), ["h", "i"]);
    assert_eq!(change(&delta, "h"), change(&delta, "i"));
    assert_eq!(delta.links.groups(), [group(&["h", "i"])]);

    // One more name: all of them are written.
    let overlay = over(&bench, &base, "two");
    let (d, h) = (walk(&overlay, "d").unwrap(), walk(&overlay, "h").unwrap());
    overlay.link(h, d, b"third").unwrap();
    let delta = commit(&overlay);
    assert_eq!(delta.links.groups(), [group(&["d/third", "h", "i"])]);
    assert!(
        ["d/third", "h", "i"].iter().all(|path| matches!(change(&delta, path), Some(Change::Replaced(_))))
    );

    // One less.
    let overlay = over(&bench, &base, "three");
    overlay.unlink(TOP, b"h").unwrap();
    let delta = commit(&overlay);
    assert_eq!(change(&delta, "h"), Some(&Change::Removed));
    assert!(delta.links.is_empty());
    let result = apply(&*bench.store, &base, &delta).unwrap();
    assert!(result.links.is_empty());

    // A name that moves with its directory, without anybody looking at it.
    let overlay = over(&bench, &base, "four");
    let d = walk(&overlay, "d").unwrap();
    overlay.link(walk(&overlay, "h").unwrap(), d, b"h").unwrap();
    let delta = commit(&overlay);
    let linked = apply(&*bench.store, &base, &delta).unwrap();
    let overlay = over(&bench, &linked, "five");
    overlay.rename(TOP, b"d", TOP, b"moved", 0).unwrap();
    let delta = commit(&overlay);
    assert_eq!(delta.links.groups(), [group(&["h", "i", "moved/h"])]);
}

#[test]
fn what_was_lent_is_no_change_unless_something_was_put_there() {
    let bench = Bench::new();
    let base = base(&bench);
    let overlay = over(&bench, &base, "s");
    let time = |path: &str| overlay.getattr(walk(&overlay, path).unwrap()).unwrap().mtime;
    overlay.lend(&at("d/mnt/deep"), true).unwrap();
    overlay.lend(&at("etc/resolv.conf"), false).unwrap();
    overlay.lend(&at("d/f"), false).unwrap();
    assert_eq!(overlay.lend(&at("d/f"), true), Err(Errno::NOTDIR));
    assert_eq!(overlay.lend(&at("d/f/x"), true), Err(Errno::NOTDIR));
    assert_eq!(overlay.lend(&at("d"), false), Err(Errno::ISDIR));
    overlay.symlink(TOP, b"link", b"d", &ROOT).unwrap();
    assert_eq!(overlay.lend(&at("link/x"), true), Err(Errno::LOOP));
    overlay.unlink(TOP, b"link").unwrap();
    date(&overlay, TOP, OLD);
    assert_eq!((time("d"), time("")), (OLD, OLD));
    assert!(walk(&overlay, "d/mnt/deep").is_ok());
    assert!(commit(&overlay).is_empty());

    put(&overlay, walk(&overlay, "d/mnt").unwrap(), "kept", b"x");
    let delta = commit(&overlay);
    let result = apply(&*bench.store, &base, &delta).unwrap();
    let find = |path: &str| lookup(&*bench.store, &result, &at(path)).unwrap();
    assert!(find("d/mnt/kept").is_some() && find("d/mnt/deep").is_none() && find("etc").is_none());
    // Another one in its place is the step's own.
    let overlay = over(&bench, &base, "own");
    overlay.lend(&at("mnt"), true).unwrap();
    overlay.rmdir(TOP, b"mnt").unwrap();
    overlay.mkdir(TOP, b"mnt", 0o700, &ROOT).unwrap();
    assert_eq!(names(&commit(&overlay)), ["mnt"]);
}

#[test]
fn committing_twice_says_the_same() {
    let bench = Bench::new();
    let base = base(&bench);
    let overlay = over(&bench, &base, "s");
    put(&overlay, TOP, "large", &[1; 300_000]);
    let first = commit(&overlay);
    assert_eq!(commit(&overlay), first);
    let f = walk(&overlay, "large").unwrap();
    assert_eq!(overlay.read(f, 299_998, 9).unwrap(), [1, 1]);
}

fn live(bench: &Bench) -> PathBuf {
    let root = bench.folder("live");
    fs::create_dir_all(root.join("d/sub")).unwrap();
    fs::write(root.join("d/sub/f"), vec![4; 3000]).unwrap();
    fs::write(root.join("d/small"), b"small").unwrap();
    fs::write(root.join("secret"), b"hidden").unwrap();
    root
}

#[test]
fn a_live_lower_is_imported_only_where_the_step_touched_it() {
    let bench = Bench::new();
    let root = live(&bench);
    let open = |scratch: &str, delta| {
        let lower = Live { root: root.clone(), exclude: vec![at("secret")], delta };
        Overlay::new(bench.store.clone(), Lower::Live(lower), Options::new(bench.folder(scratch))).unwrap()
    };
    let overlay = open("one", None);
    assert_eq!(walk(&overlay, "secret"), Err(Errno::NOENT));
    let f = walk(&overlay, "d/sub/f").unwrap();
    assert_eq!(overlay.read(f, 2999, 9).unwrap(), [4]);
    assert!(commit(&overlay).is_empty());
    overlay.setattr(f, &SetAttributes { mode: Some(0o600), ..SetAttributes::default() }, &ROOT).unwrap();
    let delta = commit(&overlay);
    let Some(Change::Replaced(entry)) = change(&delta, "d/sub/f") else { panic!("{delta:?}") };
    assert_eq!(entry.kind, Kind::File { object: ObjectId::of(&[4; 3000]), size: 3000 });
    assert_eq!(change(&delta, "d/small"), None);

    // A second step on top: both are in the difference, and the directory itself is as it was.
    let overlay = open("two", Some(delta));
    overlay.rename(TOP, b"d", TOP, b"moved", 0).unwrap();
    let delta = commit(&overlay);
    assert_eq!(names(&delta), ["d", "moved"]);
    let overlay = open("three", Some(delta));
    let f = walk(&overlay, "moved/sub/f").unwrap();
    assert_eq!((overlay.getattr(f).unwrap().mode, overlay.read(f, 0, 1).unwrap()), (0o600, vec![4]));
    assert_eq!(overlay.read(walk(&overlay, "moved/small").unwrap(), 0, 9).unwrap(), b"small");
    assert_eq!(walk(&overlay, "d"), Err(Errno::NOENT));
    assert!(root.join("d/sub/f").exists());
}

/// A name that is another file's now says so, even where both files look the same.
#[test]
fn a_live_name_of_another_but_equal_file_is_told() {
    let bench = Bench::new();
    let root = bench.folder("lower");
    let time = rustix::fs::Timespec { tv_sec: 100, tv_nsec: 0 };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    let no_follow = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    for name in ["a", "c"] {
        std::os::unix::fs::symlink("target", root.join(name)).unwrap();
        rustix::fs::utimensat(rustix::fs::CWD, root.join(name), &times, no_follow).unwrap();
    }
    fs::hard_link(root.join("c"), root.join("b")).unwrap();
    let overlay = bench.overlay("one", bench.live(&root, None));
    overlay.rename(TOP, b"b", TOP, b"a", 0).unwrap();
    let ids = |overlay: &Overlay| ["a", "c"].map(|path| walk(overlay, path).unwrap());
    let [a, c] = ids(&overlay);
    assert_eq!((a, overlay.getattr(a).unwrap().links), (c, 2));
    let delta = commit(&overlay);
    assert_eq!(names(&delta), ["a", "b"]);
    let again = bench.overlay("two", bench.live(&root, Some(delta)));
    let [a, c] = ids(&again);
    assert_eq!((a, again.getattr(a).unwrap().links), (c, 2));
    // The other way round: what takes the place of one of several names is the only one.
    let overlay = bench.overlay("three", bench.live(&root, None));
    overlay.rename(TOP, b"a", TOP, b"b", 0).unwrap();
    let delta = commit(&overlay);
    assert_eq!(names(&delta), ["a", "b"]);
    let again = bench.overlay("four", bench.live(&root, Some(delta)));
    let b = walk(&again, "b").unwrap();
    assert_eq!(again.getattr(b).unwrap().links, 1);
}

/// The usual way to end a hard link: a copy, equal in all, takes the place of one of the names.
#[test]
fn a_name_of_another_but_equal_file_is_told() {
    let bench = Bench::new();
    let snapshot = base(&bench);
    let overlay = over(&bench, &snapshot, "one");
    let copy = put(&overlay, TOP, "copy", b"linked");
    date(&overlay, copy, OLD);
    overlay.rename(TOP, b"copy", TOP, b"h", 0).unwrap();
    let delta = commit(&overlay);
    assert_eq!(names(&delta), ["h"]);
    let after = apply(&*bench.store, &snapshot, &delta).unwrap();
    assert!(after.links.groups().is_empty(), "{:?}", after.links);
    let again = over(&bench, &after, "two");
    let i = walk(&again, "i").unwrap();
    again.write(walk(&again, "h").unwrap(), 0, b"other", false).unwrap();
    assert_eq!(again.read(i, 0, 100).unwrap(), b"linked");
}

/// The same of a directory: what is in it may be equal, and linked otherwise.
#[test]
fn a_directory_made_anew_has_the_links_that_it_was_given() {
    let bench = Bench::new();
    let make = |overlay: &Overlay, linked: bool| {
        let d = overlay.mkdir(TOP, b"d", 0o755, &ROOT).unwrap().id;
        let a = put(overlay, d, "a", b"equal");
        let b = if linked { overlay.link(a, d, b"b").unwrap().id } else { put(overlay, d, "b", b"equal") };
        [a, b, d].into_iter().for_each(|id| date(overlay, id, OLD));
    };
    for linked in [true, false] {
        let first = bench.overlay("first", Lower::Snapshot(Snapshot::scratch()));
        make(&first, linked);
        let snapshot = apply(&*bench.store, &Snapshot::scratch(), &commit(&first)).unwrap();
        let overlay = over(&bench, &snapshot, "second");
        let d = walk(&overlay, "d").unwrap();
        ["a", "b"].into_iter().for_each(|name| overlay.unlink(d, name.as_bytes()).unwrap());
        overlay.rmdir(TOP, b"d").unwrap();
        make(&overlay, !linked);
        date(&overlay, TOP, OLD);
        let after = apply(&*bench.store, &snapshot, &commit(&overlay)).unwrap();
        assert_eq!(after.links.groups().len(), usize::from(!linked));
    }
}

/// `mv a/b z && rmdir a`: the kernel forgets `a`, and what was in it goes on.
#[test]
fn links_outlive_the_directory_that_they_came_from() {
    let bench = Bench::new();
    let made = bench.overlay("made", Lower::Snapshot(Snapshot::scratch()));
    let a = made.mkdir(TOP, b"a", 0o755, &ROOT).unwrap().id;
    let b = made.mkdir(a, b"b", 0o755, &ROOT).unwrap().id;
    let f = put(&made, b, "f", b"linked");
    made.link(f, b, b"h").unwrap();
    made.link(f, TOP, b"x").unwrap();
    let snapshot = apply(&*bench.store, &Snapshot::scratch(), &commit(&made)).unwrap();
    let overlay = over(&bench, &snapshot, "one");
    let a = overlay.lookup(TOP, b"a").unwrap().id;
    overlay.rename(a, b"b", TOP, b"z", 0).unwrap();
    overlay.rmdir(TOP, b"a").unwrap();
    overlay.forget(a, 1);
    assert_eq!(overlay.getattr(a), Err(Errno::STALE));
    let after = apply(&*bench.store, &snapshot, &commit(&overlay)).unwrap();
    assert_eq!(after.links.groups(), [["x", "z/f", "z/h"].map(at).to_vec()]);
}

/// Names that are left of a live file show how many they are, not the machine's count.
#[test]
fn a_live_file_that_lost_a_name_has_one_link_less() {
    let bench = Bench::new();
    let root = bench.folder("lower");
    fs::write(root.join("a"), "").unwrap();
    fs::hard_link(root.join("a"), root.join("b")).unwrap();
    fs::hard_link(root.join("a"), root.join("c")).unwrap();
    let links = |overlay: &Overlay, path| overlay.getattr(walk(overlay, path).unwrap()).unwrap().links;
    let overlay = bench.overlay("one", bench.live(&root, None));
    for name in ["b", "c"] {
        assert_eq!(links(&overlay, name), 3);
    }
    overlay.unlink(TOP, b"a").unwrap();
    let overlay = bench.overlay("two", bench.live(&root, Some(commit(&overlay))));
    assert_eq!(links(&overlay, "b"), 2);
    assert_eq!(links(&overlay, "c"), 2);
    overlay.unlink(TOP, b"c").unwrap();
    let overlay = bench.overlay("three", bench.live(&root, Some(commit(&overlay))));
    assert_eq!(links(&overlay, "b"), 1);
    // The same by a name that came and went again.
    let overlay = bench.overlay("four", bench.live(&root, None));
    let kept = walk(&overlay, "a").unwrap();
    overlay.unlink(TOP, b"b").unwrap();
    overlay.unlink(TOP, b"c").unwrap();
    overlay.link(kept, TOP, b"d").unwrap();
    let overlay = bench.overlay("five", bench.live(&root, Some(commit(&overlay))));
    assert_eq!(links(&overlay, "a"), 2);
    overlay.unlink(TOP, b"d").unwrap();
    let overlay = bench.overlay("six", bench.live(&root, Some(commit(&overlay))));
    assert_eq!(links(&overlay, "a"), 1);
}

#[test]
fn two_threads_at_once() {
    let bench = Bench::new();
    let base = base(&bench);
    let overlay = over(&bench, &base, "s");
    let rounds = 300;
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let overlay = &overlay;
            scope.spawn(move || {
                let (d, e) = (walk(overlay, "d").unwrap(), walk(overlay, "e").unwrap());
                for round in 0..rounds {
                    let name = format!("{thread}-{round}");
                    let (from, to) = if thread % 2 == 0 { (d, e) } else { (e, d) };
                    let id = put(overlay, from, &name, name.as_bytes());
                    overlay.rename(from, name.as_bytes(), to, name.as_bytes(), 0).unwrap();
                    // A directory that everybody moves about.
                    let _ = overlay.mkdir(from, b"shared", 0o755, &ROOT);
                    let _ = overlay.rename(from, b"shared", to, b"shared", 2);
                    let _ = overlay.rename(from, b"shared", to, b"inner", 0);
                    let _ = overlay.rmdir(to, b"inner");
                    if round % 2 == 0 {
                        overlay.unlink(to, name.as_bytes()).unwrap();
                        overlay.forget(id, 1);
                    }
                }
            });
        }
    });
    let delta = commit(&overlay);
    let result = apply(&*bench.store, &base, &delta).unwrap();
    let count = |path: &str| {
        let Some(Kind::Directory(id)) =
            lookup(&*bench.store, &result, &at(path)).unwrap().map(|found| found.kind)
        else {
            panic!("{path}")
        };
        let tree = rbuild_tree::TreeStore::tree(&*bench.store, &id).unwrap();
        tree.iter().filter(|(name, _)| name.contains(&b'-')).count()
    };
    assert_eq!(count("d") + count("e"), 4 * rounds / 2);
}

#[test]
fn trusted_attributes_live_as_long_as_the_mount() {
    let bench = Bench::new();
    let overlay = bench.overlay("scratch", Lower::Snapshot(Snapshot::scratch()));
    let f = put(&overlay, TOP, "f", b"f");
    assert!(overlay.commit(None).unwrap().warnings.is_empty());
    for name in [&b"trusted.a"[..], b"trusted.b", b"user.c"] {
        overlay.setxattr(f, name, b"value", 0, &ROOT).unwrap();
    }
    assert_eq!(overlay.getxattr(f, b"trusted.a").unwrap(), b"value");
    let changes = overlay.commit(None).unwrap();
    let result = apply(&*bench.store, &Snapshot::scratch(), &changes.delta).unwrap();
    let kept = lookup(&*bench.store, &result, &at("f")).unwrap().unwrap().metadata.xattrs;
    assert_eq!(kept.into_keys().collect::<Vec<_>>(), [b"user.c"[..].into()]);
    let [warning] = &changes.warnings[..] else { panic!("{:?}", changes.warnings) };
    assert!(warning.contains("trusted.*"), "{warning}");
}
