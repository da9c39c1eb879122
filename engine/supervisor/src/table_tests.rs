#![allow(clippy::unwrap_used)]
use super::*;
use rustix::fs::CWD;
use std::fs;

fn table() -> OwnerTable {
    OwnerTable::new(("/", ""), None, Vec::new()).unwrap()
}

fn find(table: &OwnerTable, path: &Path) -> Option<Owned> {
    let stat = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, NEEDED).unwrap();
    table.find(&stat, || unreachable!()).unwrap()
}

/// Filesystems give the number of a removed file to the next one, within the same tick.
#[test]
fn a_number_that_is_used_again_has_no_owner() {
    let (folder, table) = (tempfile::tempdir().unwrap(), table());
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    for round in 0..500 {
        let owned = Owned::by(round, 7);
        let file = fs::File::create_new(&first).unwrap();
        table.set_new(file.into(), &owned).unwrap();
        assert_eq!(find(&table, &first), Some(owned));
        fs::remove_file(&first).unwrap();
        fs::write(&second, "").unwrap();
        assert_eq!(find(&table, &second), None, "{round}");
        fs::remove_file(&second).unwrap();
    }
}

#[test]
fn what_a_folder_below_shows_keeps_its_number() {
    let (folder, table) = (tempfile::tempdir().unwrap(), table());
    let path = folder.path().join("file");
    fs::write(&path, "").unwrap();
    let stat = statx(CWD, &path, AtFlags::empty(), NEEDED).unwrap();
    table.state().files.insert(stat.stx_ino, File { born: None, owned: Owned::by(1, 2) });
    assert_eq!(find(&table, &path), Some(Owned::by(1, 2)));
    // A copy is born later.
    let later = Timestamp { seconds: i64::MAX, nanoseconds: 0 };
    assert_eq!(table.of(stat.stx_ino, later), Some(Owned::by(1, 2)));
    table.set(fs::File::open(&path).unwrap().into(), &Owned::by(3, 4)).unwrap();
    assert_eq!(table.of(stat.stx_ino, later), Some(Owned::by(3, 4)));
}

#[test]
fn a_clock_that_was_set_back_stops_nobody() {
    let mut state = State::default();
    let later = Timestamp { seconds: i64::MAX, nanoseconds: 0 };
    for _ in 0..=3 * MOST_HELD {
        state.hold(tempfile::tempfile().unwrap().into(), later);
    }
    assert!(state.held.len() <= MOST_HELD);
}

#[test]
fn entries_are_found_where_they_are_mounted() {
    let place = |target, source, path: &str| {
        let table = OwnerTable::new((target, source), None, Vec::new()).unwrap();
        table.place(&TreePath::parse(path.as_bytes()).unwrap())
    };
    for (target, source, path, expected) in [
        ("/", "", "/a/b", Some("./a/b")),
        ("/", "", "/", Some("./")),
        ("/src", "", "/a", Some("./src/a")),
        ("/src", "file", "/file", Some("./src")),
        ("/src", "file", "/other", None),
    ] {
        assert_eq!(place(target, source, path), expected.map(PathBuf::from), "{target} {source} {path}");
    }
}
