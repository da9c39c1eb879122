//! A tree in memory, as simple as it can be.

use fuser::{FileAttr, FileType, INodeNo};
use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

pub struct Memory {
    /// By number; 0 is nobody's.
    nodes: Vec<Node>,
}

pub struct Node {
    pub attributes: FileAttr,
    pub body: Body,
}

pub enum Body {
    /// A file of the directory that nobody has read.
    Lower(PathBuf),
    Bytes(Vec<u8>),
    Directory(Directory),
    Link(OsString),
    Other,
}

/// Names in the order they came; the cookie of a listing is the place in it.
#[derive(Default)]
pub struct Directory {
    pub order: Vec<Option<(OsString, u64)>>,
    places: HashMap<OsString, usize>,
}

impl Directory {
    pub fn get(&self, name: &OsStr) -> Option<u64> {
        self.order[*self.places.get(name)?].as_ref().map(|(_, id)| *id)
    }

    pub fn insert(&mut self, name: &OsStr, id: u64) {
        self.places.insert(name.to_owned(), self.order.len());
        self.order.push(Some((name.to_owned(), id)));
    }

    pub fn remove(&mut self, name: &OsStr) -> Option<u64> {
        let place = self.places.remove(name)?;
        self.order[place].take().map(|(_, id)| id)
    }
}

impl Memory {
    /// A copy of a directory.
    pub fn of(root: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(root)?;
        let mut memory = Self { nodes: Vec::new() };
        memory.add(FileType::Directory, Body::Other, 0, (0, 0));
        let id = memory.add(FileType::Directory, Body::Directory(Directory::default()), 0, (0, 0));
        memory.describe(id, &metadata);
        memory.fill(id, root)?;
        Ok(memory)
    }

    fn fill(&mut self, directory: u64, path: &Path) -> io::Result<()> {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            let kind = metadata.file_type();
            let (kind, body) = match () {
                () if kind.is_dir() => (FileType::Directory, Body::Directory(Directory::default())),
                () if kind.is_symlink() => {
                    (FileType::Symlink, Body::Link(fs::read_link(entry.path())?.into()))
                }
                () if kind.is_file() => (FileType::RegularFile, Body::Lower(entry.path())),
                () if kind.is_fifo() => (FileType::NamedPipe, Body::Other),
                () if kind.is_char_device() => (FileType::CharDevice, Body::Other),
                () if kind.is_block_device() => (FileType::BlockDevice, Body::Other),
                () => (FileType::Socket, Body::Other),
            };
            let id = self.add(kind, body, 0, (0, 0));
            self.describe(id, &metadata);
            self.enter(directory, &entry.file_name(), id);
            if kind == FileType::Directory {
                self.fill(id, &entry.path())?;
            }
        }
        Ok(())
    }

    fn describe(&mut self, id: u64, metadata: &fs::Metadata) {
        let attributes = &mut self.get(id).attributes;
        attributes.size = metadata.size();
        attributes.blocks = metadata.blocks();
        attributes.perm = u16::try_from(metadata.mode() & 0o7777).unwrap_or(0);
        (attributes.uid, attributes.gid) = (metadata.uid(), metadata.gid());
        attributes.mtime = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    }

    /// A new node without a name.
    pub fn add(&mut self, kind: FileType, body: Body, mode: u32, (uid, gid): (u32, u32)) -> u64 {
        let (id, now) = (self.nodes.len() as u64, SystemTime::now());
        let attributes = FileAttr {
            ino: INodeNo(id),
            size: 0,
            blocks: 0,
            atime: now,
            mtime: now,
            ctime: now,
            crtime: now,
            kind,
            perm: u16::try_from(mode & 0o7777).unwrap_or(0),
            nlink: if kind == FileType::Directory { 2 } else { 1 },
            uid,
            gid,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        };
        self.nodes.push(Node { attributes, body });
        id
    }

    pub fn get(&mut self, id: u64) -> &mut Node {
        &mut self.nodes[usize::try_from(id).unwrap_or(0)]
    }

    pub fn directory(&mut self, id: u64) -> &mut Directory {
        match &mut self.get(id).body {
            Body::Directory(directory) => directory,
            _ => unreachable!("the kernel asks only directories for names"),
        }
    }

    /// Gives a node a name.
    pub fn enter(&mut self, directory: u64, name: &OsStr, id: u64) {
        self.directory(directory).insert(name, id);
        self.get(directory).attributes.mtime = SystemTime::now();
    }
}
