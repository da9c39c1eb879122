//! Mounts: what they hold, what they refuse, and how a failing one names itself.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;

use rbuild_sandbox::{Exit, IdMap, Mount, Output};

use crate::Case;
use crate::runner::skip;
use crate::support::{
    OLD_KERNEL, bind, directory, inner, is_root, need_new_kernel, need_unshare, run, shell, this_program,
    try_run, with,
};

pub const TESTS: &[Case] = &[
    ("mounts_dev_is_complete", dev_is_complete),
    ("mounts_devices_keep_their_metadata", devices_keep_their_metadata),
    ("mounts_tmpfs_has_size_and_mode", tmpfs_has_size_and_mode),
    ("mounts_read_only_bind_refuses", read_only_bind_refuses),
    ("mounts_writable_bind_keeps", writable_bind_keeps),
    ("mounts_a_file_can_be_bound", a_file_can_be_bound),
    ("mounts_order_is_kept", order_is_kept),
    ("mounts_directories_get_their_owner", directories_get_their_owner),
    ("mounts_a_failing_one_names_itself", a_failing_one_names_itself),
    ("mounts_links_of_an_image_lead_nowhere", links_of_an_image_lead_nowhere),
    ("mounts_read_only_holds_below", read_only_holds_below),
    ("mounts_hidden_proc_is_shared_and_said", hidden_proc_is_shared_and_said),
    ("mounts_everything_works_on_an_old_kernel", everything_works_on_an_old_kernel),
];

pub const INNER: &[Case] =
    &[("read_only_holds_below", read_only_holds_below_inner), ("hidden_proc", hidden_proc_inner)];

fn dev_is_complete() {
    let names = run(&shell("ls /dev | tr '\\n' ' '"));
    assert_eq!(names.text(), "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero");
    let script = "head -c 3 /dev/zero | od -An -tx1; head -c 8 /dev/urandom | wc -c; echo x > /dev/null
        echo x 2>/dev/null > /dev/full || echo full
        exec 3<>/dev/ptmx && ls /dev/pts | tr '\\n' ' '; echo x > /dev/shm/f; stat -c %a /dev/shm /dev/mqueue /dev";
    assert_eq!(run(&shell(script)).text(), " 00 00 00\n8\nfull\n0 ptmx 1777\n1777\n755");
}

/// The devices are the machine's own files: with their owner's ids a step could change more than their content.
fn devices_keep_their_metadata() {
    let owner = fs::metadata("/dev/null").unwrap();
    let script =
        "for name in null zero full random urandom; do touch -d @1 /dev/$name; chmod 600 /dev/$name; done
        echo x > /dev/null && head -c 1 /dev/zero | wc -c";
    let setup = with(shell(script), |s| {
        if is_root() {
            s.ids = IdMap::single(0, 0);
        }
    });
    let ended = run(&setup);
    assert_eq!(ended.text(), "1");
    assert_eq!(ended.stderr.matches("Read-only file system").count(), 10, "{ended:?}");
    let after = fs::metadata("/dev/null").unwrap();
    assert_eq!((after.mtime(), after.mode()), (owner.mtime(), owner.mode()));
}

fn tmpfs_has_size_and_mode() {
    let script = "stat -c %a:%u /t /tmp; head -c 65536 /dev/zero > /tmp/fits && echo fits
        head -c 2000000 /dev/zero > /tmp/large; echo $?";
    let setup = with(shell(&script.replace("/t ", "/mnt ")), |s| {
        s.mounts.push(Mount::Tmpfs { target: "/mnt".into(), size: 4096, mode: 0o750 });
    });
    let ended = run(&setup);
    assert_eq!(ended.text(), "750:0\n1777:0\nfits\n1");
    assert!(ended.stderr.contains("No space left"), "{ended:?}");
}

fn read_only_bind_refuses() {
    let data = directory();
    fs::write(data.path().join("f"), "x").unwrap();
    fs::set_permissions(data.path().join("f"), fs::Permissions::from_mode(0o666)).unwrap();
    let script =
        "cat /mnt/f; touch /mnt/f; echo y > /mnt/g; rm /mnt/f; mount -o remount,rw /mnt; chmod 777 /mnt";
    let ended = run(&with(shell(script), |s| s.mounts.push(bind(data.path(), "/mnt", true))));
    assert_eq!(ended.stdout, "x");
    assert!(ended.stderr.matches("Read-only file system").count() >= 4, "{ended:?}");
    assert_eq!(fs::read_dir(data.path()).unwrap().count(), 1);
    // The root itself is one here.
    assert!(run(&shell("touch /new")).stderr.contains("Read-only file system"));
}

/// A directory that root of the sandbox may write.
fn given(mount_at: &str, path: &std::path::Path) -> Vec<Mount> {
    vec![Mount::Own { path: path.into(), uid: 0, gid: 0, mode: 0o755 }, bind(path, mount_at, false)]
}

fn writable_bind_keeps() {
    let data = directory();
    let setup = with(shell("echo kept > /mnt/f"), |s| s.mounts.extend(given("/mnt", data.path())));
    assert_eq!(run(&setup).exit, Exit::Code(0));
    assert_eq!(fs::read(data.path().join("f")).unwrap(), b"kept\n");
}

fn a_file_can_be_bound() {
    let data = directory();
    fs::write(data.path().join("hosts"), "127.0.0.1 here\n").unwrap();
    let setup =
        with(shell("cat /etc/hosts"), |s| s.mounts.push(bind(data.path().join("hosts"), "/etc/hosts", true)));
    assert_eq!(run(&setup).text(), "127.0.0.1 here");
}

fn order_is_kept() {
    let setup = with(shell("ls /mnt; stat -f -c %T /mnt/in"), |s| {
        s.mounts.push(Mount::Tmpfs { target: "/mnt".into(), size: 1 << 20, mode: 0o755 });
    });
    // The outer one hides what was there, so an inner target must come from a mount before it.
    let data = directory();
    fs::create_dir(data.path().join("in")).unwrap();
    let setup = with(setup, |s| {
        s.mounts.push(bind(data.path(), "/mnt", true));
        s.mounts.push(Mount::Tmpfs { target: "/mnt/in".into(), size: 4096, mode: 0o755 });
    });
    assert_eq!(run(&setup).text(), "in\ntmpfs");
}

fn directories_get_their_owner() {
    let data = directory();
    let path = data.path().join("deep/m2");
    let setup = with(shell("stat -c %a:%u:%g /mnt; touch /mnt/f && stat -c %u /mnt/f"), |s| {
        let (uid, gid) = if s.ids.is_single() { (0, 0) } else { (1000, 100) };
        (s.command.uid, s.command.gid) = (uid, gid);
        s.mounts.push(Mount::Own { path: path.clone(), uid, gid, mode: 0o2750 });
        s.mounts.push(bind(&path, "/mnt", false));
    });
    let (uid, gid) = (setup.command.uid, setup.command.gid);
    assert_eq!(run(&setup).text(), format!("2750:{uid}:{gid}\n{uid}"));
    assert_eq!(fs::metadata(&path).unwrap().uid(), setup.ids.host_uid(uid).unwrap());
    // The second time there is nothing to make.
    assert_eq!(run(&setup).exit, Exit::Code(0));
}

fn a_failing_one_names_itself() {
    let file = bind("/etc/passwd", "/mnt", true);
    let part = Mount::Own { path: "/proc/no/such".into(), uid: 0, gid: 0, mode: 0o755 };
    let cases = [
        (bind("/etc", "/no/such", true), "bind /etc on /no/such: ENOENT (No such file or directory)"),
        (bind("/no/such", "/mnt", true), "bind /no/such on /mnt: ENOENT (No such file or directory)"),
        (file, "bind /etc/passwd on /mnt: EISDIR (Is a directory)"),
        (
            Mount::Tmpfs { target: "/no".into(), size: 1, mode: 0 },
            "mount tmpfs on /no: ENOENT (No such file or directory)",
        ),
        (part, "give /proc/no/such to 0:0: ENOENT (No such file or directory)"),
    ];
    for (mount, expected) in cases {
        let setup = with(shell("true"), |s| s.mounts.push(mount));
        assert_eq!(try_run(&setup, Output::Joined).unwrap_err().to_string(), expected);
    }
    let rootless = directory();
    let setup = with(shell("true"), |s| s.mounts[0] = bind(rootless.path(), "/", false));
    let message = try_run(&setup, Output::Joined).unwrap_err().to_string();
    assert_eq!(message, "mount proc on /proc: ENOENT (No such file or directory)");
}

/// An image whose targets are links to the outside: what lands there is not seen inside, and nothing outside changes.
fn links_of_an_image_lead_nowhere() {
    let (root, outside) = (directory(), directory());
    for name in ["bin", "lib", "lib64", "usr", "proc", "dev"] {
        fs::create_dir(root.path().join(name)).unwrap();
    }
    symlink(outside.path(), root.path().join("absolute")).unwrap();
    symlink("../../../../../../../../../../etc", root.path().join("climbing")).unwrap();
    let data = directory();
    let mounts = |target: &str| {
        let mut mounts = vec![bind(root.path(), "/", false), Mount::Proc, Mount::Dev];
        let programs =
            ["/bin", "/lib", "/lib64", "/usr"].into_iter().filter(|name| fs::exists(name).unwrap());
        mounts.extend(programs.map(|name| bind(name, name, true)));
        mounts.push(bind(data.path(), target, false));
        mounts
    };
    for target in ["/absolute", "/climbing"] {
        let setup = with(shell("true"), |s| s.mounts = mounts(target));
        let message = try_run(&setup, Output::Joined).unwrap_err().to_string();
        assert!(message.ends_with("ENOENT (No such file or directory)"), "{target}: {message}");
    }
    // A link that stays inside is followed inside.
    fs::create_dir(root.path().join("etc")).unwrap();
    fs::write(data.path().join("f"), "inside").unwrap();
    let setup = with(shell("cat /etc/f"), |s| s.mounts = mounts("/climbing"));
    assert_eq!(run(&setup).text(), "inside");
}

fn read_only_holds_below() {
    need_unshare();
    let script = r#"exec unshare -m sh -ec 'd=$(mktemp -d); chmod 755 $d; mount -t tmpfs -o nosuid,mode=777 x $d
        mkdir -m 700 $d/closed; mkdir $d/closed/in; mount -t tmpfs z $d/closed/in
        mkdir "$d/a b"; mount -t tmpfs -o mode=777 y "$d/a b"; export DIRECTORY=$d; exec "$@"' sh "$@""#;
    inner(script, "read_only_holds_below");
}

fn read_only_holds_below_inner() {
    let path = std::env::var("DIRECTORY").unwrap();
    let script = "touch /mnt/f; touch '/mnt/a b/f'; grep -c ' /mnt/a.040b ' /proc/self/mountinfo";
    let ended = run(&with(shell(script), |s| s.mounts.push(bind(&path, "/mnt", true))));
    assert_eq!(ended.text(), "1");
    assert_eq!(ended.stderr.matches("Read-only file system").count(), 2, "{ended:?}");
    let flags = run(&with(shell("grep ' /mnt ' /proc/self/mountinfo | cut -d' ' -f6"), |s| {
        s.mounts.push(bind(&path, "/mnt", true));
    }));
    assert!(flags.text().starts_with("ro,nosuid"), "{flags:?}");
    let writable = run(&with(shell("touch '/mnt/a b/f'"), |s| s.mounts.push(bind(&path, "/mnt", false))));
    assert_eq!(writable.exit, Exit::Code(0), "{writable:?}");
}

fn hidden_proc_is_shared_and_said() {
    need_unshare();
    inner(r#"exec unshare -m sh -ec 'mount -t tmpfs x /proc/fs; exec "$@"' sh "$@""#, "hidden_proc");
}

fn hidden_proc_inner() {
    let ended = run(&shell("cat /proc/self/comm; ls /proc/fs | wc -l; echo x > /proc/sys/kernel/domainname"));
    assert_eq!(ended.warnings.len(), 1, "{ended:?}");
    assert!(ended.warnings[0].contains("/proc"), "{ended:?}");
    assert_eq!(ended.stdout, "cat\n0\n");
    assert!(ended.stderr.contains("Read-only file system"), "{ended:?}");
}

/// Runs the whole suite with a filter that knows none of the calls younger than Linux 3.10.
fn everything_works_on_an_old_kernel() {
    need_new_kernel();
    if !cfg!(target_arch = "x86_64") || !fs::exists("/usr/bin/perl").unwrap() {
        skip("needs perl on x86_64");
    }
    let calls = [
        libc::SYS_mount_setattr,
        libc::SYS_open_tree,
        libc::SYS_move_mount,
        libc::SYS_fsopen,
        libc::SYS_openat2,
        libc::SYS_close_range,
        libc::SYS_clone3,
        libc::SYS_pidfd_open,
        libc::SYS_pidfd_send_signal,
        libc::SYS_seccomp,
        libc::SYS_faccessat2,
        libc::SYS_statx,
        libc::SYS_renameat2,
        libc::SYS_memfd_create,
        libc::SYS_execveat,
    ];
    // load the number; for each call: if equal, answer ENOSYS; allow.
    let numbers = calls.map(|call| call.to_string()).join(",");
    let program = format!(
        "my $f = pack('SCCL', 0x20, 0, 0, 0);
         $f .= pack('SCCL', 0x15, 0, 1, $_) . pack('SCCL', 6, 0, 0, 0x00050000 | {}) for ({numbers});
         $f .= pack('SCCL', 6, 0, 0, 0x7fff0000);
         my $p = pack('Sx6P', length($f) / 8, $f);
         syscall({prctl}, 38, 1, 0, 0, 0) == 0 or die $!;
         syscall({prctl}, 22, 2, $p) == 0 or die $!;
         exec @ARGV;",
        libc::ENOSYS,
        prctl = libc::SYS_prctl,
    );
    let output = Command::new("perl")
        .args(["-e", &program])
        .arg(this_program())
        .env(OLD_KERNEL, "1")
        .env_remove("CI")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("as on an old kernel"), "{text}");
}
