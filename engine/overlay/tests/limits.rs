//! What many files cost: memory is given back with what was removed, and descriptors are few.
#![allow(clippy::unwrap_used)]

mod support;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rbuild_overlay::{Lower, NodeId, Overlay, Stat};
use rbuild_tree::Snapshot;
use std::fs;
use support::{Bench, random::ROOT_CALLER};

fn file(overlay: &Overlay, name: &str) -> Stat {
    overlay.create(NodeId::ROOT, name.as_bytes(), 0o644, true, &ROOT_CALLER).unwrap()
}

/// The soft limit of this process is lower than the files of one directory, all of them in use.
#[test]
fn no_descriptor_is_kept_for_an_inode() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 100, hard).unwrap();
    let bench = Bench::new();
    let overlay = bench.overlay("scratch", Lower::Snapshot(Snapshot::scratch()));
    let content = |number: usize| number.to_string().repeat(200).into_bytes();
    let made: Vec<NodeId> = (0..30_000)
        .map(|number| {
            let id = file(&overlay, &number.to_string()).id;
            overlay.write(id, 0, &content(number), false).unwrap();
            id
        })
        .collect();
    for (number, id) in made.iter().enumerate().step_by(7) {
        assert_eq!(overlay.read(*id, 0, 10_000), Ok(content(number)));
    }
    assert_eq!(overlay.commit(None).unwrap().delta.root.children.len(), made.len());
    for (number, id) in made.iter().enumerate().step_by(7) {
        assert_eq!(overlay.read(*id, 0, 10_000), Ok(content(number)));
    }
}

/// Its number names nothing any more, and its scratch file is gone; before that it can be read.
#[test]
fn what_was_removed_and_forgotten_is_gone() {
    let bench = Bench::new();
    let overlay = bench.overlay("scratch", Lower::Snapshot(Snapshot::scratch()));
    let scratch = bench.folder("scratch");
    for round in 0..5 {
        let made: Vec<Stat> = (0..1000).map(|number| file(&overlay, &number.to_string())).collect();
        made.iter().for_each(|stat| assert_eq!(overlay.write(stat.id, 0, &[1; 200], false), Ok(200)));
        assert_eq!(fs::read_dir(&scratch).unwrap().count(), 1000);
        for (number, stat) in made.iter().enumerate() {
            overlay.unlink(NodeId::ROOT, number.to_string().as_bytes()).unwrap();
            assert_eq!(overlay.read(stat.id, 0, 1000), Ok(vec![1; 200]), "round {round}");
            overlay.forget(stat.id, 1);
            assert!(overlay.getattr(stat.id).is_err());
        }
        assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0);
    }
    assert!(overlay.commit(None).unwrap().delta.root.children.is_empty());
}
