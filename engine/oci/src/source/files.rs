//! Names to bytes: the files of a layout directory, or the entries of a tar.
//!
//! A tar is read through once to learn where its entries are, then read at these places. A compressed one is unpacked
//! into an unnamed temporary file first.

use super::{LARGEST_DOCUMENT, bounded::Bounded};
use crate::{
    Error, Result,
    decompress::{Format, decompress},
    error::io_error,
    tar::{member::MemberKind, read::Archive},
};
use rbuild_tree::TreePath;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// docker links layers to each other where they are the same; nobody chains more.
const MOST_LINKS: usize = 8;

/// Where an image's files are.
#[derive(Debug)]
pub(super) struct Files {
    /// As a person names it.
    path: PathBuf,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Directory,
    Archive { file: Arc<File>, entries: BTreeMap<String, Entry> },
}

#[derive(Debug)]
enum Entry {
    Bytes { position: u64, size: u64 },
    Link(String),
}

impl Files {
    pub fn open(path: &Path) -> Result<Self> {
        let reading = || io_error(format!("reading image {}", path.display()));
        let kind = fs::metadata(path).map_err(reading())?;
        let mut files = Self { path: path.to_owned(), place: Place::Directory };
        if !kind.is_dir() {
            let file = File::open(path).and_then(|file| seekable(file, path)).map_err(reading())?;
            let entries = index(&file).map_err(|error| match error {
                Error::Io { .. } => error,
                other => files.refuse(format!("it is not an image archive: {other}")),
            })?;
            files.place = Place::Archive { file: Arc::new(file), entries };
        }
        Ok(files)
    }

    pub fn has(&self, name: &str) -> bool {
        match &self.place {
            Place::Directory => self.path.join(name).is_file(),
            Place::Archive { entries, .. } => entries.contains_key(name),
        }
    }

    /// Refuses a name, said by a document, that leads out of a directory: by itself or through symbolic links.
    pub fn check_inside(&self, name: &str) -> Result<()> {
        let Place::Directory = self.place else { return Ok(()) };
        let found = self.path.canonicalize().and_then(|top| Ok((self.path.join(name).canonicalize()?, top)));
        match found {
            Ok((path, top)) if !path.starts_with(&top) => {
                Err(self.refuse(format!("{name} leads out of it: unpack the image into one directory")))
            }
            // What is missing is told by whoever opens it.
            _ => Ok(()),
        }
    }

    /// A file to be read, and its size. `name` must be one that was checked (a digest's) or an archive's.
    pub fn open_file(&self, name: &str) -> Result<Option<(Box<dyn Read + Send>, u64)>> {
        match &self.place {
            Place::Directory => {
                let path = self.path.join(name);
                // A blob may be a symbolic link, as some builders write layouts; not one to a pipe or a device, which
                // opening may wait for and which never ends.
                if fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
                    return Err(self.refuse(format!("{name} is not a regular file")));
                }
                let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
                match opened {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(io_error(format!("opening {}", path.display()))(error)),
                    Ok((size, file)) => Ok(Some((Box::new(file), size))),
                }
            }
            Place::Archive { file, entries } => Ok(find(entries, name).map(|(position, size)| {
                let section = Section { file: Arc::clone(file), position, end: position + size };
                (Box::new(section) as Box<dyn Read + Send>, size)
            })),
        }
    }

    /// The regular file of this name, if it is one of a directory. `name` must be one that was checked.
    pub fn file_path(&self, name: &str) -> Option<PathBuf> {
        match self.place {
            Place::Directory => Some(self.path.join(name)).filter(|path| path.is_file()),
            Place::Archive { .. } => None,
        }
    }

    /// A document, whole.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        let (reader, _) = self.open_file(name)?.ok_or_else(|| self.refuse(format!("{name} is missing")))?;
        let mut bytes = Vec::new();
        reader
            .take(LARGEST_DOCUMENT + 1)
            .read_to_end(&mut bytes)
            .map_err(io_error(format!("reading {name} of {}", self.path.display())))?;
        if bytes.len() as u64 > LARGEST_DOCUMENT {
            let most = LARGEST_DOCUMENT >> 20;
            return Err(self.refuse(format!("{name} has more than {most} MiB, too much for a document")));
        }
        Ok(bytes)
    }

    /// An error about this image.
    pub fn refuse(&self, reason: impl Into<String>) -> Error {
        Error::Image { image: self.path.display().to_string(), reason: reason.into() }
    }
}

/// The file itself if it is a plain tar that can be read anywhere, else an unpacked copy without a name: where temporary
/// files are, or beside it where there is no such place.
fn seekable(mut file: File, path: &Path) -> io::Result<File> {
    let is_file = file.metadata()?.is_file();
    let mut head = [0; 6];
    let count = if is_file { file.read_at(&mut head, 0)? } else { 0 };
    if is_file && Format::of(&head[..count]) == Format::Plain {
        file.seek(SeekFrom::Start(0))?;
        return Ok(file);
    }
    let beside = path.parent().unwrap_or(Path::new("/"));
    let mut unpacked = tempfile::tempfile().or_else(|_| tempfile::tempfile_in(beside))?;
    let size = file.metadata()?.len();
    io::copy(&mut Bounded::new(decompress(Box::new(file))?, size), &mut unpacked)?;
    unpacked.seek(SeekFrom::Start(0))?;
    Ok(unpacked)
}

fn index(file: &File) -> Result<BTreeMap<String, Entry>> {
    let mut reader = file;
    let mut archive = Archive::new(&mut reader);
    let mut entries = BTreeMap::new();
    while let Some(member) = archive.next()? {
        let Some(name) = normal(&member.path) else { continue };
        let entry = match &member.kind {
            MemberKind::File if member.sparse.is_none() => {
                Entry::Bytes { position: archive.position(), size: member.stored }
            }
            MemberKind::HardLink(target) => match normal(target) {
                Some(target) => Entry::Link(target),
                None => continue,
            },
            MemberKind::Symlink(target) => match beside(&name, target) {
                Some(target) => Entry::Link(target),
                None => continue,
            },
            _ => continue,
        };
        entries.insert(name, entry);
    }
    Ok(entries)
}

fn normal(path: &[u8]) -> Option<String> {
    let path = TreePath::parse(path).ok()?;
    String::from_utf8(path.as_bytes().to_vec()).ok()
}

/// Where a symbolic link of the entry `name` leads, if that is inside the archive.
fn beside(name: &str, target: &[u8]) -> Option<String> {
    let target = std::str::from_utf8(target).ok()?;
    let mut names: Vec<&str> = name.split('/').collect();
    names.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(names.pop()?),
            part => names.push(part),
        }
    }
    Some(names.join("/"))
}

fn find(entries: &BTreeMap<String, Entry>, name: &str) -> Option<(u64, u64)> {
    let mut name = name;
    for _ in 0..=MOST_LINKS {
        match entries.get(name)? {
            Entry::Bytes { position, size } => return Some((*position, *size)),
            Entry::Link(target) => name = target,
        }
    }
    None
}

/// A piece of a file, read without moving the file's own position.
struct Section {
    file: Arc<File>,
    position: u64,
    end: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.end - self.position).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..room], self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}
