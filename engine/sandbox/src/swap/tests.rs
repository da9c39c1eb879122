#![allow(clippy::unwrap_used)]

use super::*;

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use rustix::fs::{Timespec, Timestamps, utimensat};

/// A root with things that stay, and a tree; gone when dropped.
struct Fixture {
    folder: tempfile::TempDir,
}

/// All that counts of an entry.
type Entries = BTreeMap<String, (u32, i64, Vec<u8>)>;

impl Fixture {
    fn new() -> Self {
        let fixture = Self { folder: tempfile::tempdir().unwrap() };
        for (path, content) in [
            ("root/bin/sh", "their shell"),
            ("root/etc/hosts", "their hosts"),
            ("root/etc/passwd", "theirs"),
            ("root/etc/only/theirs", ""),
            ("root/proc/1/comm", "process"),
            ("root/home/me/store/object", "object"),
            ("root/home/me/file", "theirs"),
            ("root/src/build.toml", "theirs"),
            ("tree/bin/sh", "our shell"),
            ("tree/etc/passwd", "ours"),
            ("tree/home/me/file", "ours"),
            ("tree/src/made", "ours"),
            ("tree/usr/lib/deep/file", "ours"),
        ] {
            let path = fixture.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        fs::create_dir_all(fixture.path("root/.swap")).unwrap();
        for root in ["root", "tree"] {
            symlink("passwd", fixture.path(root).join("etc/link")).unwrap();
        }
        for (path, mode, time) in [
            ("root/etc", 0o750, 5),
            ("root/home/me", 0o700, 6),
            ("root", 0o755, 7),
            ("tree/etc", 0o711, 8),
            ("tree", 0o777, 9),
        ] {
            fs::set_permissions(fixture.path(path), fs::Permissions::from_mode(mode)).unwrap();
            set_time(&fixture.path(path), time);
        }
        fixture
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn swap(&self) -> Swap {
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect();
        Swap {
            root: self.path("root"),
            tree: self.path("tree"),
            folder: self.path("root/.swap"),
            kept: paths(&[".swap", "proc", "etc/hosts", "home/me/store"]),
            open: paths(&["", "etc", "home", "home/me", "src"]),
        }
    }

    /// Without the folder of the swap and what stays, which nobody may change.
    fn entries(&self, name: &str) -> Entries {
        let mut entries = Entries::new();
        read(&self.path(name), Path::new(""), &mut entries);
        entries.retain(|path, _| !path.starts_with("/.swap"));
        entries
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_default()
    }
}

fn set_time(path: &Path, tv_sec: i64) {
    let time = Timespec { tv_sec, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn read(top: &Path, path: &Path, entries: &mut Entries) {
    let place = top.join(path);
    let found = fs::symlink_metadata(&place).unwrap();
    let content = match () {
        () if found.is_dir() => Vec::new(),
        () if found.is_symlink() => fs::read_link(&place).unwrap().as_os_str().as_bytes().into(),
        () => fs::read(&place).unwrap(),
    };
    entries.insert(format!("/{}", path.display()), (found.mode(), found.mtime(), content));
    if found.is_dir() {
        for entry in fs::read_dir(&place).unwrap() {
            read(top, &path.join(entry.unwrap().file_name()), entries);
        }
    }
}

#[test]
fn entries_trade_places_and_come_back() {
    let fixture = Fixture::new();
    let (swap, root, tree) = (fixture.swap(), fixture.entries("root"), fixture.entries("tree"));
    swap.enter().unwrap();
    let inside = fixture.entries("root");
    assert_eq!(fixture.read("root/bin/sh"), "our shell");
    assert_eq!(fixture.read("root/etc/passwd") + &fixture.read("root/etc/hosts"), "ourstheir hosts");
    assert_eq!(fixture.read("root/home/me/store/object"), "object");
    assert!(!inside.contains_key("/etc/only") && inside.contains_key("/usr/lib/deep/file"));
    let [etc, home] = ["/etc", "/home/me"].map(|path| inside[path].clone());
    assert_eq!((etc.0 & 0o777, etc.1, home.0), (0o711, 8, tree["/home/me"].0));
    swap.leave().unwrap();
    assert_eq!((fixture.entries("root"), fixture.entries("tree")), (root, tree));
    assert!(!Swap::restore(&swap.folder).unwrap(), "nothing is left to do");
}

#[test]
fn what_is_done_inside_is_found_in_the_tree() {
    let fixture = Fixture::new();
    let (swap, root) = (fixture.swap(), fixture.entries("root"));
    swap.enter().unwrap();
    let inside = |path: &str| fixture.path("root").join(path);
    fs::write(inside("etc/new"), "new").unwrap();
    fs::remove_file(inside("etc/passwd")).unwrap();
    fs::remove_dir_all(inside("usr/lib")).unwrap();
    // A directory that stays is not safe from that.
    fs::remove_dir_all(inside("src")).unwrap();
    symlink("usr", inside("src")).unwrap();
    fs::set_permissions(inside("etc"), fs::Permissions::from_mode(0o700)).unwrap();
    set_time(&inside("etc"), 100);
    set_time(&inside(""), 101);
    swap.leave().unwrap();
    assert_eq!(fixture.entries("root"), root);
    let tree = fixture.entries("tree");
    let paths: Vec<_> = tree.keys().map(String::as_str).collect();
    assert_eq!(
        paths,
        [
            "/",
            "/bin",
            "/bin/sh",
            "/etc",
            "/etc/link",
            "/etc/new",
            "/home",
            "/home/me",
            "/home/me/file",
            "/src",
            "/usr"
        ]
    );
    assert_eq!((tree["/etc"].0 & 0o777, tree["/etc"].1, tree["/"].1), (0o700, 100, 101));
    assert_eq!(tree["/src"].2, b"usr");
}

/// Ends before each of the moves there are, on the way in and on the way back, and goes on from there.
#[test]
fn from_every_moment_there_is_a_way_back() {
    let ending_after = |moves: usize| {
        let mut left = moves;
        move || match left.checked_sub(1) {
            Some(fewer) => {
                left = fewer;
                Ok(())
            }
            None => Err(Errno::INTR),
        }
    };
    let mut ended = 0;
    for moves in 0.. {
        let fixture = Fixture::new();
        let (swap, root) = (fixture.swap(), fixture.entries("root"));
        let is_in = swap.enter_by(&mut ending_after(moves)).is_ok();
        for again in 0..=moves {
            // The way back ends early as often.
            let Some(state) = State::load(&swap.folder).unwrap() else { break };
            let _ = state.go_back(&mut ending_after(again));
        }
        Swap::restore(&swap.folder).unwrap();
        assert_eq!(fixture.entries("root"), root, "{moves}");
        assert_eq!(fs::read_dir(swap.folder).unwrap().count(), 0, "{moves}");
        if is_in {
            break;
        }
        ended += 1;
    }
    assert!(ended > 10, "{ended}");
}

/// A directory takes along what stays in it, such as a mount.
#[test]
fn what_stays_is_brought_back() {
    for (from, to) in
        [("home", "usr/house"), ("home/me", "me"), ("home/me/store", "etc/store"), ("etc", "etc.old")]
    {
        let fixture = Fixture::new();
        let (swap, root) = (fixture.swap(), fixture.entries("root"));
        swap.enter().unwrap();
        fs::rename(fixture.path("root").join(from), fixture.path("root").join(to)).unwrap();
        // And something else has its place.
        fs::create_dir(fixture.path("root").join(from)).unwrap();
        fs::write(fixture.path("root").join(from).join("other"), "").unwrap();
        assert_eq!(swap.enter().unwrap_err().part, Part::InPlace, "one is under way");
        let told = swap.leave().unwrap_err().operation;
        assert!(told.contains(&format!("moved /{from}, where something of the container stays")), "{told}");
        assert_eq!(fixture.entries("root"), root, "{from}");
        assert_eq!(fixture.read("root/home/me/store/object"), "object");
        assert!(!Swap::is_under_way(&swap.folder));
    }
}

/// As after a directory of a layer was moved in part.
#[test]
fn halves_of_a_directory_become_one() {
    let fixture = Fixture::new();
    let swap = fixture.swap();
    let root = fixture.entries("root");
    let state = State {
        attributes: swap
            .open
            .iter()
            .map(|path| attributes(&top(&swap.root).unwrap(), path, "").unwrap())
            .collect(),
        identities: swap.identities(),
        swap,
        stage: Stage::Leaving,
    };
    state.write().unwrap();
    let aside = fixture.path("root/.swap/aside/etc/only");
    fs::create_dir_all(&aside).unwrap();
    fs::rename(fixture.path("root/etc/only/theirs"), aside.join("theirs")).unwrap();
    Swap::restore(&state.swap.folder).unwrap();
    let without_times = |entries: Entries| -> Vec<_> {
        entries.into_iter().map(|(path, (mode, _, content))| (path, mode, content)).collect()
    };
    assert_eq!(without_times(fixture.entries("root")), without_times(root));
}

/// On the kernel's overlay filesystem, as a container has it.
#[test]
fn directories_of_a_layer() {
    let fixture = Fixture::new();
    fs::hard_link(fixture.path("root/bin/sh"), fixture.path("root/bin/bash")).unwrap();
    fs::write(fixture.path("root/bin/large"), vec![7; 3 << 20]).unwrap();
    rustix::fs::setxattr(fixture.path("root/bin/sh"), "user.note", b"kept", rustix::fs::XattrFlags::empty())
        .unwrap();
    set_time(&fixture.path("root/bin/large"), 11);
    set_time(&fixture.path("root/bin/sh"), 12);
    set_time(&fixture.path("root/bin"), 13);
    let mounted = || {
        use nix::mount::{MsFlags, mount};
        use nix::sched::{CloneFlags, unshare};
        let none: Option<&str> = None;
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        let [lower, upper, work] = ["root", "upper", "work"].map(|name| fixture.path(name));
        for path in [&upper, &work] {
            fs::create_dir(path).unwrap();
        }
        let options =
            format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
        mount(Some("overlay"), &lower, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            if mounted().is_err() {
                // An ordinary user may not.
                return;
            }
            let tree = fixture.path("root/.swap/tree");
            let copied =
                std::process::Command::new("cp").arg("-a").args([&fixture.path("tree"), &tree]).status();
            assert!(copied.unwrap().success());
            let swap = Swap { tree, ..fixture.swap() };
            let root = fixture.entries("root");
            for _ in 0..2 {
                swap.enter().unwrap();
                assert_eq!(fixture.read("root/bin/sh"), "our shell");
                swap.leave().unwrap();
                assert_eq!(fixture.entries("root"), root);
            }
            let [sh, bash] =
                ["sh", "bash"].map(|name| fs::metadata(fixture.path("root/bin").join(name)).unwrap().ino());
            assert_eq!(sh, bash);
            let mut value = [0; 9];
            let length =
                rustix::fs::getxattr(fixture.path("root/bin/sh"), "user.note", &mut value[..]).unwrap();
            assert_eq!(&value[..length], b"kept");
        });
    });
}
