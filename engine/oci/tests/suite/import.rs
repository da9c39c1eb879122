//! What a good archive becomes.

use crate::support::{Tar, imported, shown};
use rbuild_oci::{Import, Owner, apply_layer, import, memory::MemoryObjects};
use rbuild_tree::{Snapshot, Timestamp};
use tar_core::builder::HeaderBuilder;

#[test]
fn every_kind_with_its_metadata() {
    let owned = |header: &mut HeaderBuilder| {
        header.mode(0o4755).unwrap().uid(1000).unwrap().gid(65534).unwrap().mtime(1_700_000_000).unwrap();
    };
    let device = |header: &mut HeaderBuilder| {
        header.device(5, 1).unwrap();
    };
    let tar = Tar::new()
        .directory("./")
        .directory("etc/")
        .entry(b'0', b"etc/su", b"root", owned)
        .symlink("etc/link", "../nowhere/at all")
        .hard_link("su2", "etc/su")
        .entry(b'3', b"console", b"", device)
        .entry(b'4', b"disk", b"", device)
        .entry(b'6', b"pipe", b"", |_| {})
        .entry(b'7', b"contiguous", b"x", |_| {})
        .entry(b'\0', b"v7-directory/", b"", |_| {});
    assert_eq!(
        imported(tar).unwrap(),
        "c 644 /console 5,1\n\
         f 644 /contiguous \"x\"\n\
         b 644 /disk 5,1\n\
         d 750 /etc\n\
         l 777 /etc/link -> ../nowhere/at all\n\
         f 4755 1000:65534 @1700000000.000000000 /etc/su \"root\"\n\
         p 644 /pipe\n\
         f 4755 1000:65534 @1700000000.000000000 /su2 \"root\"\n\
         d 644 /v7-directory\n\
         = /etc/su /su2"
    );
}

#[test]
fn pax_says_what_ustar_cannot() {
    let long = "d/".repeat(100) + "name";
    let v3 = [&[1, 0, 0, 3][..], &[0xff; 16], &1000_u32.to_le_bytes()].concat();
    let tar = Tar::new()
        .pax(&[
            ("path", long.as_bytes()),
            ("uid", b"4204350"),
            ("gid", b"4294967295"),
            ("mtime", b"-1.25"),
            ("SCHILY.xattr.user.binary", &[0, 10, 61, 255]),
            ("SCHILY.xattr.user.overlay.origin", b"x"),
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.security.selinux", b"z"),
            ("SCHILY.xattr.security.capability", &v3),
            ("comment", b"nobody cares"),
        ])
        .file("short", "content")
        .pax(&[("linkpath", b"f\xfcr\n")])
        .symlink("link", "x")
        .pax(&[("size", b"3"), ("path", b"sized")])
        .entry(b'0', b"x", b"abc", |header| {
            header.size(0).unwrap();
        })
        .gnu_long(b'L', &"l".repeat(150))
        .gnu_long(b'K', &"k".repeat(200))
        .symlink("x", "y");
    let text = imported(tar).unwrap();
    let v2 = format!("{:?}", [&[1, 0, 0, 2][..], &[0xff; 16]].concat());
    let file = text.lines().find(|line| line.starts_with("f 644 4204350:4294967295")).unwrap();
    assert_eq!(
        file,
        format!(
            "f 644 4204350:4294967295 @-2.750000000 /{long} \"content\" security.capability={v2} user.binary=[0, 10, 61, 255]"
        )
    );
    assert!(text.contains("l 777 /link -> f\u{fffd}r\n"), "{text}");
    assert!(text.contains("f 644 /sized \"abc\""), "{text}");
    assert!(text.contains(&format!("l 777 /{} -> {}", "l".repeat(150), "k".repeat(200))), "{text}");
}

#[test]
fn times_before_1970_in_base_256() {
    let mut tar = Tar::new().file("old", "").end();
    tar[136..148].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]);
    tar[148..156].fill(b' ');
    let sum: u32 = tar[..512].iter().map(|byte| u32::from(*byte)).sum();
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let store = MemoryObjects::default();
    let snapshot = import(&mut tar.as_slice(), &store, &Import::default()).unwrap();
    assert_eq!(shown(&store, &snapshot), "f 644 @-2.000000000 /old \"\"");
}

#[test]
fn later_entries_win_and_directories_join() {
    let tar = Tar::new()
        .directory("d")
        .file("d/kept", "1")
        .entry(b'5', b"d", b"", |header| {
            header.mode(0o700).unwrap();
        })
        .file("twice", "1")
        .hard_link("linked", "twice")
        .file("twice", "2")
        .directory("gone")
        .file("gone/x", "")
        .symlink("gone", "d")
        .file("becomes", "")
        .directory("becomes");
    assert_eq!(
        imported(tar).unwrap(),
        "d 750 /becomes\nd 700 /d\nf 644 /d/kept \"1\"\nl 777 /gone -> d\nf 644 /linked \"1\"\nf 644 /twice \"2\""
    );
}

#[test]
fn paths_stay_inside() {
    let tar = Tar::new()
        .file("/etc/absolute", "1")
        .file("././/etc//dotted", "2")
        .symlink("out", "/etc")
        .file("out/through-absolute", "3")
        .symlink("up", "../../../etc")
        .file("up/through-dots", "4")
        .symlink("lib", "usr/lib")
        .file("lib/merged", "5")
        .hard_link("lib/again", "out/absolute");
    assert_eq!(
        imported(tar).unwrap(),
        "d 755 /etc\n\
         f 644 /etc/absolute \"1\"\n\
         f 644 /etc/dotted \"2\"\n\
         f 644 /etc/through-absolute \"3\"\n\
         f 644 /etc/through-dots \"4\"\n\
         l 777 /lib -> usr/lib\n\
         l 777 /out -> /etc\n\
         l 777 /up -> ../../../etc\n\
         d 755 /usr\n\
         d 755 /usr/lib\n\
         f 644 /usr/lib/again \"1\"\n\
         f 644 /usr/lib/merged \"5\"\n\
         = /etc/absolute /usr/lib/again"
    );
}

#[test]
fn strip_and_owner() {
    let tar = Tar::new()
        .directory("app-1.0/")
        .entry(b'0', b"app-1.0/bin/run", b"#!", |header| {
            header.uid(1000).unwrap().gid(1000).unwrap();
        })
        .hard_link("app-1.0/go", "app-1.0/bin/run")
        .file("README", "left out")
        .symlink("app-1.0/sym", "app-1.0/bin")
        .end();
    let store = MemoryObjects::default();
    let options = Import { strip: 1, owner: Owner::Root, ..Import::default() };
    let snapshot = import(&mut tar.as_slice(), &store, &options).unwrap();
    assert_eq!(
        shown(&store, &snapshot),
        "d 755 /bin\nf 644 /bin/run \"#!\"\nf 644 /go \"#!\"\nl 777 /sym -> app-1.0/bin\n= /bin/run /go"
    );
}

#[test]
fn the_root_has_metadata_too() {
    let store = MemoryObjects::default();
    let tar = Tar::new().pax(&[("mtime", b"7.5")]).entry(b'5', b"./", b"", |header| {
        header.mode(0o1777).unwrap().uid(3).unwrap();
    });
    let snapshot = import(&mut tar.end().as_slice(), &store, &Import::default()).unwrap();
    assert_eq!((snapshot.root.mode, snapshot.root.uid), (0o1777, 3));
    assert_eq!(snapshot.root.mtime, Timestamp { seconds: 7, nanoseconds: 500_000_000 });
    let empty = import(&mut Tar::new().end().as_slice(), &store, &Import::default()).unwrap();
    assert_eq!(empty, Snapshot::scratch());
}

#[test]
fn sparse_files_of_every_format_become_whole() {
    let old = |tar: Tar| {
        // Old GNU: the map is in the header, at its place in the last 126 bytes.
        tar.entry(b'S', b"old", b"abcde", |header| {
            let bytes = header.as_header_mut().as_mut_bytes();
            bytes[257..265].copy_from_slice(b"ustar  \0");
            bytes[345..].fill(0);
            for (at, text) in
                [(386, "00000000002"), (398, "00000000003"), (410, "00000000010"), (422, "00000000002")]
            {
                bytes[at..at + 11].copy_from_slice(text.as_bytes());
            }
            bytes[483..494].copy_from_slice(b"00000000014"); // 12 bytes
        })
    };
    let tar = old(Tar::new())
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"new"),
            ("GNU.sparse.realsize", b"8"),
        ])
        .entry(b'0', b"GNUSparseFile.0/new", &[&b"1\n3\n2\n"[..], &[0; 506], b"xy"].concat(), |_| {})
        .pax(&[("GNU.sparse.size", b"6"), ("GNU.sparse.map", b"1,1,3,1"), ("GNU.sparse.name", b"middle")])
        .entry(b'0', b"GNUSparseFile.0/middle", b"ab", |_| {})
        .file("after", "still in step");
    assert_eq!(
        imported(tar).unwrap(),
        "f 644 /after \"still in step\"\n\
         f 644 /middle \"\\0a\\0b\\0\\0\"\n\
         f 644 /new \"\\0\\0\\0xy\\0\\0\\0\"\n\
         f 644 /old \"\\0\\0abc\\0\\0\\0de\\0\\0\""
    );
}

#[test]
fn large_and_many_files() {
    let large = "0123456789abcdef".repeat(100_000);
    let mut tar = Tar::new().file("large", &large);
    for number in 0..3000 {
        tar = tar.file(&format!("many/{number:04}"), &number.to_string());
    }
    let text = imported(tar.file("large2", &large)).unwrap();
    assert_eq!(text.lines().count(), 3003);
    assert!(text.contains("f 644 /many/2999 \"2999\""));
    assert!(text.contains(&large));
}

#[test]
fn ends_without_or_with_half_a_marker() {
    for rest in [vec![], vec![0; 512], vec![0; 1024], vec![0; 20_480], [vec![0; 1024], vec![7; 100]].concat()]
    {
        let store = MemoryObjects::default();
        let tar = [Tar::new().file("x", "y").open_end(), rest].concat();
        let snapshot = import(&mut tar.as_slice(), &store, &Import::default()).unwrap();
        assert_eq!(shown(&store, &snapshot), "f 644 /x \"y\"");
        assert_eq!(apply_layer(&mut tar.as_slice(), &Snapshot::scratch(), &store).unwrap(), snapshot);
    }
}
