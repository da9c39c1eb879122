//! A root with entries of every kind, and images of it.

use super::{Project, run};
use rustix::fs::{Gid, Timespec, Timestamps, Uid, XattrFlags};
use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    process::Command,
};

/// Three images of one tree. Step `root` adds what the archive lacks, and removes and replaces some of it, so that there
/// are whiteouts to be understood.
const IMAGES: &str = r#"version = 1
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

/// A project with these images, and whatever `more` has. The base is an archive, made by GNU tar.
pub fn odd(more: &str) -> Project {
    let project = Project::new(&[IMAGES, more].concat());
    let folder = project.path("odd");
    fs::create_dir(&folder).expect("a folder");
    fill(&folder);
    let mut tar = Command::new("tar");
    tar.args(["--format=posix", "--numeric-owner", "--sort=name", "--xattrs", "--xattrs-include=*", "-cf"]);
    run(tar.arg(project.path("odd.tar")).arg("-C").arg(&folder).arg("."));
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
