//! Archives made byte by byte, and trees shown as text.

use rbuild_oci::{Error, Import, Result, import, memory::MemoryObjects};
use rbuild_tree::{Kind, Snapshot, TreePath, walk};
use tar_core::{
    EntryType,
    builder::HeaderBuilder,
    parse::{Limits, ParseEvent, Parser},
};

/// An archive in the making.
#[derive(Clone, Default)]
pub struct Tar(Vec<u8>);

impl Tar {
    pub fn new() -> Self {
        Self::default()
    }

    /// Any entry, its header changed at will.
    pub fn entry(
        mut self,
        kind: u8,
        name: &[u8],
        content: &[u8],
        change: impl FnOnce(&mut HeaderBuilder),
    ) -> Self {
        let mut header = HeaderBuilder::new_ustar();
        header.path(name).unwrap().entry_type(EntryType::from_byte(kind)).mode(0o644).unwrap();
        header.uid(0).unwrap().gid(0).unwrap().mtime(0).unwrap().size(content.len() as u64).unwrap();
        change(&mut header);
        self.0.extend_from_slice(header.finish().as_bytes());
        self.content(content)
    }

    fn content(mut self, content: &[u8]) -> Self {
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn file(self, name: &str, content: &str) -> Self {
        self.entry(b'0', name.as_bytes(), content.as_bytes(), |_| {})
    }

    pub fn directory(self, name: &str) -> Self {
        self.entry(b'5', name.as_bytes(), b"", |header| {
            header.mode(0o750).unwrap();
        })
    }

    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.linked(b'2', name, target)
    }

    pub fn hard_link(self, name: &str, target: &str) -> Self {
        self.linked(b'1', name, target)
    }

    fn linked(self, kind: u8, name: &str, target: &str) -> Self {
        self.entry(kind, name.as_bytes(), b"", |header| {
            header.link_name(target).unwrap();
        })
    }

    /// A PAX header for the entry that follows.
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length =
                (1..).map(|digits| rest + digits).find(|n| n.to_string().len() + rest == *n).unwrap();
            data.extend_from_slice(format!("{length} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.entry(b'x', b"pax", &data, |_| {})
    }

    /// GNU's long name (`L`) or long link target (`K`).
    pub fn gnu_long(mut self, kind: u8, text: &str) -> Self {
        let content = [text.as_bytes(), b"\0"].concat();
        let mut header = HeaderBuilder::new_gnu();
        header.path("././@LongLink").unwrap().entry_type(EntryType::from_byte(kind));
        header.mode(0).unwrap().uid(0).unwrap().gid(0).unwrap().mtime(0).unwrap();
        header.size(content.len() as u64).unwrap();
        self.0.extend_from_slice(header.finish().as_bytes());
        self.content(&content)
    }

    /// Without the marker of its end.
    pub fn open_end(self) -> Vec<u8> {
        self.0
    }

    pub fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// Imports with the default options, into a store of its own.
pub fn imported(tar: Tar) -> Result<String> {
    let store = MemoryObjects::default();
    import(&mut tar.end().as_slice(), &store, &Import::default()).map(|snapshot| shown(&store, &snapshot))
}

/// The sentence with which an archive is refused.
pub fn refused(tar: Tar) -> String {
    imported(tar).expect_err("it should be refused").to_string()
}

/// A tree as text, one line an entry: kind, mode, owner, time if not 0, path, content; link groups at the end.
pub fn shown(store: &MemoryObjects, snapshot: &Snapshot) -> String {
    let mut lines = Vec::new();
    walk(store, &snapshot.tree, &mut |path, entry| {
        let metadata = &entry.metadata;
        let (letter, rest) = match &entry.kind {
            Kind::File { object, size } => {
                let bytes = store.bytes(object).expect("every object is in the store");
                assert_eq!(bytes.len() as u64, *size);
                ('f', format!(" {:?}", String::from_utf8_lossy(&bytes)))
            }
            Kind::Directory(_) => ('d', String::new()),
            Kind::Symlink(target) => ('l', format!(" -> {}", String::from_utf8_lossy(target))),
            Kind::CharDevice(device) => ('c', format!(" {},{}", device.major, device.minor)),
            Kind::BlockDevice(device) => ('b', format!(" {},{}", device.major, device.minor)),
            Kind::Fifo => ('p', String::new()),
            Kind::Socket => ('s', String::new()),
        };
        let mut line = format!("{letter} {:o}", metadata.mode);
        if (metadata.uid, metadata.gid) != (0, 0) {
            line += &format!(" {}:{}", metadata.uid, metadata.gid);
        }
        if metadata.mtime != Default::default() {
            line += &format!(" @{}.{:09}", metadata.mtime.seconds, metadata.mtime.nanoseconds);
        }
        line += &format!(" {path}{rest}");
        for (name, value) in &metadata.xattrs {
            line += &format!(" {}={:?}", String::from_utf8_lossy(name), value);
        }
        lines.push(line);
        Ok(())
    })
    .unwrap();
    for group in snapshot.links.groups() {
        lines.push(format!("= {}", group.iter().map(TreePath::to_string).collect::<Vec<_>>().join(" ")));
    }
    lines.join("\n")
}

/// The entries of a layer as text: type, path, target; and the PAX records' keys.
pub fn listed(tar: &[u8]) -> Vec<String> {
    let mut parser = Parser::new(Limits::default());
    parser.set_ignore_pax_errors(true); // it knows no negative times
    let (mut at, mut lines) = (0, Vec::new());
    loop {
        match parser.parse(&tar[at..]).unwrap() {
            ParseEvent::Entry { consumed, entry } => {
                let mut line = format!("{} {}", entry.entry_type.to_byte() as char, entry.path_lossy());
                if let Some(target) = entry.link_target_lossy() {
                    line += &format!(" > {target}");
                }
                for record in tar_core::PaxExtensions::new(entry.pax.unwrap_or_default()) {
                    line += &format!(" [{}]", record.unwrap().key().unwrap());
                }
                lines.push(line);
                at += consumed + entry.padded_size() as usize;
            }
            ParseEvent::End { .. } => return lines,
            other => panic!("unexpected {other:?}"),
        }
    }
}

/// The error's entry, if it names one.
pub fn entry_of(error: &Error) -> Option<&str> {
    if let Error::Entry { entry, .. } = error { Some(entry) } else { None }
}
