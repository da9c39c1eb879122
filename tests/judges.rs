//! What other programs say of what is written: skopeo, umoci, docker, podman.

use crate::support::{
    Project,
    engine::{Docker, Podman},
    entries,
    registry::Registry,
};
use rustix::fs::{Gid, Timespec, Timestamps, Uid, XattrFlags};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Three images of one tree. Step `root` adds what the archive lacks, and removes and replaces some of it, so that there
/// are whiteouts to be understood.
const SPEC: &str = r#"version = 1
epoch = 1764000000
[source.odd]
archive = "odd.tar"
[step.root]
from = "odd"
files = [
  { path = "/able", content = "can\n", mode = "0755" },
  { path = "/set-id", content = "changed", mode = "6711", owner = "7:8" },
  { path = "/gone/back", content = "back" },
]
links = [{ path = "/able-too", target = "/able", hard = true }]
attrs = [{ path = "/able", capabilities = "cap_net_raw,cap_net_bind_service+ep" }]
remove = ["/pair/first", "/gone/left", "/odd/white*"]
[step.replaced]
from = "root"
copy = [
  { from = "pieces", src = "/file", dest = "/folder", replace = true },
  { from = "pieces", src = "/folder/", dest = "/file", replace = true },
]
[step.pieces]
files = [{ path = "/file", content = "1" }, { path = "/folder/inside", content = "2" }]
[image.gzip]
from = "replaced"
tags = ["odd:gzip"]
output = [{ oci = "dist" }, { oci-archive = "gzip.oci.tar" }, { docker-archive = "gzip.docker.tar" }]
[image.zstd]
from = "replaced"
tags = ["odd:zstd"]
compress = "zstd"
output = [{ oci = "dist" }, { oci-archive = "zstd.oci.tar" }, { docker-archive = "zstd.docker.tar" }]
[image.none]
from = "replaced"
tags = ["odd:none"]
compress = "none"
output = [{ oci = "dist" }, { oci-archive = "none.oci.tar" }, { docker-archive = "none.docker.tar" }]
"#;

const COMPRESSIONS: [&str; 3] = ["gzip", "zstd", "none"];

/// A project whose base is an archive, made by GNU tar, of a folder with entries of every kind; built.
fn project() -> Project {
    let project = Project::new(SPEC);
    let folder = project.path("odd");
    fs::create_dir(&folder).expect("a folder");
    fill(&folder);
    let mut tar = Command::new("tar");
    tar.args(["--format=posix", "--numeric-owner", "--sort=name", "--xattrs", "--xattrs-include=*", "-cf"]);
    run(tar.arg(project.path("odd.tar")).arg("-C").arg(&folder).arg("."));
    project.rbuild(["apply"]).success();
    project
}

fn fill(folder: &Path) {
    let place = |name: &[u8]| folder.join(OsStr::from_bytes(name));
    let file = |name: &[u8], content: &[u8]| {
        let path = place(name);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("folders");
        fs::write(&path, content).expect("a file");
        path
    };
    for name in [
        &b"odd/new\nline"[..],
        b"odd/caf\xe9",
        "odd/ünïcöde".as_bytes(),
        b"odd/ space ",
        b"odd/back\\slash",
        b"odd/co:lon",
        b"odd/-dash",
        b"odd/tab\t",
        b"odd/*?[a]{b}",
        b"odd/white1",
        b"odd/\x01\x7f",
        b"odd/=equal",
        b"pair/first",
        b"gone/left",
        b"gone/back",
        b"folder/a",
        b"file",
        b"empty",
    ] {
        file(name, if name == b"empty" { b"" } else { name });
    }
    file(&[b"odd/", &[b'n'; 255][..]].concat(), b"long");
    file(&[b"odd".to_vec(), vec![b'd'; 200], vec![b'e'; 200], b"deep".to_vec()].join(&b'/'), b"deep");
    let large: Vec<u8> = (0..3_000_000u32).map(|at| u8::try_from(at / 7 % 251).unwrap_or(0)).collect();
    own(&file(b"large", &large), 4_204_350, 65_534);
    for second in ["pair/0", "pair/second", "another"] {
        fs::hard_link(place(b"pair/first"), folder.join(second)).expect("a hard link");
    }
    fill_modes(folder, &file);
    fill_special(folder);
    // None without a value: to PAX that is no attribute, and umoci leaves it out.
    for (name, value) in [("user.note", &b"hello"[..]), ("user.binary", b"\0\xff\n")] {
        rustix::fs::setxattr(place(b"odd"), name, value, XattrFlags::empty()).expect("an attribute");
    }
    fill_times(folder);
}

fn fill_modes(folder: &Path, file: &dyn Fn(&[u8], &[u8]) -> PathBuf) {
    for (name, mode, uid) in [("set-id", 0o4755, 3), ("closed", 0, 0), ("read-only", 0o444, 1000)] {
        let path = file(name.as_bytes(), name.as_bytes());
        own(&path, uid, 4);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permission bits");
    }
    for (name, mode, gid) in [("shared", 0o2775, 4), ("sticky", 0o1777, 0), ("sealed", 0, 65_533)] {
        let path = folder.join(name);
        fs::create_dir(&path).expect("a folder");
        own(&path, 0, gid);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permission bits");
    }
}

fn fill_special(folder: &Path) {
    use nix::sys::stat::{Mode as Bits, SFlag, makedev, mknod};
    for (name, kind, mode, device) in [
        ("queue", SFlag::S_IFIFO, 0o620, 0),
        ("null", SFlag::S_IFCHR, 0o666, makedev(1, 3)),
        ("disk", SFlag::S_IFBLK, 0o660, makedev(259, 70_000)),
    ] {
        let path = folder.join(name);
        mknod(&path, kind, Bits::empty(), device).expect("a special file");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permission bits");
    }
    for (name, target) in
        [("absolute", "/odd"), ("relative", "odd/../file"), ("dangling", "no/where"), ("loop", "loop")]
    {
        symlink(target, folder.join(name)).expect("a link");
        own(&folder.join(name), 5, 6);
    }
    symlink("t".repeat(300), folder.join("long-target")).expect("a link");
}

/// Old times on everything, some of them with a fraction and one before 1970.
fn fill_times(folder: &Path) {
    set_time(&folder.join("file"), 1_234_567_890, 123_456_789);
    set_time(&folder.join("empty"), -5, 0);
    for path in [
        "closed", "sealed", "queue", "null", "disk", "dangling", "loop", "odd", "pair", "gone", "folder", ".",
    ] {
        set_time(&folder.join(path), 1_000_000_000, 0);
    }
}

fn set_time(path: &Path, tv_sec: i64, tv_nsec: i64) {
    let time = Timespec { tv_sec, tv_nsec };
    let times = Timestamps { last_access: time, last_modification: time };
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, flags).expect("a time");
}

fn own(path: &Path, uid: u32, gid: u32) {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(rustix::fs::CWD, path, Some(uid), Some(gid), flags).expect("an owner");
}

/// Runs a program that must end well; gives what it printed.
#[track_caller]
fn run(command: &mut Command) -> Vec<u8> {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[track_caller]
fn skopeo(project: &Project, arguments: &[&str]) -> Vec<u8> {
    run(Command::new("skopeo").arg("--insecure-policy").args(arguments).current_dir(project.path("")))
}

/// A tree shown by `rbuild mount`, until it is dropped.
struct Mounted {
    place: PathBuf,
    server: Child,
}

impl Mounted {
    fn new(project: &Project, tree: &str) -> Self {
        let place = project.path("mounted");
        fs::create_dir_all(&place).expect("a folder");
        let device = || fs::metadata(&place).expect("the mountpoint").dev();
        let before = device();
        let mut server =
            project.command().arg("mount").arg(tree).arg(&place).spawn().expect("rbuild can be started");
        let start = Instant::now();
        while device() == before {
            let ended = server.try_wait().expect("the server's state");
            assert!(
                ended.is_none() && start.elapsed() < Duration::from_secs(20),
                "nothing is mounted: {ended:?}"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        Self { place, server }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Its server ends when it is unmounted; a failing test must not wait for one that does not.
        if nix::mount::umount(&self.place).is_err() {
            let _ = self.server.kill();
        }
        let _ = self.server.wait();
    }
}

/// As an assertion on two maps, but one line an entry.
#[track_caller]
fn same(what: &str, ours: &BTreeMap<String, String>, theirs: &BTreeMap<String, String>) {
    let paths: std::collections::BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let differ = paths.into_iter().filter(|path| ours.get(*path) != theirs.get(*path));
    let lines: Vec<String> = differ
        .map(|path| format!("{path}\n  ours   {:?}\n  theirs {:?}", ours.get(path), theirs.get(path)))
        .collect();
    assert!(lines.is_empty(), "{what}:\n{}", lines.join("\n"));
}

#[test]
fn mount_umoci_unpacks_what_is_mounted() {
    needs!(root, fuse, umoci, skopeo);
    let project = project();
    // umoci reads no zstd.
    let recompress =
        ["copy", "--quiet", "--dest-compress-format=gzip", "oci:dist:zstd", "oci:recompressed:zstd"];
    skopeo(&project, &recompress);
    let mounted = entries(&Mounted::new(&project, "image.gzip").place);
    for (layout, reference) in [("dist", "gzip"), ("dist", "none"), ("recompressed", "zstd")] {
        let (image, bundle) = (format!("{layout}:{reference}"), project.path(&format!("umoci-{reference}")));
        run(Command::new("umoci")
            .args(["unpack", "--image", &image])
            .arg(&bundle)
            .current_dir(project.path("")));
        let unpacked = entries(&bundle.join("rootfs"));
        assert!(unpacked.len() > 40, "{unpacked:?}");
        same(reference, &mounted, &unpacked);
    }
    let count = |text: &str| mounted.values().filter(|line| line.contains(text)).count();
    assert_eq!(
        (count("security.capability="), count("user.note=hello"), count("the same file as")),
        (1, 1, 3)
    );
}

/// What comes from a registry is what umoci makes of the same image.
#[test]
fn mount_an_image_of_a_registry_is_what_umoci_unpacks() {
    needs!(root, fuse, umoci, skopeo, "docker-registry");
    let maker = project();
    let registry = Registry::start();
    registry.push(&maker.path("dist"), "gzip", "odd:1");
    registry.push(&maker.path("dist"), "zstd", "odd:2");
    let source = |tag: u32| {
        format!("[source.s{tag}]\nimage = '{}/odd:{tag}'\n[step.t{tag}]\nfrom = 's{tag}'\n", registry.host)
    };
    let project = Project::new(&["version = 1\n".to_owned(), source(1), source(2)].concat());
    project.rbuild(["apply", "t1", "t2"]).success();
    let bundle = maker.path("umoci");
    let mut umoci = Command::new("umoci");
    run(umoci.args(["unpack", "--image", "dist:gzip"]).arg(&bundle).current_dir(maker.path("")));
    let unpacked = entries(&bundle.join("rootfs"));
    assert!(unpacked.len() > 40, "{unpacked:?}");
    for source in ["source.s1", "source.s2"] {
        same(source, &entries(&Mounted::new(&project, source).place), &unpacked);
    }
}

/// The archive is what GNU tar saw, and what is shown of it is that again.
#[test]
fn mount_an_archive_shows_what_was_archived() {
    needs!(root, fuse);
    let project = project();
    let mounted = entries(&Mounted::new(&project, "source.odd").place);
    same("archive", &mounted, &entries(&project.path("odd")));
}

/// The layouts, the archives and the place in the file system are one image.
#[test]
fn mount_what_was_written_is_what_was_built() {
    needs!(root, fuse);
    let project = project();
    let built = entries(&Mounted::new(&project, "step.replaced").place);
    for written in ["./zstd.oci.tar", "./gzip.oci.tar", "./none.docker.tar"] {
        same(written, &built, &entries(&Mounted::new(&project, written).place));
    }
}

#[test]
fn skopeo_reads_and_copies_every_layout() {
    needs!(root, skopeo);
    let project = project();
    for reference in COMPRESSIONS {
        let ours = project.layout("dist");
        ours.check(reference);
        let image = format!("oci:dist:{reference}");
        assert_eq!(skopeo(&project, &["inspect", "--raw", &image]), ours.raw_manifest(reference));
        let (there, back) = (format!("oci:there:{reference}"), format!("oci:back:{reference}"));
        skopeo(&project, &["copy", "--quiet", "--preserve-digests", &image, &there]);
        skopeo(&project, &["copy", "--quiet", "--preserve-digests", &there, &back]);
        assert_eq!(project.layout("back").digest(reference), ours.digest(reference));
    }
}

#[test]
fn skopeo_reads_every_archive() {
    needs!(root, skopeo);
    let project = project();
    for reference in COMPRESSIONS {
        let ours = project.layout("dist");
        let archive = format!("oci-archive:{reference}.oci.tar:{reference}");
        assert_eq!(skopeo(&project, &["inspect", "--raw", &archive]), ours.raw_manifest(reference));
        let copy = format!("oci:of-archive:{reference}");
        skopeo(&project, &["copy", "--quiet", "--preserve-digests", &archive, &copy]);
        assert_eq!(project.layout("of-archive").digest(reference), ours.digest(reference));

        let archive = format!("docker-archive:{reference}.docker.tar:odd:{reference}");
        let config: serde_json::Value =
            serde_json::from_slice(&skopeo(&project, &["inspect", "--config", "--raw", &archive]))
                .expect("JSON");
        assert_eq!(config, ours.configuration(reference), "{reference}");
        let copy = format!("oci:of-docker:{reference}");
        skopeo(&project, &["copy", "--quiet", &archive, &copy]);
        project.layout("of-docker").check(reference);
    }
}

/// specs/hello with an output that engines load.
fn hello() -> Project {
    let project = Project::copy_of("specs/hello");
    let spec = project.read("build.toml");
    let wanted = spec.replace("output = [", "output = [{ docker-archive = \"hello.tar\" }, ");
    assert_ne!(spec, wanted);
    project.write("build.toml", wanted);
    project.rbuild(["apply"]).success();
    project
}

#[test]
fn sandbox_docker_loads_and_runs_it() {
    needs!(root, userns, fuse, cc, dockerd, docker);
    let project = hello();
    let docker = Docker::start();
    run(docker.client(&["load", "--input"]).arg(project.path("hello.tar")));
    let printed = run(&mut docker.client(&["run", "--rm", "--network=none", "hello:latest", "docker"]));
    assert_eq!(String::from_utf8_lossy(&printed), "hello, docker\n");
    let id = run(&mut docker.client(&["image", "inspect", "--format={{.Id}}", "hello:latest"]));
    let layout = project.layout("dist/hello");
    assert_eq!(
        Some(String::from_utf8_lossy(&id).trim()),
        layout.manifest("latest")["config"]["digest"].as_str()
    );
}

#[test]
fn sandbox_podman_loads_and_runs_it() {
    needs!(root, userns, fuse, cc, podman, runc);
    let project = hello();
    let engine = Podman::new();
    let podman = |arguments: &[&str]| {
        let ran = run(engine.client(arguments).current_dir(project.path("")));
        String::from_utf8_lossy(&ran).into_owned()
    };
    podman(&["load", "--quiet", "--input", "hello.tar"]);
    let printed = podman(&[&Podman::RUN[..], &["localhost/hello:latest", "podman"]].concat());
    assert_eq!(printed, "hello, podman\n");
    let labels = podman(&["image", "inspect", "--format={{.Labels}}", "localhost/hello:latest"]);
    assert_eq!(labels, "map[org.opencontainers.image.title:hello]\n");
}
