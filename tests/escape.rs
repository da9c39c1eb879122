//! Ways out of a step, each tried: by root and by a user with one id, on every tier. What each came to is looked at, and
//! outside of a sandbox the same attempts succeed.

use crate::support::{Build, MASKED, Output, Project, busybox, names, run, said};
use std::{
    fs,
    net::TcpListener,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            fs::{MetadataExt, PermissionsExt, symlink},
            net::{SocketAddr, UnixListener},
        },
    },
    path::Path,
    process::Command,
};

const SECRET: &str = "secret of the machine\n";

/// A process of whoever builds, with the secret as its input, is there meanwhile.
const BESIDE: &str = r#"
sleep 1000 < "$FOLDER/work/secret" > /dev/null 2>&1 & pid=$!
trap 'kill $pid' EXIT
"#;

/// script(1) gives the build a terminal of its own.
const AT_A_TERMINAL: &str = r#"
script -qec "$* --set pid=$pid > out 2> err" /dev/null > /dev/null || cat err >&2
cat out"#;

/// What is to be got at.
struct Machine {
    project: Project,
    attempt: String,
    _listeners: (TcpListener, UnixListener),
}

impl Machine {
    fn new(network: &str) -> Self {
        let project = busybox("").file("secret", SECRET);
        let program = project.path("escape");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/escape.c");
        run(Command::new("gcc").args(["-O1", "-static", "-o"]).arg(&program).arg(source));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let socket = format!("rbuild-escape-{port}");
        let address = SocketAddr::from_abstract_name(&socket).expect("a name");
        let listeners = (listener, UnixListener::bind_addr(&address).expect("an abstract socket"));
        let key = said(Command::new(&program).arg("key"));
        let (secret, disk) = (project.path("secret").display().to_string(), disk());
        let attempt = format!("$PROGRAM $PID {secret} {port} {socket} {disk} {key} $PLACE");
        project.write_steps(&format!(
            "[vars]\npid = '0'\n[source.escape]\npath = 'escape'\n\
             [step.it]\nfrom = 'base'\ncopy = [{{ from = 'escape', dest = '/bin/' }}]\nnetwork = '{network}'\n\
             env = {{ PID = '${{pid}}', PROGRAM = '/bin/escape', PLACE = '/tmp' }}\n\
             run = '''\n{attempt}\n/bin/escape peer {socket} || true\n'''\n"
        ));
        Self { project, attempt, _listeners: listeners }
    }

    /// Outside of a sandbox.
    fn outside(&self) -> Output {
        let (program, place) = (self.project.path("escape"), self.project.path("tmp"));
        fs::create_dir(&place).expect("a folder");
        let set = format!("PROGRAM={} PLACE={} PID=$pid", program.display(), place.display());
        self.project.elsewhere(&format!("{BESIDE}{set}\nunshare --uts {}", self.attempt), &[])
    }

    /// In a step, of a build at a terminal.
    fn as_root(&self, preparation: &str, tier: &str) -> Vec<String> {
        let script = format!("{preparation}{BESIDE}{AT_A_TERMINAL}");
        self.printed(tier, |arguments| self.project.elsewhere(&script, arguments))
    }

    /// The same of a user with one id.
    fn as_user(&self, preparation: &str, tier: &str) -> Vec<String> {
        let script = format!("{BESIDE}{AT_A_TERMINAL}");
        self.printed(tier, |arguments| self.project.elsewhere_as_user_after(preparation, &script, arguments))
    }

    /// Each build has a new store.
    fn printed(&self, tier: &str, build: impl Fn(&[&str]) -> Output) -> Vec<String> {
        let build =
            Build::read(build(&["apply", "--progress", "json", "--tier", tier, "--store", "new", "it"]));
        let lines = build.success().lines("step.it").into_iter().map(str::to_owned).collect();
        fs::remove_dir_all(self.project.path("new")).expect("the store");
        lines
    }
}

/// Of the machine's first, as `254:0`.
fn disk() -> String {
    let partitions = fs::read_to_string("/proc/partitions").expect("the disks of this machine");
    let line = partitions.lines().nth(2).unwrap_or("8 0");
    line.split_whitespace().take(2).collect::<Vec<_>>().join(":")
}

/// What is done outside whatever the machine is; the others depend on its kernel, and on what there is.
const DONE_OUTSIDE: &str = "kill, kill by its folder, kill any, ptrace, ptrace the engine, mem, environ, root, cwd, fd, \
    link, chroot, devices, remount, mount proc, bind, fsopen, open_tree, unshare, clone, setns by pidfd, \
    open_by_handle_at, keyctl, loopback, abstract socket, packet socket, sysctl, sys, sethostname";

/// The attempts that succeeded.
fn done<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    lines.filter_map(|line| line.strip_suffix(": done")).collect()
}

/// Fails unless each attempt was made and refused.
#[track_caller]
fn all_refused(lines: &[String], outside: &Output) {
    let names = |lines: &mut dyn Iterator<Item = &str>| -> Vec<String> {
        lines.filter_map(|line| Some(line.split_once(": ")?.0.to_owned())).collect()
    };
    assert_eq!(names(&mut lines.iter().map(String::as_str)), names(&mut outside.stdout.lines()));
    assert_eq!(done(lines.iter().map(String::as_str)), [""; 0], "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains(": signal")), "{lines:#?}");
}

#[test]
fn sandbox_there_is_no_way_out_of_a_step() {
    needs!(root, fuse, busybox, gcc, setpriv, unshare, script);
    let machine = Machine::new("none");
    let outside = machine.outside();
    let done = done(outside.stdout.lines());
    let missing: Vec<&str> = DONE_OUTSIDE.split(", ").filter(|name| !done.contains(name)).collect();
    assert_eq!(missing, [""; 0], "outside these can be done: {outside}");
    for tier in ["fuse", "overlay"] {
        all_refused(&machine.as_root("", tier), &outside);
        all_refused(&machine.as_user("", tier), &outside);
    }
}

/// Where the kernel refuses a fresh /proc the machine's processes are seen; nothing can be done to them.
#[test]
fn sandbox_there_is_no_way_out_by_the_machines_proc() {
    needs!(root, fuse, busybox, gcc, setpriv, unshare, script);
    let machine = Machine::new("none");
    let outside = machine.outside();
    for tier in ["fuse", "overlay"] {
        all_refused(&machine.as_root(MASKED, tier), &outside);
        all_refused(&machine.as_user(MASKED, tier), &outside);
    }
}

/// A step that says so sees the machine's network; who is there is nobody it knows.
#[test]
fn sandbox_the_network_of_the_machine_is_that_and_no_more() {
    needs!(root, fuse, busybox, gcc, setpriv, unshare, script);
    let machine = Machine::new("host");
    for lines in [machine.as_root("", "fuse"), machine.as_user("", "fuse")] {
        let done = done(lines.iter().map(String::as_str));
        assert_eq!(done, ["loopback", "abstract socket"], "{lines:#?}");
        assert_eq!(lines.last().map(String::as_str), Some("peer 0 65534:65534"), "{lines:#?}");
    }
}

/// Links lead nowhere but in the tree: where something is copied to, where something is mounted, in what is lent.
#[test]
fn sandbox_links_do_not_lead_out_of_a_tree() {
    needs!(fuse, busybox);
    let outside = tempfile::tempdir().expect("a folder");
    fs::write(outside.path().join("secret"), SECRET).expect("a file");
    let place = outside.path().display();
    let project = busybox(&format!(
        r#"
[source.code]
path = "code"
[source.file]
path = "file"
[step.links]
from = "base"
dirs = [{{ path = "{place}" }}]
links = [{{ path = "/out", target = "{place}" }}, {{ path = "/up", target = "../../../..{place}" }}]
[step.copied]
from = "links"
copy = [{{ from = "file", dest = "/out/planted" }}, {{ from = "file", dest = "/up/planted-too" }}]
files = [{{ path = "/out/written", content = "x" }}]
[step.it]
from = "copied"
copy = [{{ from = "code", dest = "/copied" }}]
mounts = [
  {{ from = "code", target = "/code", write = "discard" }},
  {{ cache = "c", target = "/out/cache" }},
]
run = '''
ls {place}
cat /copied/out/secret || echo not copied
cat /code/out/secret || echo not lent
echo x > /code/out/new
echo x > /code/up/new-too
ln -s {place} /out/cache/link
echo x > /out/cache/link/cached
'''
"#
    ))
    .file("file", "planted");
    fs::create_dir(project.path("code")).expect("a folder");
    symlink(outside.path(), project.path("code/out")).expect("a link");
    symlink(format!("../../../../../../..{place}"), project.path("code/up")).expect("a link");
    for tier in ["fuse", "overlay"] {
        let build = project.apply(["--tier", tier, "--store", tier, "it"]).success();
        let printed = build.lines("step.it");
        for line in ["planted", "planted-too", "written", "not copied", "not lent"] {
            assert!(printed.contains(&line), "{line}: {printed:?}");
        }
        assert_eq!(names(outside.path()), ["secret"], "--tier {tier}");
    }
}

/// A program that would make its caller root: it is not root's, and nobody else comes to where it is.
#[test]
fn sandbox_set_id_programs_are_nobodys_outside() {
    needs!(root, fuse, busybox, setpriv, unshare);
    let project = busybox(
        "[step.it]\nfrom = 'base'\nmounts = [{ cache = 'c', target = '/c' }]\n\
         run = 'rm -f /c/su; cp /bin/busybox /c/su; chown 0:0 /c/su; chmod 6755 /c/su'\n",
    );
    let owner = |store: &str| {
        let store = project.path(store);
        let found = said(Command::new("find").arg(&store).args(["-name", "su", "-perm", "-4000"]));
        let mode = fs::metadata(&store).expect("the store").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        fs::metadata(found).expect("one file").uid()
    };
    for tier in ["fuse", "overlay"] {
        project.apply(["--tier", tier, "--store", tier, "it"]).success();
        assert!(owner(tier) >= 65_536, "--tier {tier}");
        let users = format!("{tier}-of-user");
        project.as_user(&["apply", "--tier", tier, "--store", &users, "it"]).success();
        assert_eq!(owner(&users), 65_533, "--tier {tier}");
    }
}
