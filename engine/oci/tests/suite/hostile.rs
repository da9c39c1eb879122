//! What archives must not do, each refused with the entry's name, and nothing panics.

use crate::support::{Tar, entry_of, imported, refused};
use proptest::prelude::*;
use rbuild_oci::{Error, Import, Limits, apply_layer, decompress, import, memory::MemoryObjects};
use rbuild_tree::Snapshot;
use std::io::{Cursor, Read};
use tar_core::builder::HeaderBuilder;

#[test]
fn each_is_refused_by_name() {
    let deep = "d/".repeat(2001) + "x";
    let wide = "n".repeat(256);
    for (tar, entry, reason) in [
        (Tar::new().file("../up", ""), "../up", "`..` is not allowed"),
        (Tar::new().file("a/../../up", ""), "a/../../up", "`..` is not allowed"),
        (Tar::new().file("t", "").hard_link("l", "../t"), "l", "`..` is not allowed"),
        (Tar::new().hard_link("l", "/etc/passwd"), "l", "target \"etc/passwd\" does not exist"),
        (Tar::new().hard_link("l", "l"), "l", "does not exist"),
        (Tar::new().directory("d").hard_link("l", "d"), "l", "is a directory"),
        (Tar::new().file("d/f", "").hard_link("d", "d/f"), "d", "holds the file"),
        (Tar::new().symlink("s", "s").file("s/f", ""), "s/f", "more than 40 symbolic links"),
        (Tar::new().file("f", "").file("f/g", ""), "f/g", "/f: is a file, not a directory"),
        (Tar::new().file(".", ""), ".", "the root can only be a directory"),
        (Tar::new().pax(&[("path", deep.as_bytes())]).file("x", ""), &deep[..300], "2000"),
        (Tar::new().pax(&[("path", wide.as_bytes())]).file("x", ""), &wide, "longer than 255 bytes"),
        (Tar::new().pax(&[("path", b"a\0b")]).file("x", ""), "a\\u{0}b", "NUL"),
        (Tar::new().pax(&[("linkpath", b"a\0b")]).symlink("s", "x"), "s", "NUL"),
        (Tar::new().pax(&[("linkpath", &[b'x'; 5000])]).symlink("s", "x"), "s", "longer than 4095"),
        (Tar::new().entry(b'2', b"s", b"", |_| {}), "s", "without a target"),
        (Tar::new().pax(&[("uid", b"4294967296")]).file("x", ""), "x", "beyond 32 bits"),
        (Tar::new().pax(&[("uid", b"root")]).file("x", ""), "x", "PAX uid is no number"),
        (Tar::new().pax(&[("size", b"0x10")]).file("x", ""), "x", "PAX size is no number"),
        (Tar::new().pax(&[("size", b"18446744073709551615")]).file("x", ""), "x", "size is beyond 63 bits"),
        (Tar::new().pax(&[("mtime", b"yesterday")]).file("x", ""), "x", "PAX mtime is no time"),
        (Tar::new().entry(b'D', b"dump", b"", |_| {}), "dump", "type 'D' is not supported"),
        (
            Tar::new().pax(&[("GNU.sparse.map", b"0,9"), ("GNU.sparse.size", b"5")]).file("s", "abcdefghi"),
            "s",
            "behind its end",
        ),
    ] {
        let text = refused(tar);
        let shown = format!("{entry:?}").trim_end_matches('"').to_owned();
        assert!(
            text.contains(&shown) && text.contains(reason),
            "{text}\n  should name {shown} and say {reason:?}"
        );
    }
}

fn claim_4_gib(header: &mut HeaderBuilder) {
    header.size(1 << 32).unwrap();
}

/// Almost all of 64 bits, in base 256.
fn claim_everything(header: &mut HeaderBuilder) {
    let mut size = [0xff; 12];
    (size[0], size[10], size[11]) = (0x80, 0xfc, 0);
    header.as_header_mut().as_mut_bytes()[124..136].copy_from_slice(&size);
}

#[test]
fn malformed_headers_say_where() {
    for (tar, reason) in [
        (
            Tar::new().file("good", "").pax(&[("path", &vec![b'x'; 1 << 21])]).file("x", ""),
            "metadata exceeds limit",
        ),
        (Tar::new().file("good", "").entry(b'x', b"p", b"no records", |_| {}).file("x", ""), "malformed PAX"),
        (
            Tar::new().file("good", "").entry(b'g', b"g", b"11 uid=100\n", |_| {}),
            "global PAX header sets \"uid\"",
        ),
        (Tar::new().file("good", "").entry(b'0', b"x", b"", claim_4_gib), "cut off"),
        (
            Tar::new().file("good", "").gnu_long(b'L', "n").entry(b'x', b"p", b"", claim_everything),
            "metadata exceeds limit",
        ),
        (
            Tar::new()
                .file("good", "")
                .pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"8")])
                .entry(b'0', b"x", &[b'7'; 4 << 20], |_| {}),
            "larger than 3 MiB",
        ),
    ] {
        let text = refused(tar);
        assert!(text.contains(reason), "{text}");
        assert!(text.contains("good") || text.contains("\"x\""), "{text}");
    }
    let mut damaged = Tar::new().file("good", "").file("bad", "").end();
    damaged[512] = b'!';
    let error = import(&mut damaged.as_slice(), &MemoryObjects::default(), &Import::default()).unwrap_err();
    assert!(
        error.to_string().contains("after entry \"good\"") && error.to_string().contains("checksum"),
        "{error}"
    );
}

#[test]
fn a_comment_for_all_is_no_harm() {
    let tar = Tar::new().entry(b'g', b"g", b"16 comment=1234\n", |_| {}).file("x", "y");
    assert_eq!(imported(tar).unwrap(), "f 644 /x \"y\"");
}

#[test]
fn truncation_is_never_taken_for_an_end() {
    let whole = Tar::new().file("first", "1").file("second", &"2".repeat(1000)).open_end();
    for length in 1..whole.len() {
        let result = import(&mut &whole[..length], &MemoryObjects::default(), &Import::default());
        // Cut between two entries, or in padding that says nothing: only a digest could tell the former.
        let clean = length == 1024;
        match result {
            Err(Error::Truncated { last }) if !clean => {
                assert_eq!(
                    last,
                    ["", "first", "second"][(length >= 512) as usize + (length >= 1536) as usize],
                    "{length}"
                );
            }
            Ok(_) if clean => {}
            other => panic!("{length} bytes: {other:?}"),
        }
    }
}

#[test]
fn a_compressed_archive_cut_off_is_an_error() {
    let tar = Tar::new().file("first", &"x".repeat(100_000)).end();
    let mut blob = rbuild_oci::BlobWriter::new(Vec::new(), rbuild_oci::Compression::Gzip);
    std::io::Write::write_all(&mut blob, &tar).unwrap();
    let (_, mut bytes) = blob.finish().unwrap();
    bytes.truncate(bytes.len() - 4);
    let mut reader = decompress(Box::new(Cursor::new(bytes))).unwrap();
    let error = import(&mut reader, &MemoryObjects::default(), &Import::default()).unwrap_err();
    assert!(matches!(error, Error::Truncated { .. }), "{error}");
}

#[test]
fn limits() {
    let within = |limits, tar: Tar| {
        let options = Import { limits, ..Import::default() };
        import(&mut tar.end().as_slice(), &MemoryObjects::default(), &options)
    };
    let limited = |entries, holes, tar| within(Limits { entries, holes, ..Limits::default() }, tar);
    let three = Tar::new().file("a", "").file("b", "").file("c", "");
    assert!(limited(3, 0, three.clone()).is_ok());
    let error = limited(2, 0, three).unwrap_err();
    assert_eq!(entry_of(&error), Some("c"), "{error}");
    let sparse = |size: &str| {
        Tar::new().pax(&[("GNU.sparse.map", b"0,1"), ("GNU.sparse.size", size.as_bytes())]).file("bomb", "x")
    };
    assert!(limited(9, 100, sparse("101")).is_ok());
    assert_eq!(entry_of(&limited(9, 100, sparse("102")).unwrap_err()), Some("bomb"));
    let error = imported(sparse("9000000000000000000")).unwrap_err();
    assert_eq!(entry_of(&error), Some("bomb"), "{error}");

    let content = |content| Limits { content, ..Limits::default() };
    let files = Tar::new().file("a", "12345").file("b", "678");
    assert!(within(content(8), files.clone()).is_ok());
    let error = within(content(7), files).unwrap_err();
    assert_eq!(error.to_string(), "archive entry \"b\": the archive has more than 7 bytes in its files");

    let metadata = |metadata| Limits { metadata, ..Limits::default() };
    let attribute = || Tar::new().pax(&[("SCHILY.xattr.user.x", &[b'v'; 94])]).file("a", "").file("b", "");
    assert!(within(metadata(100), attribute()).is_ok());
    assert_eq!(entry_of(&within(metadata(99), attribute()).unwrap_err()), Some("a"));
    let path = "d/".repeat(200);
    let long = || Tar::new().pax(&[("path", path.as_bytes())]).directory("x");
    assert!(within(metadata(145), long()).is_ok());
    assert!(within(metadata(144), long()).is_err());
}

/// What no file of Linux can have costs no memory: a compressed archive of it would be tiny.
#[test]
fn giant_attributes_are_refused() {
    let value = |size| Tar::new().pax(&[("SCHILY.xattr.user.x", &vec![b'v'; size])]).file("f", "");
    assert!(imported(value(64 << 10)).is_ok());
    assert!(refused(value((64 << 10) + 1)).contains("\"f\": its attribute user.x is larger than 64 KiB"));
    let name = |size: usize| {
        Tar::new().pax(&[(&format!("SCHILY.xattr.user.{}", "n".repeat(size - 5)), b"v")]).file("f", "")
    };
    assert!(imported(name(255)).is_ok());
    assert!(refused(name(256)).contains("longer than 255 bytes"));
    let names: Vec<String> = (0..300).map(|n| format!("SCHILY.xattr.user.{n:0>250}")).collect();
    let many = |count| {
        let records: Vec<(&str, &[u8])> = names[..count].iter().map(|name| (&**name, &b""[..])).collect();
        Tar::new().pax(&records).file("f", "")
    };
    assert!(imported(many(256)).is_ok());
    assert!(refused(many(257)).contains("names of its attributes are longer than 64 KiB"));
    // Attributes that no tree keeps are nobody's business.
    assert!(imported(Tar::new().pax(&[("SCHILY.xattr.security.x", &[b'v'; 100_000])]).file("f", "")).is_ok());
}

#[test]
fn a_failing_reader_is_named() {
    struct Broken(usize);
    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let tar = Tar::new().file("name", &"x".repeat(2 << 20)).end();
            if self.0 >= 5000 {
                return Err(std::io::Error::other("the disk is on fire"));
            }
            let count = buffer.len().min(5000 - self.0);
            buffer[..count].copy_from_slice(&tar[self.0..self.0 + count]);
            self.0 += count;
            Ok(count)
        }
    }
    let error = import(&mut Broken(0), &MemoryObjects::default(), &Import::default()).unwrap_err();
    assert_eq!(error.to_string(), "archive entry \"name\": the disk is on fire");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    /// Any byte changed, checksums made right again: an error or a tree, never a panic.
    #[test]
    fn damaged_archives_never_panic(changes in proptest::collection::vec((0_usize..6000, any::<u8>()), 1..12)) {
        let mut tar = Tar::new()
            .directory("d")
            .pax(&[("path", b"d/long"), ("mtime", b"1.5"), ("SCHILY.xattr.user.x", b"y")])
            .file("x", "content")
            .symlink("s", "d")
            .hard_link("s/h", "d/long")
            .file("d/.wh.long", "")
            .pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"8")])
            .entry(b'0', b"sparse", &[&b"1\n3\n2\n"[..], &[0; 506], b"xy"].concat(), |_| {})
            .end();
        for (at, value) in changes {
            let at = at % tar.len();
            tar[at] = value;
            let block = at / 512 * 512;
            tar[block + 148..block + 156].fill(b' ');
            let sum: u32 = tar[block..block + 512].iter().map(|byte| u32::from(*byte)).sum();
            tar[block + 148..block + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        let store = MemoryObjects::default();
        let _ = import(&mut tar.as_slice(), &store, &Import::default());
        let _ = apply_layer(&mut tar.as_slice(), &Snapshot::scratch(), &store);
    }
}
