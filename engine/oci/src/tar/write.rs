//! Writing an archive: the same entries always give the same bytes.
//!
//! ustar, user and group names empty. What ustar can't say goes into a PAX header before the entry, records sorted:
//! paths and targets over 100 bytes or not ASCII, times with a fraction or out of range, owners and sizes out of
//! range, extended attributes. The archive ends with two zero blocks and no further padding.

use super::{BLOCK, pax};
use rbuild_tree::{Device, Metadata, entry::image_value};
use std::{
    collections::BTreeMap,
    io::{self, Write},
};
use tar_core::{EntryType, builder::HeaderBuilder};

const LONGEST_NAME: usize = 100;
const LARGEST_ID: u64 = 0o7_777_777;
const LARGEST_NUMBER: u64 = 0o77_777_777_777;
/// What PAX headers themselves are called; nobody looks.
const PAX_NAME: &str = "././@PaxHeader";

/// What to write.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Item<'a> {
    /// So many bytes of content follow.
    File(u64),
    Directory,
    Symlink(&'a [u8]),
    HardLink(&'a [u8]),
    CharDevice(Device),
    BlockDevice(Device),
    Fifo,
}

impl Item<'_> {
    fn entry_type(self) -> EntryType {
        match self {
            Self::File(_) => EntryType::Regular,
            Self::Directory => EntryType::Directory,
            Self::Symlink(_) => EntryType::Symlink,
            Self::HardLink(_) => EntryType::Link,
            Self::CharDevice(_) => EntryType::Char,
            Self::BlockDevice(_) => EntryType::Block,
            Self::Fifo => EntryType::Fifo,
        }
    }

    fn size(self) -> u64 {
        if let Self::File(size) = self { size } else { 0 }
    }

    fn target(self) -> Option<Vec<u8>> {
        match self {
            Self::Symlink(target) | Self::HardLink(target) => Some(target.to_vec()),
            _ => None,
        }
    }
}

/// An archive being written.
pub(crate) struct Writer<'w> {
    out: &'w mut dyn Write,
    bytes: u64,
    entries: u64,
}

impl<'w> Writer<'w> {
    pub fn new(out: &'w mut dyn Write) -> Self {
        Self { out, bytes: 0, entries: 0 }
    }

    /// Entries so far.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Starts an entry. `path` has no leading slash; a directory's gets its trailing one here. After a file's header
    /// its content follows through [`Self::data`], then [`Self::end_file`].
    pub fn entry(&mut self, path: &[u8], item: Item<'_>, metadata: &Metadata) -> io::Result<()> {
        let mut name = path.to_vec();
        if matches!(item, Item::Directory) {
            name.push(b'/');
        }
        let records = extended(&name, item, metadata);
        if !records.is_empty() {
            self.pax_header(&records)?;
        }
        let target = item.target().unwrap_or_default();
        let mut header = HeaderBuilder::new_ustar();
        header.path(&name[..name.len().min(LONGEST_NAME)]).map_err(io::Error::other)?;
        header.link_name(&target[..target.len().min(LONGEST_NAME)]).map_err(io::Error::other)?;
        header.entry_type(item.entry_type()).mode(metadata.mode & 0o7777).map_err(io::Error::other)?;
        header.uid(in_range(metadata.uid.into(), LARGEST_ID)).map_err(io::Error::other)?;
        header.gid(in_range(metadata.gid.into(), LARGEST_ID)).map_err(io::Error::other)?;
        header.size(in_range(item.size(), LARGEST_NUMBER)).map_err(io::Error::other)?;
        let seconds = u64::try_from(metadata.mtime.seconds).unwrap_or(0);
        header.mtime(in_range(seconds, LARGEST_NUMBER)).map_err(io::Error::other)?;
        if let Item::CharDevice(device) | Item::BlockDevice(device) = item {
            header.device(device.major, device.minor).map_err(io::Error::other)?;
        }
        self.entries += 1;
        self.write(header.finish().as_bytes())
    }

    /// Content of the file whose entry was started last.
    pub fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(bytes)
    }

    /// Pads the content of a file.
    pub fn end_file(&mut self) -> io::Result<()> {
        let padding = self.bytes.next_multiple_of(BLOCK as u64) - self.bytes;
        self.write(&[0; BLOCK][..padding as usize])
    }

    /// A whole file at once.
    pub fn file(&mut self, path: &[u8], content: &[u8], metadata: &Metadata) -> io::Result<()> {
        self.entry(path, Item::File(content.len() as u64), metadata)?;
        self.data(content)?;
        self.end_file()
    }

    /// Ends the archive; says how many bytes it has.
    pub fn finish(mut self) -> io::Result<u64> {
        self.write(&[0; 2 * BLOCK])?;
        self.out.flush()?;
        Ok(self.bytes)
    }

    fn pax_header(&mut self, records: &BTreeMap<Vec<u8>, Vec<u8>>) -> io::Result<()> {
        let mut data = Vec::new();
        for (key, value) in records {
            pax::push_record(&mut data, key, value);
        }
        let mut header = HeaderBuilder::new_ustar();
        header.entry_type(EntryType::XHeader).path(PAX_NAME).map_err(io::Error::other)?;
        header.mode(0o644).map_err(io::Error::other)?.size(data.len() as u64).map_err(io::Error::other)?;
        header.uid(0).map_err(io::Error::other)?.gid(0).map_err(io::Error::other)?;
        header.mtime(0).map_err(io::Error::other)?;
        self.write(header.finish().as_bytes())?;
        self.write(&data)?;
        self.end_file()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        self.out.write_all(bytes)
    }
}

/// The value where it fits, else 0 (then PAX says it).
fn in_range(value: u64, largest: u64) -> u64 {
    if value <= largest { value } else { 0 }
}

/// What ustar can't say of an entry.
fn extended(name: &[u8], item: Item<'_>, metadata: &Metadata) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut records = BTreeMap::new();
    let mut set = |key: &str, value: &[u8]| records.insert(key.as_bytes().to_vec(), value.to_vec());
    let target = item.target();
    let mut is_binary = false;
    for (key, text) in [("path", Some(name)), ("linkpath", target.as_deref())] {
        let Some(text) = text.filter(|text| text.len() > LONGEST_NAME || !text.is_ascii()) else { continue };
        is_binary |= std::str::from_utf8(text).is_err();
        set(key, text);
    }
    if is_binary {
        set("hdrcharset", b"BINARY"); // PAX text is UTF-8 unless this is said
    }
    for (key, value, largest) in [
        ("uid", u64::from(metadata.uid), LARGEST_ID),
        ("gid", u64::from(metadata.gid), LARGEST_ID),
        ("size", item.size(), LARGEST_NUMBER),
    ] {
        if value > largest {
            set(key, value.to_string().as_bytes());
        }
    }
    let time = metadata.mtime;
    if time.nanoseconds != 0 || u64::try_from(time.seconds).map_or(true, |seconds| seconds > LARGEST_NUMBER) {
        set("mtime", pax::format_time(time).as_bytes());
    }
    for (name, value) in &metadata.xattrs {
        let key = [pax::XATTR, name.as_ref()].concat();
        records.insert(key, image_value(name, value).into_owned());
    }
    records
}
