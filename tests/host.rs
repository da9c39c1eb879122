//! Steps over `source.host`: what of the machine they read is their input, found out by watching them.
//!
//! The machine here is a folder of the test with busybox in it.

use crate::support::Project;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    time::{Duration, SystemTime},
};

const STEPS: &str = r#"
[step.it]
from = "machine"
run = '''
cat /data/read
test -e /data/absent && cat /data/absent || true
ls /data/listed
test -d /data/visited && cat /data/visited/one
test -x /data/program
readlink /data/link
mkdir /out; cat /data/read > /out/copy
'''
[step.root]
copy = [{ from = "it", src = "/out/copy", dest = "/" }]
[image.it]
from = "root"
output = [{ oci = "dist/it" }]
"#;

/// A machine with files in /data, and this spec over it.
fn project(steps: &str) -> Project {
    let project = Project::empty();
    for name in [
        "cat", "ls", "test", "readlink", "mkdir", "sh", "rm", "mv", "touch", "chmod", "stat", "find", "sort",
        "id",
    ] {
        project.write("machine/bin/busybox", "");
        std::os::unix::fs::symlink("busybox", project.path("machine/bin").join(name)).expect("a link");
    }
    fs::copy("/bin/busybox", project.path("machine/bin/busybox")).expect("busybox");
    project.chmod("machine/bin/busybox", 0o755);
    for path in
        ["read", "unread", "listed/a", "listed/b", "visited/one", "visited/two", "program", "kept/deep/file"]
    {
        project.write(&format!("machine/data/{path}"), format!("{path}\n"));
    }
    project.chmod("machine/data/program", 0o755);
    std::os::unix::fs::symlink("read", project.path("machine/data/link")).expect("a link");
    write_steps(&project, steps);
    project
}

fn write_steps(project: &Project, steps: &str) {
    let machine = project.path("machine").display().to_string();
    project.write(
        "build.toml",
        format!(
            "version = 1\nepoch = 0\n[source.machine]\nhost = \"{machine}\"\nexclude = [\"/secret\"]\n{steps}"
        ),
    );
}

#[test]
fn sandbox_what_a_step_did_not_read_means_nothing() {
    needs!(fuse, busybox);
    let project = project(STEPS);
    let first = project.build();
    assert_eq!(first.ran(), ["step.it", "step.root"]);
    let changes: [(&str, &dyn Fn()); 8] = [
        ("nothing", &|| {}),
        ("another file", &|| project.write("machine/data/unread", "changed\n")),
        ("a new file", &|| project.write("machine/data/new", "")),
        ("a new folder", &|| project.write("machine/else/new", "")),
        ("beside a file that was read", &|| project.write("machine/data/visited/two", "changed\n")),
        ("a file more there", &|| project.write("machine/data/visited/three", "")),
        ("what is in a folder of a listed one", &|| {
            project.write("machine/data/kept/deep/file", "changed\n")
        }),
        ("a file less", &|| fs::remove_file(project.path("machine/data/unread")).expect("it is there")),
    ];
    for (what, change) in changes {
        change();
        let build = project.build();
        assert_eq!(
            (build.ran(), build.digest("it")),
            (vec![], first.digest("it")),
            "{what}: {}",
            build.output
        );
    }
}

#[test]
fn sandbox_what_a_step_read_is_its_input() {
    needs!(fuse, busybox);
    let project = project(STEPS);
    project.build();
    let write = |path: &str, content: &str| project.write(&format!("machine/data/{path}"), content);
    let remove =
        |path: &str| fs::remove_file(project.path(&format!("machine/data/{path}"))).expect("it is there");
    let changes: [(&str, &dyn Fn()); 8] = [
        ("/data/read", &|| write("read", "something longer\n")),
        ("/data/absent", &|| write("absent", "there\n")),
        ("/data/listed", &|| write("listed/c", "")),
        ("/data/listed", &|| remove("listed/a")),
        ("/data/visited/one", &|| write("visited/one", "two\n")),
        ("/data/program", &|| project.chmod("machine/data/program", 0o700)),
        ("/data/link", &|| {
            remove("link");
            std::os::unix::fs::symlink("unread", project.path("machine/data/link")).expect("a link");
        }),
        ("/bin/sh", &|| {
            fs::remove_file(project.path("machine/bin/sh")).expect("it is there");
            std::os::unix::fs::symlink("/bin/busybox", project.path("machine/bin/sh")).expect("a link");
        }),
    ];
    for (path, change) in changes {
        change();
        let build = project.build();
        let why = build.why("step.it");
        assert!(why.contains(&format!(" of {path} was ")), "{path}: {why}");
        assert_eq!(project.build().ran(), [""; 0], "{path}: a second time");
    }
}

#[test]
fn sandbox_what_the_machine_was_before_is_known() {
    needs!(fuse, busybox);
    let project = project(STEPS);
    let first = project.build();
    project.write("machine/data/absent", "there\n");
    assert_eq!(project.build().ran(), ["step.it"], "the tree made of it is the same: nothing after it runs");
    fs::remove_file(project.path("machine/data/absent")).expect("it is there");
    let build = project.build();
    assert_eq!((build.ran(), build.digest("it")), (vec![], first.digest("it")));
}

#[test]
fn sandbox_content_counts_and_not_only_size_and_time() {
    needs!(fuse, busybox);
    let project = project(STEPS);
    let file = project.path("machine/data/read");
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    let write = |content: &str| {
        fs::write(&file, content).expect("a file of the machine");
        fs::File::options()
            .write(true)
            .open(&file)
            .expect("it is there")
            .set_modified(time)
            .expect("its time");
    };
    write("aaaa\n");
    let first = project.build();
    write("bbbb\n");
    let second = project.build();
    assert!(second.why("step.it").starts_with("content of /data/read was "), "{}", second.why("step.it"));
    assert_eq!(second.lines("step.it")[0], "bbbb");
    assert_ne!(first.digest("it"), second.digest("it"));
    write("aaaa\n");
    let third = project.build();
    assert_eq!((third.ran(), third.digest("it")), (vec![], first.digest("it")), "what it was is still known");
}

#[test]
fn sandbox_the_machine_is_not_written_to() {
    needs!(fuse, busybox);
    let project = project(
        r#"
[step.it]
from = "machine"
run = '''
echo changed > /data/read
rm -r /data/listed
mv /data/visited /data/moved
chmod 0600 /data/program
echo new > /new
find /data | sort
'''
[step.more]
from = "it"
run = "cat /data/read /data/moved/one /new; test ! -e /data/listed; echo more > /more"
[step.root]
copy = [{ from = "more", src = ["/new", "/more", "/data/moved"], dest = "/" }, { from = "it", src = "/data/read", dest = "/" }]
[image.it]
from = "root"
output = [{ dir = "dist" }]
"#,
    );
    let before = listing(&project);
    let build = project.build();
    assert_eq!(listing(&project), before, "the machine is as it was");
    assert!(build.lines("step.it").contains(&"/data/moved/two"), "{}", build.output);
    assert_eq!(
        build.lines("step.more"),
        ["changed", "visited/one", "new"],
        "a step on top sees what the first changed"
    );
    for (path, content) in
        [("new", "new\n"), ("more", "more\n"), ("read", "changed\n"), ("moved/one", "visited/one\n")]
    {
        assert_eq!(project.read(&format!("dist/{path}")), content);
    }
    assert_eq!(project.build().ran(), [""; 0]);
}

fn listing(project: &Project) -> Vec<(String, u32, Vec<u8>)> {
    let files = crate::caching::files_below(&project.path("machine"));
    let one = |path: &std::path::PathBuf| {
        let mode = fs::symlink_metadata(path).expect("a file of the machine").permissions().mode();
        (path.display().to_string(), mode, fs::read(path).unwrap_or_default())
    };
    files.iter().map(one).collect()
}

#[test]
fn sandbox_what_is_left_out_and_what_is_the_sandboxes() {
    needs!(fuse, busybox);
    let project = project(
        r#"
[step.it]
from = "machine"
run = '''
test ! -e /secret
test ! -e /tmp/of-the-machine
test -c /dev/null
test -r /proc/self/status
test "$(cat /proc/sys/kernel/hostname)" = rbuild
'''
"#,
    );
    for path in ["secret/key", "tmp/of-the-machine", "dev/null", "proc/note"] {
        project.write(&format!("machine/{path}"), "of the machine");
    }
    project.apply(["step.it"]).success();
}

#[test]
fn sandbox_a_step_over_the_machine_is_no_tree_of_its_own() {
    needs!(fuse, busybox);
    let project = project("");
    for (steps, code) in [
        ("[step.it]\nfrom = 'machine'\nrun = 'true'\n[image.it]\nfrom = 'it'\n", 2),
        (
            "[step.it]\nfrom = 'machine'\nrun = 'true'\n[step.m]\nmerge = ['it', 'machine']\n[image.it]\nfrom = 'm'\n",
            2,
        ),
        (
            "[step.it]\nfrom = 'machine'\nfiles = [{ path = '/x', content = '' }]\n[step.r]\ncopy = [{ from = 'it', dest = '/' }]\n[image.it]\nfrom = 'r'\n",
            2,
        ),
        ("[step.r]\ncopy = [{ from = 'machine', src = '/data', dest = '/' }]\n[image.it]\nfrom = 'r'\n", 2),
        (
            "[step.it]\nfrom = 'machine'\nrun = 'true'\n[step.r]\ncopy = [{ from = 'it', src = '/data/read', dest = '/' }]\n[image.it]\nfrom = 'r'\n",
            1,
        ),
    ] {
        write_steps(&project, steps);
        let told = project.rbuild(["apply"]).failure(code);
        assert!(told.contains("machine") || told.contains("no-match"), "{steps}: {told}");
    }
}

#[test]
fn sandbox_a_tree_that_a_step_over_the_machine_does_not_leave() {
    needs!(fuse, busybox);
    let project = project(STEPS);
    project.build();
    let told = project.rbuild(["mount", "step.it", "--", "true"]).failure(2);
    assert!(told.contains("left no tree of its own") && told.contains("this machine's files"), "{told}");
    let told = project.rbuild(["inspect", "--tree", "step.it"]).failure(2);
    assert!(told.contains("left no tree of its own") && told.contains("this machine's files"), "{told}");
}

#[test]
fn sandbox_a_header_that_was_read() {
    needs!(fuse, gcc);
    // Not in /tmp: that is not in the machine's tree.
    let machine = tempfile::Builder::new().prefix("rbuild-test-").tempdir_in("/var/tmp").expect("a folder");
    let include = machine.path().join("include");
    fs::create_dir(&include).expect("a folder");
    let write = |name: &str, text: &str| fs::write(include.join(name), text).expect("a header");
    write("read.h", "#define NUMBER 1\n");
    write("unread.h", "#define OTHER 1\n");
    let spec = format!(
        r#"version = 1
[source.code]
path = "src"
[source.host]
host = "/"
[step.compile]
from = "host"
env = {{ FLAGS = "-I{0}/first -I{0}/include" }}
mounts = [{{ from = "code", target = "/src" }}]
run = 'mkdir -p /out && cc $FLAGS -static -o /out/it /src/it.c && {{ /out/it || echo gave $?; }}'
[step.root]
copy = [{{ from = "compile", src = "/out/it", dest = "/" }}]
[image.it]
from = "root"
"#,
        machine.path().display()
    );
    let project =
        Project::new(&spec).file("src/it.c", "#include <read.h>\nint main(void) { return NUMBER; }\n");
    assert_eq!(project.build().lines("step.compile"), ["gave 1"]);
    write("unread.h", "#define OTHER 2\n");
    write("new.h", "");
    assert_eq!(project.build().ran(), [""; 0], "headers that nothing includes");
    write("read.h", "#define NUMBER 2\n");
    let build = project.build();
    assert_eq!(build.lines("step.compile"), ["gave 2"]);
    assert!(
        build.why("step.compile").contains(&format!("of {}/read.h was", include.display())),
        "{}",
        build.why("step.compile")
    );
    fs::create_dir(machine.path().join("first")).expect("a folder");
    fs::write(machine.path().join("first/read.h"), "#define NUMBER 3\n").expect("a header");
    let build = project.build();
    assert_eq!(build.lines("step.compile"), ["gave 3"], "a header that was looked for and not found");
    let first = machine.path().join("first").display().to_string();
    assert!(build.why("step.compile").contains(&format!("of {first} was")), "{}", build.why("step.compile"));
    assert_eq!(project.build().ran(), [""; 0]);
}

#[test]
fn sandbox_the_machines_accounts_are_input_too() {
    needs!(fuse, busybox);
    let project = project(
        r#"
[step.it]
from = "machine"
user = "games"
run = "id -u; id -g; echo $HOME"
[step.adds]
from = "machine"
run = "echo fresh:x:77:78::/home/fresh:/bin/sh >> /etc/passwd"
[step.uses]
from = "adds"
user = "fresh"
run = "id -u; id -g"
"#,
    );
    // Of the machine's folder, not of the machine that has the folder.
    std::os::unix::fs::symlink("/data/users", project.path("machine/etc")).expect("a link");
    project.write("machine/data/users/passwd", "games:x:5:60:games:/usr/games:/bin/sh\n");
    let both = ["step.it", "step.uses"];
    let first = project.apply(both).success();
    assert_eq!(first.lines("step.it"), ["5", "60", "/usr/games"]);
    assert_eq!(first.lines("step.uses"), ["77", "78"], "what an earlier step added is known");
    assert_eq!(project.apply(both).success().ran(), [""; 0]);
    project.write("machine/data/users/passwd", "games:x:6:60:games:/usr/games:/bin/sh\n");
    let second = project.apply(["step.it"]).success();
    assert!(second.why("step.it").contains(" of /data/users/passwd was "), "{}", second.why("step.it"));
    assert_eq!(second.lines("step.it"), ["6", "60", "/usr/games"]);
}

#[test]
fn sandbox_paths_are_followed_as_the_step_sees_them() {
    needs!(fuse, busybox);
    let project = project(
        r#"
[step.links]
from = "machine"
run = "rm /link"
[step.it]
from = "machine"
mounts = [{ cache = "c", target = "/link/new/deep" }, { cache = "c", target = "/secret/in" }]
workdir = "/link/work/here"
run = "pwd; test -d /data/new/deep; test -d /secret/in; touch made"
[step.more]
from = "links"
mounts = [{ cache = "c", target = "/link/in" }]
workdir = "/link/in"
run = "pwd"
"#,
    );
    std::os::unix::fs::symlink("/data", project.path("machine/link")).expect("a link");
    let build = project.apply(["step.it", "step.more"]).success();
    assert_eq!(build.lines("step.it"), ["/data/work/here"]);
    assert_eq!(build.lines("step.more"), ["/link/in"], "the link is gone by the step before");
}

#[test]
fn sandbox_a_step_without_a_command_is_known() {
    needs!(fuse, busybox);
    let project = project(
        "[step.same]\nfrom = 'machine'\nconfig = { env = { A = '1' } }\n[step.it]\nfrom = 'same'\nrun = 'cat /data/read'\n",
    );
    assert_eq!(project.apply(["step.it"]).success().ran(), ["step.it", "step.same"]);
    assert_eq!(project.apply(["step.it"]).success().ran(), [""; 0]);
}

#[test]
fn sandbox_a_test_over_the_machine_changes_nothing_of_it() {
    needs!(fuse, busybox);
    let project =
        project("[test.it]\nfrom = 'machine'\nfiles = [{ path = '/x', content = '' }]\nrun = 'test -e /x'\n");
    let told = project.rbuild(["apply", "test.it"]).failure(2);
    assert!(told.contains("error[not-yet]: `files` over a `host` source: not yet in this version"), "{told}");
}

/// A file that changes while a step reads it: nobody knows what it read.
#[test]
fn sandbox_what_can_not_be_recorded_is_said() {
    needs!(fuse, busybox);
    let project = project(
        r#"
[step.it]
from = "machine"
mounts = [{ cache = "meet", target = "/meet", mode = "0777" }]
run = "cat /data/read; touch /meet/ready; until test -e /meet/go; do :; done"
"#,
    );
    let mut child =
        project.command().args(["apply", "step.it", "--progress", "quiet"]).spawn().expect("rbuild");
    let caches = project.store().join("caches");
    let meet = || {
        let folders = fs::read_dir(&caches).ok()?.flatten().map(|entry| entry.path());
        folders.into_iter().find(|path| path.join("ready").exists())
    };
    let meet = loop {
        if let Some(path) = meet() {
            break path;
        }
        assert!(child.try_wait().expect("its state").is_none(), "it ended");
        std::thread::sleep(Duration::from_millis(5));
    };
    project.write("machine/data/read", "something longer\n");
    fs::write(meet.join("go"), "").expect("the cache is open to all");
    assert!(child.wait().expect("it ends").success());
    let again = project.apply(["step.it"]).success();
    assert_eq!(again.why("step.it"), "what it reads of this machine could not be recorded");
    assert_eq!(project.apply(["step.it"]).success().ran(), [""; 0]);
}
