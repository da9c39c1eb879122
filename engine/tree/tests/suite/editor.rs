//! The editor: against a model, and what a model does not show.

use crate::{
    generate::{Model, any_ops, content, edit},
    text::{assert_sound, change, file, metadata, path, show, snapshot, symlink},
};
use proptest::prelude::*;
use rbuild_tree::{
    Editor, Entry, Error, Kind, MemoryStore, Result, Snapshot, Timestamp, Tree, TreeId, TreeStore, subtree,
};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn it_does_what_a_plain_model_does(ops in any_ops(), more in any_ops()) {
        let store = MemoryStore::default();
        let (mut model, mut base) = (Model::default(), Snapshot::scratch());
        for ops in [ops, more] {
            let mut editor = Editor::new(&store, &base);
            for op in &ops {
                prop_assert_eq!(edit(&mut editor, op), model.edit(op), "{:?}", op);
            }
            base = editor.finish().unwrap();
            prop_assert_eq!(content(&store, &base), model.content());
            assert_sound(&store, &base);
        }
    }

    #[test]
    fn the_same_content_has_the_same_identity_however_it_came_to_be(ops in any_ops()) {
        let store = MemoryStore::default();
        let one = crate::generate::changed(&store, &Snapshot::scratch(), &ops);
        let mut two = Snapshot::scratch();
        for op in &ops {
            two = crate::generate::changed(&store, &two, std::slice::from_ref(op));
        }
        prop_assert_eq!(one.id(), two.id());
    }
}

/// Counts what is fetched and written.
#[derive(Default)]
struct Counting {
    inner: MemoryStore,
    reads: AtomicUsize,
    writes: AtomicUsize,
}

impl Counting {
    fn take(&self) -> (usize, usize) {
        (self.reads.swap(0, Ordering::Relaxed), self.writes.swap(0, Ordering::Relaxed))
    }
}

impl TreeStore for Counting {
    fn tree(&self, id: &TreeId) -> Result<Arc<Tree>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.tree(id)
    }
    fn put_tree(&self, tree: &Tree) -> Result<TreeId> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.inner.put_tree(tree)
    }
}

#[test]
fn only_directories_on_the_way_are_read_and_only_changed_ones_written() {
    let store = Counting::default();
    let base = snapshot(&store, "a/b/c/f = x; a/d/f = x; e/f = x; g/h/i = x");
    store.take();
    let mut editor = Editor::new(&store, &base);
    assert_eq!(store.take(), (0, 0), "nothing is read before something is asked for");
    assert!(editor.get(&path("a/b/c/f")).unwrap().is_some());
    assert_eq!(store.take(), (4, 0));
    editor.get(&path("a/b/c/other")).unwrap();
    assert_eq!(store.take(), (0, 0), "what was read is kept");
    editor.insert(&path("a/d/f"), file("y")).unwrap();
    editor.finish().unwrap();
    assert_eq!(store.take(), (1, 3), "a/d, a and the root");

    let mut editor = Editor::new(&store, &base);
    editor.list(&path("g/h")).unwrap();
    assert_eq!(editor.finish().unwrap(), base);
    assert_eq!(store.take(), (3, 0), "looking changes nothing");
}

#[test]
fn it_says_what_is_in_the_way() {
    let store = MemoryStore::default();
    let base = snapshot(&store, "f = x; d/f = y; l -> d; h => f");
    let mut editor = Editor::new(&store, &base);
    let directory = metadata(0o755, 0);
    let cases = [
        (editor.insert(&path("f/x"), file("x")), "/f: is a file, not a directory"),
        (editor.insert(&path("l/x"), file("x")), "/l: is a symbolic link, not a directory"),
        (editor.insert(&path("n/m/x"), file("x")), "/n: does not exist"),
        (editor.insert(&path(""), file("x")), "/: the root can't be a file"),
        (editor.list(&path("d/f")).map(drop), "/d/f: is a file, not a directory"),
        (editor.list(&path("no")).map(drop), "/no: does not exist"),
        (editor.link(&path("d"), &path("e")), "/d: is a directory, which can't be hard-linked"),
        (editor.link(&path("no"), &path("e")), "/no: does not exist"),
        (editor.link(&path("d/f"), &path("d")), "/d: is a directory that holds the file to be linked, /d/f"),
        (editor.remove(&path("")).map(drop), "/: the root directory can't be removed"),
        (editor.set_metadata(&path("no"), directory.clone()), "/no: does not exist"),
        (editor.make_directories(&path("d/f/g"), &directory, &directory), "/d/f: is a file, not a directory"),
        (
            editor.make_directories(&path("l/g"), &directory, &directory),
            "/l: is a symbolic link, not a directory",
        ),
    ];
    for (result, message) in cases {
        assert_eq!(result.unwrap_err().to_string(), message);
    }
    assert!(!editor.remove(&path("f/x")).unwrap() && !editor.remove(&path("no/no")).unwrap());
    assert_eq!(editor.get(&path("l/f")).unwrap(), None, "no link is followed");
    assert_eq!(editor.finish().unwrap(), base, "what failed left no trace");
}

#[test]
fn links_follow_what_happens_to_their_paths() {
    let cases = [
        ("b => a", "a = x; b => a"),
        ("b => a; c => b; d/e => a", "a = x; b => a; c => a; d/e => a"),
        ("b => a; b = y", "a = x; b = y"),
        ("b => a; c => a; - a", "b = x; c => b"),
        ("b => a; - a", "b = x"),
        ("b => a; - b; b/", "a = x; b/"),
        ("d/b => a; d/e/c => a; - d", "a = x"),
        ("d/b => a; d/e/c => a; d = y", "a = x; d = y"),
        ("b => a; b = y; b => a", "a = x; b => a"),
        ("b => a; c = z; c => b", "a = x; b => a; c => a"),
        ("b => a; c = z; d => c; c => a", "a = x; b => a; c => a; d = z"),
        ("b => a; b ! 600", "a = x ! 600; b => a ! 600"),
        ("d/b => a; d-/b => a; d0 => a; - d", "a = x; d-/b => a; d0 => a"),
    ];
    for (lines, expected) in cases {
        let store = MemoryStore::default();
        let base = snapshot(&store, "a = x");
        let result = change(&store, &base, lines);
        let expected = snapshot(&store, expected);
        assert_eq!(show(&store, &result), show(&store, &expected), "{lines}");
        assert_eq!(result, expected, "{lines}");
    }
}

#[test]
fn names_that_come_and_go_touch_their_directory() {
    let store = MemoryStore::default();
    let base = snapshot(&store, "d/f = x @ 9; d/ @ 9; e/g/h = x; e/g/ @ 9; e/ @ 9");
    let run = |change: &dyn Fn(&mut Editor<'_>)| {
        let mut editor = Editor::new(&store, &base).touching(Timestamp::from_seconds(5));
        change(&mut editor);
        editor.finish().unwrap()
    };
    let times = |snapshot: &Snapshot| {
        let mut editor = Editor::new(&store, snapshot);
        ["", "d", "e", "e/g"].map(|at| editor.get(&path(at)).unwrap().unwrap().metadata.mtime.seconds)
    };
    assert_eq!(times(&base), [0, 9, 9, 9]);
    assert_eq!(times(&run(&|editor| editor.insert(&path("d/new"), file("y")).unwrap())), [0, 5, 9, 9]);
    assert_eq!(times(&run(&|editor| editor.insert(&path("d/f"), file("y")).unwrap())), [0, 9, 9, 9]);
    assert_eq!(times(&run(&|editor| assert!(editor.remove(&path("e/g/h")).unwrap()))), [0, 9, 9, 5]);
    assert_eq!(times(&run(&|editor| assert!(!editor.remove(&path("e/g/no")).unwrap()))), [0, 9, 9, 9]);
    assert_eq!(times(&run(&|editor| editor.link(&path("d/f"), &path("e/l")).unwrap())), [0, 9, 5, 9]);
    let directory = metadata(0o755, 7);
    assert_eq!(
        times(&run(&|editor| editor.make_directories(&path("e/n/m"), &directory, &directory).unwrap())),
        [0, 9, 5, 9]
    );
    assert_eq!(times(&change(&store, &base, "d/new = y")), [0, 9, 9, 9], "an importer keeps times");
}

#[test]
fn directories_are_made_where_they_are_missing() {
    let store = MemoryStore::default();
    let base = snapshot(&store, "a/ ! 700");
    let mut editor = Editor::new(&store, &base);
    editor.make_directories(&path("a/b/c"), &metadata(0o755, 1), &metadata(0o711, 2)).unwrap();
    editor.make_directories(&path("a"), &metadata(0o755, 1), &metadata(0o711, 2)).unwrap();
    editor.make_directories(&path(""), &metadata(0o755, 1), &metadata(0o711, 2)).unwrap();
    let result = editor.finish().unwrap();
    assert_eq!(show(&store, &result), ["a/ ! 700", "a/b/ @ 1", "a/b/c/ @ 2 ! 711"]);
}

#[test]
fn an_entry_of_a_changed_directory_has_its_digest() {
    let store = MemoryStore::default();
    let base = snapshot(&store, "a/b/f = x; c/");
    let mut editor = Editor::new(&store, &base);
    editor.insert(&path("a/b/g"), file("y")).unwrap();
    let entry = editor.entry(&path("a")).unwrap().unwrap();
    editor.insert(&path("c/copy"), entry).unwrap();
    editor.insert(&path("a/b/h"), file("z")).unwrap();
    let whole = editor.entry(&path("")).unwrap().unwrap();
    let result = editor.finish().unwrap();
    assert_eq!(
        show(&store, &result),
        ["a/b/f = x", "a/b/g = y", "a/b/h = z", "c/copy/b/f = x", "c/copy/b/g = y"]
    );
    assert_eq!(whole, Entry { metadata: result.root, kind: Kind::Directory(result.tree) });
}

#[test]
fn a_subtree_can_be_taken_out_and_grafted_with_its_links() {
    let store = MemoryStore::default();
    let base = snapshot(&store, "u/a = x; u/l/b => u/a; c => u/a; u/d = y; u/e => u/d; f = z; g => f");
    let part = subtree(&store, &base, &path("u")).unwrap();
    assert_eq!(show(&store, &part), ["a = x", "d = y", "e => d", "l/b => a"]);

    let mut editor = Editor::new(&store, &base);
    editor.insert_snapshot(&path("u/l"), &part).unwrap();
    let result = editor.finish().unwrap();
    assert_eq!(
        show(&store, &result),
        [
            "c = x",
            "f = z",
            "g => f",
            "u/a => c",
            "u/d = y",
            "u/e => u/d",
            "u/l/a = x",
            "u/l/d = y",
            "u/l/e => u/l/d",
            "u/l/l/b => u/l/a"
        ]
    );
    let mut editor = Editor::new(&store, &base);
    editor.insert_snapshot(&path(""), &part).unwrap();
    assert_eq!(editor.finish().unwrap(), part);
    assert_eq!(subtree(&store, &base, &path("")).unwrap(), base);
    for (at, message) in [("c", "/c: is a file, not a directory"), ("no", "/no: does not exist")] {
        assert_eq!(subtree(&store, &base, &path(at)).unwrap_err().to_string(), message);
    }
}

#[test]
fn a_directory_missing_from_the_store_is_an_error_and_the_empty_one_never_is() {
    let store = MemoryStore::default();
    let mut editor = Editor::new(&store, &Snapshot::scratch());
    assert!(editor.list(&path("")).unwrap().is_empty());
    let gone = Entry { metadata: metadata(0o755, 0), kind: Kind::Directory(TreeId::of(b"gone")) };
    editor.insert(&path("d"), gone).unwrap();
    assert!(editor.get(&path("d")).unwrap().unwrap().is_directory());
    assert!(matches!(editor.get(&path("d/f")), Err(Error::Missing { .. })));
    editor.insert(&path("l"), symlink("x")).unwrap();
    assert!(editor.finish().is_ok(), "what was not looked at need not be there");
}
