//! A tree as text: a line an entry, as `ls -l` and `tar -tv` do it.
//!
//! ```text
//! drwxr-xr-x 0:0            - 2025-11-24T16:00:00Z /etc/
//! -rw-r--r-- 0:0           12 2025-11-24T16:00:00Z /etc/motd
//! lrwxrwxrwx 0:0            - 2025-11-24T16:00:00Z /bin -> usr/bin
//! crw-rw-rw- 0:0          1,3 2025-11-24T16:00:00Z /dev/null
//! -rwxr-xr-x 0:0        69680 2025-11-24T16:00:00Z /bin/ping {security.capability}
//! ```
//!
//! Names are bytes: what is no printable UTF-8 stands as `\xNN`, a backslash as `\\`, so that each line is one entry
//! and can be read back.

use rbuild_tree::{Entry, Kind, Metadata, Result, Snapshot, Timestamp, TreePath, TreeStore, walk};
use std::fmt::Write;

/// Every entry of a root filesystem, the root first.
///
/// # Errors
/// A directory that the store does not have.
pub fn list(store: &dyn TreeStore, snapshot: &Snapshot) -> Result<String> {
    let root = Entry { metadata: snapshot.root.clone(), kind: Kind::Directory(snapshot.tree) };
    let mut listing = line(&TreePath::root(), &root);
    walk(store, &snapshot.tree, &mut |path, entry| {
        listing += &line(path, entry);
        Ok(())
    })?;
    for group in snapshot.links.groups() {
        let names: Vec<String> = group.iter().map(|path| format!("/{}", escaped(path.as_bytes()))).collect();
        // Writing to a string can't fail, here and below.
        let _ = writeln!(listing, "one file: {}", names.join(" "));
    }
    Ok(listing)
}

fn line(path: &TreePath, entry: &Entry) -> String {
    let Metadata { uid, gid, mtime, xattrs, .. } = &entry.metadata;
    let mut line =
        format!("{} {:<9} {:>10} {} /", mode(entry), format!("{uid}:{gid}"), size(&entry.kind), time(*mtime));
    line += &escaped(path.as_bytes());
    match &entry.kind {
        Kind::Directory(_) if !path.is_root() => line.push('/'),
        Kind::Symlink(target) => line = format!("{line} -> {}", escaped(target)),
        _ => {}
    }
    if !xattrs.is_empty() {
        let names: Vec<String> = xattrs.keys().map(|name| escaped(name)).collect();
        let _ = write!(line, " {{{}}}", names.join(" "));
    }
    line + "\n"
}

/// `-rwsr-xr-x`
fn mode(entry: &Entry) -> String {
    let kind = match entry.kind {
        Kind::File { .. } => '-',
        Kind::Directory(_) => 'd',
        Kind::Symlink(_) => 'l',
        Kind::CharDevice(_) => 'c',
        Kind::BlockDevice(_) => 'b',
        Kind::Fifo => 'p',
        Kind::Socket => 's',
    };
    let bits = entry.metadata.mode;
    let mut mode = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let (read, write, execute) = (bits >> shift & 4 != 0, bits >> shift & 2 != 0, bits >> shift & 1 != 0);
        mode.push(if read { 'r' } else { '-' });
        mode.push(if write { 'w' } else { '-' });
        mode.push(match (bits & special != 0, execute) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    mode
}

fn size(kind: &Kind) -> String {
    match kind {
        Kind::File { size, .. } => size.to_string(),
        Kind::CharDevice(device) | Kind::BlockDevice(device) => format!("{},{}", device.major, device.minor),
        _ => "-".to_owned(),
    }
}

/// RFC 3339 in UTC; seconds since 1970 where that has no date for it.
fn time(time: Timestamp) -> String {
    let nanoseconds = i32::try_from(time.nanoseconds).unwrap_or(0);
    let date = jiff::Timestamp::new(time.seconds, nanoseconds);
    date.map_or_else(|_| format!("@{}", time.seconds), |date| date.to_string())
}

fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str(r"\\"),
                control if control.is_control() => {
                    let mut buffer = [0; 4];
                    escape(&mut text, control.encode_utf8(&mut buffer).as_bytes());
                }
                other => text.push(other),
            }
        }
        escape(&mut text, chunk.invalid());
    }
    text
}

fn escape(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(text, "\\x{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use insta::assert_snapshot;
    use rbuild_tree::{Device, Links, MemoryStore, ObjectId, Tree};

    fn entry(mode: u32, kind: Kind) -> Entry {
        Entry { metadata: Metadata::root(mode, Timestamp::from_seconds(1_764_000_000)), kind }
    }

    fn file(mode: u32, size: u64) -> Entry {
        entry(mode, Kind::File { object: ObjectId::of(b""), size })
    }

    fn tree(entries: Vec<(&[u8], Entry)>) -> Tree {
        Tree::from_entries(entries.into_iter().map(|(name, entry)| (name.into(), entry)))
    }

    #[test]
    fn every_kind_of_entry() {
        let store = MemoryStore::default();
        let mut owned = file(0o6755, 69_680);
        (owned.metadata.uid, owned.metadata.gid) = (1000, 100);
        owned.metadata.xattrs.insert(b"security.capability".as_slice().into(), b"x".as_slice().into());
        let inner = tree(vec![(b"motd", file(0o644, 12)), (b"tmp", file(0o1666, 0))]);
        let null = Device { major: 1, minor: 3 };
        let mut late = entry(0o644, Kind::Fifo);
        late.metadata.mtime = Timestamp { seconds: -1, nanoseconds: 500_000_000 };
        let mut never = entry(0o600, Kind::Socket);
        never.metadata.mtime = Timestamp::from_seconds(i64::MAX);
        let root = tree(vec![
            (b"etc", entry(0o1777, Kind::Directory(store.put_tree(&inner).unwrap()))),
            (b"bin", entry(0o777, Kind::Symlink(b"usr/bin".as_slice().into()))),
            (b"null", entry(0o666, Kind::CharDevice(null))),
            (b"disk", entry(0o660, Kind::BlockDevice(null))),
            (b"ping", owned),
            (b"fifo", late),
            (b"socket", never),
            (b"od\xffd\n\\\xc3\xa4", file(0, 1)),
        ]);
        let links =
            Links::new([vec![TreePath::parse(b"etc/motd").unwrap(), TreePath::parse(b"motd").unwrap()]]);
        let snapshot = Snapshot {
            root: Metadata::root(0o755, Timestamp::default()),
            tree: store.put_tree(&root).unwrap(),
            links,
        };
        assert_snapshot!(list(&store, &snapshot).unwrap(), @r"
        drwxr-xr-x 0:0                - 1970-01-01T00:00:00Z /
        lrwxrwxrwx 0:0                - 2025-11-24T16:00:00Z /bin -> usr/bin
        brw-rw---- 0:0              1,3 2025-11-24T16:00:00Z /disk
        drwxrwxrwt 0:0                - 2025-11-24T16:00:00Z /etc/
        -rw-r--r-- 0:0               12 2025-11-24T16:00:00Z /etc/motd
        -rw-rw-rwT 0:0                0 2025-11-24T16:00:00Z /etc/tmp
        prw-r--r-- 0:0                - 1969-12-31T23:59:59.5Z /fifo
        crw-rw-rw- 0:0              1,3 2025-11-24T16:00:00Z /null
        ---------- 0:0                1 2025-11-24T16:00:00Z /od\xffd\x0a\\ä
        -rwsr-sr-x 1000:100       69680 2025-11-24T16:00:00Z /ping {security.capability}
        srw------- 0:0                - @9223372036854775807 /socket
        one file: /etc/motd /motd
        ");
    }

    #[test]
    fn a_lost_directory_is_an_error() {
        let store = MemoryStore::default();
        let lost = tree(vec![(b"x", file(0, 0))]);
        let snapshot = Snapshot { tree: lost.id(), ..Snapshot::scratch() };
        assert!(list(&store, &snapshot).is_err());
    }
}
