//! What only the kernel's overlay filesystem makes hard, beside what the `fuse` tier gives.

use crate::{
    caching::files_below,
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
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
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
    let build = |tier| project.apply(["--tier", tier, "--store", tier]).success().digest("it").to_owned();
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
    needs!(root, fuse, busybox);
    for tier in ["overlay", "chroot"] {
        stopped_while_reading_back(tier);
    }
}

fn stopped_while_reading_back(tier: &str) {
    let project = busybox(
        "[step.it]\nfrom = 'base'\nrun = 'dd if=/dev/zero of=/sparse bs=1 count=1 seek=8000000000000 2> /dev/null'\n",
    );
    let mut command = project.command();
    command.args(["apply", "--tier", tier, "--progress", "json", "it"]);
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

/// Two steps over a base, the first of which changes more than is laid out anew; `$salt` is in the last one.
const REPEATED: &str = r#"
[source.files]
path = "files"
[step.start]
from = "base"
copy = [{ from = "files", dest = "/files/" }]
[step.many]
from = "start"
run = 'i=0; while [ $i -lt 400 ]; do echo $i > /$i; i=$((i+1)); done'
[step.last]
from = "many"
run = 'cat /files/* /1 /etc/passwd > /all; echo $salt >> /all'
[image.it]
from = "last"
output = [{ oci = "dist/it" }]
"#;

fn repeated() -> Project {
    busybox(REPEATED).file("files/one", "first\n").file("files/two", "second\n")
}

impl Project {
    fn salted(&self, salt: &str) -> Build {
        self.write_steps(&REPEATED.replace("$salt", salt));
        self.apply(["--tier", "overlay"]).success()
    }

    /// Two builds: the first lays a base out in memory, the second in the store.
    fn laid_out(self) -> Self {
        self.salted("first");
        self.salted("second");
        self
    }

    /// What the store keeps of folders: their names, and the inodes of their stamps.
    fn kept(&self) -> Vec<(String, u64)> {
        let entries = fs::read_dir(self.store().join("checkouts")).expect("kept folders").flatten();
        let kept = entries.filter_map(|entry| {
            let stamp = fs::metadata(entry.path().join("stamp")).ok()?;
            Some((entry.file_name().to_string_lossy().into_owned(), stamp.ino()))
        });
        let mut kept: Vec<_> = kept.collect();
        kept.sort();
        kept
    }

    /// The digest of the same build on the other tier, from an empty store.
    fn usual(&self, store: &str) -> String {
        self.apply(["--tier", "fuse", "--store", store]).success().digest("it").to_owned()
    }
}

#[test]
fn what_is_laid_out_is_kept_between_builds() {
    needs!(fuse, busybox);
    let project = repeated();
    let build = project.salted("one");
    // What the first step changed; its base was in memory.
    assert_eq!(project.kept().len(), 1);
    assert_eq!(build.digest("it"), project.usual("fuse"));
    project.nothing_is_left();
    // Both.
    project.salted("again");
    let kept = project.kept();
    assert_eq!(kept.len(), 2);
    project.nothing_is_left();
    let build = project.salted("two");
    assert_eq!(build.ran(), ["step.last"]);
    assert_eq!(project.kept(), kept);
    assert_eq!(build.digest("it"), project.usual("fuse"));
    // A step that is not the last one's base anew: it lies on the same.
    let steps = REPEATED.replace("$i > /$i", "$i$i > /$i").replace("$salt", "two");
    project.write_steps(&steps);
    let build = project.apply(["--tier", "overlay"]).success();
    assert_eq!(build.ran(), ["step.last", "step.many"]);
    assert!(kept.iter().all(|kept| project.kept().contains(kept)));
    assert_eq!(build.digest("it"), project.usual("fuse"));
}

/// Says how large the attribute `user.big` of each of these is, and whether it is on the device of the root.
const LOOK: &str = r#"
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>
int main(int count, char **paths) {
    struct stat root, found;
    stat("/", &root);
    for (int at = 1; at < count; at++)
        printf("%s %zd %d\n", paths[at], getxattr(paths[at], "user.big", 0, 0),
               stat(paths[at], &found) == 0 && found.st_dev == root.st_dev);
}
"#;

/// In memory and on the disk a base has its attributes, and one device number.
#[test]
fn steps_see_the_same_wherever_a_base_is_laid_out() {
    needs!(fuse, busybox, gcc, "setfattr");
    let project = busybox(
        "[source.big]\narchive = 'big.tar'\n[source.look]\npath = 'look'\n\
         [step.all]\nmerge = ['base', 'big']\ncopy = [{ from = 'look', dest = '/bin/' }]\n\
         [step.it]\nfrom = 'all'\nrun = 'look /big/* /bin/busybox /big > /told'\n\
         [image.it]\nfrom = 'it'\noutput = [{ oci = 'dist/it' }]\n",
    );
    project.write("look.c", LOOK);
    run(Command::new("gcc")
        .args(["-O1", "-static", "-o"])
        .args([project.path("look"), project.path("look.c")]));
    for number in 0..100 {
        let folder = project.path(&format!("big/{number:03}"));
        fs::create_dir_all(&folder).expect("a folder");
        run(Command::new("setfattr").args(["-n", "user.big", "-v", &"x".repeat(3_000)]).arg(&folder));
    }
    let archive = ["--xattrs", "--xattrs-include=user.*", "--sort=name", "-cf", "big.tar", "big"];
    run(Command::new("tar").args(archive).current_dir(project.path("")));
    let usual = project.usual("fuse");
    for place in ["memory", "disk"] {
        let build = project.apply(["--tier", "overlay"]).success();
        assert_eq!(build.digest("it"), usual, "{place}");
        fs::remove_dir_all(project.store().join("records")).expect("what is known");
    }
    assert_eq!(project.kept().len(), 1);
}

/// More than a base may take of memory: it is on the disk at once.
#[test]
fn a_base_that_would_take_much_memory_is_laid_out_in_the_store() {
    needs!(fuse, busybox);
    let project = repeated();
    // A page each.
    let target = "far/".repeat(60);
    for number in 0..2_100 {
        symlink(&target, project.path(&format!("files/{number}"))).expect("a link");
    }
    project.write_steps(&REPEATED.replace("cat /files/*", "cat /files/one").replace("$salt", ""));
    let build = project.apply(["--tier", "overlay"]).success();
    assert_eq!(project.kept().len(), 2);
    assert_eq!(build.digest("it"), project.usual("fuse"));
    project.nothing_is_left();
}

#[test]
fn a_kept_folder_that_can_not_be_trusted_is_laid_out_again() {
    needs!(fuse, busybox);
    type Damage = fn(&Path);
    let damages: [Damage; 4] = [
        |kept| fs::remove_file(kept.join("stamp")).expect("its stamp"),
        |kept| fs::write(kept.join("stamp"), "1 1.0\n").expect("its stamp"),
        |kept| {
            let folder = fs::read_dir(kept.join("folder")).expect("its folder").flatten().next();
            let path = folder.expect("something in it").path();
            let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            removed.expect("it can be removed");
        },
        // As whoever copies a store without attributes.
        |kept| {
            let copy = kept.with_extension("copy");
            run(Command::new("cp").arg("-r").arg(kept).arg(&copy));
            fs::remove_dir_all(kept).expect("it can be removed");
            fs::rename(copy, kept).expect("it can be renamed");
        },
    ];
    let project = repeated().laid_out();
    for (number, damage) in damages.iter().enumerate() {
        let places = fs::read_dir(project.store().join("checkouts")).expect("kept folders").flatten();
        places.for_each(|place| damage(&place.path()));
        let build = project.salted(&number.to_string());
        assert_eq!(build.digest("it"), project.usual(&format!("fuse-{number}")), "{number}");
        // A base that was lost counts as one that is new.
        project.salted(&format!("{number} again"));
        assert_eq!(project.kept().len(), 2, "{number}");
        project.nothing_is_left();
    }
}

/// Files of a kept folder name objects, and the kernel does not notice when one is damaged.
#[test]
fn damaged_objects_below_a_kept_folder_are_noticed() {
    needs!(fuse, busybox);
    let project = repeated().laid_out();
    let objects = files_below(&project.store().join("objects"));
    let of = |text: &str| {
        let path = objects.iter().find(|path| fs::read(path).is_ok_and(|bytes| bytes == text.as_bytes()));
        path.expect("an object").clone()
    };
    let (first, second) = (of("first\n"), of("second\n"));
    fs::set_permissions(&first, fs::Permissions::from_mode(0o644)).expect("an object");
    fs::write(&first, "other\n").expect("an object");
    fs::remove_file(&second).expect("an object");
    let build = project.salted("next");
    assert_eq!(build.digest("it"), project.usual("fuse"));
}

#[test]
fn only_so_many_folders_are_kept() {
    needs!(fuse, busybox);
    let project = busybox("");
    for number in 0..14 {
        for round in 0..2 {
            project.write_steps(&format!(
                "[step.start]\ncopy = [{{ from = 'busybox', dest = '/bin/' }}]\nlinks = [{{ path = '/bin/sh', target = 'busybox' }}]\n\
                 files = [{{ path = '/x', content = '{number}' }}]\n\
                 [step.it]\nfrom = 'start'\nrun = 'echo {round} > /y'\n"
            ));
            project.apply(["--tier", "overlay", "it"]).success();
        }
    }
    assert_eq!(project.kept().len(), 12);
    project.nothing_is_left();
}
