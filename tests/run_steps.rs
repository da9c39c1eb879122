//! What a step's command gets, what it may do, and what is told when it ends.

use crate::support::{Build, Project, busybox, names};
use std::collections::BTreeMap;

#[test]
fn sandbox_ends_are_told_apart() {
    needs!(fuse, busybox);
    let files = r##"files = [
  { path = "/text", content = "no program\n", mode = "0755" },
  { path = "/script", content = "#!/bin/sh\n" },
  { path = "/orphan", content = "#!/no/shell\n", mode = "0755" },
]"##;
    let project = busybox("");
    for (step, message) in [
        ("run = 'exit 7'", "its command ended with exit code 7"),
        ("run = ['sh', '-c', 'exit 255']", "its command ended with exit code 255"),
        ("run = 'kill -SEGV $$'", "its command was killed by SIGSEGV (11)"),
        ("run = 'kill -KILL $$'", "its command was killed by SIGKILL (9)"),
        ("run = 'true | false'", "its command ended with exit code 1"),
        ("run = 'false; true'", "its command ended with exit code 1"),
        ("run = ['absent', 'x']", "its command could not be started: absent: not found"),
        ("run = ['/bin/absent']", "its command could not be started: /bin/absent: not found"),
        ("run = ['/bin']", "its command could not be started: /bin: not executable"),
        ("run = ['/script']", "its command could not be started: /script: not executable"),
        (
            "run = ['/text']",
            "its command could not be started: /text: neither a program nor a script with a #! line",
        ),
        (
            "run = ['/orphan']",
            "its command could not be started: /orphan: its interpreter /no/shell is missing",
        ),
        (
            "shell = ['/bin/bash', '-c']\nrun = 'true'",
            "its command could not be started: /bin/bash: not found",
        ),
        ("run = \"#!/bin/perl\\n\"", "its interpreter /bin/perl is missing"),
    ] {
        project.write_steps(&format!("[step.it]\nfrom = 'base'\n{files}\n{step}\n"));
        let build = project.apply(["step.it"]).failure(1);
        let failed = build.failed("step.it");
        // Where its `run` is, as an editor finds it.
        let text = project.read("build.toml");
        let line = text.lines().position(|line| line.starts_with("run = ")).expect("it is there") + 1;
        assert!(
            failed.message.starts_with(&format!("build.toml:{line}:7: step `it` failed: ")),
            "{failed:?}"
        );
        assert!(failed.message.ends_with(message), "{step}: {failed:?}");
        assert_eq!(failed.code, "step-failed", "{step}");
    }
}

#[test]
fn sandbox_without_a_shell() {
    needs!(fuse);
    let project = Project::new("version = 1\n[step.it]\nrun = 'true'\n");
    let build = project.apply(["step.it"]).failure(1);
    let failed = build.failed("step.it");
    assert_eq!(
        failed.message,
        "build.toml:3:7: step `it` failed: its command could not be started: /bin/sh: not found"
    );
    assert_eq!(failed.hints, ["the command must be in the step's tree, for this machine's platform"]);
}

#[test]
fn sandbox_a_failure_shows_its_last_lines_and_the_log_has_all() {
    needs!(fuse, busybox);
    let project = busybox("[step.it]\nfrom = 'base'\nrun = 'seq 30; echo problem >&2; printf end; exit 3'\n");
    let build = project.apply(["step.it"]).failure(1);
    let failed = build.failed("step.it");
    let last: Vec<String> =
        (13..=30).map(|number| number.to_string()).chain(["problem".into(), "end".into()]).collect();
    assert_eq!(failed.last_lines, last);
    let all: String = (1..=30).map(|number| format!("{number}\n")).collect();
    assert_eq!(project.rbuild(["logs", "it"]).success(), all + "problem\nend");
    let plain = project.rbuild(["apply", "step.it"]).failure(1);
    assert!(
        plain.contains(":7: step `it` failed")
            && plain.contains("    | problem\n    | end\n")
            && plain.contains("hint: the whole log: rbuild logs it\n"),
        "{plain}"
    );
    std::fs::rename(project.path("build.toml"), project.path("other.toml")).expect("the build file");
    for style in ["plain", "quiet"] {
        let told = project.rbuild(["apply", "-f", "other.toml", "--progress", style, "step.it"]).failure(1);
        assert!(told.contains("hint: the whole log: rbuild logs -f other.toml it\n"), "{told}");
    }
}

#[test]
fn sandbox_hints_fit_the_failure() {
    needs!(fuse, busybox);
    let project = busybox("");
    let network = "steps have no network unless they say so: network = \"private\" or \"host\"";
    let workdir = "`workdir` must be a directory that the step's `user` may enter; a missing one is made, but not in a mount";
    let unresolved = "echo Could not resolve mirror.example >&2; exit 100";
    for (step, hints) in [
        (format!("run = '{unresolved}'"), vec![network]),
        (format!("network = 'host'\nrun = '{unresolved}'"), vec![]),
        ("run = 'exit 1'".to_owned(), vec![]),
        (
            "mounts = [{ tmpfs = '1M', target = '/m' }]\nworkdir = '/m/absent'\nrun = 'true'".to_owned(),
            vec![workdir],
        ),
    ] {
        project.write_steps(&format!("[step.it]\nfrom = 'base'\n{step}\n"));
        let build = project.apply(["step.it"]).failure(1);
        assert_eq!(build.failed("step.it").hints, hints, "{step}");
    }
}

#[test]
fn sandbox_a_log_is_kept_byte_for_byte() {
    needs!(fuse, busybox);
    let project = busybox("[step.it]\nfrom = 'base'\nrun = '''printf 'a\\033[1mb\\377\\000c\\rd' '''\n");
    let build = project.apply(["step.it"]).success();
    assert_eq!(build.lines("step.it"), ["d"], "the last state of a progress line, without escapes");
    let logged = project.command().args(["logs", "it"]).output().expect("rbuild can be started");
    assert_eq!(logged.stdout, b"a\x1b[1mb\xff\0c\rd");
}

#[test]
fn sandbox_the_environment_is_exact() {
    needs!(fuse, busybox);
    let project = busybox(
        r#"
[step.above]
from = "base"
env = { GONE = "for this step only" }
run = "true"
config = { env = { A = "1", B = "two", DROPPED = "x", PATH = "/opt/bin:${env.PATH}" } }
[step.it]
from = "above"
env = { A = "a=b=", QUOTES = "it's \"q\" `x` $HOME ${env.B} $$", LINES = "one\ntwo\n", EMPTY = "", DROPPED = false, WORD = "ünï" }
run = ["cat", "/proc/self/environ"]
"#,
    );
    project.apply(["step.it"]).success();
    let log = project.rbuild(["logs", "it"]).success();
    let variables: BTreeMap<&str, &str> =
        log.split_terminator('\0').filter_map(|pair| pair.split_once('=')).collect();
    let expected = BTreeMap::from([
        ("A", "a=b="),
        ("B", "two"),
        ("EMPTY", ""),
        ("HOME", "/root"),
        ("LINES", "one\ntwo\n"),
        ("PATH", "/opt/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("QUOTES", "it's \"q\" `x` $HOME two $"),
        ("SOURCE_DATE_EPOCH", "1700000000"),
        ("WORD", "ünï"),
    ]);
    assert_eq!(variables, expected);
}

#[test]
fn sandbox_what_is_passed_from_the_caller_is_in_no_key() {
    needs!(fuse, busybox);
    let project = busybox(
        r#"
[step.it]
from = "base"
pass-env = ["MIRROR", "UNSET", "OWN"]
env = { OWN = "the step's" }
run = 'echo "${MIRROR-} ${UNSET-none} $OWN ${http_proxy-no proxy} ${OTHER-no other}"'
[step.online]
from = "base"
network = "host"
rerun-after = "1d"
run = 'echo "${http_proxy-no proxy} ${NO_PROXY-none}"'
"#,
    );
    let apply = |mirror: &str| {
        let caller = [
            ("MIRROR", mirror),
            ("OWN", "the caller's"),
            ("OTHER", "x"),
            ("http_proxy", "http://p"),
            ("NO_PROXY", "*"),
        ];
        let line = ["apply", "--progress", "json", "step.it", "step.online"];
        Build::read(project.rbuild_with(&caller, line)).success()
    };
    let build = apply("a");
    assert_eq!(build.lines("step.it"), ["a none the step's no proxy no other"]);
    assert_eq!(build.lines("step.online"), ["http://p *"]);
    assert_eq!(apply("b").ran(), [""; 0]);
}

#[test]
fn sandbox_users_are_those_of_the_tree() {
    needs!(fuse, busybox);
    let project = busybox("");
    for (user, id, home) in [
        ("root", "uid=0(root) gid=0(root)", "/root"),
        ("0", "uid=0(root) gid=0(root)", "/root"),
        ("guest", "uid=1000(guest) gid=1001(guest) groups=29(audio),44(video)", "/home/guest"),
        ("guest:audio", "uid=1000(guest) gid=29(audio)", "/home/guest"),
        ("guest:7", "uid=1000(guest) gid=7", "/home/guest"),
        ("1000", "uid=1000(guest) gid=1000 groups=29(audio),44(video)", "/home/guest"),
        ("1000:0", "uid=1000(guest) gid=0(root)", "/home/guest"),
        ("4242", "uid=4242 gid=4242", "/"),
        ("4242:video", "uid=4242 gid=44(video)", "/"),
    ] {
        project.write_steps(&format!("[step.it]\nfrom = 'base'\nuser = '{user}'\nrun = 'id; echo $HOME'\n"));
        assert_eq!(project.apply(["step.it"]).success().lines("step.it"), [id, home], "{user}");
    }
    for (user, message) in [
        ("daemon", "/etc/passwd of the tree has no user `daemon`"),
        ("guest:daemon", "/etc/group of the tree has no group `daemon`"),
    ] {
        project.write_steps(&format!("[step.it]\nfrom = 'base'\nuser = '{user}'\nrun = 'id'\n"));
        let build = project.apply(["step.it"]).failure(1);
        let failed = build.failed("step.it");
        let message = format!("build.toml:61:7: {message}");
        assert_eq!((failed.code, failed.message), ("unknown-owner", message.as_str()));
    }
}

#[test]
fn sandbox_an_ordinary_user_may_write_only_where_it_may() {
    needs!(fuse, busybox);
    let project = busybox(
        r#"
[step.it]
from = "base"
user = "guest"
files = [{ path = "/own", content = "", owner = "guest" }, { path = "/private", content = "secret", mode = "0600" }]
run = '''
echo x > /own
echo x > /dev/stderr
touch /tmp/new
(echo x > /etc/new) 2>/dev/null && exit 1
cat /private 2>/dev/null && exit 2
chown root /own 2>/dev/null && exit 3
(echo x > /proc/sys/kernel/hostname) 2>/dev/null && exit 4
umask
'''
"#,
    );
    assert_eq!(project.apply(["step.it"]).success().lines("step.it"), ["x", "0022"]);
    let tree = project.tree("it");
    assert!(tree.contains("-rw-r--r-- 1000:1001          0 2023-11-14T22:13:20Z /tmp/new\n"), "{tree}");
    assert!(!tree.contains("/etc/new"), "{tree}");
}

#[test]
fn sandbox_a_missing_workdir_is_made_and_stays() {
    needs!(fuse, busybox);
    let project = busybox(
        r#"
[step.made]
from = "base"
user = "guest"
workdir = "/srv/app/"
run = "pwd; touch here"
[step.kept]
from = "base"
dirs = [{ path = "/srv/app", owner = "4:5", mode = "0711" }]
workdir = "srv/app"
run = "pwd"
[step.linked]
from = "base"
dirs = [{ path = "/srv/app" }]
links = [{ path = "/work", target = "srv/app" }]
workdir = "/work"
run = "touch here"
[step.below]
from = "base"
dirs = [{ path = "/srv" }]
links = [{ path = "/work", target = "/srv/../srv" }, { path = "/later", target = "made/later" }]
user = "guest"
workdir = "/work/deep/er"
run = "pwd"
[step.dangling]
from = "below"
workdir = "/later"
run = "touch here"
[step.file]
from = "base"
workdir = "/etc/passwd"
run = "true"
"#,
    );
    let build = project.apply(["step.made", "step.kept", "step.linked", "step.dangling"]).success();
    assert_eq!(build.lines("step.below"), ["/srv/deep/er"]);
    assert_eq!((build.lines("step.made"), build.lines("step.kept")), (vec!["/srv/app"], vec!["/srv/app"]));
    for (step, line) in [
        ("made", "drwxr-xr-x 1000:1001          - 2023-11-14T22:13:20Z /srv/app/\n"),
        ("made", "-rw-r--r-- 1000:1001          0 2023-11-14T22:13:20Z /srv/app/here\n"),
        ("kept", "drwx--x--x 4:5                - 2023-11-14T22:13:20Z /srv/app/\n"),
        ("below", "drwxr-xr-x 1000:1001          - 2023-11-14T22:13:20Z /srv/deep/er/\n"),
        ("dangling", "-rw-r--r-- 0:0                0 2023-11-14T22:13:20Z /made/later/here\n"),
        ("linked", "-rw-r--r-- 0:0                0 2023-11-14T22:13:20Z /srv/app/here\n"),
    ] {
        let tree = project.tree(step);
        assert!(tree.contains(line), "{step}: {tree}");
    }
    let build = project.apply(["step.file"]).failure(1);
    assert_eq!(build.failed("step.file").message, "build.toml:89:7: workdir /etc/passwd is not a directory");
}

/// A path of a tree begins at its root, in every field.
#[test]
fn sandbox_the_first_slash_of_a_path_may_be_left_out() {
    needs!(fuse, busybox);
    let step = |name: &str, first: &str| {
        format!(
            "[step.{name}]
from = 'base'
dirs = [{{ path = '{first}d/e' }}]
copy = [{{ from = 'base', src = '{first}etc/passwd', dest = '{first}d/' }}]
files = [{{ path = '{first}d/f', content = 'x' }}]
links = [{{ path = '{first}d/l', target = 'f' }}, {{ path = '{first}d/h', target = '{first}d/f', hard = true }}]
attrs = [{{ path = '{first}d/f', mode = '0600' }}]
mounts = [{{ tmpfs = '1M', target = '{first}d/m' }}]
workdir = '{first}d/e'
run = 'test $(pwd) = /d/e; grep \" /d/m \" /proc/self/mounts; touch here'
remove = ['{first}d/passwd']
"
        )
    };
    let project = busybox(&(step("short", "") + &step("long", "/")));
    project.apply(["short", "long"]).success();
    assert_eq!(project.tree("short"), project.tree("long"));
    let paths = project.paths("short");
    for path in ["/d/e/here", "/d/f", "/d/h", "/d/l -> f"] {
        assert!(paths.iter().any(|known| known.starts_with(path)), "{path}: {paths:?}");
    }
    assert!(!paths.iter().any(|path| path.starts_with("/d/passwd")), "{paths:?}");
}

#[test]
fn sandbox_a_workdir_in_a_mount_leaves_nothing() {
    needs!(fuse, busybox);
    let project = busybox(
        r#"
[source.code]
path = "code"
[step.ground]
from = "base"
links = [{ path = "/link", target = "mounted" }]
[step.at]
from = "ground"
mounts = [{ from = "code", target = "/mounted" }]
workdir = "/mounted"
run = "pwd; ls"
[step.below]
from = "ground"
mounts = [{ from = "code", target = "/link" }]
workdir = "/link/sub"
run = "pwd; ls"
"#,
    )
    .file("code/sub/file", "");
    let build = project.apply(["step.at", "step.below"]).success();
    assert_eq!(build.lines("step.at"), ["/mounted", "sub"]);
    assert_eq!(build.lines("step.below"), ["/mounted/sub", "file"]);
    for step in ["at", "below"] {
        assert_eq!(project.tree(step), project.tree("ground"), "{step}");
    }
}

#[test]
fn sandbox_the_standard_input_is_empty() {
    needs!(fuse, busybox);
    let project =
        busybox("[step.it]\nfrom = 'base'\nrun = 'cat; readlink /proc/self/fd/0; read x || echo end'\n");
    assert_eq!(project.apply(["step.it"]).success().lines("step.it"), ["/dev/null", "end"]);
}

#[test]
fn sandbox_a_script_and_an_array() {
    needs!(fuse, busybox);
    let project = busybox(
        r##"
[step.script]
from = "base"
run = '''#!/bin/grep ^the
the second line
'''
[step.array]
from = "base"
run = ["echo", "$HOME", "*", "a  b"]
[step.shell]
from = "base"
shell = ["/bin/sh", "-c"]
run = "false; echo went on"
"##,
    );
    let build = project.apply(["step.script", "step.array", "step.shell"]).success();
    assert_eq!(build.lines("step.script"), ["the second line"]);
    assert_eq!(build.lines("step.array"), ["$HOME * a  b"]);
    assert_eq!(build.lines("step.shell"), ["went on"]);
    assert_eq!(project.paths("script"), project.paths("array"), "the script's file is not in the tree");
}

#[test]
fn sandbox_no_network_is_a_loopback_alone() {
    needs!(fuse, busybox);
    let project = busybox(
        r#"
[step.none]
from = "base"
run = "hostname; ip -o link | cut -d' ' -f2,3; cat /proc/net/route; ls -A /etc"
[step.host]
from = "base"
network = "host"
rerun-after = "1d"
run = "hostname; ls /sys/class/net"
"#,
    );
    let build = project.apply(["step.none", "step.host"]).success();
    let none = build.lines("step.none");
    assert_eq!(none[..2], ["rbuild", "lo: <LOOPBACK,UP,LOWER_UP>"]);
    assert!(
        none[2].starts_with("Iface") && none[3..] == ["group", "hosts", "passwd"],
        "no route, no file of the machine: {none:?}"
    );
    let machine = names(std::path::Path::new("/sys/class/net"));
    assert_eq!(build.lines("step.host"), [&["rbuild".to_owned()], machine.as_slice()].concat());
}

#[test]
fn sandbox_the_machines_resolver_is_lent() {
    needs!(fuse, busybox);
    let project = busybox(
        r#"
[step.own]
from = "base"
files = [{ path = "/etc/resolv.conf", content = "the image's\n", mode = "0640" }, { path = "/etc/hosts", content = "its hosts\n" }]
[step.linked]
from = "base"
links = [{ path = "/etc/resolv.conf", target = "../run/resolver/stub.conf" }]
[step.over-none]
from = "base"
network = "host"
rerun-after = "1d"
run = "cat /etc/resolv.conf"
[step.over-own]
from = "own"
network = "host"
rerun-after = "1d"
run = "cat /etc/resolv.conf"
[step.over-linked]
from = "linked"
network = "host"
rerun-after = "1d"
run = "cat /etc/resolv.conf"
[step.offline]
from = "own"
run = "cat /etc/resolv.conf /etc/hosts"
[step.empty]
from = "base"
files = [{ path = "/etc/hosts", content = "" }]
[step.local]
from = "empty"
run = "cat /etc/hosts"
[step.over-none-local]
from = "base"
run = "cat /etc/hosts; hostname"
[step.hosts]
from = "own"
network = "host"
rerun-after = "1d"
run = "cat /etc/hosts"
"#,
    );
    let build = project
        .apply(
            ["over-none", "over-own", "over-linked", "offline", "local", "over-none-local", "hosts"]
                .map(|step| format!("step.{step}")),
        )
        .success();
    let machine = std::fs::read_to_string("/etc/resolv.conf").expect("the machine's resolver");
    let machine: Vec<&str> = machine.lines().collect();
    for step in ["step.over-none", "step.over-own", "step.over-linked"] {
        assert_eq!(build.lines(step), machine, "{step}");
    }
    assert_eq!(build.lines("step.offline"), ["the image's", "its hosts"]);
    let local = ["127.0.0.1 localhost", "::1 localhost", "127.0.0.1 rbuild"];
    assert_eq!(build.lines("step.local"), local);
    assert_eq!(build.lines("step.over-none-local"), [&local[..], &["rbuild"]].concat());
    let machine = std::fs::read_to_string("/etc/hosts").expect("the machine's hosts");
    let hosts = build.lines("step.hosts");
    assert!(machine.lines().all(|line| hosts.contains(&line)), "{hosts:?}");
    assert_eq!(hosts.last(), Some(&local[2]));
    for (over, under) in [
        ("over-none", "base"),
        ("over-own", "own"),
        ("over-linked", "linked"),
        ("offline", "own"),
        ("local", "empty"),
        ("over-none-local", "base"),
        ("hosts", "own"),
    ] {
        assert_eq!(snapshot(&project, over), snapshot(&project, under), "{over} changes nothing of {under}");
    }
}

#[test]
fn sandbox_what_is_lent_is_not_in_the_tree() {
    needs!(fuse, busybox);
    let project = busybox(
        r#"
[step.odd]
from = "base"
files = [{ path = "/dev/console", content = "a file of the image" }, { path = "/proc/note", content = "below proc" }]
[step.looks]
from = "odd"
run = '''
test -c /dev/null && test ! -e /dev/console && test ! -e /proc/note
test -d /proc/self && test -d /sys/kernel
echo x > /dev/shm/x; mkdir /dev/mqueue/x 2>/dev/null || true
'''
[step.nothing]
run = ["/busybox", "true"]
mounts = [{ from = "busybox", target = "/lent" }, { from = "busybox:/busybox", target = "/busybox" }]
"#,
    );
    project.apply(["step.looks", "step.nothing"]).success();
    assert_eq!(snapshot(&project, "looks"), snapshot(&project, "odd"));
    assert_eq!(project.paths("nothing"), ["/"], "no /proc, /sys, /dev, /tmp, no mount point");
}

#[test]
fn sandbox_devices_can_not_be_made() {
    needs!(fuse, busybox);
    let project = busybox("[step.it]\nfrom = 'base'\nrun = 'mkfifo /fifo; mknod /null c 1 3'\n");
    let build = project.apply(["step.it"]).failure(1);
    assert_eq!(build.failed("step.it").last_lines, ["mknod: /null: Operation not permitted"]);
}

#[test]
fn sandbox_leftover_processes_are_ended() {
    needs!(fuse, busybox);
    let project = busybox(
        r#"
[step.leaves]
from = "base"
run = '''
setsid sleep 100000 > /dev/null 2>&1 &
(trap '' TERM HUP INT; touch /ready; sleep 100000; touch /never) &
until test -e /ready; do sleep 0.01; done
'''
[step.after]
from = "leaves"
run = "test ! -e /never"
[step.wild]
from = "base"
run = "sleep 100000 & kill -9 -1; echo alive"
"#,
    );
    crate::support::adopt_orphans();
    let build = project.apply(["step.after", "step.wild"]).success();
    assert_eq!(build.lines("step.wild"), ["alive"], "it reaches itself and nothing outside");
    crate::support::nothing_runs();
    project.nothing_is_left();
}

fn snapshot(project: &Project, step: &str) -> String {
    let told = project.rbuild(["inspect", &format!("step.{step}")]).success();
    told.lines().find(|line| line.contains("snapshot")).unwrap_or_else(|| panic!("{told}")).to_owned()
}
