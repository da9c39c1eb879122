//! What only the kernel's overlay filesystem makes hard, beside what the `fuse` tier gives.

use crate::{
    malformed_layers::tar,
    support::{Build, Project, busybox, odd, run},
    tiers::{NO_FUSE, USER_WITH_ONE_ID, apply_after, same_on},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs::{self, DirEntry},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A project whose `base` also has the program `deep`.
fn with_deep(steps: &str) -> Project {
    let project = busybox(&format!(
        "[source.deep]\npath = 'deep'\n[step.tools]\nfrom = 'base'\ncopy = [{{ from = 'deep', dest = '/bin/' }}]\n{steps}"
    ));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/deep.c");
    run(Command::new("gcc").args(["-O1", "-static", "-o"]).arg(project.path("deep")).arg(source));
    project
}

/// Far longer paths than the kernel takes: made, laid out again, changed there and removed.
#[test]
fn folders_as_deep_as_a_tree_may_be_are_the_same_on_all_tiers() {
    needs!(fuse, busybox, gcc);
    let project = with_deep(
        r#"
[step.made]
from = "tools"
run = '''
mkdir /in; cd /in; deep 1200 a-name-of-some-length file text
mkdir /gone; cd /gone; deep 900 n'''
[step.changed]
from = "made"
files = [{ path = "/x", content = "" }]
run = '''
cd /in; deep 1200 a-name-of-some-length file more
rm -r /gone'''
[image.it]
from = "changed"
output = [{ oci = "dist/it" }]
"#,
    );
    same_on(&["overlay"], &project, "it", "changed");
    // A base is laid out whole.
    let edited = project.read("build.toml").replace("content = \"\"", "content = \"edited\"");
    project.write("build.toml", edited);
    on_both_tiers_again(&project, "it");
}

fn on_both_tiers_again(project: &Project, image: &str) {
    let build = |tier| {
        let build = project.apply(["--tier", tier, "--store", tier]).success();
        build.digest(image).to_owned()
    };
    assert_eq!(build("overlay"), build("fuse"));
}

#[test]
fn folders_deeper_than_a_tree_may_be_fail_the_step_and_are_removed() {
    needs!(fuse, busybox, gcc);
    let project = with_deep("[step.it]\nfrom = 'tools'\nrun = 'mkdir /in; cd /in; deep 20000 n'\n");
    let build = project.apply(["--tier", "overlay", "it"]).failure(1);
    let message = build.failed("step.it").message.to_owned();
    assert!(message.contains("nests deeper than 2000 directories"), "{message}");
    assert!(message.len() < 500, "{message}");
    project.nothing_is_left();
}

/// Entries of every kind and owner, given other names and put in the place of others.
const MOVED: &str = r#"
[source.busybox]
path = "busybox"
[step.start]
from = "odd"
copy = [{ from = "busybox", dest = "/bin/" }]
files = [
  { path = "/m/one", content = "one", owner = "7:8", mode = "0640" },
  { path = "/m/two", content = "two", owner = "9:10" },
  { path = "/m/first", content = "pair", owner = "11:12" },
  { path = "/m/third", content = "third", owner = "13:14" },
  { path = "/m/fourth", content = "fourth", owner = "15:16" },
  { path = "/m/late", content = "late", owner = "7:7" },
  { path = "/m/empty", content = "", owner = "17:18" },
]
links = [
  { path = "/bin/sh", target = "busybox" },
  { path = "/m/second", target = "/m/first", hard = true },
]
attrs = [{ path = "/large", owner = "1000:1000" }]
[step.it]
from = "start"
run = '''
b=/bin/busybox
cd /m
$b mv two one                          # another one's owner
$b ln late a-new-name                  # seen before the old one
$b mv first fourth                     # of two names, over one of one
$b mv third first                      # to where it was
$b mv empty zero
$b ln -f zero late
$b mv /disk /m/disk; $b mv /null /m/disk-too
$b mv /closed /m/closed; $b chmod 640 /m/closed
$b mv /read-only /m/written; echo more >> /m/written
$b ln /m/written /m/a-written
'''
[step.after]
from = "it"
run = '''
b=/bin/busybox
cd /m
$b mv one two; $b mv zero empty; echo x >> second
$b mv closed /closed; $b mv disk /
'''
[image.last]
from = "after"
output = [{ oci-archive = "last.oci.tar" }]
"#;

fn moved() -> Project {
    let project = odd(MOVED);
    fs::copy("/bin/busybox", project.path("busybox")).expect("busybox");
    project.chmod("busybox", 0o755);
    project
}

#[test]
fn a_file_takes_along_what_it_is_on_all_tiers() {
    needs!(root, fuse, busybox);
    same_on(&["overlay"], &moved(), "last", "after");
}

/// With one id no folder can say whose a file is.
#[test]
fn a_file_takes_its_owner_along_where_there_is_one_id() {
    needs!(root, fuse, busybox, unshare, setpriv);
    let project = moved();
    let digest = project.apply(["--tier", "fuse", "--store", "fuse"]).success().digest("last").to_owned();
    let build = apply_after(&[NO_FUSE, USER_WITH_ONE_ID].concat(), &project, &[]).success();
    let tree = project.rbuild(["inspect", "--tree", "step.after"]).success();
    assert_eq!(build.digest("last"), digest, "{tree}");
    project.nothing_is_left();
}

/// A hundred files with more attributes than a message between processes holds; few filesystems keep such large ones.
#[test]
fn many_large_attributes_are_the_same_on_all_tiers() {
    needs!(fuse, busybox);
    let project = busybox(
        "[source.many]\narchive = 'many.tar'\n[step.start]\nfrom = 'base'\ncopy = [{ from = 'many', src = '/', dest = '/' }]\n\
         [step.it]\nfrom = 'start'\nrun = 'echo more >> /many/7; chmod 600 /many/8; echo > /new'\n\
         [image.it]\nfrom = 'it'\noutput = [{ oci = 'dist/it' }]\n",
    );
    let record = |name| {
        let text = format!(" SCHILY.xattr.user.{name}={}\n", "v".repeat(60_000));
        format!("{}{text}", text.len() + 5)
    };
    let records: String = ('a'..'m').map(record).collect();
    let names: Vec<String> = (0..100).map(|number| format!("many/{number}")).collect();
    let entries = names.iter().flat_map(|name| {
        [(b'x', "attributes", "", records.as_bytes()), (b'0', name.as_str(), "", &b"content"[..])]
    });
    project.write("many.tar", tar(&entries.collect::<Vec<_>>()));
    same_on(&["overlay"], &project, "it", "it");
}

/// Reading back a file that is larger than any disk ends with the build.
#[test]
fn holes_do_not_keep_a_build_that_is_to_stop() {
    needs!(fuse, busybox);
    let project = busybox(
        "[step.it]\nfrom = 'base'\nrun = 'dd if=/dev/zero of=/sparse bs=1 count=1 seek=8000000000000 2> /dev/null'\n",
    );
    let mut command = project.command();
    command.args(["apply", "--tier", "overlay", "--progress", "json", "it"]);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("rbuild can be started");
    let files = PathBuf::from(format!("/proc/{}/fd", child.id()));
    let is_sparse = |file: &DirEntry| fs::read_link(file.path()).is_ok_and(|path| path.ends_with("sparse"));
    while !files.read_dir().into_iter().flatten().flatten().any(|file| is_sparse(&file)) {
        assert_eq!(child.try_wait().expect("its state"), None, "it ended");
    }
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).expect("it runs");
    let output = child.wait_with_output().expect("it ends");
    let build = Build::read(project.output("rbuild apply".into(), &output)).failure(130);
    assert_eq!(build.interrupted(), ["step.it"]);
    project.nothing_is_left();
}
