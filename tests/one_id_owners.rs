//! A step of a user with one id on the kernel's overlay filesystem: owners of every kind of entry, whatever becomes of it.

use crate::{
    one_id::by_user,
    support::{Build, Project, busybox},
    tiers::{odd_with_busybox, same_lines},
};

/// Builds as a user with one id on the kernel's overlay filesystem; what `usual` builds on FUSE is the same.
#[track_caller]
fn same_beside(project: impl Fn() -> Project, usual: fn(&Project) -> Build, step: &str) {
    let (other, user) = (project(), project());
    let expected = usual(&other);
    let build = by_user(&user, "overlay");
    for step in ["step.one", "step.two"] {
        assert_eq!(build.lines(step), expected.lines(step), "{step}");
    }
    same_lines("overlay", &other.tree(step), &user.tree(step));
    assert_eq!(build.digest("it"), expected.digest("it"));
    user.nothing_is_left();
}

/// Two of each kind of entry, of others; each step looks at what the one before left.
const KINDS: &str = r#"
[step.start]
from = "base"
run = '''
mkdir /k; cd /k
for n in 1 2 3 4 5 6 7 8; do
    echo $n > file$n; chown $n:1$n file$n
    mkdir dir$n; echo in > dir$n/in; chown -R 2$n:3$n dir$n
    ln -s to$n link$n; chown -h 4$n:5$n link$n
    mkfifo pipe$n; chown 6$n:7$n pipe$n
    mknod -m 640 device$n c 1 $n; chown 8$n:9$n device$n
    echo pair > pair$n; ln pair$n same$n; chown 10$n:11$n pair$n
done
mkdir -m 2777 shared; chown 5:6 shared; echo old > shared/old
mkdir -m 711 home; chown 1000:1001 home
chmod 4755 file8
find /k -exec touch -h -d @1000000000 {} +
'''
[step.one]
from = "start"
run = '''
cd /k
stat -c '%n %F %a %u:%g %t:%T' *
# changed
echo more >> file1; chmod 600 dir1; touch -h -d @5 link1; chmod 600 pipe1 device1; echo more >> pair1
# moved
mkdir to; mv file2 dir2 link2 pipe2 device2 pair2 to/
# linked
ln file3 hard-file3; ln link3 hard-link3; ln pipe3 hard-pipe3; ln pair3 hard-pair3
# deleted
rm -r file4 dir4 link4 pipe4 device4 pair4
# deleted and made again
rm -r file5 dir5 link5 pipe5 device5 pair5
echo 5 > file5; mkdir dir5; ln -s to5 link5; mkfifo pipe5; : > device5; echo pair > pair5
# given to others, and back
chown 200:201 file6; chown -R 202:203 dir6; chown -h 204:205 link6; chown 206 pipe6; chown :207 device6; chown 208 same6
chown 0:0 file7 pipe7; chown -h 0:0 link7; chown -R 0:0 dir7; chown 0:0 pair7 device7
# taken the place of by another
mv file8 link8; mv pipe8 device8; mv device7 pipe8
# made by others
busybox su guest -c 'cd home; umask 027; echo x > file; mkdir -p a/b; ln -s x link; mkfifo pipe; cp file copy; echo y >> file'
busybox su guest -c 'cd /k/home; mv copy moved; ln -s made-by-link dangling; echo by-link > dangling; mkdir -m 2750 private; echo > private/x'
busybox su guest -c 'echo > shared/of-guest; mkdir shared/sub; echo > shared/sub/x; ln -s x shared/link'
echo > shared/of-root; mkdir shared/of-root-too; cp shared/old shared/copied; mknod shared/null c 1 3; mkfifo shared/pipe
cp -a to copies; mkdir new; chown 9:9 new; rmdir new; mkdir new; echo > new/x
for n in 1 2 3 4 5 6 7 8 9 10 11 12; do echo > short; chown 300 short; rm short; echo > short$n; done
chown 17:18 .
stat -c '%n %F %a %u:%g %t:%T' * to/* copies/* shared/* home/* home/a/b 
find . ! -type d -exec stat -c '%n %h' {} + | sort
'''
[step.two]
from = "one"
run = '''
cd /k
stat -c '%n %F %a %u:%g %t:%T' * to/* copies/* shared/* home/* home/a/b 
mv to/file2 .; mv to/link2 .; mv hard-pair3 to/; rm pair3; echo again >> same3
chown -h 7 hard-link3; echo x >> shared/of-guest; rm -r copies; mv device7 device-again 2> /dev/null || true
'''
[image.it]
from = "two"
output = [{ oci = "dist" }]
"#;

#[test]
fn sandbox_owners_of_every_kind_of_entry() {
    needs!(root, fuse, busybox, setpriv, unshare);
    same_beside(|| busybox(KINDS), |project| by_user(project, "fuse"), "two");
}

/// A range of ids makes no devices.
#[test]
fn sandbox_owners_are_those_of_a_range_of_ids() {
    needs!(root, fuse, busybox, setpriv, unshare);
    let steps =
        KINDS.replace("mknod -m 640 device$n c 1 $n", ": > device$n").replace("mknod shared/null c 1 3", ":");
    same_beside(|| busybox(&steps), Project::build, "two");
}

/// Each kind of entry that was there, touched before it gets another name.
const TOUCHED: &str = r#"
[step.start]
from = "base"
run = '''
mkdir /t; cd /t
for n in 1 2 3 4 5; do
    echo $n > file$n; ln -s to$n link$n; mkfifo pipe$n; mknod device$n c 1 $n
    chown -h 5:1$n file$n link$n pipe$n device$n
done
echo pair > pair; ln pair same; chown 5:11 pair
chmod 6755 file1; chmod 4700 file2
find /t -exec touch -h -d @1000000000 {} +
'''
[step.one]
from = "start"
run = '''
cd /t
for kind in file link pipe device; do
    touch -h ${kind}1; mv ${kind}1 moved-${kind}1
    touch -h -d @77 ${kind}2; ln ${kind}2 linked-${kind}2; rm ${kind}2
    mv ${kind}3 moved-${kind}3; touch -h moved-${kind}3
    touch -h ${kind}4; chown -h 7 ${kind}4; touch -h ${kind}4; mv ${kind}4 moved-${kind}4
    touch -h ${kind}5
done
touch same; mv same moved-same
stat -c '%n %F %a %u:%g %t:%T' *
'''
[step.two]
from = "one"
run = '''
cd /t
stat -c '%n %F %a %u:%g %t:%T' *
mkdir again
for file in moved-* linked-*; do touch -h $file; mv $file again/; done
stat -c '%n %F %a %u:%g %t:%T' again/*
'''
[image.it]
from = "two"
output = [{ oci = "dist" }]
"#;

#[test]
fn sandbox_owners_outlast_new_times() {
    needs!(root, fuse, busybox, setpriv, unshare);
    same_beside(|| busybox(TOUCHED), |project| by_user(project, "fuse"), "two");
}

/// Each kind of entry in directories that their owner may not write to.
const CLOSED: &str = r#"
[step.one]
from = "base"
run = '''
mkdir /c; cd /c
mkdir -m 2555 closed; mkdir -m 0 shut; mkdir -m 1577 open
chown 5:6 closed shut
for dir in closed shut open; do
    mknod -m 640 $dir/null c 1 3; mkfifo $dir/pipe; ln -s to $dir/link; mkdir $dir/dir; echo x > $dir/file
done
busybox su guest -c 'cd closed; echo x > of-guest; mkdir dir-of-guest; ln -s x link-of-guest; mkfifo pipe-of-guest'
mknod closed/null c 1 3 2> /dev/null || echo is there
stat -c '%n %F %a %u:%g %t:%T' * closed/* open/*
'''
[step.two]
from = "one"
run = '''
cd /c
stat -c '%n %F %a %u:%g %t:%T' * closed/* open/*
'''
[image.it]
from = "two"
output = [{ oci = "dist" }]
"#;

#[test]
fn sandbox_what_is_made_in_closed_directories_has_its_owner() {
    needs!(root, fuse, busybox, setpriv, unshare);
    same_beside(|| busybox(CLOSED), |project| by_user(project, "fuse"), "two");
}

/// All kinds of entries, and what can be done to them.
#[test]
fn sandbox_odd_entries_are_the_same_with_one_id() {
    needs!(root, fuse, busybox, setpriv, unshare);
    let (other, user) = (odd_with_busybox(), odd_with_busybox());
    std::fs::copy(other.path("odd.tar"), user.path("odd.tar")).expect("the same archive");
    let apply = ["apply", "--progress", "json", "image.last"];
    let expected = Build::read(other.rbuild(apply)).success();
    let build = Build::read(user.as_user(&[&apply[..], &["--tier", "overlay"]].concat())).success();
    same_lines("overlay", &other.tree("three"), &user.tree("three"));
    assert_eq!(build.digest("last"), expected.digest("last"));
    user.nothing_is_left();
}
