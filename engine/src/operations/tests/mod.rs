//! Trees as text, and steps as a build file has them.
//!
//! A line is a path and what differs from a file of root:root 0644 and [`OLD`] time: `/d/` a directory (0755),
//! `=text` content, `->target` a symbolic link, `==/path` another name of that file, `fifo`, `0750` the mode, `5:6` the
//! owner, `*` the epoch, `@7` another time, `cap` a capability. Directories on the way need no line.
#![allow(clippy::unwrap_used)]

mod accounts;
mod attributes;
mod copy;
mod digest;
mod entries;
mod export;
mod model;

use super::{Applied, Context, OperationError, Trees};
use crate::{
    error::Error,
    spec::{
        self,
        types::{Artifact, Body, Reference},
    },
    store::Store,
};
use rbuild_tree::{
    Editor, Entry, Kind, Metadata, Snapshot, Timestamp, Tree, TreePath, TreeStore, lookup, walk,
};
use std::{collections::BTreeMap, fs, sync::Arc};
use tempfile::TempDir;

const EPOCH: i64 = 1_000_000;
const OLD: i64 = 500;
const CAPABILITY: &[u8] = b"security.capability";

/// A store and the trees that steps copy from.
pub(super) struct World {
    pub(super) folder: TempDir,
    pub(super) store: Arc<Store>,
    trees: BTreeMap<String, Snapshot>,
}

impl Trees for World {
    fn tree(&self, reference: &Reference) -> Result<Snapshot, Error> {
        let known = self.trees.get(&reference.name).cloned();
        known.ok_or_else(|| Error::internal(format!("no tree {}", reference.name)))
    }
}

impl World {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        Self { folder, store, trees: BTreeMap::new() }
    }

    /// Over the same store, with no tree to copy from.
    pub(super) fn again(&self) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), store: self.store.clone(), trees: BTreeMap::new() }
    }

    /// With one tree to copy from, named `src`.
    pub(super) fn with(lines: &str) -> Self {
        let mut world = Self::new();
        world.add("src", lines);
        world
    }

    pub(super) fn add(&mut self, name: &str, lines: &str) {
        let tree = self.snapshot(lines);
        self.trees.insert(name.to_owned(), tree);
    }

    pub(super) fn add_snapshot(&mut self, name: &str, snapshot: Snapshot) {
        self.trees.insert(name.to_owned(), snapshot);
    }

    pub(super) fn context(&self) -> Context<'_> {
        Context { store: &self.store, trees: self, epoch: Timestamp::from_seconds(EPOCH) }
    }

    /// The tree of these lines.
    pub(super) fn snapshot(&self, lines: &str) -> Snapshot {
        let base =
            Snapshot { root: Metadata::root(0o755, Timestamp::from_seconds(OLD)), ..Snapshot::scratch() };
        let mut editor = Editor::new(&*self.store, &base);
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            self.add_line(&mut editor, line);
        }
        editor.finish().unwrap()
    }

    fn add_line(&self, editor: &mut Editor<'_>, line: &str) {
        let mut words = line.split_whitespace();
        let text = words.next().unwrap();
        let path = tree_path(text);
        let directory = Metadata::root(0o755, Timestamp::from_seconds(OLD));
        if let Some(parent) = path.parent() {
            editor.make_directories(&parent, &directory, &directory).unwrap();
        }
        let mut metadata = Metadata { mode: 0o644, ..directory };
        let mut kind = self.file(b"");
        if text.ends_with('/') {
            (metadata.mode, kind) = (0o755, Kind::Directory(Tree::default().id()));
        }
        for word in words {
            if let Some(other) = word.strip_prefix("==") {
                return editor.link(&tree_path(other), &path).unwrap();
            } else if let Some(content) = word.strip_prefix('=') {
                kind = self.file(content.as_bytes());
            } else if let Some(target) = word.strip_prefix("->") {
                (metadata.mode, kind) = (0o777, Kind::Symlink(target.as_bytes().into()));
            } else if let Some(time) = word.strip_prefix('@') {
                metadata.mtime = Timestamp::from_seconds(time.parse().unwrap());
            } else if let Some((uid, gid)) = word.split_once(':') {
                (metadata.uid, metadata.gid) = (uid.parse().unwrap(), gid.parse().unwrap());
            } else {
                match word {
                    "*" => metadata.mtime = Timestamp::from_seconds(EPOCH),
                    "fifo" => kind = Kind::Fifo,
                    "socket" => kind = Kind::Socket,
                    "cap" => drop(metadata.xattrs.insert(CAPABILITY.into(), (*b"x").into())),
                    mode => metadata.mode = u32::from_str_radix(mode, 8).unwrap(),
                }
            }
        }
        editor.insert(&path, Entry { metadata, kind }).unwrap();
    }

    fn file(&self, content: &[u8]) -> Kind {
        Kind::File { object: self.store.put_object(content).unwrap(), size: content.len() as u64 }
    }

    /// A tree as lines; the root has one only if it differs from a new tree's.
    pub(super) fn lines(&self, snapshot: &Snapshot) -> Vec<String> {
        let mut lines = Vec::new();
        let root = Entry { metadata: snapshot.root.clone(), kind: Kind::Directory(snapshot.tree) };
        let root = self.line("", &root);
        if root != "/" {
            lines.push(root);
        }
        let first_name: BTreeMap<&TreePath, &TreePath> = snapshot
            .links
            .groups()
            .iter()
            .flat_map(|group| group[1..].iter().map(move |name| (name, &group[0])))
            .collect();
        walk(&*self.store, &snapshot.tree, &mut |path, entry| {
            lines.push(match first_name.get(path) {
                Some(first) => {
                    assert_eq!(lookup(&*self.store, snapshot, first)?.as_ref(), Some(entry), "{path}");
                    format!("{path} =={first}")
                }
                None => self.line(&path.to_string(), entry),
            });
            Ok(())
        })
        .unwrap();
        lines
    }

    fn line(&self, path: &str, entry: &Entry) -> String {
        let Metadata { mode, uid, gid, mtime, xattrs } = &entry.metadata;
        let (mut line, usual) = match &entry.kind {
            Kind::Directory(_) => (format!("{path}/"), 0o755),
            Kind::File { object, size } => {
                let content = String::from_utf8(self.store.read_object(object).unwrap()).unwrap();
                assert_eq!(content.len() as u64, *size);
                let content = if content.is_empty() { content } else { format!(" ={content}") };
                (format!("{path}{content}"), 0o644)
            }
            Kind::Symlink(target) => (format!("{path} ->{}", String::from_utf8_lossy(target)), 0o777),
            other => (format!("{path} {}", other.word()), 0o644),
        };
        if *mode != usual {
            line += &format!(" {mode:04o}");
        }
        if (*uid, *gid) != (0, 0) {
            line += &format!(" {uid}:{gid}");
        }
        match mtime.seconds {
            OLD => {}
            EPOCH => line += " *",
            other => line += &format!(" @{other}"),
        }
        for name in xattrs.keys() {
            line += if **name == *CAPABILITY { " cap" } else { " xattr" };
        }
        line
    }

    /// The body of a step of these lines of TOML.
    pub(super) fn body(&self, toml: &str) -> Body {
        self.spec(&format!("[step.s]\n{toml}\n")).steps["s"].body.clone()
    }

    /// The artifact of these lines of TOML.
    pub(super) fn artifact(&self, toml: &str) -> Artifact {
        self.spec(&format!("[artifact.a]\nfrom = \"src\"\n{toml}\n")).artifacts["a"].clone()
    }

    fn spec(&self, tables: &str) -> spec::Spec {
        let sources: String =
            self.trees.keys().map(|name| format!("[source.{name}]\npath = \".\"\n")).collect();
        let path = self.folder.path().join("build.toml");
        fs::write(&path, format!("version = 1\n{sources}{tables}")).unwrap();
        match spec::load(&path, &spec::Inputs::default(), EPOCH) {
            Ok(loaded) => loaded.spec,
            Err(wrong) => panic!("{wrong:?}"),
        }
    }

    /// What a step of these lines makes of a tree.
    pub(super) fn try_apply(&self, base: &str, toml: &str) -> Result<Applied, OperationError> {
        let body = self.body(toml);
        let base = self.snapshot(base);
        let applied = super::apply(&self.context(), &body, &base)?;
        super::remove(&self.context(), &body.remove, &applied.snapshot)
    }

    pub(super) fn apply(&self, base: &str, toml: &str) -> Vec<String> {
        match self.try_apply(base, toml) {
            Ok(applied) => self.lines(&applied.snapshot),
            Err(error) => panic!("{error}"),
        }
    }

    /// A step of these lines makes just this of a tree.
    #[track_caller]
    pub(super) fn check(&self, base: &str, toml: &str, expected: &str) {
        assert_eq!(self.apply(base, toml), lines_of(expected), "{toml}\non{base}");
    }

    /// A step of these lines fails with this code, and these words are in what it says, hints and all.
    #[track_caller]
    pub(super) fn refuses(&self, base: &str, toml: &str, code: &str, words: &[&str]) {
        let error = match self.try_apply(base, toml) {
            Ok(applied) => panic!("{toml}\nis done: {:?}", self.lines(&applied.snapshot)),
            Err(error) => error,
        };
        assert_eq!(error.code(), Some(code), "{error}");
        assert!(error.span().is_some(), "{error}: has no place");
        let told = format!("{error} {}", error.hints().join(" "));
        for word in words {
            assert!(told.contains(word), "{told:?} lacks {word:?}");
        }
    }

    /// The content of a file of a tree.
    pub(super) fn text(&self, snapshot: &Snapshot, path: &str) -> String {
        match lookup(&*self.store, snapshot, &tree_path(path)).unwrap().map(|entry| entry.kind) {
            Some(Kind::File { object, .. }) => {
                String::from_utf8(self.store.read_object(&object).unwrap()).unwrap()
            }
            other => panic!("{path} is {other:?}"),
        }
    }

    /// `base` with a file of any content.
    pub(super) fn with_text(&self, base: &Snapshot, path: &str, content: &str, mode: u32) -> Snapshot {
        let mut editor = Editor::new(&*self.store, base);
        let directory = Metadata::root(0o755, Timestamp::from_seconds(OLD));
        editor.make_directories(&tree_path(path).parent().unwrap(), &directory, &directory).unwrap();
        let metadata = Metadata { mode, ..directory };
        editor.insert(&tree_path(path), Entry { metadata, kind: self.file(content.as_bytes()) }).unwrap();
        editor.finish().unwrap()
    }
}

pub(super) fn tree_path(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).unwrap()
}

/// The lines of a text, without blanks at their ends; those that are empty vanish.
pub(super) fn lines_of(text: &str) -> Vec<String> {
    text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

#[test]
fn trees_as_text_are_read_as_they_are_written() {
    let world = World::new();
    let text = "
        /a/ 0700 1:2 *
        /a/f =x 4755 @7 cap
        /a/g ==/a/f
        /l ->a/f
        /p fifo";
    assert_eq!(world.lines(&world.snapshot(text)), lines_of(text));
    assert!(world.store.tree(&world.snapshot(text).tree).unwrap().get(b"l").is_some());
}

#[test]
fn errors_name_the_field_with_its_index() {
    let world = World::with("/f =x");
    let toml =
        "copy = [{ from = 'src', src = '/f', dest = '/a' }, { from = 'src', src = '/g', dest = '/b' }]";
    let error = world.try_apply("", toml).unwrap_err();
    assert_eq!(error.field(), Some("copy[1]"));
    assert_eq!(error.to_string(), "copy[1]: `src` has no /g");
    let told = Error::from(error);
    assert_eq!((told.kind().exit_code(), told.code()), (1, Some("no-match")));
    assert_eq!(told.message(), "copy[1]: `src` has no /g");
    assert_eq!(told.hints(), ["say `optional = true` if that is fine"]);
}

#[test]
fn operations_follow_the_order_of_the_fields() {
    let world = World::with("/etc/passwd =copied\n/f =copied");
    // A file wins over a copy, a link over a file, whatever their order in the build file; owners come first.
    world.check(
        "",
        "links = [{ path = '/l', target = 'x' }]
         files = [{ path = '/l', content = 'file' }, { path = '/f', content = 'file', owner = 'app' }]
         copy = [{ from = 'src', src = '/f', dest = '/' }]
         remove = ['/etc']
         users = [{ name = 'app', uid = 7 }]",
        "/ *
         /f =file 7:7 *
         /l ->x *",
    );
}
