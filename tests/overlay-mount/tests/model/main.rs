//! Random operations through system calls: on a mount, on a plain directory, on the kernel's overlayfs. The same
//! answers, the same tree; and the layer that is made of the change is the same tree to GNU tar and umoci.
//!
//! `PROPTEST_CASES=2000 cargo nextest run --release -p rbuild-overlay-mount --test model` looks longer. What failed
//! once is in `model.seeds` and is tried first.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod client;
mod layer;
mod operations;
mod rig;
#[path = "../kernel/seen.rs"]
#[allow(dead_code)]
mod seen;
#[path = "../../../../engine/overlay/tests/support/mod.rs"]
mod support;
mod together;

use crate::layer::Layers;
use client::{Client, without_directory_links};
use operations::{Op, op, ops};
use proptest::{
    collection::vec,
    prelude::any,
    prop_assert_eq,
    strategy::Strategy,
    test_runner::{Config, FileFailurePersistence, TestCaseResult, TestRunner},
};
use rig::{Overlayfs, Rig, enter, run_all};
use rustix::fs::Mode;
use seen::{Seen, see, see_with};
use std::{env, fs::Metadata, os::unix::fs::MetadataExt, path::Path};
use support::mounts::have;
use together::{OWN, SHARED, alone, contradictions, run};

/// Dates from here on, 2020, are those of the clock: no operation sets one.
const PRESENT: i64 = 1_577_836_800;

/// Runs a test on some cases, each seed that failed before among them.
fn check<S: Strategy>(strategy: &S, test: impl Fn(S::Value) -> TestCaseResult) {
    if !enter() {
        return;
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/model/model.seeds");
    let cases = env::var("PROPTEST_CASES").map_or(24, |cases| cases.parse().unwrap());
    let config = Config {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(seeds))),
        // A mount each.
        max_shrink_iters: 400,
        ..Config::default()
    };
    TestRunner::new(config).run(strategy, test).unwrap();
}

fn shown(at: &Path, with_directory_links: bool) -> Seen {
    see_with(at, |found: &Metadata| {
        let date = match found.mtime() {
            PRESENT.. => "now".to_owned(),
            seconds => format!("{seconds}.{:09}", found.mtime_nsec()),
        };
        // Of directories, overlayfs answers 1 where they are of several layers.
        let links = if found.is_dir() && !with_directory_links { 0 } else { found.nlink() };
        format!("{date} {links} links")
    })
}

/// Runs the operations on all three.
fn compare(rig: &Rig, overlayfs: &Overlayfs, ops: &[Op]) -> TestCaseResult {
    // Unknown where an earlier step changed a live directory.
    let links = !rig.live || rig.snapshots.len() == 1;
    let mut ours = Client::new(rig.mount());
    let mut plain = Client::new(&rig.plain());
    let mut kernel = Client::of_overlayfs(&overlayfs.0);
    for (number, op) in ops.iter().enumerate() {
        let expected = plain.run(op);
        let reduced = without_directory_links(expected.clone());
        let (answer, told) =
            if links { (ours.run(op), &expected) } else { (without_directory_links(ours.run(op)), &reduced) };
        prop_assert_eq!(&answer, told, "operation {}, {:?}: ours, and a directory", number, op);
        let kernel = without_directory_links(kernel.run(op));
        prop_assert_eq!(&kernel, &reduced, "operation {}, {:?}: overlayfs, and a directory", number, op);
    }
    same("ours, and a directory", &shown(rig.mount(), links), &shown(&rig.plain(), links))?;
    same("overlayfs, and a directory", &shown(&overlayfs.0, false), &shown(&rig.plain(), false))
}

fn same(what: &str, left: &Seen, right: &Seen) -> TestCaseResult {
    prop_assert_eq!(left.diff(right), Vec::<String>::new(), "{}", what);
    Ok(())
}

#[test]
fn mount_does_what_a_directory_and_overlayfs_do() {
    check(&(ops(0..40), ops(1..60), ops(0..30), any::<bool>()), |(make, first, second, live)| {
        let rig = Rig::new(&[("", &make)], live);
        let overlayfs = rig.overlayfs();
        compare(&rig, &overlayfs, &first)?;
        compare(&rig.next(), &overlayfs, &second)
    });
}

#[test]
fn mount_the_layers_of_changes_are_what_was_shown() {
    if !have(&["tar", "umoci"]) {
        return;
    }
    check(&(ops(0..40), ops(1..60), ops(0..30), any::<bool>()), |(make, first, second, live)| {
        let rig = Rig::new(&[("", &make)], live);
        run_all(rig.mount(), &first);
        let rig = rig.next();
        run_all(rig.mount(), &second);
        let shown = see(rig.mount());
        let rig = rig.next();
        let layers = Layers::of(&rig.bench, &rig.snapshots);
        same("GNU tar, and the mount", &see(&layers.by_tar()), &shown)?;
        same("umoci, and the mount", &see(&layers.by_umoci()), &shown)
    });
}

#[test]
fn mount_two_programs_at_once_leave_one_tree() {
    let steps = || vec((op(), any::<bool>()), 40..120);
    let lower = [ops(0..20), ops(0..20), ops(0..20)];
    check(&(lower, [steps(), steps()], any::<bool>()), |(make, steps, live)| {
        let rig = Rig::new(&[(OWN[0], &make[0]), (OWN[1], &make[1]), (SHARED, &make[2])], live);
        let answers = run(rig.mount(), &steps);
        prop_assert_eq!(answers, alone(&rig.plain(), &steps));
        for own in OWN {
            let (ours, plain) = (rig.mount().join(own), rig.plain().join(own));
            same(own, &shown(&ours, true), &shown(&plain, true))?;
        }
        prop_assert_eq!(contradictions(rig.mount()), Vec::<String>::new());
        let seen = see(rig.mount());
        same("committed, and the mount", &see(rig.next().mount()), &seen)
    });
}
