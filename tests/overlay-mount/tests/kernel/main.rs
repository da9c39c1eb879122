//! What is written to the upper directory, as the kernel's overlayfs reads it.
//!
//! Needs root, `/dev/fuse` and overlayfs; says so and passes where they are missing, unless `CI` is set.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod machine;
mod seen;
mod semantics;

use machine::{Layers, have_mounts, shell};
use proptest::test_runner::{Config, TestRunner};
use seen::{Seen, see};
use std::{fs, os::unix::fs::MetadataExt, path::Path};

#[path = "../../../../engine/overlay/tests/support/mod.rs"]
mod support;
use support::random::{on_plain, op};

/// Something of every kind, below `at`.
const EVERYTHING: &str = "
    umask 022; mkdir -p d/deep/er same; echo file > d/file; echo other > d/deep/other; chown 12:34 d/deep; chmod 2751 d/deep
    ln d/file d/deep/hard; ln d/file hard; ln -s nowhere link; mkfifo -m 640 fifo; mknod -m 600 null c 1 3
    mknod block b 7 3; setfattr -n user.x -v value d/file; setfacl -m u:77:rw d/deep/other; setfacl -d -m u:88:rwx d
    setfattr -n trusted.x -v value d/deep; cp /bin/true tool; setcap cap_net_raw+ep tool; chmod 6755 tool
    truncate -s 33M sparse; printf x | dd of=sparse bs=1 seek=9M conv=notrunc status=none
    touch -d '1960-01-02 03:04:05.678' d/file; touch -h -d '2001-01-01 01:01:01.000000001' link d/deep
    for i in 1 2 3 4 5 6 7 8 9; do echo $i > same/$i; done";

/// Without what is no part of a tree.
fn check(layers: &Layers, seen: &Seen) {
    let kernel = layers.by_kernel();
    assert_eq!(kernel.diff(seen), Vec::<String>::new());
}

#[test]
fn mount_whatever_is_made_the_kernel_sees() {
    whatever_is_made_the_kernel_sees("");
}

#[test]
fn mount_whatever_is_made_with_writeback_the_kernel_sees() {
    whatever_is_made_the_kernel_sees("writeback");
}

fn whatever_is_made_the_kernel_sees(options: &str) {
    let Some(layers) = have_mounts(&["lower"]) else { return };
    let seen = layers.mounted_with(options, |at| shell(at, EVERYTHING));
    assert_eq!(seen.len(), 24, "{seen:?}");
    check(&layers, &seen);
    let sparse = layers.upper().join("sparse").metadata().unwrap();
    assert!(sparse.len() == 33 << 20 && sparse.blocks() * 512 < 1 << 20);
}

#[test]
fn mount_whatever_is_done_to_the_lower_the_kernel_sees() {
    let Some(layers) = have_mounts(&["lower"]) else { return };
    shell(&layers.at("lower"), EVERYTHING);
    shell(&layers.at("lower"), "mkdir gone emptied; touch gone/a emptied/a; cp -a d again; cp -a same kept");
    let before = see(&layers.at("lower"));
    let seen = layers.mounted(|at| {
        shell(
            at,
            "rm -r gone; rm emptied/a; mv d moved; rm -r same; mkdir same; echo new > same/1; rm link; mkdir link
             touch link/in; rm fifo; echo no > fifo; rm -r again; echo file > again; chmod 600 null; echo more >> hard
             rm kept/3; chown 5:6 kept; chmod 4755 kept/4; mv kept/5 kept/6; ln kept/7 linked; cp tool tool.copy
             setfattr -x user.x hard; setcap -r tool; printf y | dd of=sparse bs=1 seek=20M conv=notrunc status=none",
        );
    });
    check(&layers, &seen);
    assert_eq!(see(&layers.at("lower")).diff(&before), Vec::<String>::new());
    // One mark takes the place of nine whiteouts.
    assert_eq!(fs::read_dir(layers.upper().join("same")).unwrap().count(), 1);
    // And a second mount goes on from there.
    let again = layers.mounted(|at| assert_eq!(see(at).diff(&seen), Vec::<String>::new()));
    check(&layers, &again);
    let more = layers
        .mounted(|at| shell(at, "rm -r same moved/deep; mv moved d; mkdir gone; touch -d @5 hard linked"));
    check(&layers, &more);
}

/// The kernel hands on any time that a program sets; an answer comes to each.
#[test]
fn mount_times_at_both_ends_are_set() {
    let Some(layers) = have_mounts(&["lower"]) else { return };
    layers.mounted(|at| {
        let path = at.join("file");
        fs::write(&path, "").unwrap();
        for seconds in [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX, -1, 0] {
            let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: 5 };
            let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
            let none = rustix::fs::AtFlags::empty();
            rustix::fs::utimensat(rustix::fs::CWD, &path, &times, none).unwrap();
            assert_eq!(path.metadata().unwrap().mtime(), seconds);
        }
    });
}

#[test]
fn mount_several_lowers_show_what_the_kernel_shows() {
    let Some(layers) = have_mounts(&["top", "middle", "bottom"]) else { return };
    shell(
        &layers.at("bottom"),
        "mkdir -p opaque d/sub file; echo b > d/b; echo b > d/both; touch opaque/hidden file/in white",
    );
    shell(&layers.at("bottom"), "ln d/b linked; touch d/sub/below; mkdir covered; touch covered/x");
    shell(
        &layers.at("middle"),
        "mkdir -p d opaque/in; echo m > d/both; mknod white c 0 0; touch file covered; mknod d/sub c 0 0",
    );
    shell(&layers.at("middle"), "setfattr -n trusted.overlay.opaque -v y opaque");
    shell(
        &layers.at("top"),
        "mkdir -p d/sub covered; touch d/sub/new; chmod 700 d; mkdir white; touch opaque2",
    );
    shell(&layers.upper(), "mknod linked c 0 0; mkdir d; echo u > d/u; touch 'with space'");
    let kernel = layers.by_kernel();
    let seen = layers.mounted(|_| {});
    assert_eq!(seen.diff(&kernel), Vec::<String>::new());
    for hidden in ["opaque/hidden", "file/in", "d/sub/below", "covered/x", "linked"] {
        assert!(!seen.has(hidden), "{hidden}");
    }
    let seen = layers
        .mounted(|at| shell(at, "rm -r opaque file; mkdir opaque file; rm d/b; mv d e; touch covered/y"));
    check(&layers, &seen);
}

#[test]
fn mount_an_index_takes_the_place_of_the_walk() {
    let Some(layers) = have_mounts(&["lower"]) else { return };
    shell(&layers.at("lower"), EVERYTHING);
    let index = layers.at("index");
    let options = format!(",index={}", index.display());
    let first = layers.mounted_with(&options, |at| shell(at, "echo new > new; rm d/file"));
    // What is not looked for is not found.
    fs::write(layers.at("lower").join("late"), "").unwrap();
    let again = layers.mounted_with(&options, |_| {});
    assert_eq!(again.diff(&first), Vec::<String>::new());
    fs::remove_file(layers.at("lower").join("late")).unwrap();
    check(&layers, &again);
    let refused = layers.refused(&format!("lowerdir={}{options}", layers.at("upper").display()));
    assert!(refused.contains("index of other lower directories"), "{refused}");
}

#[test]
fn mount_what_overlayfs_redirected_is_refused() {
    let Some(layers) = have_mounts(&["lower"]) else { return };
    shell(&layers.upper(), "mkdir d; setfattr -n trusted.overlay.redirect -v /x d");
    let refused = layers.refused("");
    assert!(refused.contains("/d was written by overlayfs with redirect"), "{refused}");
}

/// There `trusted.*` can't be set; the kernel has `userxattr` for it.
#[test]
fn mount_in_a_user_namespace_marks_are_user_attributes() {
    let Some(layers) = have_mounts(&["lower"]) else { return };
    shell(&layers.at("lower"), "mkdir -p same gone/in kept; touch same/a same/b gone/in/x kept/a kept/b");
    let script = "
        $BINARY -o lowerdir=lower,upperdir=upper,workdir=work mount
        rm -r mount/same mount/gone mount/kept/a; mkdir mount/same; echo new > mount/same/new; ln mount/same/new mount/hard
        umount mount; flock work/rbuild/lock true
        mount -t overlay -o lowerdir=upper:lower,userxattr x kernel; cd kernel
        test \"$(find . | sort | tr '\\n' ' ')\" = '. ./hard ./kept ./kept/b ./same ./same/new '
        test \"$(cat hard)\" = new && test hard -ef same/new";
    let inner = "exec sh -euc \"$0\"";
    let mut command = std::process::Command::new("unshare");
    command.args(["-Urm", "sh", "-c", inner, script]).env("BINARY", env!("CARGO_BIN_EXE_overlay-mount"));
    let output = command.current_dir(layers.root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mark = rustix::fs::getxattr(layers.upper().join("same"), "user.overlay.opaque", &mut [0_u8; 9][..]);
    assert_eq!(mark, Ok(1));
}

#[test]
fn mount_random_changes_the_kernel_sees() {
    random_changes_the_kernel_sees("");
}

#[test]
fn mount_random_changes_with_writeback_the_kernel_sees() {
    random_changes_the_kernel_sees("writeback");
}

/// Bytes, sizes and dates that the kernel keeps back must be there when the mount is gone.
fn random_changes_the_kernel_sees(options: &str) {
    if have_mounts(&["lower"]).is_none() {
        return;
    }
    let strategy = proptest::collection::vec(proptest::collection::vec(op(), 1..60), 3);
    let mut runner = TestRunner::new(Config { cases: 12, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&strategy, |steps| {
        let layers = have_mounts(&["lower"]).unwrap();
        // As many fail as not; what they did counts.
        let apply = |at: &Path, operations: &[_]| {
            for operation in operations {
                let _ = on_plain(at, operation);
            }
        };
        apply(&layers.at("lower"), &steps[0]);
        for step in &steps[1..] {
            let seen = layers.mounted_with(options, |at| apply(at, step));
            check(&layers, &seen);
        }
        Ok(())
    });
    outcome.unwrap();
}
