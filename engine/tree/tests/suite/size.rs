//! Large and deep trees. Nothing here is timed: what grows too fast does not end.

use crate::text::{file, metadata, path};
use rbuild_tree::{
    Branch, Editor, Entry, Kind, MemoryStore, Merged, Pattern, Policy, Snapshot, Tree, TreePath, TreeStore,
    apply, diff, encoding, find, lookup, merge, resolve, walk,
};

fn deep_path(depth: usize) -> TreePath {
    path(&vec!["d"; depth].join("/"))
}

fn deep(store: &dyn TreeStore, depth: usize, content: &str) -> Snapshot {
    let mut editor = Editor::new(store, &Snapshot::scratch());
    let at = deep_path(depth);
    editor.make_directories(&at.parent().unwrap(), &metadata(0o755, 0), &metadata(0o755, 0)).unwrap();
    editor.insert(&at, file(content)).unwrap();
    editor.finish().unwrap()
}

#[test]
fn deep_trees_work_down_to_the_limit() {
    for depth in [200, encoding::MAX_DEPTH] {
        let store = MemoryStore::default();
        let (base, left, right) =
            (deep(&store, depth, "x"), deep(&store, depth, "y"), deep(&store, depth, "y"));
        let delta = diff(&store, &base, &left).unwrap();
        let read = encoding::decode_delta(&encoding::encode_delta(&delta)).unwrap();
        assert_eq!(read.clone(), delta);
        assert_eq!(apply(&store, &base, &read).unwrap(), left);
        assert_eq!(apply(&store, &base, &diff(&store, &base, &base).unwrap()).unwrap(), base);
        let both = [Branch { name: "l", snapshot: &left }, Branch { name: "r", snapshot: &right }];
        let merged = merge(&store, &base, &both, Policy::Error, &mut |_| None).unwrap();
        assert_eq!(merged, Merged::Snapshot(left.clone()));
        let mut count = 0;
        walk(&store, &base.tree, &mut |_, _| {
            count += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(count, depth);
        assert!(lookup(&store, &base, &deep_path(depth)).unwrap().is_some());
        assert!(resolve(&store, &base, deep_path(depth).as_bytes(), true).unwrap().found.is_some());
        let found = find(&mut Editor::new(&store, &base), &Pattern::parse("**/d").unwrap()).unwrap();
        assert_eq!(found.len(), depth);
    }
}

#[test]
fn deeper_trees_are_refused() {
    let store = MemoryStore::default();
    let build = |content| {
        let mut entry = file(content);
        for _ in 0..encoding::MAX_DEPTH + 100 {
            let tree = store.put_tree(&Tree::from_entries([(Box::from(*b"d"), entry)])).unwrap();
            entry = Entry { metadata: metadata(0o755, 0), kind: Kind::Directory(tree) };
        }
        let Kind::Directory(tree) = entry.kind else { panic!() };
        Snapshot { tree, ..Snapshot::scratch() }
    };
    let (base, result) = (build("x"), build("y"));
    let too_deep = |error: rbuild_tree::Error| {
        let text = error.to_string();
        assert!(text.ends_with("nests deeper than 2000 directories") && text.len() < 200, "{text}");
    };
    too_deep(diff(&store, &base, &result).unwrap_err());
    too_deep(walk(&store, &base.tree, &mut |_, _| Ok(())).unwrap_err());
    let mut editor = Editor::new(&store, &base);
    too_deep(editor.insert(&deep_path(encoding::MAX_DEPTH + 1), file("z")).unwrap_err());
    too_deep(
        editor
            .make_directories(&deep_path(encoding::MAX_DEPTH + 200), &metadata(0o755, 0), &metadata(0o755, 0))
            .unwrap_err(),
    );
    let third = build("z");
    let both = [Branch { name: "l", snapshot: &result }, Branch { name: "r", snapshot: &third }];
    too_deep(merge(&store, &base, &both, Policy::Error, &mut |_| None).unwrap_err());
    assert_eq!(apply(&store, &base, &diff(&store, &base, &base).unwrap()).unwrap(), base);
}

#[test]
fn a_directory_of_100_000_names_is_filled_one_by_one() {
    let store = MemoryStore::default();
    let mut editor = Editor::new(&store, &Snapshot::scratch());
    editor.make_directories(&path("wide"), &metadata(0o755, 0), &metadata(0o755, 0)).unwrap();
    let name = |at: usize| path(&format!("wide/{:06}", (at * 7_919) % 100_000));
    for at in 0..100_000 {
        editor.insert(&name(at), file("x")).unwrap();
    }
    let base = editor.finish().unwrap();
    let mut editor = Editor::new(&store, &base);
    for at in 0..50_000 {
        assert!(editor.remove(&name(at)).unwrap());
        assert!(
            editor.get(&name(at)).unwrap().is_none() && editor.get(&name(at + 50_000)).unwrap().is_some()
        );
    }
    let half = editor.finish().unwrap();
    assert_eq!(Editor::new(&store, &half).list(&path("wide")).unwrap().len(), 50_000);
    let delta = diff(&store, &base, &half).unwrap();
    assert_eq!(apply(&store, &base, &delta).unwrap(), half);
}

#[test]
fn a_hundred_thousand_links_are_kept_changed_and_merged() {
    let store = MemoryStore::default();
    let mut editor = Editor::new(&store, &Snapshot::scratch());
    for directory in ["one", "two"] {
        editor.make_directories(&path(directory), &metadata(0o755, 0), &metadata(0o755, 0)).unwrap();
    }
    editor.insert(&path("one/all"), file("x")).unwrap();
    for at in 0..50_000 {
        let (first, second) = (path(&format!("one/{at}")), path(&format!("two/{at}")));
        editor.insert(&first, file("x")).unwrap();
        editor.link(&first, &second).unwrap();
        editor.link(&path("one/all"), &path(&format!("one/all{at}"))).unwrap();
    }
    let base = editor.finish().unwrap();
    assert_eq!(base.links.groups().len(), 50_001);
    let mut editor = Editor::new(&store, &base);
    editor.set_metadata(&path("one/all7"), metadata(0o600, 0)).unwrap();
    assert_eq!(editor.linked(&path("one/all")).len(), 50_001);
    let left = editor.finish().unwrap();
    let mut editor = Editor::new(&store, &base);
    editor.link(&path("one/all"), &path("two/all")).unwrap();
    editor.remove(&path("one/all8")).unwrap();
    let right = editor.finish().unwrap();
    let delta = diff(&store, &left, &right).unwrap();
    assert_eq!(apply(&store, &left, &delta).unwrap(), right);

    let mut editor = Editor::new(&store, &base);
    editor.set_metadata(&path("two/7"), metadata(0o600, 0)).unwrap();
    editor.link(&path("one/9"), &path("two/nine")).unwrap();
    let other = editor.finish().unwrap();
    let both = [Branch { name: "l", snapshot: &other }, Branch { name: "r", snapshot: &right }];
    let Merged::Snapshot(merged) = merge(&store, &base, &both, Policy::Error, &mut |_| None).unwrap() else {
        panic!("they disagree about nothing");
    };
    assert_eq!(merged.links.groups().len(), 50_001);
    assert_eq!(lookup(&store, &merged, &path("one/7")).unwrap().unwrap().metadata.mode, 0o600);
}
