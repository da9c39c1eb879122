//! The tier without namespaces: what programs find in their /proc, and what they must not.

use crate::support::{Build, Project, busybox, run, said};
use std::{collections::BTreeSet, fs, path::Path, process::Command, thread, time::Duration};

const APPLY: [&str; 5] = ["apply", "--progress", "json", "--tier", "chroot"];

/// What a step over Debian prints.
#[track_caller]
fn printed(script: &str) -> Vec<String> {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/ci-java/base.tar");
    let project = Project::new(&format!(
        "version = 1\n[source.base]\narchive = '{}'\n[step.it]\nfrom = 'base'\nrun = '''\n{script}\n'''\n",
        base.display()
    ));
    let build = Build::read(project.rbuild([&APPLY[..], &["it"]].concat())).success();
    build.lines("step.it").into_iter().map(str::to_owned).collect()
}

/// Each line of the script has its lines of output below it, indented.
#[track_caller]
fn prints(cases: &str) {
    let script: String =
        cases.lines().filter(|line| !line.starts_with("    ")).flat_map(|line| [line, "\n"]).collect();
    let expected: Vec<_> = cases.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert_eq!(printed(&script), expected);
}

#[test]
fn sandbox_programs_in_a_chroot_see_themselves() {
    needs!(root, fuse, base);
    prints(
        r#"cat /proc/self/comm
    cat
readlink /proc/self/exe /proc/thread-self/../../exe /proc/self/root /proc/self/cwd
    /usr/bin/readlink
    /usr/bin/readlink
    /
    /
ls -l /proc/self/exe | sed 's/.*-> //'
    /usr/bin/ls
test "$(readlink /proc/self)" -gt 1 && test -d /proc/$$ && echo numbered
    numbered
sh -c 'test "$(sed -n "s/^Pid:.//p" /proc/$$/status)" = $$' && echo the same number
    the same number
cd /proc/self && cat comm && cd task && cd .. && pwd && cd /
    cat
    /proc/self
cat </proc/self/../version | cut -d ' ' -f 1
    Linux
cat /proc/self/environ | tr '\0' '\n' | grep ^SOURCE_DATE_EPOCH= | cut -d = -f 1
    SOURCE_DATE_EPOCH
"#,
    );
}

#[test]
fn sandbox_programs_in_a_chroot_see_the_machine() {
    needs!(root, fuse, base);
    prints(
        r#"grep -c ^MemTotal: /proc/meminfo
    1
test "$(nproc)" = "$(getconf _NPROCESSORS_ONLN)" && test "$(grep -c ^processor /proc/cpuinfo)" -ge 1 && echo processors
    processors
test -d /sys/class/net/lo && cat /sys/class/net/lo/operstate
    unknown
ls /proc/sys/kernel/osrelease && grep -cw tmpfs /proc/filesystems
    /proc/sys/kernel/osrelease
    1
stat -c %t:%F / /proc /sys /dev/null /dev/tty /dev/pts
    0:directory
    0:directory
    0:directory
    1:character special file
    5:character special file
    0:directory
stat -f -c %T /proc /sys /sys/fs/cgroup/.. /dev/pts
    proc
    sysfs
    sysfs
    devpts
mountpoint -q /proc && mountpoint -q / && ! mountpoint -q /usr && echo mountpoints
    mountpoints
findmnt -n -o SOURCE,TARGET / && df --output=source,target / | tail -n 1
    rbuild /
    rbuild         /
grep -c ' / / ' /proc/self/mountinfo && ln -s /proc/mounts /m && cmp /m /proc/self/mounts && echo linked
    1
    linked
sysctl_of() { cat /proc/sys/$1; }; test "$(sysctl_of vm/overcommit_memory)" -ge 0 && echo sysctl
    sysctl
"#,
    );
}

#[test]
fn sandbox_devices_and_descriptors_in_a_chroot() {
    needs!(root, fuse, base);
    prints(
        r#"echo gone > /dev/null; head -c 3 /dev/zero | od -An -tx1; head -c 4 /dev/urandom | wc -c
     00 00 00
    4
echo out > /dev/stdout; echo err > /dev/stderr; echo in | cat /dev/stdin; echo five 5>&1 >&5
    out
    err
    in
    five
bash -c 'cat <(echo substituted) | cat - /dev/null; exec 7</etc/passwd; test /dev/fd/7 -ef /etc/passwd && echo same file'
    substituted
    same file
bash -c 'exec 8</etc; cat /dev/fd/8/debian_version | cut -c 1-2; cat /proc/self/fd/8/../proc/self/comm'
    12
    cat
script -qec 'test -t 0 && tty | cut -c 1-9 && echo typed > /dev/tty' /dev/null | tr -d '\r'
    /dev/pts/
    typed
chown root /dev/stdout && touch /dev/stdout && echo owned
    owned
echo x > /dev/shm/x && cat /dev/shm/x && ls /dev | tr '\n' ' '; echo
    x
    fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero 
"#,
    );
}

/// Links that lead there, wherever they lie; and programs that execute themselves.
#[test]
fn sandbox_links_and_programs_in_a_chroot() {
    needs!(root, fuse, base);
    prints(
        r#"ln -s /proc /p; ln -s self/status /proc/x 2>&1; ln -s /p/self /me; grep -c ^Pid: /me/status; grep ^Name: /p/self/status
    1
    Name:	grep
stat -c %F /proc/self /proc/self/ /proc/self/cwd/. /dev/fd/
    symbolic link
    directory
    directory
    directory
mkfifo /f && perl -e 'open F, "+<", "/f"; truncate("/proc/self/fd/" . fileno(F), 0) or print "$!\n"'
    Invalid argument
perl -e 'for (1, 2) { system {"/proc/self/exe"} "perl", "-e", "print qq(same\n)" }'
    same
    same
mkdir /logs && ln -s /dev/stdout /logs/out && echo logged > /logs/out
    logged
perl -e 'exec("/proc/self/exe", "-e", "print qq(again\n)")'
    again
perl -e 'unless (fork) { exec("/proc/self/exe", "-e", q(open F, "/proc/self/comm"; print <F>)) } wait'
    exe
perl -e 'for (1..4) { fork or last } open F, "/proc/self/stat"; $s = <F>; $s =~ /^(\d+)/; $1 == $$ or print "other\n"; 1 while wait > 0'
su nobody -s /bin/sh -c 'cd /tmp; cat /proc/self/comm; readlink /proc/self/exe; test ! -r /proc/1/environ && echo closed; cat ../proc/self/comm'
    cat
    /usr/bin/readlink
    closed
    cat
setpriv --reuid 33 --regid 33 --clear-groups sh -c 'id -u; echo x > /dev/null; ls -l /proc/self/fd/0 | grep -c dev/null; cd /proc/self && cat comm; /proc/self/exe -c "cat /proc/self/comm"'
    33
    1
    cat
    cat
"#,
    );
}

#[cfg(target_arch = "x86_64")]
#[test]
fn sandbox_paths_of_32_bit_programs_in_a_chroot() {
    needs!(root, fuse, busybox, gcc);
    let project = busybox(
        "[source.made]\npath = 'short'\n[step.it]\nfrom = 'base'\ncopy = [{ from = 'made', dest = '/bin/' }]\nrun = ['/bin/short']\n",
    );
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chroot_i386.c");
    let flags = [
        "-m32",
        "-ffreestanding",
        "-nostdlib",
        "-static",
        "-fno-pie",
        "-no-pie",
        "-O1",
        "-fno-stack-protector",
        "-o",
    ];
    run(Command::new("gcc").args(flags).arg(project.path("short")).arg(source));
    Build::read(project.rbuild([&APPLY[..], &["it"]].concat())).success();
}

/// What lies below the stubs of its own tree is neither seen nor changed; what is put into them is not there.
#[test]
fn sandbox_stubs_of_a_chroot_are_no_part_of_the_tree() {
    needs!(root, fuse, busybox);
    let project = busybox(
        "[step.covered]\nfrom = 'base'\nfiles = [{ path = '/proc/own', content = 'own' }, { path = '/dev/own', content = 'own' }]\n\
         [step.it]\nfrom = 'covered'\nrun = '''\ntest ! -e /proc/own -a ! -e /dev/own\necho x > /dev/made; mkdir /proc/made; cd /proc/self; echo > /sys/made || true\n'''\n",
    );
    let build = Build::read(project.rbuild([&APPLY[..], &["it"]].concat())).success();
    assert_eq!(build.ran(), ["step.base", "step.covered", "step.it"]);
    let tree = |step: &str| project.paths(step);
    assert_eq!(tree("it"), tree("covered"));
}

/// Of itself the engine shows nothing, in whatever way it is asked; of others it shows the same as the kernel.
#[test]
fn sandbox_steps_in_a_chroot_can_not_look_into_the_engine() {
    needs!(root, fuse, busybox, gcc);
    let project = busybox(
        "[source.look]\npath = 'look'\n[step.it]\nfrom = 'base'\ncopy = [{ from = 'look', dest = '/bin/' }]\nrun = '/bin/look 0 token-of-the-build'\n",
    );
    let (program, source) =
        (project.path("look"), Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chroot.c"));
    run(Command::new("gcc").args(["-O1", "-static", "-o"]).arg(&program).arg(source));
    let environment = [("TOKEN", "token-of-the-build")];
    let build = Build::read(project.rbuild_with(&environment, [&APPLY[..], &["it"]].concat())).success();
    let lines = build.lines("step.it");
    let attempts = |lines: &[&str]| -> BTreeSet<String> {
        lines.iter().filter_map(|line| Some(line.rsplit_once(": ")?.0.to_owned())).collect()
    };
    let done: Vec<_> = lines.iter().filter(|line| line.ends_with(": done")).collect();
    assert_eq!(done, Vec::<&&str>::new());
    // The same attempts at a process that does not mind.
    let mut other = Command::new("sleep").arg("1000").envs(environment).spawn().expect("sleep");
    // The kernel shows it a moment after the program has begun.
    while fs::read(format!("/proc/{}/environ", other.id())).is_ok_and(|environment| environment.is_empty()) {}
    let outside =
        said(Command::new(&program).args([&other.id().to_string(), "token-of-the-build"]).envs(environment));
    other.kill().and_then(|()| other.wait()).expect("it can be ended");
    let outside: Vec<&str> = outside.lines().collect();
    assert_eq!(attempts(&lines), attempts(&outside));
    for attempt in attempts(&outside) {
        let worked = format!("{attempt}: done");
        assert!(outside.contains(&worked.as_str()), "{attempt} is no attempt: {outside:#?}");
    }
}

/// A cache is moved to where it is shown; only root can make a root.
#[test]
fn sandbox_what_a_chroot_can_not_do_is_told_with_its_place() {
    needs!(root, fuse, busybox, setpriv, unshare);
    let project = busybox(
        "[step.it]\nfrom = 'base'\nrun = 'true'\nmounts = [{ cache = 'c', target = '/a' }, { cache = 'c', target = '/b' }]\n\
         [step.plain]\nfrom = 'base'\nrun = 'true'\n",
    );
    let told = project.rbuild([&APPLY[..], &["it"]].concat()).failure(1);
    assert!(
        told.contains("build.toml:60:7: the tier `chroot` can't show one cache at two targets"),
        "{told}"
    );
    let told = project.as_user(&[&APPLY[..], &["--store", "other", "plain"]].concat()).failure(3);
    assert!(
        told.contains("chroot to /: EPERM") && told.contains("run rbuild as root of the container"),
        "{told}"
    );
}

/// Processes of a command that has this argument.
fn running(argument: &str) -> usize {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    lines.filter(|line| line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes())).count()
}

#[test]
fn sandbox_leftovers_of_a_chroot_are_ended() {
    needs!(root, fuse, busybox);
    let project = busybox(
        "[step.it]\nfrom = 'base'\nrun = '''\nsleep 86399.25 &\nsetsid sh -c 'sleep 86399.25 & sleep 86399.25' > /dev/null 2>&1 &\n\
         while [ $(ps | grep -c '[8]6399.25') -lt 3 ]; do sleep 0.01; done\n'''\n",
    );
    Build::read(project.rbuild([&APPLY[..], &["it"]].concat())).success();
    assert_eq!(running("86399.25"), 0);
    project.nothing_is_left();
}

#[test]
fn sandbox_a_step_in_a_chroot_ends_with_the_engine() {
    needs!(root, fuse, busybox);
    let project = busybox("[step.it]\nfrom = 'base'\nrun = 'sleep 86399.75 & sleep 86399.75'\n");
    let mut engine = project.command().args(APPLY).arg("it").spawn().expect("rbuild");
    let wait_for = |count: usize| {
        for _ in 0..2000 {
            if running("86399.75") == count {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("{} are running", running("86399.75"));
    };
    wait_for(2);
    engine.kill().and_then(|()| engine.wait()).expect("it can be ended");
    wait_for(0);
}
