//! Root filesystems as text: one line a path, so that a test shows what goes in and what comes out.
//!
//! ```text
//! etc/             directory; parents are made
//! etc/hosts = x    file with this content
//! bin -> usr/bin   symbolic link
//! b => a           hard link to an earlier path
//! a @ 7            time in seconds, also at the end of any other line
//! a ! 4755         mode, as well
//! ```

use rbuild_tree::{
    Editor, Entry, Kind, Metadata, ObjectId, Snapshot, Timestamp, TreePath, TreeStore, lookup, walk,
};

pub fn path(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).unwrap()
}

pub fn metadata(mode: u32, seconds: i64) -> Metadata {
    Metadata::root(mode, Timestamp::from_seconds(seconds))
}

pub fn file(content: &str) -> Entry {
    let kind = Kind::File { object: ObjectId::of(content.as_bytes()), size: content.len() as u64 };
    Entry { metadata: metadata(0o644, 0), kind }
}

pub fn symlink(target: &str) -> Entry {
    Entry { metadata: metadata(0o777, 0), kind: Kind::Symlink(target.as_bytes().into()) }
}

pub fn snapshot(store: &dyn TreeStore, lines: &str) -> Snapshot {
    change(store, &Snapshot::scratch(), lines)
}

/// The snapshot after these lines; `- path` takes one away.
pub fn change(store: &dyn TreeStore, base: &Snapshot, lines: &str) -> Snapshot {
    let mut editor = Editor::new(store, base);
    for line in lines.split(['\n', ';']).map(str::trim).filter(|line| !line.is_empty()) {
        change_line(&mut editor, line);
    }
    editor.finish().unwrap()
}

fn change_line(editor: &mut Editor<'_>, line: &str) {
    let (line, mode) = line.split_once(" ! ").map_or((line, None), |(line, mode)| (line, Some(mode)));
    let (line, time) = line.split_once(" @ ").map_or((line, None), |(line, time)| (line, Some(time)));
    let directory = metadata(0o755, 0);
    let parents = |editor: &mut Editor<'_>, at: &TreePath| {
        editor.make_directories(&at.parent().unwrap(), &directory, &directory).unwrap();
    };
    let at = if let Some(gone) = line.strip_prefix("- ") {
        assert!(editor.remove(&path(gone)).unwrap(), "{gone} is not there");
        return;
    } else if let Some((at, target)) = line.split_once(" -> ") {
        parents(editor, &path(at));
        editor.insert(&path(at), symlink(target)).unwrap();
        at
    } else if let Some((at, existing)) = line.split_once(" => ") {
        parents(editor, &path(at));
        editor.link(&path(existing), &path(at)).unwrap();
        at
    } else if let Some((at, content)) = line.split_once(" = ") {
        parents(editor, &path(at));
        editor.insert(&path(at), file(content)).unwrap();
        at
    } else if !line.ends_with('/') {
        line
    } else {
        editor.make_directories(&path(line), &directory, &directory).unwrap();
        line
    };
    let mut metadata = editor.get(&path(at)).unwrap().unwrap().metadata;
    if let Some(time) = time {
        metadata.mtime = Timestamp::from_seconds(time.parse().unwrap());
    }
    if let Some(mode) = mode {
        metadata.mode = u32::from_str_radix(mode, 8).unwrap();
    }
    editor.set_metadata(&path(at), metadata).unwrap();
}

/// Every path in order; directories only if they are empty or not as the notation makes them, metadata with the first
/// name of a file.
pub fn show(store: &dyn TreeStore, snapshot: &Snapshot) -> Vec<String> {
    let first_name = |at: &TreePath| {
        let group = snapshot.links.groups().iter().find(|group| group.contains(at))?;
        (group[0] != *at).then(|| group[0].clone())
    };
    let mut lines = Vec::new();
    walk(store, &snapshot.tree, &mut |at, entry| {
        let text = at.to_string().split_off(1);
        let plain = |mode| entry.metadata.mode == mode && entry.metadata.mtime == Timestamp::default();
        let (line, mode) = match (&entry.kind, first_name(at)) {
            (_, Some(first)) => {
                lines.push(format!("{text} => {}", &first.to_string()[1..]));
                return Ok(());
            }
            (Kind::File { object, .. }, None) => (format!("{text} = {}", content(*object)), 0o644),
            (Kind::Symlink(target), None) => {
                (format!("{text} -> {}", String::from_utf8_lossy(target)), 0o777)
            }
            (Kind::Directory(tree), None) => {
                if !store.tree(tree)?.is_empty() && plain(0o755) {
                    return Ok(());
                }
                (format!("{text}/"), 0o755)
            }
            (kind, None) => (format!("{text} {}", kind.word()), 0o644),
        };
        let time = entry.metadata.mtime.seconds;
        let time = if time == 0 { String::new() } else { format!(" @ {time}") };
        let mode =
            if entry.metadata.mode == mode { String::new() } else { format!(" ! {:o}", entry.metadata.mode) };
        lines.push(line + &time + &mode);
        Ok(())
    })
    .unwrap();
    lines
}

/// Tests use contents of one or two letters: found again by trying.
fn content(object: ObjectId) -> String {
    let letters = || (b'a'..=b'z').chain(b'A'..=b'Z').map(char::from);
    letters()
        .map(String::from)
        .chain(letters().flat_map(|first| letters().map(move |second| format!("{first}{second}"))))
        .find(|text| ObjectId::of(text.as_bytes()) == object)
        .unwrap_or_else(|| object.short())
}

/// What every snapshot must be: linked paths are there, no directories, and equal.
pub fn assert_sound(store: &dyn TreeStore, snapshot: &Snapshot) {
    for group in snapshot.links.groups() {
        let entries: Vec<Entry> =
            group.iter().map(|path| lookup(store, snapshot, path).unwrap().unwrap()).collect();
        assert!(group.len() > 1 && !entries[0].kind.is_directory(), "{group:?}");
        assert!(entries.iter().all(|entry| *entry == entries[0]), "{group:?} is torn: {entries:?}");
    }
}
