//! Random operations on an overlay and on a plain directory: the same answers, the same tree; and what commit says
//! is what the mount showed, over a snapshot and over a live directory.
#![allow(clippy::unwrap_used)]

mod support;

use proptest::prelude::*;
use rbuild_overlay::{
    Caller, Errno, FileKind, Live, Lower, NodeId, Options, Overlay,
    ops::{SetAttributes, Special},
};
use rbuild_tree::{Delta, Snapshot, apply};
use rustix::fs::{CWD, RenameFlags};
use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};
use support::{
    FolderStore,
    view::{View, overlay_view, plain_view, split, walk, without_times},
};

#[derive(Clone, Debug)]
enum Op {
    Mkdir(String),
    Create(String),
    Symlink(String),
    Unlink(String),
    Rmdir(String),
    Rename(String, String, u32),
    Link(String, String),
    Write(String, u64, Vec<u8>),
    Truncate(String, u64),
    Chmod(String, u32),
    SetXattr(String, u8),
}

/// Few names, so that operations meet.
fn path() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof![Just("a"), Just("b"), Just("c")], 1..4)
        .prop_map(|names| names.join("/"))
}

fn op() -> impl Strategy<Value = Op> {
    let bytes = prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 1..40),
        1 => (50_usize..300, any::<u8>()).prop_map(|(count, byte)| vec![byte; count]),
    ];
    prop_oneof![
        4 => path().prop_map(Op::Mkdir),
        4 => path().prop_map(Op::Create),
        1 => path().prop_map(Op::Symlink),
        2 => path().prop_map(Op::Unlink),
        2 => path().prop_map(Op::Rmdir),
        4 => (path(), path(), prop_oneof![4 => Just(0), 1 => Just(1), 1 => Just(2)])
            .prop_map(|(from, to, flags)| Op::Rename(from, to, flags)),
        2 => (path(), path()).prop_map(|(from, to)| Op::Link(from, to)),
        3 => (path(), 0_u64..300, bytes).prop_map(|(path, offset, bytes)| Op::Write(path, offset, bytes)),
        1 => (path(), 0_u64..300).prop_map(|(path, size)| Op::Truncate(path, size)),
        1 => (path(), 0_u32..0o10000).prop_map(|(path, mode)| Op::Chmod(path, mode)),
        1 => (path(), any::<u8>()).prop_map(|(path, value)| Op::SetXattr(path, value)),
    ]
}

const ROOT_CALLER: Caller = Caller { uid: 0, gid: 0, umask: 0o022, pid: 0 };

fn file(overlay: &Overlay, path: &str) -> Result<NodeId, Errno> {
    let id = walk(overlay, path)?;
    match overlay.getattr(id)?.kind {
        FileKind::File => Ok(id),
        FileKind::Symlink => Err(Errno::LOOP),
        _ => Err(Errno::ISDIR),
    }
}

fn not_a_link(overlay: &Overlay, path: &str) -> Result<NodeId, Errno> {
    let id = walk(overlay, path)?;
    // Following a dangling link.
    if overlay.getattr(id)?.kind == FileKind::Symlink { Err(Errno::NOENT) } else { Ok(id) }
}

fn on_overlay(overlay: &Overlay, op: &Op) -> Result<(), Errno> {
    let caller = &ROOT_CALLER;
    match op {
        Op::Mkdir(path) => {
            split(overlay, path).and_then(|(id, name)| overlay.mkdir(id, name, 0o777, caller).map(drop))
        }
        Op::Create(path) => split(overlay, path)
            .and_then(|(id, name)| overlay.mknod(id, name, Special::File, 0o666, caller).map(drop)),
        Op::Symlink(path) => split(overlay, path)
            .and_then(|(id, name)| overlay.symlink(id, name, b"nowhere/at/all", caller).map(drop)),
        Op::Unlink(path) => split(overlay, path).and_then(|(id, name)| overlay.unlink(id, name)),
        Op::Rmdir(path) => split(overlay, path).and_then(|(id, name)| overlay.rmdir(id, name)),
        Op::Rename(from, to, flags) => {
            let ((from, name), (to, new_name)) = (split(overlay, from)?, split(overlay, to)?);
            overlay.rename(from, name, to, new_name, *flags)
        }
        Op::Link(from, to) => {
            let (id, (to, name)) = (walk(overlay, from)?, split(overlay, to)?);
            overlay.link(id, to, name).map(drop)
        }
        Op::Write(path, offset, bytes) => {
            overlay.write(file(overlay, path)?, *offset, bytes, false).map(drop)
        }
        Op::Truncate(path, size) => {
            let set = SetAttributes { size: Some(*size), ..SetAttributes::default() };
            overlay.setattr(file(overlay, path)?, &set, caller).map(drop)
        }
        Op::Chmod(path, mode) => {
            let set = SetAttributes { mode: Some(*mode), ..SetAttributes::default() };
            overlay.setattr(not_a_link(overlay, path)?, &set, caller).map(drop)
        }
        Op::SetXattr(path, value) => {
            overlay.setxattr(not_a_link(overlay, path)?, b"user.test", &[*value], 0, caller)
        }
    }
}

fn on_plain(root: &Path, op: &Op) -> Result<(), Errno> {
    let at = |path: &str| root.join(path);
    let nofollow = |path: &str| {
        let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NOFOLLOW;
        rustix::fs::open(at(path), flags, rustix::fs::Mode::empty()).map(File::from)
    };
    let io = |result: std::io::Result<()>| result.map_err(|cause| Errno::from_io_error(&cause).unwrap());
    match op {
        Op::Mkdir(path) => io(fs::create_dir(at(path))),
        Op::Create(path) => io(File::options().write(true).create_new(true).open(at(path)).map(drop)),
        Op::Symlink(path) => io(symlink("nowhere/at/all", at(path))),
        Op::Unlink(path) => io(fs::remove_file(at(path))),
        Op::Rmdir(path) => io(fs::remove_dir(at(path))),
        Op::Rename(from, to, flags) => {
            rustix::fs::renameat_with(CWD, at(from), CWD, at(to), RenameFlags::from_bits_retain(*flags))
        }
        Op::Link(from, to) => io(fs::hard_link(at(from), at(to))),
        Op::Write(path, offset, bytes) => io(nofollow(path)?.write_all_at(bytes, *offset)),
        Op::Truncate(path, size) => io(nofollow(path)?.set_len(*size)),
        Op::Chmod(path, mode) => io(fs::set_permissions(at(path), fs::Permissions::from_mode(*mode))),
        Op::SetXattr(path, value) => {
            rustix::fs::setxattr(at(path), "user.test", &[*value], rustix::fs::XattrFlags::empty())
        }
    }
}

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

struct Bench {
    folder: tempfile::TempDir,
    store: Arc<FolderStore>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir_in(".").or_else(|_| tempfile::tempdir()).unwrap();
        let store = Arc::new(FolderStore::open(&folder.path().join("store")));
        Self { folder, store }
    }

    fn folder(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn overlay(&self, scratch: &str, lower: Lower) -> Overlay {
        let mut options = Options::new(self.folder(scratch));
        // Small, so that files move between memory and scratch.
        (options.inline_limit, options.inline_total) = (100, 300);
        options.record = true;
        Overlay::new(self.store.clone(), lower, options).unwrap()
    }

    fn live(&self, root: &Path, delta: Option<Delta>) -> Lower {
        Lower::Live(Live { root: root.into(), exclude: Vec::new(), delta })
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
