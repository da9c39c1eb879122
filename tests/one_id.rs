//! Steps of a user who has one id: what they do with others is as if they had all of them.

use crate::{
    environments::static_program,
    support::{Build, Project, adopt_orphans, busybox, nothing_runs, run},
};
use std::{fs, path::Path, process::Command};

/// How a user gets a root: where the owners are in our own filesystem, and where they are beside the kernel's.
pub(crate) const TIERS: [&str; 2] = ["fuse", "overlay"];

/// Builds as a user with one id.
pub(crate) fn by_user(project: &Project, tier: &str) -> Build {
    Build::read(project.as_user(&["apply", "--progress", "json", "--tier", tier])).success()
}

/// Builds as root and as a user with one id on each tier. The image is the same; what the user's step printed comes back.
#[track_caller]
fn same_for_both(project: impl Fn() -> Project) -> (Project, Vec<String>) {
    let root = project();
    let by_root = root.build();
    let said =
        |build: &Build| -> Vec<String> { build.lines("step.it").into_iter().map(str::to_owned).collect() };
    let [_, last] = TIERS.map(|tier| {
        let user = project();
        let by_user = by_user(&user, tier);
        let printed = said(&by_user);
        assert_eq!(printed, said(&by_root), "--tier {tier}");
        assert_eq!(user.tree("it"), root.tree("it"), "--tier {tier}");
        assert_eq!(by_user.digest("it"), by_root.digest("it"), "--tier {tier}");
        (user, printed)
    });
    last
}

fn step(script: &str) -> Project {
    busybox(&format!("[step.it]\nfrom = 'base'\nrun = '''{script}'''\n[image.it]\nfrom = 'it'\n"))
}

#[test]
fn sandbox_owners_are_kept() {
    needs!(fuse, busybox, root, setpriv, unshare);
    let script = r#"
mkdir /w
cd /w
touch file
chown 12:34 file
stat -c '%u:%g' file
chown 56 file
chown :78 file
stat -c '%u:%g' file
chmod 6755 file
chown 1 file
stat -c '%a %u:%g' file
ln -s file link
chown -h 7:8 link
stat -c '%u:%g' link
stat -Lc '%u:%g' link
chown 2:78 link
stat -c '%u:%g' file
mkdir -p tree/a
ln file tree/hard
touch tree/a/b
chown -R 9:10 tree
stat -c '%n %u:%g' tree tree/a tree/a/b tree/hard file
cp file given
chown 3:4 given
chmod 640 given
cp -a tree copy
stat -c '%n %a %u:%g' given copy copy/a/b
busybox tar cf archive tree given link
mkdir out
busybox tar xpf archive -C out
stat -c '%n %u:%g' out/*
find . -user 9 | sort
exec 3> open
chown 11:11 /proc/self/fd/3
stat -c '%u:%g' open
rm archive
"#;
    let (user, printed) = same_for_both(|| step(script));
    assert_eq!(printed[..6], ["12:34", "56:78", "755 1:78", "7:8", "1:78", "2:78"]);
    assert!(printed.contains(&"copy/a/b 644 9:10".to_owned()), "{printed:?}");
    assert!(user.tree("it").contains("9:10"), "{}", user.tree("it"));
}

#[test]
fn sandbox_users_are_become() {
    needs!(fuse, busybox, root, setpriv, unshare);
    let script = r#"
id
busybox su guest -c 'id; touch /tmp/own; mkdir /tmp/folder; ln -s x /tmp/link; mkfifo /tmp/pipe; id -G'
stat -c '%n %u:%g' /tmp/*
busybox su guest -c 'chown 0 /tmp/own' || echo refused
busybox su guest -c 'chgrp 29 /tmp/own' && stat -c '%u:%g' /tmp/own
busybox su guest -c 'chgrp 30 /tmp/own' || echo refused
busybox su guest -c 'busybox setuidgid root true' || echo refused
mkdir -m 2777 /shared
chown 5:6 /shared
busybox su guest -c 'mkdir /shared/sub; touch /shared/sub/file'
stat -c '%n %a %u:%g' /shared/sub /shared/sub/file
id -u
"#;
    let (_, printed) = same_for_both(|| step(script));
    assert_eq!(printed[1], "uid=1000(guest) gid=1001(guest) groups=29(audio),44(video),1001(guest)");
    assert!(printed.contains(&"/tmp/own 1000:1001".to_owned()), "{printed:?}");
    assert_eq!(printed.iter().filter(|line| *line == "refused").count(), 3, "{printed:?}");
    assert!(printed.contains(&"/shared/sub 2755 1000:6".to_owned()), "{printed:?}");
}

#[test]
fn sandbox_a_step_may_be_anybody() {
    needs!(fuse, busybox, root, setpriv, unshare);
    let steps = "[step.it]\nfrom = 'base'\nuser = 'guest'\nworkdir = '/home/guest'\n\
                 run = 'id; touch new; stat -c %u:%g . new; echo out > /dev/stdout'\n\
                 mounts = [{ cache = 'c', target = '/c' }]\n[image.it]\nfrom = 'it'\n";
    let (_, printed) = same_for_both(|| busybox(steps));
    assert_eq!(printed[1..], ["1000:1001", "1000:1001", "out"]);
}

/// A Debian root, as `specs/ci-java/make-base` made it.
pub(crate) fn debian(keys: &str, script: &str) -> Project {
    let project = Project::new(&format!(
        "version = 1\nepoch = 1764000000\n[source.base]\narchive = 'base.tar'\n\
         [step.it]\nfrom = 'base'\n{keys}\nrun = '''{script}'''\n[image.it]\nfrom = 'it'\n"
    ));
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/ci-java/base.tar");
    fs::copy(base, project.path("base.tar")).expect("a copy of the base archive");
    project
}

#[test]
fn debian_programs_that_need_ids() {
    needs!(fuse, base, root, setpriv, unshare);
    let script = r#"
exec 2>&1
groupadd -g 700 crew
useradd -m -u 701 -g crew -G audio -s /bin/sh joe
stat -c '%n %U:%G %a' /home/joe /home/joe/.profile /etc/shadow
usermod -aG video joe
su joe -c 'id; touch ~/mine; stat -c %u:%g ~/mine'
su - joe -c 'pwd; whoami'
runuser -u joe -- id -un
setpriv --reuid=701 --regid=700 --init-groups id
setpriv --reuid=701 --regid=700 --clear-groups sh -c 'id; chown 0 /home/joe/mine || echo refused'
start-stop-daemon --start --chuid joe --exec /usr/bin/id
sg crew 'id -gn'
perl -e '$< = $> = 701; $( = $) = "700 700"; print "$< $>\n"; $> = 0; print "$< $>\n"'
perl -e '$> = 701; print "$< $>\n"; $> = 0; print "$< $>\n"'
install -o joe -g crew -m 4750 /bin/true /usr/local/bin/tool
dpkg-statoverride --update --add joe crew 750 /usr/local/bin/tool
stat -c '%U:%G %a' /usr/local/bin/tool
mkdir -p /srv/data
chown --from=root:root joe:crew /srv/data
chown --from=root:root root:root /srv/data
stat -c '%U:%G' /srv/data
tar -C / -cf /srv/t.tar home/joe srv/data
mkdir /srv/x
tar -C /srv/x -xpf /srv/t.tar
rm /srv/t.tar
stat -c '%n %U:%G' /srv/x/home/joe/mine /srv/x/srv/data
cp -a /home/joe /srv/copy
find / -xdev -uid 701 | sort
chroot / chown joe /srv/x && stat -c %U /srv/x
"#;
    let (_, printed) = same_for_both(|| debian("", script));
    assert!(printed.contains(&"/home/joe joe:crew 755".to_owned()), "{printed:?}");
    assert!(printed.contains(&"/etc/shadow root:shadow 640".to_owned()), "{printed:?}");
    assert_eq!(printed.iter().filter(|line| *line == "refused").count(), 1, "{printed:?}");
}

/// Of each entry of `step.it`: mode and owner, and the path with a link's target.
pub(crate) fn owners(project: &Project) -> Vec<String> {
    let columns = |line: &str| {
        let (front, path) = line.split_at(line.find(" /").expect("a path"));
        let words: Vec<&str> = front.split_whitespace().take(2).collect();
        format!("{}{path}", words.join(" "))
    };
    project.tree("it").lines().map(columns).collect()
}

/// Owners and modes of every path are those of the same installation with a range of ids, and what was installed works.
/// (Contents are not the same: keys, logs.)
#[test]
fn debian_packages_are_installed() {
    needs!(fuse, base, root, setpriv, unshare);
    let script = r#"
apt-get update
apt-get install -y --no-install-recommends acl cron libcap2-bin man-db openssh-server
touch /srv/file
setfacl -m u:games:r /srv/file
setcap cap_net_raw+ep /srv/file
echo listed: $(getfacl -n /srv/file | grep user:5) $(getcap /srv/file)
"#;
    let works = r#"
mkdir -p /run/sshd
useradd -m joe
ssh-keygen -q -t ed25519 -N '' -f /tmp/key
for user in root joe; do
    home=$(getent passwd $user | cut -d: -f6)
    mkdir -m 700 -p $home/.ssh
    cp /tmp/key.pub $home/.ssh/authorized_keys
    chown -R $user: $home/.ssh
done
/usr/sbin/sshd -p 2222
for user in root joe; do
    # It goes into the background before it listens.
    ssh -p 2222 -o ConnectionAttempts=30 -o StrictHostKeyChecking=no -i /tmp/key $user@127.0.0.1 'echo logged in as $(id -un)'
done
"#;
    let keys = "network = 'host'\nenv = { DEBIAN_FRONTEND = 'noninteractive' }";
    let project = || {
        let project = debian(keys, script);
        let spec = project.read("build.toml");
        project.write("build.toml", format!("{spec}[test.works]\nimage = 'it'\nrun = '''{works}'''\n"));
        project
    };
    let root = project();
    let users = TIERS.map(|tier| (tier, project()));
    let by_users = users.iter().map(|(tier, user)| by_user(user, tier));
    for build in [root.build()].into_iter().chain(by_users) {
        let listed = "listed: user:5:r-- /srv/file cap_net_raw=ep";
        assert!(build.lines("step.it").contains(&listed), "{}", build.output);
        for line in ["logged in as root", "logged in as joe"] {
            assert!(build.lines("test.works").contains(&line), "{line}: {}", build.output);
        }
    }
    for (tier, user) in &users {
        assert_eq!(owners(user), owners(&root), "--tier {tier}");
    }
}

#[test]
fn sandbox_devices_are_made() {
    needs!(fuse, busybox, root, setpriv, unshare);
    let script = r#"
cd /tmp
stat x 2> /dev/null || true
mknod -m 640 x c 1 3
umask 077
mknod y b 8 1
mkdir d
busybox su guest -c 'mknod /tmp/z c 1 3' || echo refused
mknod x c 1 3 || echo refused
stat -c '%n %F %a %t:%T %u' x y
chown 5 x
ls d
mknod d/null c 1 3
ls d
mknod d/pipe p
cat x || echo refused
rm y
test ! -e y
"#;
    let [fuse, overlay] = TIERS.map(|tier| {
        let project = step(script);
        let build = by_user(&project, tier);
        let printed = build.lines("step.it");
        assert_eq!(printed.iter().filter(|line| **line == "refused").count(), 3, "{tier}: {printed:?}");
        assert!(printed.contains(&"x character special file 640 1:3 0"), "{tier}: {printed:?}");
        assert!(printed.contains(&"y block special file 600 8:1 0"), "{tier}: {printed:?}");
        assert!(printed.contains(&"null"), "{tier}: {printed:?}");
        let tree = project.tree("it");
        assert!(
            tree.contains(" /tmp/x") && tree.contains(" /tmp/d/null") && !tree.contains(" /tmp/y"),
            "{tree}"
        );
        build.digest("it").to_owned()
    });
    assert_eq!(overlay, fuse);
}

/// Every call, by a program that prints what the kernel says.
#[test]
fn sandbox_calls_are_answered_as_the_kernel_does() {
    needs!(fuse, busybox, gcc, root, setpriv, unshare);
    let project = || {
        let project = busybox(
            "[source.probe]\npath = 'probe'\n[step.it]\nfrom = 'base'\n\
             copy = [{ from = 'probe', dest = '/bin/' }]\nrun = '/bin/probe; rm -f /tmp/socket'\n[image.it]\nfrom = 'it'\n",
        );
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/one_id.c");
        run(Command::new("gcc")
            .args(["-O1", "-static", "-pthread", "-o"])
            .arg(project.path("probe"))
            .arg(source));
        project
    };
    let (_, printed) = same_for_both(project);
    for line in [
        "dropped: 6 6 6, 12 12 12, 3 7 9",
        "kept: 6 6 6, 12 12 12,",
        "1 6:12 12",
        "in the end: 0 0 0, 0 0 0,",
    ] {
        assert!(printed.iter().any(|printed| printed == line), "{line}: {printed:?}");
    }
}

/// The same for a program of 32-bit x86, which has other numbers and layouts.
#[cfg(target_arch = "x86_64")]
#[test]
fn sandbox_calls_of_32_bit_programs_are_answered() {
    needs!(fuse, busybox, gcc, root, setpriv, unshare);
    let project = || {
        let project = busybox(
            "[source.probe]\npath = 'probe'\n[step.it]\nfrom = 'base'\n\
             copy = [{ from = 'probe', dest = '/bin/' }]\nrun = '/bin/probe; stat -c %u:%g /tmp/of-32-bits'\n\
             [image.it]\nfrom = 'it'\n",
        );
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/one_id_i386.c");
        let mut gcc = Command::new("gcc");
        gcc.args(["-m32", "-O1", "-nostdlib", "-static", "-ffreestanding", "-fno-pie", "-no-pie"]);
        run(gcc.args(["-fno-stack-protector", "-o"]).arg(project.path("probe")).arg(source));
        project
    };
    let (_, printed) = same_for_both(project);
    assert_eq!(printed, ["7:6"]);
}

/// Prints a line, then asks who it is for ever.
const ASKING: &str = "echo ready\nwhile true; do id -u > /dev/null; done\n";

/// Calls that nobody answers are unknown ones to the kernel: the command must not go on with those.
#[test]
fn sandbox_a_step_ends_with_its_engine() {
    needs!(fuse, busybox, root, setpriv, unshare);
    adopt_orphans();
    let killed = r#"
"$@" > out & engine=$!
until grep -q ready out; do kill -0 $engine; done
kill -KILL $engine"#;
    for tier in TIERS {
        let output = step(ASKING).elsewhere_as_user(killed, &["apply", "--progress", "json", "--tier", tier]);
        assert_eq!(output.code, Some(0), "the step ran until it was killed: {output}");
        nothing_runs();
    }
}

/// The same if only the supervisor fails: strace makes each further ioctl of a thread fail that has made fifty, as only
/// the supervisor does.
#[test]
fn sandbox_a_step_ends_with_its_supervisor() {
    needs!(fuse, busybox, root, setpriv, unshare, strace);
    adopt_orphans();
    let failing = "exec strace -f -qqq -o /dev/null -e trace=ioctl -e inject=ioctl:error=EIO:when=50+ \"$@\"";
    for tier in TIERS {
        let output =
            step(ASKING).elsewhere_as_user(failing, &["apply", "--progress", "json", "--tier", tier]);
        let build = Build::read(output).failure(70);
        assert_eq!(build.lines("step.it"), ["ready"], "--tier {tier}");
        let failed = build.failed("step.it");
        assert!(failed.message.contains("calls can't be answered: Input/output error"), "{failed:?}");
        nothing_runs();
    }
}

#[test]
fn sandbox_rbuild_in_a_step_says_what_it_can_not_do() {
    needs!(fuse, busybox, root, setpriv, unshare, static_program);
    let inner = "version = 1\n[source.tools]\npath = '/bin'\n[step.plain]\ncopy = [{ from = 'tools', dest = '/bin/' }]\n\
                 [image.plain]\nfrom = 'plain'\noutput = [{ oci = 'plain' }]\n\
                 [step.run]\nfrom = 'plain'\nrun = 'echo from $(cat /proc/self/comm)'\n";
    let script = "cd /in; export RBUILD_STORE=/tmp/store HOME=/tmp\n./rbuild apply image.plain\nls plain\n\
                  ./rbuild apply run || echo ended with $?\n";
    let steps = format!(
        "[source.in]\npath = 'in'\n[step.it]\nfrom = 'base'\nrun = \"\"\"{script}\"\"\"\n\
         copy = [{{ from = 'in', dest = '/in' }}]\n"
    );
    let project = busybox(&steps).file("in/build.toml", inner);
    fs::copy(static_program(), project.path("in/rbuild")).expect("rbuild");
    let build =
        Build::read(project.as_user(&["apply", "--progress", "json", "--store", "other", "it"])).success();
    let printed = build.lines("step.it");
    assert!(printed.contains(&"oci-layout") && printed.contains(&"ended with 3"), "{printed:?}");
    let told = printed.iter().find(|line| line.starts_with("error[no-tier]: ")).expect("an error");
    assert!(
        told.ends_with("rbuild runs in a step of another rbuild, which may make no namespaces: files and images can be made there, but no command can run; run it outside"),
        "{told}"
    );
    // Without a supervisor of its own the step leaves room for another one.
    let build = Build::read(project.rbuild(["apply", "--progress", "json", "it"])).success();
    let printed = build.lines("step.it");
    assert!(printed.contains(&"oci-layout") && printed.contains(&"[run] from cat"), "{printed:?}");
}
