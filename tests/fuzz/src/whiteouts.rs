//! A layer over a tree, both made of entries and whiteouts in any order; what comes out is compared with a model: a map
//! of paths, out of which first everything goes that a whiteout names, and into which then the entries are put (OCI
//! image-spec, layer.md: a whiteout hides what lies below the layer, and nothing of the layer itself).

use rbuild_oci::{Import, apply_layer, import, memory::MemoryObjects};
use rbuild_tree::{Kind as TreeKind, Snapshot, walk};
use std::collections::{BTreeMap, BTreeSet};

/// An item as bytes: kind, path, permission bits, a hard link's target.
pub type Code = [u8; 4];

const NOWHERE: &str = "-> nowhere";

/// One of an archive. Paths have no `/` at their begin; the root is empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    pub kind: Kind,
    pub path: String,
    pub mode: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    Directory,
    /// What it holds is told by its bits.
    File,
    /// To nowhere. Nothing lies below the name `s`, which alone is one: what a whiteout below a link means is not said.
    Symlink,
    HardLink(String),
    Whiteout,
    Opaque,
}

/// Items of few paths, so that they meet.
pub fn items(codes: &[Code]) -> Vec<Item> {
    codes.iter().map(item).collect()
}

fn item(&[kind, at, bits, target]: &Code) -> Item {
    let path = path(at);
    let mode = 0o700 | (u32::from(bits) % 64);
    let kind = match kind % 8 {
        // The root is a directory, and can't go.
        2..=5 if path.is_empty() => Kind::Directory,
        0 | 1 => Kind::Directory,
        2 | 3 => Kind::File,
        4 => Kind::HardLink(self::path(target)),
        5 => Kind::Whiteout,
        6 => Kind::Opaque,
        _ => {
            let path = join(parent(&path), "s");
            return Item { kind: Kind::Symlink, path, mode };
        }
    };
    Item { kind, path, mode }
}

/// Up to three names; `s` is the last.
fn path(code: u8) -> String {
    let mut path = String::new();
    for place in 0..code % 4 {
        let name = ["a", "b", "c", "s"][usize::from(code >> (2 + 2 * place)) % 4];
        path = join(&path, name);
        if name == "s" {
            break;
        }
    }
    path
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn is_below(path: &str, directory: &str) -> bool {
    match path.strip_prefix(directory) {
        Some(rest) => !rest.is_empty() && (directory.is_empty() || rest.starts_with('/')),
        None => false,
    }
}

/// Makes the tree and puts the layer over it, by the program and by the model.
pub fn check(base: &[Item], layer: &[Item]) {
    let base: Vec<Item> =
        base.iter().filter(|item| !matches!(item.kind, Kind::Whiteout | Kind::Opaque)).cloned().collect();
    let store = MemoryObjects::default();
    let (below, archive) = Model::new().applied(&base);
    let made = import(&mut archive.as_slice(), &store, &Import::default());
    let (Some(below), Ok(made)) = (&below, &made) else {
        return assert!(below.is_none() && made.is_err(), "{base:?}\ngives {made:?}");
    };
    assert_eq!(shown(&store, made), below.shown(), "{base:?}");

    let (expected, archive) = below.applied(layer);
    match (apply_layer(&mut archive.as_slice(), made, &store), expected) {
        (Ok(found), Some(expected)) => {
            assert_eq!(shown(&store, &found), expected.shown(), "{layer:?}\nover {base:?}");
        }
        (Err(_), None) => {}
        (found, _) => panic!("{layer:?}\nover {base:?}\ngives {found:?}"),
    }
}

#[derive(Clone)]
struct Model(BTreeMap<String, Node>);

#[derive(Clone, PartialEq)]
struct Node {
    mode: u32,
    /// None of a directory. The names of one file have the same.
    file: Option<File>,
}

#[derive(Clone, PartialEq)]
struct File {
    number: usize,
    content: String,
}

impl Model {
    fn new() -> Self {
        Self(BTreeMap::from([(String::new(), Node { mode: 0o755, file: None })]))
    }

    /// What a layer makes of it; nothing if the layer contradicts itself. And the layer as an archive, without hard
    /// links to what is not there.
    fn applied(&self, layer: &[Item]) -> (Option<Self>, Vec<u8>) {
        let mut result = self.clone();
        for item in layer {
            match item.kind {
                Kind::Whiteout => {
                    result.0.retain(|path, _| *path != item.path && !is_below(path, &item.path))
                }
                Kind::Opaque => result.0.retain(|path, _| !is_below(path, &item.path)),
                _ => {}
            }
        }
        let (mut archive, mut own) = (Vec::new(), BTreeSet::new());
        for item in layer {
            if let Kind::HardLink(target) = &item.kind
                && !result.can_link(&item.path, target)
            {
                continue;
            }
            write(&mut archive, item);
            if !matches!(item.kind, Kind::Whiteout | Kind::Opaque) && !result.put(item, &mut own) {
                return (None, archive);
            }
        }
        archive.resize(archive.len() + 1024, 0);
        (Some(result), archive)
    }

    /// Not to a symbolic link: it would get a name that others lie below.
    fn can_link(&self, path: &str, target: &str) -> bool {
        let file = self.0.get(target).and_then(|node| node.file.as_ref());
        file.is_some_and(|file| file.content != NOWHERE)
            && path != target
            && !is_below(target, path)
            && !is_below(path, target)
    }

    /// Puts an entry, and says whether it can be there. `own` are the paths at which the layer has put files.
    fn put(&mut self, item: &Item, own: &mut BTreeSet<String>) -> bool {
        let above = item.path.match_indices('/').map(|(at, _)| item.path[..at].to_owned());
        for directory in above.collect::<Vec<_>>() {
            match self.0.get(&directory) {
                Some(node) if node.file.is_none() => {}
                Some(_) if own.contains(&directory) => return false,
                _ => drop(self.0.insert(directory, Node { mode: 0o755, file: None })),
            }
        }
        let number = self.0.values().filter_map(|node| Some(node.file.as_ref()?.number + 1)).max();
        let file = |content| File { number: number.unwrap_or(0), content };
        let node = match &item.kind {
            Kind::HardLink(target) => self.0[target].clone(),
            Kind::Symlink => Node { mode: 0o777, file: Some(file(NOWHERE.to_owned())) },
            Kind::File => Node { mode: item.mode, file: Some(file(content(item))) },
            _ => Node { mode: item.mode, file: None },
        };
        if node.file.is_some() {
            self.0.retain(|path, _| !is_below(path, &item.path));
            own.insert(item.path.clone());
        }
        self.0.insert(item.path.clone(), node);
        true
    }

    fn shown(&self) -> String {
        let mut groups: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        let mut lines = Vec::new();
        for (path, node) in &self.0 {
            let content = node.file.as_ref().map_or("directory", |file| &file.content);
            lines.push(format!("/{path} {:o} {content}", node.mode));
            node.file.iter().for_each(|file| groups.entry(file.number).or_default().push(format!("/{path}")));
        }
        text(lines, groups.into_values())
    }
}

fn content(item: &Item) -> String {
    format!("{}{:o}", item.path, item.mode)
}

fn text(mut lines: Vec<String>, groups: impl Iterator<Item = Vec<String>>) -> String {
    lines.sort_unstable();
    let mut groups: Vec<String> =
        groups.filter(|group| group.len() > 1).map(|group| format!("= {}", group.join(" "))).collect();
    groups.sort_unstable();
    [lines, groups].concat().join("\n")
}

fn shown(store: &MemoryObjects, snapshot: &Snapshot) -> String {
    let mut lines = vec![format!("/ {:o} directory", snapshot.root.mode)];
    let walked = walk(store, &snapshot.tree, &mut |path, entry| {
        let content = match &entry.kind {
            TreeKind::Directory(_) => "directory".to_owned(),
            TreeKind::Symlink(target) => format!("-> {}", String::from_utf8_lossy(target)),
            TreeKind::File { object, .. } => {
                String::from_utf8_lossy(&store.bytes(object).expect("it was stored")).into_owned()
            }
            other => format!("{other:?}"),
        };
        lines.push(format!("{path} {:o} {content}", entry.metadata.mode));
        Ok(())
    });
    walked.expect("the tree is there");
    let groups = snapshot.links.groups().iter();
    text(lines, groups.map(|group| group.iter().map(ToString::to_string).collect()))
}

/// An archive of these items, without the marker of its end.
pub fn archive(items: &[Item]) -> Vec<u8> {
    let mut archive = Vec::new();
    items.iter().for_each(|item| write(&mut archive, item));
    archive
}

/// Writes a header as POSIX has it (pax, "ustar Interchange Format"), and what the item holds.
fn write(archive: &mut Vec<u8>, item: &Item) {
    let name = item.path.rsplit('/').next().unwrap_or_default();
    let content = if item.kind == Kind::File { content(item) } else { String::new() };
    let (kind, path, target) = match &item.kind {
        Kind::Directory => (b'5', join(&item.path, "."), ""),
        Kind::File => (b'0', item.path.clone(), ""),
        Kind::Symlink => (b'2', item.path.clone(), "nowhere"),
        Kind::HardLink(target) => (b'1', item.path.clone(), target.as_str()),
        Kind::Whiteout => (b'0', join(parent(&item.path), &format!(".wh.{name}")), ""),
        Kind::Opaque => (b'0', join(&item.path, ".wh..wh..opq"), ""),
    };
    let mut header = [0; 512];
    let mut set = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    set(0, &path);
    set(100, &format!("{:07o}", item.mode));
    for at in [108, 116] {
        set(at, "0000000");
    }
    set(124, &format!("{:011o}", content.len()));
    set(136, "00000000000");
    set(148, "        ");
    set(157, target);
    set(257, "ustar\x0000");
    header[156] = kind;
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    archive.extend_from_slice(&header);
    archive.extend_from_slice(content.as_bytes());
    archive.resize(archive.len().next_multiple_of(512), 0);
}
