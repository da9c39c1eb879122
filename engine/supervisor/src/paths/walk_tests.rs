#![allow(clippy::unwrap_used)]
use super::*;
use std::{fs, os::unix::fs::symlink};

/// A root with stubs, and a process in it: this one.
fn root(folder: &Path) -> (Root, Who) {
    for directory in ["proc", "sys", "dev/pts", "etc", "usr/bin", "a/b"] {
        fs::create_dir_all(folder.join(directory)).unwrap();
    }
    for (link, target) in [
        ("etc/mtab", "../proc/self/mounts"),
        ("dev/fd", "/proc/self/fd"),
        ("dev/stdin", "/proc/self/fd/0"),
        ("bin", "usr/bin"),
        ("a/machine", "/proc"),
        ("a/round", "round"),
        ("usr/bin/self", "/proc/self/exe"),
    ] {
        symlink(target, folder.join(link)).unwrap();
    }
    fs::write(folder.join("usr/bin/tool"), "").unwrap();
    let process = std::process::id();
    let who = Who { thread: process, process, ..Who::default() };
    (Root::open(folder, |_| false).unwrap(), who)
}

fn text(found: Option<Vec<u8>>) -> Option<String> {
    found.map(|path| String::from_utf8(path).unwrap())
}

#[test]
fn what_leads_out_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let (root, _) = root(folder.path());
    for (path, expected) in [
        ("/proc/self/maps", Some("/proc/self/maps")),
        ("//proc/./meminfo", Some("/proc/meminfo")),
        ("/proc", Some("/proc")),
        ("/sys/fs", Some("/sys/fs")),
        ("/dev/pts/0", Some("/dev/pts/0")),
        ("/dev/ptmx", Some("/dev/ptmx")),
        ("/etc/mtab", Some("/proc/self/mounts")),
        ("/dev/fd/3/x", Some("/proc/self/fd/3/x")),
        ("/a/machine/cpuinfo", Some("/proc/cpuinfo")),
        ("/bin/self", Some("/proc/self/exe")),
        ("/usr/../proc/uptime", Some("/proc/uptime")),
        ("/bin/../../proc/uptime", Some("/proc/uptime")),
        ("/bin/../proc/uptime", None),
        ("/proc/../etc", Some("/proc/../etc")),
        ("/usr/bin/tool", None),
        ("/bin/tool", None),
        ("/process", None),
        ("/dev/null", Some("/dev/null")),
        ("/dev/tty", None),
        ("/nothing/proc", None),
        ("/a/round", None),
        ("/", None),
    ] {
        assert_eq!(text(root.leads_out(path.as_bytes(), true)).as_deref(), expected, "{path}");
    }
    assert_eq!(root.leads_out(b"/etc/mtab", false), None, "the link itself");
    assert_eq!(text(root.leads_out(b"/dev/fd/", true)).as_deref(), Some("/proc/self/fd"));
}

#[test]
fn what_it_means_depends_on_the_caller() {
    let folder = tempfile::tempdir().unwrap();
    let (root, who) = root(folder.path());
    let own = format!("/proc/{}", who.process);
    let find = |path: &str, follow| {
        let place = root.find(path.as_bytes(), follow, &who)?;
        Ok::<_, Errno>((place.path.to_str().unwrap().to_owned(), place.follow))
    };
    for (path, follow, expected, is_link) in [
        ("/proc/self/maps", true, format!("{own}/maps"), false),
        ("/proc/thread-self/stat", true, format!("{own}/task/{}/stat", who.thread), false),
        ("/proc/self", false, "/proc/self".to_owned(), false),
        ("/proc/mounts", true, format!("{own}/mounts"), false),
        ("/proc/self/exe", true, format!("{own}/exe"), true),
        ("/proc/self/exe", false, format!("{own}/exe"), false),
        ("/proc/self/fd/0", true, format!("{own}/fd/0"), true),
        ("/proc/nothing", true, "/proc/nothing".to_owned(), false),
    ] {
        assert_eq!(find(path, follow), Ok((expected, is_link)), "{path}");
    }
    let (etc, _) = find("/proc/self/root/etc", true).unwrap();
    assert_eq!(etc, format!("{own}/root/etc"), "of another root");
    let (tool, _) = find("/proc/../usr/bin/tool", true).unwrap();
    assert_eq!(fs::canonicalize(tool).unwrap(), folder.path().join("usr/bin/tool"));
    assert_eq!(find("/proc/nothing/at/all", true), Err(Errno::NOENT));
    assert_eq!(find("/proc/version/x", true), Err(Errno::NOTDIR));
}

#[test]
fn links_of_processes_lead_back_into_the_root() {
    let folder = tempfile::tempdir().unwrap();
    let (root, who) = root(folder.path());
    let opened = fs::File::open(folder.path().join("a")).unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&opened);
    let through = format!("/proc/self/fd/{number}/b");
    let place = root.find(through.as_bytes(), true, &who).unwrap();
    assert_eq!(fs::canonicalize(place.path).unwrap(), folder.path().join("a/b"));
    let through = format!("/proc/self/fd/{number}/machine/self/comm");
    let place = root.find(through.as_bytes(), true, &who).unwrap();
    assert_eq!(place.path, Path::new(&format!("/proc/{}/comm", who.process)));
}

#[test]
fn what_is_hidden_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let (_, who) = root(folder.path());
    let root = Root::open(folder.path(), is_own).unwrap();
    let own = who.process;
    for path in [format!("/proc/{own}/environ"), format!("/proc/{own}"), format!("/proc/1/task/{own}/mem")] {
        assert_eq!(root.find(path.as_bytes(), true, &who), Err(Errno::NOENT), "{path}");
    }
    assert!(root.find(b"/proc/1/stat", true, &who).is_ok());
}
