//! How fast does a tar become a tree, how much memory does that take, and how fast does a tree become a layer?
//!
//! The Debian base of `specs/ci-java`, in the page cache, into an empty store. GNU tar, which neither hashes nor keeps
//! anything by content, shows what the disk allows. The layer is written with gzip from a store that has the tree,
//! against `gzip -6` of the same tar; a layout with blob, config and manifest is written besides.

#![allow(clippy::print_stdout, reason = "a bench is there to print")]

mod support;

use std::{
    cell::Cell,
    fs,
    fs::File,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};
use support::{
    Need, base,
    chroot::Chroot,
    contest::{Contest, at_least, bound},
    project::{Project, over_base, size},
    run,
};

fn main() -> ExitCode {
    support::main("import: a Debian tar in, a gzip layer out", &[Need::Base, Need::Program("gzip")], answer)
}

fn answer() {
    let bytes = fs::read(base()).expect("the base").len(); // into the page cache
    println!("  {} MB of tar", bytes / 1_000_000);
    import();
    layer();
}

/// A build file whose image is the base and nothing else.
fn spec() -> String {
    over_base()
        + "\n[step.all]\nfrom = \"base\"\n\n[image.all]\nfrom = \"all\"\noutput = [{ oci = \"dist\" }]\n"
}

fn import() {
    let peak = Cell::new(0);
    let results = Contest::default()
        .candidate("tar -x", |_| {
            let start = Instant::now();
            Chroot::new();
            start.elapsed()
        })
        .candidate("rbuild, into an empty store", |_| {
            let project = Project::with(&spec());
            let (wall, bytes) = run::time_and_peak(&project.apply(&["step.all"]));
            peak.set(peak.get().max(bytes));
            wall
        })
        .run(7);
    results.print();
    println!();
    bound("import", results.median(1).as_secs_f64(), " s", 2.0);
    bound("its peak memory", peak.get() as f64 / 1e6, " MB", 200.0);
}

fn layer() {
    let sizes = Cell::new((0, 0));
    let peak = Cell::new(0);
    let results = Contest::default()
        .candidate("gzip -6 of the tar", |_| {
            let project = Project::new();
            let target = project.path("base.tar.gz");
            let output = File::create(&target).expect("the file of gzip");
            let wall = by_gzip(output);
            sizes.set((size(&target), sizes.get().1));
            wall
        })
        .candidate("rbuild, an image of one layer", |_| {
            let project = Project::with(&spec());
            run::must(&mut project.apply(&["step.all"]));
            support::settle();
            let (wall, bytes) = run::time_and_peak(&project.apply(&["image.all"]));
            peak.set(peak.get().max(bytes));
            sizes.set((sizes.get().0, size(&project.work().join("dist/blobs"))));
            wall
        })
        .run(5);
    results.print();
    let (gzip, rbuild) = sizes.get();
    println!("\n  sizes: gzip {:.1} MB, rbuild {:.1} MB", gzip as f64 / 1e6, rbuild as f64 / 1e6);
    let ratio = results.median(0).as_secs_f64() / results.median(1).as_secs_f64();
    at_least("as fast as gzip -6", ratio, " times", 1.8);
    bound("its peak memory", peak.get() as f64 / 1e6, " MB", 200.0);
}

fn by_gzip(output: File) -> Duration {
    let start = Instant::now();
    let status = Command::new("gzip").args(["-6", "--stdout"]).arg(base()).stdout(output).status();
    assert!(status.is_ok_and(|status| status.success()), "gzip failed");
    start.elapsed()
}
