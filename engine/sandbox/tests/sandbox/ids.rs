//! Other users, other maps, and machines that refuse.

use std::time::Instant;

use rbuild_sandbox::{Error, IdMap, MapMethod, Output, Sandbox, probe};

use crate::Case;
use crate::runner::skip;
use crate::support::{inner, is_root, need_new_kernel, need_root, need_unshare, run, shell, try_run, with};

pub const TESTS: &[Case] = &[
    ("ids_root_is_nobody_outside", root_is_nobody_outside),
    ("ids_a_user_without_sub_ids_has_one", a_user_without_sub_ids_has_one),
    ("ids_a_user_with_sub_ids_has_a_range", a_user_with_sub_ids_has_a_range),
    ("ids_root_of_one_id_has_one", root_of_one_id_has_one),
    ("ids_a_helper_that_fails_is_told", a_helper_that_fails_is_told),
    ("ids_probe", probe_here),
    ("ids_probe_without_user_namespaces", probe_without_user_namespaces),
    ("ids_probe_without_fuse", probe_without_fuse),
];

pub const INNER: &[Case] = &[
    ("single", single),
    ("nested", nested),
    ("range", range),
    ("bad_range", bad_range),
    ("probe", print_probe),
];

/// The shell words that run this program as an ordinary user.
const AS_USER: &str = r#"setpriv --reuid=65533 --regid=65533 --clear-groups "$@""#;

fn root_is_nobody_outside() {
    need_root();
    let ids = IdMap::detect().unwrap();
    assert_eq!(ids.method, MapMethod::Direct);
    assert_ne!(ids.host_uid(0), Some(0));
    let map = run(&shell("cat /proc/self/uid_map"));
    let numbers: Vec<u32> = map.text().split_whitespace().map(|number| number.parse().unwrap()).collect();
    assert_eq!(numbers, [0, ids.uids[0].outside, 65_536]);
}

fn a_user_without_sub_ids_has_one() {
    need_root();
    inner(AS_USER, "single");
    inner(&AS_USER.replace("--clear", "--no-new-privs --clear"), "single");
}

fn single() {
    assert!(!is_root());
    let ids = IdMap::detect().unwrap();
    assert_eq!(ids, IdMap::single(65533, 65533));
    let ended = run(&shell(
        "id -u; id -g; cat /proc/self/setgroups; chown 5 /tmp || touch /tmp/f; stat -c %u /tmp/f",
    ));
    assert_eq!(ended.text(), "0\n0\ndeny\n0");
    assert!(ended.stderr.contains("Invalid argument"), "{ended:?}");
    let other = with(shell("true"), |s| s.command.uid = 1000);
    let error = try_run(&other, Output::Joined).unwrap_err();
    assert!(matches!(error, Error::Unmapped { id: 1000, .. }), "{error}");
    assert!(error.to_string().contains("steps have one id only: "), "{error}");
}

/// As in a sandbox of another tool that was given one id.
fn root_of_one_id_has_one() {
    inner(r#"exec unshare -Ur "$@""#, "nested");
}

fn nested() {
    assert_eq!(IdMap::detect().unwrap(), IdMap::single(0, 0));
    assert_eq!(run(&shell("id -u; cat /proc/self/setgroups")).text(), "0\ndeny");
}

/// Changes /etc/subuid in a mount namespace of its own, then runs this program as an ordinary user.
fn with_sub_ids(line: &str, part: &str) -> String {
    need_root();
    need_unshare();
    if std::process::Command::new("newuidmap").output().is_err() {
        skip("needs newuidmap (package uidmap)");
    }
    let script = format!(
        r#"exec unshare -m sh -ec 'f=$(mktemp); chmod 644 $f; printf "{line}\n" > $f
           for t in /etc/subuid /etc/subgid; do [ -e $t ] || touch $t; mount --bind $f $t; done
           p=$(mktemp); chmod 644 $p; (cat /etc/passwd; echo tester:x:65533:65533::/:/bin/sh) > $p
           mount --bind $p /etc/passwd; {AS_USER}' sh "$@""#
    );
    inner(&script, part)
}

fn a_user_with_sub_ids_has_a_range() {
    // The machine's own test with all circumstances of an old kernel has no_new_privs, which disarms newuidmap.
    need_new_kernel();
    with_sub_ids("tester:300000:65536", "range");
}

fn range() {
    let ids = IdMap::detect().unwrap();
    assert_eq!(ids.method, MapMethod::Helper);
    assert_eq!(
        (ids.host_uid(0), ids.host_uid(1), ids.host_gid(65_535)),
        (Some(65533), Some(300_000), Some(365_534))
    );
    let ended = run(&with(shell("id -u; id -G; touch /tmp/f; stat -c %u:%g /tmp/f"), |s| {
        (s.command.uid, s.command.gid, s.command.groups) = (33, 34, vec![35]);
    }));
    assert_eq!(ended.text(), "33\n34 35\n33:34");
    let chowned = run(&shell("touch /tmp/f; chown 65534:65534 /tmp/f && stat -c %u:%g /tmp/f"));
    assert_eq!(chowned.text(), "65534:65534");
}

fn a_helper_that_fails_is_told() {
    need_new_kernel();
    with_sub_ids("tester:300000:10", "bad_range");
}

fn bad_range() {
    let mut setup = shell("true");
    setup.ids.uids[1].count = 20;
    let error = Sandbox::spawn(&setup, Output::Joined).unwrap_err();
    assert!(matches!(error, Error::Helper { .. }), "{error}");
    assert!(error.to_string().starts_with("newuidmap: uid range [1-21)"), "{error}");
}

fn print_probe() {
    match probe() {
        Ok(capabilities) => println!("ok {:?}", capabilities.ids.method),
        Err(error) => println!("{error}"),
    }
}

fn probe_here() {
    need_root();
    let start = Instant::now();
    let capabilities = match probe() {
        Ok(capabilities) => capabilities,
        Err(error) => skip(&error.to_string()),
    };
    println!("ids_probe: {:.1} ms", start.elapsed().as_secs_f64() * 1000.0);
    assert_eq!(capabilities.ids, IdMap::detect().unwrap());
    assert_eq!(capabilities.warnings, [] as [String; 0]);
}

/// The setting is one of each user namespace, so a nested one is changed and not the machine.
fn probe_without_user_namespaces() {
    let script =
        r#"exec unshare -Ur sh -ec 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"' sh "$@""#;
    let text = inner(script, "probe");
    let told = "no sandbox can be made here: unshare the namespaces: ENOSPC (a limit is reached): user \
                namespaces are switched off: ";
    // Where the sysctl belongs differs from place to place.
    let sysctl = "sysctl user.max_user_namespaces=28633 switches them on\n";
    assert!(text.starts_with(told) && text.ends_with(sysctl), "{text}");
}

fn probe_without_fuse() {
    need_root();
    need_unshare();
    let hidden = r#"exec unshare -m sh -ec 'mount -t tmpfs x /dev; : > /dev/null; exec "$@"' sh "$@""#;
    let text = inner(hidden, "probe");
    assert!(
        text.contains("open /dev/fuse: ENOENT") && text.contains("no FUSE device for this process: "),
        "{text}"
    );
    let closed = format!(
        r#"exec unshare -m sh -ec 'f=$(mktemp -d); mknod $f/fuse c 10 229; chmod 600 $f/fuse
           mount --bind $f/fuse /dev/fuse; {AS_USER}' sh "$@""#
    );
    let text = inner(&closed, "probe");
    assert!(text.contains("open /dev/fuse: EACCES") && text.contains("chmod 666 /dev/fuse"), "{text}");
}
