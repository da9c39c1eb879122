//! Through the kernel: a real mount, in this process.
//!
//! Needs root (or a user namespace) and `/dev/fuse`; says so and passes where it has neither, unless `CI` is set.
#![allow(clippy::unwrap_used)]

mod support;

use rbuild_overlay::{
    Caller, Lower, NodeId,
    ops::{SetAttributes, Special},
};
use rbuild_tree::{Snapshot, apply};
use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, symlink},
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, UNIX_EPOCH},
};
use support::{
    Bench, Mounted,
    mounts::{mounted, shell, skip},
    view::{overlay_view, plain_view, without_times},
};

#[test]
fn what_the_mount_shows_is_what_is_there_and_what_is_committed() {
    let bench = Bench::new();
    let mut shown = None;
    let overlay = mounted(&bench, Lower::Snapshot(Snapshot::scratch()), |at| {
        shell(
            at,
            "umask 022; mkdir -p d/e; echo hello > d/f; ln d/f d/g; ln -s f d/l; chmod 6755 d/g
             dd if=/dev/zero of=big bs=64k count=40 2>/dev/null; cp big copy; mv d/e e; rm copy
             echo more >> d/f; for i in 1 2 3 4 5 6 7 8 9; do echo $i > e/$i; done; rm e/3",
        );
        shown = Some(plain_view(at));
    });
    let Some(overlay) = overlay else { return };
    let view = overlay_view(&overlay);
    assert_eq!(without_times(view.clone()), shown.unwrap());
    let delta = overlay.commit(None).unwrap().delta;
    let result = apply(&*bench.store, &Snapshot::scratch(), &delta).unwrap();
    let again = bench.overlay("again", Lower::Snapshot(result.clone()));
    assert_eq!(overlay_view(&again), view);

    // And over it as a lower, unpacked and compared by tools that know nothing of us.
    drop(overlay);
    let bench_again = Bench { store: bench.store.clone(), ..Bench::new() };
    let overlay = mounted(&bench_again, Lower::Snapshot(result.clone()), |at| {
        let copy = bench_again.folder("copy");
        shell(at, &format!("cp -a . {0}/ && diff -r . {0} && rm -rf d && mkdir d", copy.display()));
        assert_eq!(fs::read_dir(at.join("d")).unwrap().count(), 0);
    });
    let delta = overlay.unwrap().commit(None).unwrap().delta;
    assert_eq!(delta.root.children.keys().map(|name| &**name).collect::<Vec<_>>(), [b"d"]);
}

#[test]
fn open_files_survive_writes_renames_and_removal() {
    let bench = Bench::new();
    let root = bench.folder("live");
    for name in ["ro", "gone", "over"] {
        fs::write(root.join(name), b"original").unwrap();
    }
    mounted(&bench, bench.live(&root, None), |at| {
        let mut reader = File::open(at.join("ro")).unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        fs::write(at.join("ro"), b"MODIFIED").unwrap();
        reader.seek(SeekFrom::Start(0)).unwrap();
        text.clear();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "MODIFIED");

        let gone = File::options().read(true).write(true).open(at.join("gone")).unwrap();
        fs::remove_file(at.join("gone")).unwrap();
        gone.write_all_at(b"Z", 20).unwrap();
        gone.set_len(9).unwrap();
        let found = gone.metadata().unwrap();
        assert_eq!((found.nlink(), found.len()), (0, 9));

        let over = File::open(at.join("over")).unwrap();
        fs::write(at.join("new"), b"replaced").unwrap();
        fs::rename(at.join("new"), at.join("over")).unwrap();
        let mut bytes = [0; 8];
        over.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"original");
        assert_eq!(fs::read(at.join("over")).unwrap(), b"replaced");
    });
    assert_eq!(fs::read(root.join("ro")).unwrap(), b"original");
    assert!(root.join("gone").exists());
}

#[test]
fn times_before_1970_and_fractions_go_through() {
    let bench = Bench::new();
    let overlay = mounted(&bench, Lower::Snapshot(Snapshot::scratch()), |at| {
        for (name, time) in [
            ("after", UNIX_EPOCH + Duration::new(5, 123_456_789)),
            ("before", UNIX_EPOCH - Duration::new(5, 0)),
            ("fraction", UNIX_EPOCH - Duration::new(2, 999_999_991)),
        ] {
            let file = File::create(at.join(name)).unwrap();
            file.set_modified(time).unwrap();
            assert_eq!(file.metadata().unwrap().modified().unwrap(), time, "{name}");
        }
    });
    let Some(overlay) = overlay else { return };
    let fraction = overlay.lookup(NodeId::ROOT, b"fraction").unwrap().mtime;
    assert_eq!((fraction.seconds, fraction.nanoseconds), (-3, 9));
}

/// What the kernel makes of chown(2) that changes nobody.
#[test]
fn chown_without_owner_and_group_takes_set_id_bits() {
    let bench = Bench::new();
    mounted(&bench, Lower::Snapshot(Snapshot::scratch()), |at| {
        let file = at.join("f");
        fs::write(&file, "x").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o6755)).unwrap();
        std::os::unix::fs::chown(&file, None, None).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o755);
    });
}

#[test]
fn a_missing_name_is_remembered_only_until_it_exists() {
    let bench = Bench::new();
    mounted(&bench, Lower::Snapshot(Snapshot::scratch()), |at| {
        for name in ["file", "directory", "link", "moved", "hard"] {
            assert!(at.join(name).symlink_metadata().is_err());
        }
        fs::write(at.join("file"), b"x").unwrap();
        fs::create_dir(at.join("directory")).unwrap();
        symlink("file", at.join("link")).unwrap();
        fs::hard_link(at.join("file"), at.join("hard")).unwrap();
        fs::write(at.join("source"), b"y").unwrap();
        fs::rename(at.join("source"), at.join("moved")).unwrap();
        for name in ["file", "directory", "link", "moved", "hard"] {
            assert!(at.join(name).symlink_metadata().is_ok(), "{name}");
        }
        assert!(at.join("source").symlink_metadata().is_err());
        assert_eq!(
            fs::metadata(at.join("hard")).unwrap().ino(),
            fs::metadata(at.join("file")).unwrap().ino()
        );
    });
}

#[test]
fn a_large_directory_can_be_removed_while_it_is_listed() {
    let bench = Bench::new();
    mounted(&bench, Lower::Snapshot(Snapshot::scratch()), |at| {
        let directory = at.join("d");
        fs::create_dir(&directory).unwrap();
        for index in 0..3000 {
            fs::write(directory.join(format!("entry-{index}")), b"").unwrap();
        }
        let mut removed = 0;
        for entry in fs::read_dir(&directory).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
            removed += 1;
        }
        assert_eq!(removed, 3000);
        fs::remove_dir(&directory).unwrap();
    });
}

#[test]
fn a_program_written_on_the_mount_runs() {
    let bench = Bench::new();
    mounted(&bench, Lower::Snapshot(Snapshot::scratch()), |at| {
        let program = at.join("true");
        for _ in 0..10 {
            fs::copy("/bin/true", &program).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
            assert!(Command::new(&program).status().unwrap().success());
        }
        let mut script = File::create(at.join("script")).unwrap();
        writeln!(script, "#!/bin/sh\nexit 7").unwrap();
        script.set_permissions(fs::Permissions::from_mode(0o755)).unwrap();
        drop(script);
        assert_eq!(Command::new(at.join("script")).status().unwrap().code(), Some(7));
    });
}

#[test]
fn the_trace_of_a_mount_holds_for_its_own_lower() {
    let bench = Bench::new();
    let root = bench.folder("live");
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(root.join("a/b/f"), b"read me").unwrap();
    fs::write(root.join("a/other"), b"not me").unwrap();
    let overlay = mounted(&bench, bench.live(&root, None), |at| {
        assert_eq!(fs::read(at.join("a/b/f")).unwrap(), b"read me");
        assert!(fs::read(at.join("a/none")).is_err());
    });
    let Some(overlay) = overlay else { return };
    let trace = overlay.commit(None).unwrap().trace.unwrap();
    let paths: Vec<String> = trace.entries.keys().map(ToString::to_string).collect();
    assert_eq!(paths, ["/", "/a", "/a/b", "/a/b/f", "/a/none"]);
    let hash =
        Box::new(
            |_: &_, open: &mut dyn FnMut() -> std::io::Result<File>| rbuild_overlay::hash_file(&open()?),
        );
    let input = rbuild_overlay::LiveInput::new(&root, Vec::new(), hash).unwrap();
    assert_eq!(trace.check(&input).unwrap(), None);
}

#[test]
fn where_there_is_one_id_the_kernel_is_told_that_all_is_its() {
    let bench = Bench::new();
    let overlay = bench.overlay("scratch", Lower::Snapshot(Snapshot::scratch()));
    let target = bench.folder("mount");
    let (own, notifier) = (overlay.clone(), Mutex::new(None));
    let served = Mounted::serve(&target, |device| {
        let session = own.serve_one_id(device, 2, Arc::new(|pid: u32| (pid, 34)))?;
        *notifier.lock().unwrap() = Some(session.notifier());
        Ok(session)
    });
    let Ok(mount) = served else { return skip("can't mount") };
    let notifier = notifier.into_inner().unwrap().unwrap();
    let (file, device) = (target.join("file"), target.join("device"));
    fs::write(&file, "x").unwrap();
    let shown = fs::metadata(&file).unwrap();
    assert_eq!((shown.uid(), shown.gid()), (0, 0));
    let id = NodeId(shown.ino());
    let maker = overlay.owner(id).unwrap();
    assert!(maker.0 > 1 && maker.1 == 34, "{maker:?}: the thread that made it");

    // Whose it is is set beside the kernel, whose own words mean only that set-id bits end.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o4755)).unwrap();
    let set = SetAttributes { uid: Some(5), ..SetAttributes::default() };
    overlay.setattr(id, &set, &Caller::default()).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o4755, "the kernel does not know yet");
    std::os::unix::fs::chown(&file, Some(0), Some(0)).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o755);
    assert_eq!(overlay.owner(id), Ok((5, 34)));

    // What is made and changed beside the kernel it learns when it is told.
    assert!(fs::metadata(&device).is_err());
    let null = Special::CharDevice(rbuild_tree::Device { major: 1, minor: 3 });
    let made = overlay.mknod(NodeId::ROOT, b"device", null, 0o600, &Caller::default()).unwrap();
    overlay.forget(made.id, 1);
    assert!(fs::metadata(&device).is_err(), "that there is nothing is remembered");
    notifier.forget_name(NodeId::ROOT, b"device").unwrap();
    assert!(fs::metadata(&device).unwrap().file_type().is_char_device());
    let set = SetAttributes { mode: Some(0o640), ..SetAttributes::default() };
    overlay.setattr(made.id, &set, &Caller::default()).unwrap();
    notifier.forget_attributes(made.id).unwrap();
    assert_eq!(fs::metadata(&device).unwrap().mode() & 0o7777, 0o640);
    mount.end();
}
