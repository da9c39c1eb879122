//! What a step mounts: what it can do with it, and that nothing of it stays.

use crate::support::{Mounted, Project, busybox};
use std::{fs, io::ErrorKind};

/// A source with a file in a folder.
const CODE: &str = "[source.code]\npath = 'code'\n";

#[test]
fn sandbox_mount_points_vanish() {
    needs!(fuse, busybox);
    let project = busybox(
        r#"
[step.ground]
from = "base"
dirs = [{ path = "/kept", owner = "3:4", mode = "0700" }]
files = [{ path = "/kept/file", content = "own" }, { path = "/kept/covered", content = "own" }]
links = [{ path = "/linked", target = "kept" }]
[step.it]
from = "ground"
mounts = [
  { tmpfs = "1M", target = "/deep/er/tmpfs" },
  { cache = "c", target = "/deep/cache" },
  { from = "busybox", target = "/trees/lent", write = "discard" },
  { from = "busybox:/busybox", target = "/trees/file" },
  { tmpfs = "1M", target = "/kept" },
  { tmpfs = "1M", target = "/linked/below" },
  { tmpfs = "1M", target = "/etc/both" },
]
run = '''
for place in /deep/er/tmpfs /deep/cache /trees/lent /kept /linked/below /etc/both; do echo lost > $place/written; done
test -x /trees/file && test ! -e /kept/file && test -e /kept/below/written
'''
[step.stays]
from = "ground"
mounts = [{ tmpfs = "1M", target = "/made/by/mount" }, { tmpfs = "1M", target = "/other/by/mount" }]
run = 'echo mine > /made/by/step; touch /made/by/mount/lost'
"#,
    );
    project.apply(["step.it", "step.stays"]).success();
    assert_eq!(project.tree("it"), project.tree("ground"), "as if nothing had been mounted");
    let ground = project.paths("ground");
    let added: Vec<String> =
        project.paths("stays").into_iter().filter(|path| !ground.contains(path)).collect();
    assert_eq!(added, ["/made/", "/made/by/", "/made/by/step"], "only what the step put something into");
}

#[test]
fn sandbox_a_mounted_tree_refuses_writes_even_of_root() {
    needs!(fuse, busybox);
    let project = busybox(&format!(
        r#"{CODE}
[step.it]
from = "base"
mounts = [{{ from = "code", target = "/code" }}, {{ from = "code:/sub/file", target = "/file" }}]
run = '''
refused() {{ if "$@" 2> /tmp/told; then echo "allowed: $*"; exit 1; fi; grep -q "Read-only file system" /tmp/told; }}
refused touch /code/new
refused touch /code/sub/file
refused mkdir /code/sub/new
refused rm /code/sub/file
refused mv /code/sub /code/bus
refused chmod 0777 /code/sub/file
refused chown 1:1 /code
refused ln -s x /code/link
refused dd if=/dev/zero of=/code/sub/file count=1
refused dd if=/dev/zero of=/file count=1
refused chmod 0777 /file
mount -o remount,rw /code 2> /dev/null && exit 1
cat /code/sub/file /file
'''
"#
    ))
    .file("code/sub/file", "inside\n");
    assert_eq!(project.apply(["step.it"]).success().lines("step.it"), ["inside", "inside"]);
}

#[test]
fn sandbox_discarded_writes_are_seen_by_the_step_alone() {
    needs!(fuse, busybox);
    let project = busybox(&format!(
        r#"{CODE}
[step.writes]
from = "base"
mounts = [{{ from = "code", target = "/code", write = "discard" }}]
run = 'echo more >> /code/sub/file; rm -r /code/gone; mkdir /code/new; cat /code/sub/file; ls /code'
[step.reads]
from = "writes"
mounts = [{{ from = "code", target = "/code" }}]
run = 'cat /code/sub/file; ls /code'
"#
    ))
    .file("code/sub/file", "first\n")
    .file("code/gone/file", "");
    let build = project.apply(["step.reads"]).success();
    assert_eq!(build.lines("step.writes"), ["first", "more", "new", "sub"]);
    assert_eq!(build.lines("step.reads"), ["first", "gone", "sub"]);
    assert_eq!(project.read("code/sub/file"), "first\n", "nor does it reach the workspace");
}

#[test]
fn sandbox_the_order_of_nested_mounts_means_nothing() {
    needs!(fuse, busybox);
    let mounts = [
        "{ from = 'code', target = '/a' }",
        "{ tmpfs = '1M', target = '/a/sub/memory' }",
        "{ from = 'code:/sub', target = '/a/sub/memory/tree' }",
        "{ cache = 'c', target = '/a/cache' }",
        "{ from = 'code:/sub/file', target = '/a/cache/deep/file' }",
    ];
    let run = "run = 'find /a -type f | sort; touch /a/cache/written /a/sub/memory/written'";
    let mut turned = mounts;
    turned.reverse();
    let (forth, back) = (mounts.join(", "), turned.join(", "));
    let project = busybox(&format!(
        "{CODE}[step.forth]\nfrom = 'base'\nmounts = [{forth}]\n{run}\n[step.back]\nfrom = 'base'\nmounts = [{back}]\n{run}\n",
    ))
    .file("code/sub/file", "");
    for step in ["step.forth", "step.back"] {
        let build = project.apply([step]).success();
        let mut lines = build.lines(step);
        lines.retain(|line| *line != "/a/cache/written");
        assert_eq!(lines, ["/a/cache/deep/file", "/a/sub/file", "/a/sub/memory/tree/file"], "{step}");
    }
}

#[test]
fn sandbox_memory_has_its_size_and_mode() {
    needs!(fuse, busybox);
    let project = busybox(
        r#"
[step.it]
from = "base"
mounts = [{ tmpfs = "256K", target = "/small", mode = "0750" }, { tmpfs = "1M", target = "/usual" }]
run = '''
stat -c %a /small /usual
dd if=/dev/zero of=/small/fits bs=1024 count=200 2> /dev/null
dd if=/dev/zero of=/small/not bs=1024 count=200 2>&1 | grep -o "No space left on device"
df -k /usual | sed -n '2s/  */ /gp' | cut -d' ' -f2
'''
[step.lent]
from = "base"
remove = ["/tmp"]
run = "true"
[step.none]
from = "lent"
run = "stat -c %a /tmp; touch /tmp/x"
"#,
    );
    let build = project.apply(["step.it", "step.none"]).success();
    assert_eq!(build.lines("step.it"), ["750", "1777", "No space left on device", "1024"]);
    assert_eq!(build.lines("step.none"), ["1777"], "a missing /tmp is lent");
    assert_eq!(project.tree("none"), project.tree("lent"));
}

#[test]
fn sandbox_a_mount_over_a_file_of_another_kind_is_refused() {
    needs!(fuse, busybox);
    let project = busybox("");
    for (mount, message) in [
        ("{ tmpfs = '1M', target = '/etc/passwd' }", "nothing can be mounted on /etc/passwd"),
        ("{ from = 'busybox:/busybox', target = '/etc' }", "nothing can be mounted on /etc"),
        (
            "{ from = 'busybox', target = '/etc/passwd/below' }",
            "/etc/passwd/below: /etc/passwd is not a directory",
        ),
    ] {
        project.write_steps(&format!("[step.it]\nfrom = 'base'\nmounts = [{mount}]\nrun = 'true'\n"));
        let build = project.apply(["step.it"]).failure(1);
        let failed = build.failed("step.it");
        let message = format!("build.toml:61:7: {message}");
        assert_eq!((failed.code, failed.message), ("type-conflict", message.as_str()), "{mount}");
    }
    project.write_steps(
        "[step.it]\nfrom = 'base'\nmounts = [{ from = 'busybox:/absent', target = '/x' }]\nrun = 'true'\n",
    );
    let build = project.apply(["step.it"]).failure(1);
    assert_eq!(build.failed("step.it").code, "no-match");
}

#[test]
fn sandbox_an_image_is_mounted_by_path_and_reference() {
    needs!(fuse, busybox);
    let project = busybox(
        "[step.it]\nfrom = 'base'\nfiles = [{ path = '/etc/name', content = 'one' }]\n[image.it]\nfrom = 'it'\n\
         tags = ['it:1', 'it:2']\noutput = [{ oci = 'dist/it' }, { oci-archive = 'dist/it.tar' }]\n",
    );
    project.rbuild(["apply"]).success();
    for tree in ["dist/it:1", "dist/it.tar:2", "image.it"] {
        assert_eq!(project.rbuild(["mount", tree, "--", "cat", "/etc/name"]).success(), "one", "{tree}");
    }
    let told = project.rbuild(["mount", "dist/it:3", "--", "true"]).failure(3);
    assert!(told.contains("dist/it") && told.contains('3'), "{told}");
    snapshot!(project.rbuild(["mount", "image.it", "--", "nosuchcmd"]), @r"
    $ rbuild mount image.it -- nosuchcmd
    --- stderr
    error: the command could not be started: nosuchcmd: not found

    hint: it is looked for in the tree, not on this machine
    --- exit code 127
    ");
    project.rbuild(["mount", "image.it", "--", "/etc"]).failure(126);
}

/// The folder itself is never written to, nor is what was built.
#[test]
fn mount_changes_are_seen_in_the_mount_alone() {
    needs!(root, fuse, busybox);
    let folder = Project::empty().file("code/file", "old").file("code/gone", "");
    let mounted = Mounted::with(&folder, &["--rw"], "./code");
    fs::write(mounted.place.join("file"), "new").expect("it can be written");
    fs::rename(mounted.place.join("gone"), mounted.place.join("new")).expect("it can be renamed");
    assert_eq!(fs::read_to_string(mounted.place.join("file")).expect("the file"), "new");
    assert_eq!((folder.read("code/file"), folder.path("code/gone").exists()), ("old".to_owned(), true));
    drop(mounted);
    let again = Mounted::new(&folder, "./code");
    assert_eq!(fs::read_to_string(again.place.join("file")).expect("the file"), "old");
    let refused = fs::write(again.place.join("file"), "new").expect_err("it is read-only");
    assert_eq!(refused.kind(), ErrorKind::ReadOnlyFilesystem);
    let project = busybox("[step.it]\nfrom = 'base'\nfiles = [{ path = '/etc/name', content = 'one' }]\n");
    project.apply(["it"]).success();
    let change = ["mount", "--rw", "step.it", "--", "sh", "-c", "echo two > /etc/name; cat /etc/name"];
    assert_eq!(project.rbuild(change).success(), "two\n");
    assert_eq!(project.rbuild(["mount", "step.it", "--", "cat", "/etc/name"]).success(), "one");
}

/// Not even by the server itself, which would wait for its own answer.
#[test]
fn mount_a_folder_is_not_seen_through_itself() {
    needs!(root, fuse);
    let folder = Project::empty().file("file", "one").file("mounted/below", "");
    let mounted = Mounted::new(&folder, "./");
    let mut names: Vec<_> = fs::read_dir(&mounted.place)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .collect();
    names.sort();
    assert!(names.contains(&"file".to_owned()) && !names.contains(&"mounted".to_owned()), "{names:?}");
    assert!(fs::read_dir(mounted.place.join("mounted")).is_err());
}

#[test]
fn mount_what_cannot_be_mounted_is_said_with_its_cure() {
    needs!(root, fuse, unshare);
    let project = Project::empty().file("code/file", "one");
    let id = "ff".repeat(32);
    let told = project.rbuild(["mount", &id, "--", "true"]).failure(2);
    assert!(told.contains("has no snapshot ffff") && told.contains("rbuild inspect step.NAME"), "{told}");
    let told = project.rbuild(["mount", "code/file", "--", "true"]).failure(3);
    assert!(told.contains("code/file can't be read as a folder, a tar or an image"), "{told}");
    // A server that was killed leaves its mount.
    let script = "mkdir place; \"$@\" & server=$!; while ! mountpoint -q place; do sleep 0.01; done
        kill -KILL $server; wait $server || true; exec \"$@\"";
    let told = project.elsewhere(script, &["mount", "./code", "place"]).failure(2);
    assert!(told.contains("a mount whose server has ended") && told.contains("`umount place`"), "{told}");
    assert!(told.contains("mounted on [DIR]/work/place, until Ctrl-C"), "{told}");
}
