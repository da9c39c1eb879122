//! Random operations on an overlay and on a plain directory: the same answers, the same tree; and what commit says
//! is what the mount showed, over a snapshot and over a live directory.
#![allow(clippy::unwrap_used)]

mod support;

use proptest::prelude::*;
use rbuild_overlay::{Errno, Lower, Overlay};
use rbuild_tree::{Snapshot, apply};
use std::{path::Path, process::Command};
use support::{
    Bench,
    random::{Op, on_overlay, on_plain, op},
    view::{View, overlay_view, plain_view, without_times},
};

/// Errors whose order depends on who looks first.
fn class(answer: Result<(), Errno>) -> Result<(), Errno> {
    answer.map_err(|errno| match errno {
        Errno::NOTEMPTY => Errno::EXIST,
        other => other,
    })
}

fn run(overlay: &Overlay, plain: &Path, ops: &[Op]) {
    for op in ops {
        let (ours, theirs) = (class(on_overlay(overlay, op)), class(on_plain(plain, op)));
        assert_eq!(ours, theirs, "{op:?}");
    }
    pretty_eq(&without_times(overlay_view(overlay)), &plain_view(plain));
}

fn pretty_eq(left: &View, right: &View) {
    for path in left.keys().chain(right.keys()) {
        let (left, right) = (left.get(path), right.get(path));
        assert_eq!(left, right, "at {:?}", String::from_utf8_lossy(path));
    }
}

fn snapshot_of(bench: &Bench, base: &Snapshot, overlay: &Overlay) -> Snapshot {
    let changes = overlay.commit(None).unwrap();
    assert_eq!(changes.warnings, Vec::<String>::new());
    assert!(changes.trace.is_some());
    apply(&*bench.store, base, &changes.delta).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_snapshot_shows_and_commits_what_a_directory_does(
        first in proptest::collection::vec(op(), 1..40),
        second in proptest::collection::vec(op(), 1..40),
    ) {
        let bench = Bench::new();
        let plain = bench.folder("plain");
        let scratch = Snapshot::scratch();
        let overlay = bench.overlay("one", Lower::Snapshot(scratch.clone()));
        run(&overlay, &plain, &first);
        let shown = overlay_view(&overlay);
        let middle = snapshot_of(&bench, &scratch, &overlay);

        let overlay = bench.overlay("two", Lower::Snapshot(middle.clone()));
        pretty_eq(&overlay_view(&overlay), &shown);
        let overlay = bench.overlay("three", Lower::Snapshot(middle.clone()));
        run(&overlay, &plain, &second);
        let shown = overlay_view(&overlay);
        let last = snapshot_of(&bench, &middle, &overlay);
        let overlay = bench.overlay("four", Lower::Snapshot(last.clone()));
        pretty_eq(&overlay_view(&overlay), &shown);

        // Looking changes nothing.
        prop_assert!(overlay.commit(None).unwrap().delta.is_empty());
    }

    #[test]
    fn a_live_directory_and_its_delta_show_what_a_directory_does(
        first in proptest::collection::vec(op(), 1..30),
        second in proptest::collection::vec(op(), 1..30),
        third in proptest::collection::vec(op(), 1..30),
    ) {
        let bench = Bench::new();
        let (plain, lower) = (bench.folder("plain"), bench.folder("lower"));
        for op in &first {
            let _ = on_plain(&plain, op);
        }
        let copy = Command::new("cp").arg("-a").arg(plain.join(".")).arg(&lower).status().unwrap();
        prop_assert!(copy.success());

        let overlay = bench.overlay("one", bench.live(&lower, None));
        run(&overlay, &plain, &second);
        let shown = overlay_view(&overlay);
        let delta = overlay.commit(None).unwrap().delta;
        let overlay = bench.overlay("two", bench.live(&lower, Some(delta.clone())));
        same_but_for_directory_links(&overlay_view(&overlay), &shown);

        // Untouched, and after more steps, the delta is that to the directory itself.
        let overlay = bench.overlay("three", bench.live(&lower, Some(delta.clone())));
        prop_assert_eq!(&overlay.commit(None).unwrap().delta, &delta);
        let overlay = bench.overlay("four", bench.live(&lower, Some(delta)));
        for op in &third {
            let (ours, theirs) = (class(on_overlay(&overlay, op)), class(on_plain(&plain, op)));
            prop_assert_eq!(ours, theirs, "{:?}", op);
        }
        let shown = overlay_view(&overlay);
        same_but_for_directory_links(&without_times(shown.clone()), &plain_view(&plain));
        let delta = overlay.commit(None).unwrap().delta;
        let overlay = bench.overlay("five", bench.live(&lower, Some(delta)));
        same_but_for_directory_links(&overlay_view(&overlay), &shown);
    }
}

/// Link counts of directories with changes of an earlier step below them are 1: unknown.
fn same_but_for_directory_links(left: &View, right: &View) {
    let flat = |view: &View| {
        let mut view = view.clone();
        view.values_mut().filter(|shown| shown.kind == 'd').for_each(|shown| shown.links = 0);
        view
    };
    pretty_eq(&flat(left), &flat(right));
}
