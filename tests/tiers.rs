//! The same build on every tier, each from an empty store: the same images.

use crate::support::{Build, Project, busybox, odd};
use std::{fs, process::Command};

/// On FUSE; then on other tiers, each in a store of its own.
#[track_caller]
pub(crate) fn same_on(tiers: &[&str], project: &Project, image: &str, step: &str) {
    let (image_name, step_name) = (format!("image.{image}"), format!("step.{step}"));
    let on = |tier: &str| {
        let build = project.apply(["--tier", tier, "--store", tier, &image_name]).success();
        assert_eq!(build.cached(), [""; 0], "--tier {tier}");
        let tree = project.rbuild(["inspect", "--tree", "--store", tier, &step_name]).success();
        (build.digest(image).to_owned(), tree)
    };
    let fuse = on("fuse");
    for tier in tiers {
        let other = on(tier);
        same_lines(tier, &fuse.1, &other.1);
        assert_eq!(other.0, fuse.0, "--tier {tier}");
    }
    if tiers.contains(&"overlay") {
        // Its base was in memory, and is on the disk now.
        fs::remove_dir_all(project.path("overlay/records")).expect("what is known");
        let again = on("overlay");
        same_lines("overlay, again", &fuse.1, &again.1);
        assert_eq!(again.0, fuse.0);
    }
}

/// Lines that differ are more use than two digests that do.
#[track_caller]
pub(crate) fn same_lines(tier: &str, fuse: &str, other: &str) {
    let [fuse, other] = [fuse, other].map(|tree| tree.lines().collect::<Vec<_>>());
    let lacks = |tree: &[&str], other: &[&str]| -> Vec<String> {
        tree.iter().filter(|line| !other.contains(line)).map(|line| (*line).to_owned()).collect()
    };
    assert_eq!(lacks(&other, &fuse), lacks(&fuse, &other), "{tier}, fuse");
}

/// All kinds of entries, and what can be done to them; each step looks at what the last one left.
pub(crate) const ODD: &str = r#"
[source.busybox]
path = "busybox"
[step.start]
from = "odd"
copy = [{ from = "busybox", dest = "/bin/" }]
files = [
  { path = "/plain/one", content = "one" },
  { path = "/plain/sub/two", content = "two", owner = "5:6" },
  { path = "/etc/passwd", content = "root:x:0:0::/:/bin/sh\nguest:x:1000:1001::/:/bin/sh\n" },
]
dirs = [{ path = "/tmp", mode = "1777" }]
links = [{ path = "/bin/sh", target = "busybox" }]
attrs = [{ path = "/large", owner = "1000:1000" }]       # whose own is in no sandbox
[step.old]
from = "start"
run = '''
/bin/busybox --install -s /bin
find / \( -path /proc -o -path /sys -o -path /dev -o -path /data -o -path '/.rbuild*' -o -path '/etc/host*' -o -path /etc/resolv.conf \) -prune -o -exec touch -h -d @1000000000 {} +
'''
[step.one]
from = "old"
workdir = "/made/work"
mounts = [{ tmpfs = "1M", target = "/lent/deep/tmpfs" }]
run = '''
cd /
echo appended >> /large
echo more >> /pair/first                        # of four names
chmod 640 /another                              # of them
ln /pair/0 /five
rm /pair/second; cp /pair/0 /pair/second        # now a file of its own
chown 12:13 /set-id                             # drops the bits
mv /file /renamed; ln /renamed /renamed-too
rm -r /folder; mkdir /folder; echo new > /folder/new
mv /plain /moved
mv /sealed /folder/sealed
mv /closed /tmp/swap; mv /read-only /closed; mv /tmp/swap /read-only
cp -a /queue /queue-too; rm /queue
rm /null; chmod 600 /disk; chown 3:4 /disk
touch -d '2001-02-03 04:05:06' /empty
rm /dangling; ln -s elsewhere /dangling; chown -h 9:9 /loop
chmod 2775 /shared; echo in > /shared/in; mkdir /shared/below
mkdir -p /deep/a/b/c; echo deep > /deep/a/b/c/d
dd if=/dev/zero of=/sparse bs=1 count=1 seek=5000000 2> /dev/null
printf 'not UTF-8' > "$(printf '/caf\351')"
echo kept > /lent/deep/kept
mkdir /absolute-too; rm /absolute; mkdir /absolute; echo in > /absolute/in
rm -r "$(printf '/odd/new\nline')" /odd/ddd*
'''
[step.view]
from = "one"
user = "guest"
run = 'cat /renamed-too > /tmp/seen; ls -ln /folder >> /tmp/seen; test ! -e /pair/second/x'
[step.two]
from = "view"
run = '''
rm /renamed; echo again >> /renamed-too
mv /moved /plain; mkdir /moved
rm -r /deep; echo file > /deep
echo changed >> /five
chmod 0 /folder/new
rmdir /folder/sealed; mkdir /folder/sealed
'''
remove = ["/moved"]
[step.three]
from = "two"
run = '''
all() { find /* \( -path /proc -o -path /sys -o -path /dev -o -path /data -o -path /view -o -name disk -o -name null -o -name 'host*' -o -name resolv.conf \) -prune -o "$@" | sort; }
all -type f -exec stat -c '%n %a %u:%g %Y %s %h' {} + > /view
all ! -type f -exec stat -c '%n %F %a %u:%g %Y' {} + >> /view
all -type f ! -path '/bin/*' -exec md5sum {} + >> /view
'''
[image.last]
from = "three"
output = [{ oci-archive = "last.oci.tar" }]
"#;

#[test]
fn every_kind_of_entry_and_change_is_the_same_on_all_tiers() {
    needs!(root, fuse, busybox);
    same_on(&["overlay", "chroot"], &odd_with_busybox(), "last", "three");
}

pub(crate) fn odd_with_busybox() -> Project {
    let project = odd(ODD);
    std::fs::copy("/bin/busybox", project.path("busybox")).expect("busybox");
    project.chmod("busybox", 0o755);
    project
}

/// Directories that take the place of others, with all that lies in them.
#[test]
fn sandbox_directories_that_take_each_others_places() {
    needs!(root, fuse, busybox);
    let project = busybox(
        "[step.base-of-it]\nfrom = 'base'\nfiles = [{ path = '/app/lib/x', content = 'x' }, { path = '/app/lib/y/z', content = 'z' }, \
         { path = '/data/a', content = 'a' }]\nlinks = [{ path = '/app/lib/hard', target = '/data/a', hard = true }]\n\
         [step.moved]\nfrom = 'base-of-it'\nrun = 'mkdir /n; mv /app/lib /n/; rm -rf /app; mv /n /app; mv /data /other; mkdir /data; mv /other/a /data/'\n\
         [step.after]\nfrom = 'moved'\nrun = 'find /app /data -type f | sort | xargs cat > /seen; chmod 600 /data/a'\n\
         [image.it]\nfrom = 'after'\noutput = [{ oci = 'dist' }]\n",
    );
    // On the kernel's overlay filesystem they are copied, which breaks the link.
    same_on(&["chroot"], &project, "it", "after");
}

pub(crate) const MOUNTS: &str = r#"
[source.code]
path = "code"
[step.it]
from = "base"
files = [{ path = "/src/covered", content = "own" }]
mounts = [
  { from = "code", target = "/src" },
  { from = "code", target = "/scratch", write = "discard" },
  { from = "code:/sub/file", target = "/lent/file" },
  { cache = "c", target = "/cache" },
  { tmpfs = "1M", target = "/scratch/sub/memory" },
]
run = '''
set -e
! touch /src/new 2> /dev/null
! chmod 0 /lent/file 2> /dev/null
echo more >> /scratch/sub/file; rm -r /scratch/gone; mkdir /scratch/gone
cat /src/sub/file /scratch/sub/file /lent/file > /tmp/seen
ls /src /scratch /scratch/gone /scratch/sub >> /tmp/seen
echo x > /cache/x; echo x > /scratch/sub/memory/x
'''
[image.it]
from = "it"
output = [{ oci = "dist/it" }]
"#;

#[test]
fn mounts_of_a_step_are_the_same_on_all_tiers() {
    needs!(fuse, busybox);
    let project = busybox(MOUNTS).file("code/sub/file", "first\n").file("code/gone/file", "");
    same_on(&["overlay"], &project, "it", "it");
    assert_eq!(project.read("code/sub/file"), "first\n");
}

/// What a step does to what it was only shown is not there in the next one, nor what mounts in mounts did to times.
#[test]
fn sandbox_what_mounts_show_is_the_same_again_without_mounts() {
    needs!(root, fuse, busybox);
    let project = busybox(
        "[source.code]\npath = 'code'\n\
         [step.ground]\nfrom = 'base'\ndirs = [{ path = '/src', mode = '0750' }]\n\
         [step.one]\nfrom = 'ground'\nmounts = [{ from = 'code', target = '/src' }, { cache = 'c', target = '/src/sub/target' }, \
         { tmpfs = '1M', target = '/new/deep' }]\n\
         run = 'echo > /src/sub/target/x; chmod 700 /src 2> /dev/null || true; stat -c %Y /src/sub /new > /one'\n\
         [step.two]\nfrom = 'one'\nmounts = [{ from = 'code', target = '/lent' }]\nrun = 'stat -c \"%n %a %Y\" /lent /lent/sub /src > /two'\n\
         [step.three]\nfrom = 'two'\nrun = 'cat /one /two; stat -c \"%n %a %Y\" /src > /three; ls / >> /three'\n\
         [image.it]\nfrom = 'three'\noutput = [{ oci = 'dist' }]\n",
    )
    .file("code/sub/target/own", "").file("code/file", "");
    same_on(&["overlay", "chroot"], &project, "it", "three");
}

/// Where there are no mounts nothing can be read-only.
#[test]
fn sandbox_mounts_of_a_step_without_mounts() {
    needs!(root, fuse, busybox);
    let spec: String =
        MOUNTS.lines().filter(|line| !line.starts_with("! ")).flat_map(|line| [line, "\n"]).collect();
    let project = busybox(&spec).file("code/sub/file", "first\n").file("code/gone/file", "");
    same_on(&["chroot"], &project, "it", "it");
    let caches = std::fs::read_dir(project.path("chroot/caches")).expect("a folder of caches");
    let kept: Vec<_> = caches.flatten().filter(|cache| cache.path().join("x").is_file()).collect();
    assert_eq!(kept.len(), 1, "the cache is back in the store");
}

#[test]
fn nothing_of_a_folder_is_left() {
    needs!(fuse, busybox);
    let project = busybox(
        "[step.it]\nfrom = 'base'\nrun = 'mkdir -m 0 /x; echo > /x/y; chown -R 5:5 /x; false'\n[step.other]\nfrom = 'base'\nrun = 'echo > /z'\n",
    );
    project.apply(["--tier", "overlay", "it", "other", "--keep-going"]).failure(1);
    project.nothing_is_left();
}

/// Runs `rbuild apply` after this script, in a mount namespace of its own. Its `$1` is the project's folder, its `$2` rbuild.
pub(crate) fn apply_after(script: &str, project: &Project, arguments: &[&str]) -> Build {
    let folder = project.store().parent().expect("the project's folder").to_owned();
    std::fs::copy(env!("CARGO_BIN_EXE_rbuild"), folder.join("rbuild")).expect("a copy of rbuild");
    let like = project.command();
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-euc", &[script, "\nshift; exec $become \"$@\""].concat(), "sh"]);
    command.arg(&folder).arg(folder.join("rbuild")).args(["apply", "--progress", "json"]).args(arguments);
    command.current_dir(project.path("")).env_clear().env("become", "");
    command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.output().expect("unshare can be started");
    Build::read(project.output("rbuild apply".to_owned(), &output))
}

/// The FUSE device can't be opened.
pub(crate) const NO_FUSE: &str = "mount --bind /dev/fuse /dev/fuse; mount -o remount,bind,nodev /dev/fuse\n";

/// Everything is a user's, who has a range of ids.
const USER: &str = r#"
mkdir "$1/files"; mount -t tmpfs none "$1/files"
echo "tester:300000:65536" > "$1/files/ids"
for file in /etc/subuid /etc/subgid; do
    [ -e $file ] || : > $file
    mount --bind "$1/files/ids" $file
done
{ cat /etc/passwd; echo "tester:x:65531:65531::/:/bin/sh"; } > "$1/files/passwd"
mount --bind "$1/files/passwd" /etc/passwd
chown -R 65531:65531 "$1"
become="setpriv --reuid=65531 --regid=65531 --clear-groups"
"#;

/// The same without the range.
pub(crate) const USER_WITH_ONE_ID: &str = r#"
chown -R 65530:65530 "$1"
become="setpriv --reuid=65530 --regid=65530 --clear-groups"
"#;

const SMALL: &str =
    "[step.it]\nfrom = 'base'\nrun = 'echo > /it'\n[image.it]\nfrom = 'it'\noutput = [{ oci = 'dist/it' }]\n";

#[test]
fn without_fuse_the_overlay_is_found() {
    needs!(root, fuse, busybox, unshare);
    let project = busybox(SMALL);
    let build = apply_after(NO_FUSE, &project, &[]).success();
    let told = build.warnings().join("\n");
    assert!(told.contains("steps run on the kernel's overlay filesystem: open /dev/fuse"), "{told}");
    assert_eq!(build.ran(), ["step.base", "step.it"]);
    let digest = build.digest("it").to_owned();
    assert_eq!(project.apply(["--store", "other"]).success().digest("it"), digest);
    // Asked for, it is no news.
    let build = project.apply(["--tier", "overlay", "--store", "third"]).success();
    assert_eq!(build.warnings(), [""; 0]);
}

/// Who can't change the owner of files outside can't read or remove those of a step there.
#[test]
fn a_user_without_fuse_gets_the_same_images() {
    needs!(root, fuse, busybox, unshare, setpriv, newuidmap);
    let many = "[step.it]\nfrom = 'base'\nrun = '''\nmkdir -m 700 /own; echo x > /own/x; chmod 0 /own/x; chown -R 7:8 /own\n\
                rm /etc/group; chown 3:4 /etc/passwd'''\n[image.it]\nfrom = 'it'\noutput = [{ oci = 'dist/it' }]\n";
    let digest = busybox(many).build().digest("it").to_owned();
    let project = busybox(many);
    let build = apply_after(&[NO_FUSE, USER].concat(), &project, &[]).success();
    assert_eq!(build.digest("it"), digest);
    project.nothing_is_left();
    // With one id, too, and of two mounts the owners of one are not the other's.
    let one = "[step.owned]\nfrom = 'base'\nfiles = [{ path = '/own/file', content = 'x', owner = '7:8', mode = '0640' }]\n\
               [step.it]\nfrom = 'owned'\nmounts = [{ from = 'owned:/own', target = '/seen' }, { from = 'owned:/own', target = '/thrown', write = 'discard' }]\n\
               run = '''\necho more >> /own/file; touch /own/new; chmod 600 /etc/group; mv /etc/passwd /etc/moved; chown 9:9 /etc /etc/moved /etc/group\n\
               chown 5 /thrown/file; chown 6 /seen/file 2> /dev/null || stat -c %u:%g /seen/file /thrown/file /own/file > /view'''\n\
               [image.it]\nfrom = 'it'\noutput = [{ oci = 'dist/it' }]\n";
    let digest = busybox(one).build().digest("it").to_owned();
    let project = busybox(one);
    let build = apply_after(&[NO_FUSE, USER_WITH_ONE_ID].concat(), &project, &[]).success();
    assert_eq!(build.digest("it"), digest);
    project.nothing_is_left();
}

#[test]
fn a_tier_that_is_asked_for_is_the_only_one() {
    needs!(root, fuse, busybox, unshare);
    let project = busybox(SMALL);
    let build = apply_after(NO_FUSE, &project, &["--tier", "fuse"]).failure(3);
    let failed = build.failed("step.it");
    assert_eq!(failed.code, "no-tier");
    assert!(failed.message.contains("open /dev/fuse"), "{}", failed.message);
    let build = project.apply(["--tier", "none"]).failure(3);
    let failed = build.failed("step.it");
    assert_eq!(failed.code, "no-tier");
    let message = failed.message;
    assert!(message.starts_with("build.toml:") && message.ends_with(": no command can run: --tier none"));
    project.apply(["--tier", "none", "base"]).success();
}

/// Without a fence the command may have reached what it was not to reach: nobody with one uses that.
#[test]
fn what_was_made_without_a_fence_is_used_without_one_only() {
    needs!(root, fuse, busybox);
    let project = busybox(
        "[step.closed]\nfrom = 'base'\nrun = 'ip link > /links'\n\
         [step.open]\nfrom = 'base'\nnetwork = 'host'\nrun = 'echo > /it'\n\
         [test.it]\nfrom = 'closed'\nrun = 'true'\n",
    );
    let all = ["closed", "open", "test.it"];
    let apply = |tier| project.apply([&["--tier", tier][..], &all].concat()).success();
    assert_eq!(apply("chroot").ran(), ["step.base", "step.closed", "step.open", "test.it"]);
    assert_eq!(apply("chroot").ran(), [""; 0]);
    assert_eq!(apply("fuse").ran(), ["step.closed", "test.it"]);
    assert_eq!(apply("chroot").ran(), [""; 0], "what was fenced is good for all");
}

#[test]
fn a_step_over_this_machine_needs_fuse() {
    needs!(fuse, busybox);
    let project =
        Project::new("version = 1\n[source.here]\nhost = '/'\n[step.it]\nfrom = 'here'\nrun = 'true'\n");
    let build = project.apply(["--tier", "overlay", "it"]).failure(3);
    let failed = build.failed("step.it");
    assert_eq!(failed.message, "build.toml:6:7: steps over this machine's files run on FUSE only");
    assert_eq!(failed.hints, ["leave out --tier"]);
}

/// The kernel takes no overlay for the writable side of another one: a container's own root is one.
#[test]
fn a_store_that_can_not_be_written_over_is_told_with_its_cure() {
    needs!(root, fuse, busybox, unshare);
    let project = busybox(SMALL);
    let script = r#"
        mkdir "$1/store"; mount -t tmpfs none "$1/store"; mkdir "$1/store/lower" "$1/store/upper" "$1/store/work"
        mount -t overlay none -o lowerdir="$1/store/lower",upperdir="$1/store/upper",workdir="$1/store/work" "$1/store"
        "#;
    let build = apply_after(script, &project, &["--tier", "overlay"]).failure(3);
    let failed = build.failed("step.it");
    let cure = "the store's filesystem can't hold an upper layer, as overlayfs itself can't: put the store elsewhere";
    assert!(failed.message.contains(cure), "{}", failed.message);
}
