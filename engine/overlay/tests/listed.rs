//! Entries of a tree have nodes only while somebody asks for them; nobody can tell.
#![allow(clippy::unwrap_used)]

mod support;

use rbuild_overlay::{Errno, Lower, NodeId, Overlay, Stat, ops::SetAttributes};
use rbuild_tree::{Snapshot, apply};
use support::{
    Bench,
    random::ROOT_CALLER,
    view::{overlay_view, walk},
};

const TOP: NodeId = NodeId::ROOT;
const FILES: usize = 300;

/// A lower of `d` with many files, a symbolic link, and two names of one file.
fn lower(bench: &Bench) -> Snapshot {
    let overlay = bench.overlay("made", Lower::Snapshot(Snapshot::scratch()));
    let d = overlay.mkdir(TOP, b"d", 0o755, &ROOT_CALLER).unwrap().id;
    for number in 0..FILES {
        let file = overlay.create(d, name(number).as_bytes(), 0o640, true, &ROOT_CALLER).unwrap().id;
        overlay.write(file, 0, name(number).as_bytes(), false).unwrap();
    }
    overlay.symlink(d, b"symlink", b"target", &ROOT_CALLER).unwrap();
    let two = overlay.create(d, b"two-a", 0o644, true, &ROOT_CALLER).unwrap().id;
    overlay.link(two, d, b"two-b").unwrap();
    let delta = overlay.commit(None).unwrap().delta;
    apply(&*bench.store, &Snapshot::scratch(), &delta).unwrap()
}

fn name(number: usize) -> String {
    format!("file-{number:03}")
}

/// What a listing tells, as the kernel asks for it.
fn told(overlay: &Overlay, directory: NodeId) -> Vec<(Vec<u8>, Stat)> {
    let mut told = Vec::new();
    let mut take = |listed: &rbuild_overlay::ops::Listed<'_>| {
        if listed.counts {
            told.push((listed.name.to_vec(), listed.stat));
        }
        true
    };
    overlay.readdir(directory, 0, true, &mut take).unwrap();
    told
}

#[test]
fn what_a_listing_tells_is_what_a_lookup_tells() {
    let bench = Bench::new();
    let lower = lower(&bench);
    let overlay = bench.overlay("one", Lower::Snapshot(lower.clone()));
    let told_first = told(&overlay, walk(&overlay, "d").unwrap());
    assert_eq!(told_first.len(), FILES + 3);
    let other = bench.overlay("two", Lower::Snapshot(lower));
    let d = walk(&other, "d").unwrap();
    for (name, stat) in &told_first {
        assert_eq!(other.lookup(d, name).unwrap(), *stat, "{}", String::from_utf8_lossy(name));
        assert_eq!(overlay.getattr(stat.id).unwrap(), *stat);
    }
    assert_eq!(told(&other, d), told_first);
}

#[test]
fn every_operation_works_on_a_number_that_was_only_told() {
    let bench = Bench::new();
    let overlay = bench.overlay("one", Lower::Snapshot(lower(&bench)));
    let d = walk(&overlay, "d").unwrap();
    let told = told(&overlay, d);
    let id = |number: usize| told[number].1.id;
    assert_eq!(overlay.read(id(0), 0, 100).unwrap(), b"file-000");
    overlay.write(id(1), 5, b"new", false).unwrap();
    let mode = SetAttributes { mode: Some(0o600), ..SetAttributes::default() };
    assert_eq!(overlay.setattr(id(2), &mode, &ROOT_CALLER).unwrap().mode & 0o7777, 0o600);
    overlay.setxattr(id(3), b"user.x", b"1", 0, &ROOT_CALLER).unwrap();
    assert_eq!(overlay.link(id(4), TOP, b"second").unwrap().links, 2);
    let link = told.iter().find(|(name, _)| name == b"symlink").unwrap().1.id;
    assert_eq!(overlay.readlink(link).unwrap(), b"target");
    // Open files: the kernel goes on with the number of what has no name any more.
    overlay.unlink(d, b"file-005").unwrap();
    assert_eq!(overlay.read(id(5), 0, 100).unwrap(), b"file-005");
    overlay.rename(d, b"file-006", d, b"file-007", 0).unwrap();
    assert_eq!(overlay.read(id(6), 0, 100).unwrap(), b"file-006");
    assert_eq!(overlay.read(id(7), 0, 100).unwrap(), b"file-007");
    assert_eq!(overlay.getattr(id(7)).unwrap().links, 0);
    // Forgotten as often as it was told, it is gone.
    overlay.forget(id(5), 1);
    assert_eq!(overlay.read(id(5), 0, 100), Err(Errno::STALE));
    let delta = overlay.commit(None).unwrap().delta;
    let changed = ["1", "2", "3", "4", "5", "6", "7"].map(|digit| format!("d/file-00{digit}"));
    let mut paths: Vec<String> = Vec::new();
    for (name, change) in &delta.root.children {
        let name = String::from_utf8_lossy(name);
        match change {
            rbuild_tree::Change::Directory(change) => {
                let children = change.children.keys().map(|child| String::from_utf8_lossy(child));
                paths.extend(children.map(|child| format!("{name}/{child}")));
            }
            _ => paths.push(name.into_owned()),
        }
    }
    assert_eq!(paths, [&changed[..], &["second".to_owned()]].concat());
}

#[test]
fn what_is_forgotten_is_made_again_as_it_was() {
    let bench = Bench::new();
    let lower = lower(&bench);
    let overlay = bench.overlay("one", Lower::Snapshot(lower));
    let before = overlay_view(&overlay);
    let mut numbers = Vec::new();
    for _ in 0..3 {
        let d = overlay.lookup(TOP, b"d").unwrap().id;
        let told = told(&overlay, d);
        // Some are only told, some looked up once more, some read, one changed.
        for (at, (name, stat)) in told.iter().enumerate() {
            if at % 3 == 0 {
                assert_eq!(overlay.lookup(d, name).unwrap(), *stat);
                overlay.forget(stat.id, 1);
            }
            if at % 5 == 0 {
                overlay.getattr(stat.id).unwrap();
            }
        }
        numbers.push(told.iter().map(|(_, stat)| stat.id).collect::<Vec<_>>());
        told.iter().for_each(|(_, stat)| overlay.forget(stat.id, 1));
        // A number of a file outlives what was known of its directory.
        let kept = overlay.lookup(d, b"file-001").unwrap().id;
        overlay.forget(kept, 1);
        overlay.forget(d, 1);
        assert_eq!(overlay.getattr(d).unwrap().id, d);
    }
    assert!(numbers.iter().all(|round| *round == numbers[0]));
    assert!(overlay_view(&overlay) == before);
    assert!(overlay.commit(None).unwrap().delta.is_empty());
    let d = overlay.lookup(TOP, b"d").unwrap().id;
    let changed = overlay.lookup(d, b"file-000").unwrap().id;
    overlay.write(changed, 0, b"FILE", false).unwrap();
    overlay.forget(changed, 1);
    overlay.forget(d, 1);
    assert_eq!(overlay.read(walk(&overlay, "d/file-000").unwrap(), 0, 100).unwrap(), b"FILE-000");
}

#[test]
fn who_asks_at_the_same_time_as_others_is_answered() {
    let bench = Bench::new();
    let lower = lower(&bench);
    for round in 0..20 {
        let overlay = bench.overlay(&format!("round-{round}"), Lower::Snapshot(lower.clone()));
        let told = told(&overlay, walk(&overlay, "d").unwrap());
        let barrier = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            let ask = || {
                for (_, stat) in &told {
                    barrier.wait();
                    assert_eq!(overlay.getattr(stat.id).map(|found| found.id), Ok(stat.id));
                }
            };
            let other = scope.spawn(ask);
            ask();
            other.join().unwrap();
        });
    }
}

/// As `ls` shows the name of another user's mount: what can't be looked at hides nothing else.
#[test]
fn a_name_that_cannot_be_looked_at_is_listed() {
    let bench = Bench::new();
    let made = bench.overlay("made", Lower::Snapshot(Snapshot::scratch()));
    for name in ["a", "b", "c"] {
        let directory = made.mkdir(TOP, name.as_bytes(), 0o755, &ROOT_CALLER).unwrap().id;
        made.mkdir(directory, format!("in-{name}").as_bytes(), 0o755, &ROOT_CALLER).unwrap();
    }
    let snapshot = apply(&*bench.store, &Snapshot::scratch(), &made.commit(None).unwrap().delta).unwrap();
    let root = rbuild_tree::TreeStore::tree(&*bench.store, &snapshot.tree).unwrap();
    let Some(rbuild_tree::Kind::Directory(lost)) = root.get(b"b").map(|entry| entry.kind.clone()) else {
        panic!("b is a directory")
    };
    bench.store.lose_tree(&lost);
    let overlay = bench.overlay("one", Lower::Snapshot(snapshot));
    let mut names = Vec::new();
    let mut take = |listed: &rbuild_overlay::ops::Listed<'_>| {
        names.push((String::from_utf8_lossy(listed.name).into_owned(), listed.stat.kind, listed.counts));
        true
    };
    overlay.readdir(TOP, 2, true, &mut take).unwrap();
    let directory = rbuild_overlay::FileKind::Directory;
    let expected = [("a", true), ("b", false), ("c", true)];
    assert_eq!(names, expected.map(|(name, counts)| (name.to_owned(), directory, counts)));
    assert_eq!(overlay.lookup(TOP, b"b"), Err(Errno::IO));
}
