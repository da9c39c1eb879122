//! A scratch folder that is full: the program is told, what was there stays as it was, and nothing is committed.
//!
//! Needs root, for a filesystem of a known size; says so and passes where it is not, unless `CI` is set.
#![allow(clippy::unwrap_used)]

mod support;

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};
use rbuild_overlay::{Errno, Error, NodeId, Overlay, ops::SetAttributes};
use std::{fs, path::PathBuf};
use support::{Bench, mounts::skip, random::ROOT_CALLER};

const ROOM: usize = 1 << 20;

/// Four megabytes for lower and scratch, as store and scratch are on one disk; in a mount namespace of this thread.
struct Small(PathBuf);

impl Small {
    fn new(bench: &Bench) -> Option<Self> {
        if let Err(cause) = unshare(CloneFlags::CLONE_NEWNS) {
            skip(&format!("can't make a mount namespace: {cause}"));
            return None;
        }
        let nothing = None::<&str>;
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).unwrap();
        let folder = bench.folder("small");
        mount(Some("none"), &folder, Some("tmpfs"), MsFlags::empty(), Some("size=4m")).unwrap();
        Some(Self(folder))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        umount2(&self.0, MntFlags::MNT_DETACH).unwrap();
    }
}

/// Three times as much as there is room for, without a hole.
fn bytes() -> Vec<u8> {
    (0..3 * ROOM).map(|at| u8::try_from(at % 251).unwrap() + 1).collect()
}

/// An overlay with a large `lower`, which leaves a megabyte for scratch files; none without root.
fn overlay(bench: &Bench) -> Option<(Small, Overlay)> {
    let small = Small::new(bench)?;
    let root = bench.folder("small/live");
    fs::write(root.join("lower"), bytes()).unwrap();
    Some((small, bench.overlay("small/scratch", bench.live(&root, None))))
}

fn file(overlay: &Overlay, name: &[u8]) -> NodeId {
    overlay.create(NodeId::ROOT, name, 0o644, false, &ROOT_CALLER).unwrap().id
}

fn content(overlay: &Overlay, id: NodeId) -> Vec<u8> {
    let bytes = overlay.read(id, 0, 8 * ROOM).unwrap();
    assert_eq!(overlay.getattr(id).unwrap().size, bytes.len() as u64);
    bytes
}

#[track_caller]
fn nothing_is_committed(overlay: &Overlay) {
    let Err(Error::Io { context, source }) = overlay.commit(None) else { panic!("it was committed") };
    assert!(context.starts_with("keep what a step wrote in /") && context.ends_with("/scratch"), "{context}");
    assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
}

#[test]
fn what_can_not_be_copied_up_whole_is_not_copied_up() {
    let bench = Bench::new();
    let Some((_small, overlay)) = overlay(&bench) else { return };
    let lower = file(&overlay, b"lower");
    let size = Some(3 * ROOM as u64 - 1);
    let shorter = SetAttributes { size, ..SetAttributes::default() };
    assert_eq!(overlay.setattr(lower, &shorter, &ROOT_CALLER), Err(Errno::NOSPC));
    assert_eq!(overlay.write(lower, 5, b"changed", false), Err(Errno::NOSPC));
    assert!(content(&overlay, lower) == bytes());
    nothing_is_committed(&overlay);
}

/// The program that stored bytes through mmap(2) may have ended long ago, and asked nobody.
#[test]
fn bytes_that_the_page_cache_can_not_write_back_fail_the_commit() {
    let bench = Bench::new();
    let Some((_small, overlay)) = overlay(&bench) else { return };
    let mapped = file(&overlay, b"mapped");
    let longer = SetAttributes { size: Some(2 * ROOM as u64), ..SetAttributes::default() };
    overlay.setattr(mapped, &longer, &ROOT_CALLER).unwrap();
    overlay.check().unwrap();
    assert_eq!(overlay.write_cached(mapped, 0, &bytes()[..2 * ROOM], false), Err(Errno::NOSPC));
    nothing_is_committed(&overlay);
}

#[test]
fn a_small_file_that_can_not_leave_memory_stays_as_it_was() {
    let bench = Bench::new();
    let Some((_small, overlay)) = overlay(&bench) else { return };
    let (small, large) = (file(&overlay, b"small"), file(&overlay, b"large"));
    overlay.write(small, 0, &[7; 90], false).unwrap();
    overlay.write(large, 0, &bytes()[..ROOM], false).unwrap();
    assert_eq!(overlay.write(small, 90, &[8; 90], false), Err(Errno::NOSPC));
    assert_eq!(content(&overlay, small), [7; 90]);
    // There is room again; but what the program made of the answer is no result.
    overlay.unlink(NodeId::ROOT, b"large").unwrap();
    overlay.forget(large, 1);
    assert_eq!(overlay.write(small, 90, &[8; 90], false), Ok(90));
    nothing_is_committed(&overlay);
}

#[test]
fn what_could_not_be_allocated_or_copied_leaves_the_size() {
    let bench = Bench::new();
    let Some((_small, overlay)) = overlay(&bench) else { return };
    let file_of_some = file(&overlay, b"some");
    overlay.write(file_of_some, 0, &bytes()[..1000], false).unwrap();
    assert_eq!(overlay.fallocate(file_of_some, 0, 2 * ROOM as u64, 0, false), Err(Errno::NOSPC));
    assert!(content(&overlay, file_of_some) == bytes()[..1000]);

    let (lower, copy) = (file(&overlay, b"lower"), file(&overlay, b"copy"));
    let mut copied = 0;
    let end = loop {
        match overlay.copy_file_range((lower, copied), (copy, copied), 3 * ROOM as u64, false) {
            Ok(count) => copied += count,
            Err(cause) => break cause,
        }
    };
    assert_eq!(end, Errno::NOSPC);
    assert!(content(&overlay, copy) == bytes()[..usize::try_from(copied).unwrap()]);
    nothing_is_committed(&overlay);
}
