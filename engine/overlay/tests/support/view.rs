//! What a tree shows, from the outside: of an overlay by its operations, of a plain directory by system calls.

use rbuild_overlay::{Errno, FileKind, NodeId, Overlay};
use std::{
    collections::{BTreeMap, HashMap},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
};

/// One entry: what it is, mode, links, content, attributes, and the first path that is the same inode.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    pub kind: char,
    pub mode: u32,
    pub owner: (u32, u32),
    pub links: u64,
    pub content: Vec<u8>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub same: Vec<u8>,
    /// Only of overlays.
    pub mtime: Option<(i64, u32)>,
}

pub type View = BTreeMap<Vec<u8>, Shown>;

/// Everything an overlay shows.
pub fn overlay_view(overlay: &Overlay) -> View {
    let (mut view, mut first) = (View::new(), HashMap::new());
    show(overlay, NodeId::ROOT, b"", &mut view, &mut first);
    view
}

fn show(overlay: &Overlay, id: NodeId, path: &[u8], view: &mut View, first: &mut HashMap<NodeId, Vec<u8>>) {
    let stat = overlay.getattr(id).unwrap();
    let same = first.entry(id).or_insert_with(|| path.to_vec()).clone();
    let (kind, content) = match stat.kind {
        FileKind::File => ('f', overlay.read(id, 0, 1 << 24).unwrap()),
        FileKind::Symlink => ('l', overlay.readlink(id).unwrap()),
        FileKind::Directory => ('d', Vec::new()),
        FileKind::Fifo => ('p', Vec::new()),
        FileKind::Socket => ('s', Vec::new()),
        FileKind::CharDevice | FileKind::BlockDevice => ('c', Vec::new()),
    };
    if kind == 'f' {
        assert_eq!(content.len() as u64, stat.size);
    }
    let names = overlay.listxattr(id).unwrap();
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let xattrs = names.map(|name| (name.to_vec(), overlay.getxattr(id, name).unwrap())).collect();
    let mtime = Some((stat.mtime.seconds, stat.mtime.nanoseconds));
    let (mode, owner, links) = (stat.mode, (stat.uid, stat.gid), stat.links.into());
    view.insert(path.to_vec(), Shown { kind, mode, owner, links, content, xattrs, same, mtime });
    if kind == 'd' {
        for (name, id) in children(overlay, id) {
            show(overlay, id, &join(path, &name), view, first);
        }
    }
}

/// The entries of a directory without the dots, sorted.
pub fn children(overlay: &Overlay, id: NodeId) -> BTreeMap<Vec<u8>, NodeId> {
    let mut found = BTreeMap::new();
    let mut take = |entry: &rbuild_overlay::ops::Listed<'_>| {
        if entry.counts {
            assert!(found.insert(entry.name.to_vec(), entry.stat.id).is_none(), "listed twice");
        }
        true
    };
    overlay.readdir(id, 0, true, &mut take).unwrap();
    found
}

/// Everything a plain directory shows.
pub fn plain_view(root: &Path) -> View {
    let (mut view, mut first) = (View::new(), HashMap::new());
    show_plain(root, b"", &mut view, &mut first);
    view
}

fn show_plain(at: &Path, path: &[u8], view: &mut View, first: &mut HashMap<u64, Vec<u8>>) {
    let metadata = std::fs::symlink_metadata(at).unwrap();
    let same = first.entry(metadata.ino()).or_insert_with(|| path.to_vec()).clone();
    let (kind, content) = if metadata.is_file() {
        ('f', std::fs::read(at).unwrap())
    } else if metadata.is_symlink() {
        ('l', std::fs::read_link(at).unwrap().as_os_str().as_bytes().to_vec())
    } else {
        (if metadata.is_dir() { 'd' } else { 'o' }, Vec::new())
    };
    let (mode, owner, links) = (metadata.mode() & 0o7777, (metadata.uid(), metadata.gid()), metadata.nlink());
    let xattrs = if kind == 'l' { Vec::new() } else { plain_xattrs(at) };
    view.insert(path.to_vec(), Shown { kind, mode, owner, links, content, xattrs, same, mtime: None });
    if kind == 'd' {
        let mut names: Vec<_> =
            std::fs::read_dir(at).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            show_plain(&at.join(&name), &join(path, name.as_bytes()), view, first);
        }
    }
}

fn plain_xattrs(at: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut names = vec![0_u8; 4096];
    let length = rustix::fs::listxattr(at, &mut names[..]).unwrap_or(0);
    let names = names[..length].split(|byte| *byte == 0).filter(|name| name.starts_with(b"user."));
    let value = |name: &[u8]| {
        let mut value = vec![0_u8; 4096];
        let length = rustix::fs::getxattr(at, name, &mut value[..]).unwrap();
        (name.to_vec(), value[..length].to_vec())
    };
    names.map(value).collect()
}

/// A view without what only overlays know.
pub fn without_times(mut view: View) -> View {
    view.values_mut().for_each(|shown| shown.mtime = None);
    view
}

fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}

/// The node at a path, no link followed: what a kernel's path walk would find or answer.
pub fn walk(overlay: &Overlay, path: &str) -> Result<NodeId, Errno> {
    let mut id = NodeId::ROOT;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        // Links of these tests dangle.
        if overlay.getattr(id)?.kind == FileKind::Symlink {
            return Err(Errno::NOENT);
        }
        id = overlay.lookup(id, name.as_bytes())?.id;
    }
    Ok(id)
}

/// The directory of a path, and the last name.
pub fn split<'a>(overlay: &Overlay, path: &'a str) -> Result<(NodeId, &'a [u8]), Errno> {
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    let id = walk(overlay, above)?;
    match overlay.getattr(id)?.kind {
        FileKind::Directory => Ok((id, name.as_bytes())),
        FileKind::Symlink => Err(Errno::NOENT),
        _ => Err(Errno::NOTDIR),
    }
}
