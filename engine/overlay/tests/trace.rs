//! Traces: what they hold, and that a step whose trace still holds would do the same again.
#![allow(clippy::unwrap_used)]

mod support;

use proptest::prelude::*;
use rbuild_overlay::{
    Caller, Input, LiveInput, Lower, NodeId, Options, Overlay, SnapshotInput, Trace, hash_file,
    ops::{SetAttributes, Special},
};
use rbuild_tree::{Snapshot, Timestamp, TreePath, apply};
use std::{fs, path::Path};
use support::{
    Bench,
    random::{Op, name_op, on_overlay, op},
    view::{children, walk},
};

const CLAMP: Timestamp = Timestamp::from_seconds(1_000);
const ROOT: Caller = Caller { uid: 0, gid: 0, umask: 0, pid: 0 };

fn at(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).unwrap()
}

/// A snapshot made by operations on another.
fn step(bench: &Bench, scratch: &str, base: &Snapshot, ops: &[Op]) -> Snapshot {
    let overlay = bench.overlay(scratch, Lower::Snapshot(base.clone()));
    for op in ops {
        let _ = on_overlay(&overlay, op);
    }
    let changes = overlay.commit(Some(CLAMP)).unwrap();
    apply(&*bench.store, base, &changes.delta).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// What makes the second look of the cache sound.
    #[test]
    fn a_step_whose_trace_holds_does_the_same(
        base in proptest::collection::vec(op(), 1..40),
        edit in proptest::collection::vec(op(), 1..6),
        run in proptest::collection::vec(op(), 1..12),
    ) {
        replays(&base, &edit, &run)?;
    }

    #[test]
    fn so_does_one_that_is_about_links(
        base in proptest::collection::vec(name_op(), 1..20),
        edit in proptest::collection::vec(name_op(), 1..4),
        run in proptest::collection::vec(name_op(), 1..6),
    ) {
        replays(&base, &edit, &run)?;
    }

    #[test]
    fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0_usize..200) {
        let _ = Trace::decode(&bytes);
        let mut framed = b"rbR\x01".to_vec();
        framed.extend(&bytes);
        if let Ok(trace) = Trace::decode(&framed) {
            prop_assert_eq!(trace.encode(), framed.clone());
        }
        let _ = Trace::decode(&framed[..cut.min(framed.len())]);
    }
}

/// A step run over a base; the base edited; if the step's trace holds there, its difference must be what it would do.
fn replays(base: &[Op], edit: &[Op], run: &[Op]) -> Result<(), TestCaseError> {
    let bench = Bench::new();
    let old = step(&bench, "base", &Snapshot::scratch(), base);
    let new = step(&bench, "edit", &old, edit);

    let overlay = bench.overlay("run", Lower::Snapshot(old.clone()));
    let answers: Vec<_> = run.iter().map(|op| on_overlay(&overlay, op)).collect();
    let changes = overlay.commit(Some(CLAMP)).unwrap();
    let trace = changes.trace.unwrap();
    prop_assert_eq!(Trace::decode(&trace.encode()).unwrap(), trace.clone());
    prop_assert_eq!(trace.check(&SnapshotInput::new(&*bench.store, &old)).unwrap(), None);

    if trace.check(&SnapshotInput::new(&*bench.store, &new)).unwrap().is_none() {
        let overlay = bench.overlay("again", Lower::Snapshot(new.clone()));
        let again: Vec<_> = run.iter().map(|op| on_overlay(&overlay, op)).collect();
        prop_assert_eq!(again, answers);
        let truth = apply(&*bench.store, &new, &overlay.commit(Some(CLAMP)).unwrap().delta).unwrap();
        let reused = apply(&*bench.store, &new, &changes.delta).unwrap();
        prop_assert_eq!(reused.id(), truth.id());
    }
    Ok(())
}

/// `d/{f,g}`, `h`, a link `l`.
fn live(bench: &Bench) -> std::path::PathBuf {
    let root = bench.folder("live");
    fs::create_dir(root.join("d")).unwrap();
    fs::write(root.join("d/f"), b"one").unwrap();
    fs::write(root.join("d/g"), b"two").unwrap();
    fs::write(root.join("h"), b"three").unwrap();
    std::os::unix::fs::symlink("d/f", root.join("l")).unwrap();
    root
}

fn input(root: &Path) -> LiveInput<'static> {
    let hash = Box::new(|_: &_, open: &mut dyn FnMut() -> std::io::Result<fs::File>| hash_file(&open()?));
    LiveInput::new(root, Vec::new(), hash).unwrap()
}

fn trace_of(overlay: &Overlay) -> Trace {
    overlay.commit(None).unwrap().trace.unwrap()
}

#[test]
fn look_ups_misses_listings_and_reads_are_told_apart() {
    let bench = Bench::new();
    let root = live(&bench);
    let overlay = bench.overlay("s", bench.live(&root, None));
    walk(&overlay, "d/f").unwrap();
    walk(&overlay, "d/none").unwrap_err();
    let h = walk(&overlay, "h").unwrap();
    overlay.read(h, 0, 2).unwrap();
    let trace = trace_of(&overlay);
    let paths: Vec<String> = trace.entries.keys().map(ToString::to_string).collect();
    assert_eq!(paths, ["/", "/d", "/d/f", "/d/none", "/h"]);
    let seen = |path: &str| &trace.entries[&at(path)];
    assert!(seen("d").attributes.is_some() && seen("d").listing.is_none());
    assert!(seen("d/f").content.is_none() && seen("d/none").absent && seen("d/none").attributes.is_none());
    assert!(seen("h").content.is_some());
    assert_eq!(trace.check(&input(&root)).unwrap(), None);

    let mut first = None;
    let mut mismatch = |change: &dyn Fn()| {
        change();
        first = trace.check(&input(&root)).unwrap();
        first.clone().map(|mismatch| (mismatch.path.to_string(), mismatch.what))
    };
    // Not looked at: no matter.
    assert_eq!(mismatch(&|| fs::write(root.join("d/g"), b"changed").unwrap()), None);
    assert_eq!(mismatch(&|| fs::write(root.join("d/new"), b"").unwrap()), None);
    let found = mismatch(&|| fs::write(root.join("d/none"), b"now").unwrap());
    assert_eq!(found, Some(("/d/none".to_owned(), "attributes")));
    fs::remove_file(root.join("d/none")).unwrap();
    // Same size and time: the bytes tell.
    let time = fs::metadata(root.join("h")).unwrap().modified().unwrap();
    let found = mismatch(&|| {
        fs::write(root.join("h"), b"eerht").unwrap();
        fs::File::open(root.join("h")).unwrap().set_modified(time).unwrap();
    });
    assert_eq!(found, Some(("/h".to_owned(), "content")));
    assert!(first.unwrap().to_string().starts_with("content of /h: was "));
}

#[test]
fn a_listing_covers_names_and_attributes() {
    let bench = Bench::new();
    let root = live(&bench);
    let overlay = bench.overlay("s", bench.live(&root, None));
    let d = walk(&overlay, "d").unwrap();
    children(&overlay, d);
    let trace = trace_of(&overlay);
    assert_eq!(trace.entries.len(), 2, "a listing needs no entry a name: {trace:?}");
    assert_eq!(trace.check(&input(&root)).unwrap(), None);
    let time = fs::metadata(root.join("d")).unwrap().modified().unwrap();
    fs::write(root.join("d/new"), b"").unwrap();
    fs::File::open(root.join("d")).unwrap().set_modified(time).unwrap();
    assert_eq!(trace.check(&input(&root)).unwrap().unwrap().what, "listing");
    fs::remove_file(root.join("d/new")).unwrap();
    fs::File::open(root.join("d")).unwrap().set_modified(time).unwrap();
    assert_eq!(trace.check(&input(&root)).unwrap(), None);
    fs::write(root.join("d/g"), b"longer").unwrap();
    assert_eq!(trace.check(&input(&root)).unwrap().unwrap().what, "listing");
}

#[test]
fn what_reappears_in_the_result_counts_as_read() {
    let bench = Bench::new();
    let root = live(&bench);
    let set = SetAttributes { mode: Some(0o600), ..SetAttributes::default() };
    type Action = fn(&Overlay, &SetAttributes);
    let cases: [(Action, &[&str]); 5] = [
        (
            |overlay, set| {
                overlay.setattr(walk(overlay, "h").unwrap(), set, &ROOT).unwrap();
            },
            &["h"],
        ),
        (|overlay, _| overlay.rename(NodeId::ROOT, b"h", NodeId::ROOT, b"i", 0).unwrap(), &["h"]),
        (
            |overlay, _| {
                overlay.link(walk(overlay, "h").unwrap(), NodeId::ROOT, b"i").unwrap();
            },
            &["h"],
        ),
        (
            |overlay, _| {
                overlay.write(walk(overlay, "h").unwrap(), 1, b"x", false).unwrap();
            },
            &["h"],
        ),
        (|overlay, _| overlay.rename(NodeId::ROOT, b"d", NodeId::ROOT, b"e", 0).unwrap(), &["d/f", "d/g"]),
    ];
    for (index, (action, read)) in cases.into_iter().enumerate() {
        let overlay = bench.overlay(&format!("s{index}"), bench.live(&root, None));
        action(&overlay, &set);
        let trace = trace_of(&overlay);
        let contents: Vec<&TreePath> =
            trace.entries.iter().filter(|(_, seen)| seen.content.is_some()).map(|(path, _)| path).collect();
        assert_eq!(contents, read.iter().map(|path| at(path)).collect::<Vec<_>>().iter().collect::<Vec<_>>());
        assert_eq!(trace.check(&input(&root)).unwrap(), None);
    }
    // Written over whole: nothing of it reappears.
    let overlay = bench.overlay("whole", bench.live(&root, None));
    overlay.write(walk(&overlay, "h").unwrap(), 0, b"five5", false).unwrap();
    assert!(trace_of(&overlay).entries[&at("h")].content.is_none());
    // Unless it turns out to be the same.
    let time = overlay.getattr(walk(&overlay, "h").unwrap()).unwrap().mtime;
    let overlay = bench.overlay("same", bench.live(&root, None));
    let (h, old) =
        (walk(&overlay, "h").unwrap(), input(&root).look(&at("h")).unwrap().unwrap().mtime.unwrap());
    assert_ne!(old, time);
    overlay.write(h, 0, b"three", false).unwrap();
    let mtime = Some(rbuild_overlay::ops::SetTime::At(old));
    overlay.setattr(h, &SetAttributes { mtime, ..SetAttributes::default() }, &ROOT).unwrap();
    let changes = overlay.commit(None).unwrap();
    assert!(changes.delta.is_empty());
    assert!(changes.trace.unwrap().entries[&at("h")].content.is_some());
}

#[test]
fn a_rename_inside_the_step_does_not_change_what_a_path_means() {
    let bench = Bench::new();
    let root = live(&bench);
    let overlay = bench.overlay("s", bench.live(&root, None));
    overlay.rename(NodeId::ROOT, b"d", NodeId::ROOT, b"e", 0).unwrap();
    overlay.mkdir(NodeId::ROOT, b"d", 0o755, &ROOT).unwrap();
    let d = walk(&overlay, "d").unwrap();
    overlay.mknod(d, b"x", Special::File, 0o644, &ROOT).unwrap();
    walk(&overlay, "d/y").unwrap_err();
    walk(&overlay, "e/none").unwrap_err();
    let trace = trace_of(&overlay);
    assert!(trace.entries[&at("d/none")].absent);
    assert!(!trace.entries.contains_key(&at("d/x")) && !trace.entries.contains_key(&at("d/y")));
    assert!(trace.entries[&at("e")].absent && !trace.entries.contains_key(&at("e/none")));
}

#[test]
fn a_file_that_changes_meanwhile_spoils_the_record() {
    let bench = Bench::new();
    let root = live(&bench);
    let overlay = bench.overlay("s", bench.live(&root, None));
    overlay.read(walk(&overlay, "h").unwrap(), 0, 9).unwrap();
    fs::write(root.join("h"), b"THREE").unwrap();
    let changes = overlay.commit(None).unwrap();
    assert!(changes.trace.is_none() && changes.delta.is_empty());
    assert_eq!(changes.warnings.len(), 1);
    assert!(changes.warnings[0].contains("/h changed"), "{:?}", changes.warnings);
}

#[test]
fn other_names_of_a_file_count() {
    let bench = Bench::new();
    let link = |from: &str, to: &str| Op::Link(from.to_owned(), to.to_owned());
    let create = |path: &str| Op::Create(path.to_owned());
    let old = step(&bench, "old", &Snapshot::scratch(), &[create("a"), link("a", "b"), create("c")]);
    let overlay = bench.overlay("run", Lower::Snapshot(old.clone()));
    overlay.write(walk(&overlay, "a").unwrap(), 0, b"x", false).unwrap();
    let trace = trace_of(&overlay);
    let new = step(&bench, "new", &old, &[Op::Unlink("b".to_owned()), link("a", "d"), link("c", "b")]);
    let mismatch = trace.check(&SnapshotInput::new(&*bench.store, &new)).unwrap().unwrap();
    assert_eq!((mismatch.path, mismatch.what), (at("a"), "attributes"));
    let new = step(&bench, "other", &old, &[Op::Unlink("c".to_owned())]);
    assert_eq!(trace.check(&SnapshotInput::new(&*bench.store, &new)).unwrap(), None);
}

#[test]
fn no_trace_unless_asked_for() {
    let bench = Bench::new();
    let root = live(&bench);
    let store = bench.store.clone();
    let overlay = Overlay::new(store, bench.live(&root, None), Options::new(bench.folder("s"))).unwrap();
    overlay.read(walk(&overlay, "h").unwrap(), 0, 9).unwrap();
    assert!(overlay.commit(None).unwrap().trace.is_none());
}
