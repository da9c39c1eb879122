use super::{
    super::{Exported, OperationError, export, export_directory, folder_state, output_path},
    World, lines_of, tree_path,
};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

const SOURCE: &str = "
    /out/a.jar =jar 0600 7:7
    /out/run =run 4755
    /out/l ->a.jar
    /out/sub/ 0555 @9
    /out/sub/deep =deep
    /out/pipe fifo
    /other/a.jar =other";

/// The workspace as lines: mode, and time where it is one of the tree's.
fn lines(folder: &Path) -> Vec<String> {
    fn add(folder: &Path, shown: &str, lines: &mut Vec<String>) {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            let (path, shown) = (folder.join(&name), format!("{shown}/{}", name.display()));
            let metadata = fs::symlink_metadata(&path).unwrap();
            let time =
                if metadata.mtime() < 1000 { format!(" @{}", metadata.mtime()) } else { String::new() };
            let mode = metadata.permissions().mode() & 0o7777;
            if metadata.is_symlink() {
                lines.push(format!("{shown} ->{}{time}", fs::read_link(&path).unwrap().display()));
            } else if metadata.is_dir() {
                lines.push(if time.is_empty() {
                    format!("{shown}/")
                } else {
                    format!("{shown}/ {mode:04o}{time}")
                });
                add(&path, &shown, lines);
            } else {
                let content = fs::read_to_string(&path).unwrap();
                let mode = if time.is_empty() { String::new() } else { format!(" {mode:04o}") };
                lines.push(format!("{shown} ={content}{mode}{time}"));
            }
        }
    }
    let mut lines = Vec::new();
    add(folder, "", &mut lines);
    lines
}

struct Workspace {
    world: World,
    folder: PathBuf,
}

impl Workspace {
    fn new() -> Self {
        let world = World::with(SOURCE);
        let folder = world.folder.path().join("work");
        fs::create_dir(&folder).unwrap();
        Self { world, folder }
    }

    fn put(&self, path: &str, content: &str) {
        let path = self.folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn export(&self, fields: &str) -> Result<Exported, OperationError> {
        export(&self.world.context(), &self.world.artifact(fields), &self.folder)
    }

    #[track_caller]
    fn check(&self, fields: &str, expected: &str) {
        self.export(fields).unwrap_or_else(|error| panic!("{fields}: {error}"));
        assert_eq!(lines(&self.folder), lines_of(expected), "{fields}");
    }

    #[track_caller]
    fn refuses(&self, fields: &str, code: &str, words: &[&str]) {
        let before = lines(&self.folder);
        let error = self.export(fields).unwrap_err();
        assert_eq!(error.code(), Some(code), "{error}");
        let told = format!("{error} {}", error.hints().join(" "));
        words.iter().for_each(|word| assert!(told.contains(word), "{told:?} lacks {word:?}"));
        assert_eq!(lines(&self.folder), before, "{fields}");
    }
}

#[test]
fn artifacts_go_where_copies_would() {
    let whole = "/dist/
        /dist/a.jar =jar 0600 @500
        /dist/l ->a.jar @500
        /dist/run =run 0755 @500
        /dist/sub/ 0755 @9
        /dist/sub/deep =deep 0644 @500";
    let table = [
        ("path = '/out/a.jar'\ndest = 'dist/'", "/dist/\n/dist/a.jar =jar 0600 @500"),
        ("path = '/out/a.jar'\ndest = 'dist/shop.jar'", "/dist/\n/dist/shop.jar =jar 0600 @500"),
        ("path = '/out/a.jar'\ndest = './'", "/a.jar =jar 0600 @500"),
        ("path = '/out/a.jar'\ndest = 'x/../shop.jar'", "/shop.jar =jar 0600 @500"),
        // No set-id bits; a directory its owner can empty; no fifo.
        ("path = '/out'\ndest = 'dist'", whole),
        ("path = '/out/'\ndest = 'dist/'", whole),
        (
            "path = ['/out/run', '/out/sub']\ndest = 'd/'",
            "/d/\n/d/run =run 0755 @500\n/d/sub/ 0755 @9\n/d/sub/deep =deep 0644 @500",
        ),
        ("path = '/out/[lr]*'\ndest = 'd/'", "/d/\n/d/l ->a.jar @500\n/d/run =run 0755 @500"),
        ("path = '/nope'\ndest = 'd/'\noptional = true", ""),
    ];
    for (fields, expected) in table {
        Workspace::new().check(fields, expected);
    }
}

#[test]
fn the_path_of_a_reference_is_the_root_of_an_artifact() {
    let workspace = Workspace::new();
    let export = |from: &str, path: &str| {
        let mut artifact = workspace.world.artifact(&format!("path = '{path}'\ndest = 'x/'"));
        artifact.from.value.path = tree_path(from);
        export(&workspace.world.context(), &artifact, &workspace.folder)
    };
    export("/out", "/{a.jar,sub/deep}").unwrap();
    let expected = ["/x/", "/x/a.jar =jar 0600 @500", "/x/deep =deep 0644 @500"];
    assert_eq!(lines(&workspace.folder), expected);
    let outside = export("/out", "/other/a.jar").unwrap_err();
    assert_eq!(outside.code(), Some("no-match"), "{outside}");
    let gone = export("/gone", "*").unwrap_err();
    assert_eq!(gone.to_string(), "`src` has no /gone");
}

#[test]
fn what_was_written_is_told() {
    let workspace = Workspace::new();
    let exported = workspace.export("path = '/out'\ndest = 'dist'").unwrap();
    assert_eq!((exported.path, exported.files), (workspace.folder.join("dist"), 4));
    let told: Vec<_> = exported.warnings.iter().map(|one| (one.code, one.message.as_str())).collect();
    assert_eq!(told, [("special-file", "/dist/pipe is a fifo and is left out")]);
}

#[test]
fn the_rest_of_the_folder_stays_unless_mirrored() {
    let workspace = Workspace::new();
    workspace.put("dist/old/x", "x");
    workspace.put("dist/a.jar", "old");
    workspace.put("dist/sub/old", "x");
    symlink("..", workspace.folder.join("dist/up")).unwrap();
    workspace.put("beside", "x");
    workspace.check(
        "path = '/out/{a.jar,sub}'\ndest = 'dist/'",
        "/beside =x
         /dist/
         /dist/a.jar =jar 0600 @500
         /dist/old/
         /dist/old/x =x
         /dist/sub/
         /dist/sub/deep =deep 0644 @500
         /dist/sub/old =x
         /dist/up ->..",
    );
    workspace.check(
        "path = '/out/{a.jar,sub}'\ndest = 'dist/'\nmirror = true",
        "/beside =x
         /dist/
         /dist/a.jar =jar 0600 @500
         /dist/sub/
         /dist/sub/deep =deep 0644 @500",
    );
    // Of one file nothing is beside it.
    workspace.check(
        "path = '/other/a.jar'\ndest = 'dist/a.jar'\nmirror = true",
        "/beside =x
         /dist/
         /dist/a.jar =other 0644 @500
         /dist/sub/
         /dist/sub/deep =deep 0644 @500",
    );
    // The build file is refused before, but that is in another module.
    let mut artifact = workspace.world.artifact("path = '/out'\ndest = 'dist'\nmirror = true");
    "dist/..".clone_into(&mut artifact.dest.value);
    let error = export(&workspace.world.context(), &artifact, &workspace.folder).unwrap_err();
    assert!(error.to_string().contains("everything else in the workspace"), "{error}");
    assert!(workspace.folder.join("beside").exists());
}

#[test]
fn links_of_the_workspace_are_replaced_or_refused_but_never_followed() {
    let workspace = Workspace::new();
    let outside = workspace.world.folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("victim"), "v").unwrap();
    symlink(&outside, workspace.folder.join("dist")).unwrap();
    symlink(outside.join("victim"), workspace.folder.join("file")).unwrap();
    let refused = [
        "path = '/out/a.jar'\ndest = 'dist/'",
        "path = '/out'\ndest = 'dist'",
        "path = '/out/a.jar'\ndest = 'dist/x/y'",
    ];
    for fields in refused {
        workspace.refuses(
            fields,
            "type-conflict",
            &["work/dist is a symbolic link, not a folder", "never written through"],
        );
    }
    workspace.export("path = '/out/a.jar'\ndest = 'file'").unwrap();
    assert_eq!(fs::read_to_string(workspace.folder.join("file")).unwrap(), "jar");
    assert!(fs::symlink_metadata(workspace.folder.join("file")).unwrap().is_file());
    // A link that the tree brings is on the way of the next artifact, and no better.
    workspace.world.snapshot("");
    symlink(&outside, workspace.folder.join("made")).unwrap();
    workspace.refuses(
        "path = '/out/sub'\ndest = 'made'\nmirror = true",
        "type-conflict",
        &["made is a symbolic link"],
    );
    assert_eq!(lines(&outside), ["/victim =v"]);
}

#[test]
fn kinds_that_clash_are_refused() {
    let workspace = Workspace::new();
    workspace.put("dist/a.jar/x", "x");
    workspace.put("file", "x");
    workspace.refuses(
        "path = '/out/a.jar'\ndest = 'dist/'",
        "type-conflict",
        &["dist/a.jar is a folder; a file can't"],
    );
    workspace.refuses(
        "path = '/out/a.jar'\ndest = 'dist'",
        "type-conflict",
        &["dist is a folder", "end in `/`"],
    );
    workspace.refuses("path = '/out'\ndest = 'file'", "type-conflict", &["file is a file, not a folder"]);
    workspace.refuses("path = '/nope'\ndest = 'x'", "no-match", &["`src` has no /nope"]);
    workspace.refuses("path = '/*/a.jar'\ndest = 'x/'", "type-conflict", &["would both become"]);
}

#[test]
fn a_missing_object_leaves_no_half_file() {
    let workspace = Workspace::new();
    workspace.put("a.jar", "old");
    workspace.world.store.drop_object(&rbuild_tree::ObjectId::of(b"jar"));
    let artifact = workspace.world.artifact("path = '/out/a.jar'\ndest = './'");
    // Loading the build file anew must not bring the object back.
    workspace.world.store.drop_object(&rbuild_tree::ObjectId::of(b"jar"));
    let error = export(&workspace.world.context(), &artifact, &workspace.folder).unwrap_err();
    assert_eq!(error.code(), Some(crate::convert::STORE_DAMAGED));
    assert_eq!(lines(&workspace.folder), ["/a.jar =old"]);
}

#[test]
fn a_directory_output_is_new_or_its_own() {
    let workspace = Workspace::new();
    let world = &workspace.world;
    let folder = workspace.folder.join("deep/root");
    let first = world.snapshot("/ 0750 @9\n/a =1\n/d/b =2");
    let exported = export_directory(&world.context(), &first, &folder).unwrap();
    assert_eq!((exported.path, exported.files), (folder.clone(), 2));
    assert_eq!(
        lines(&workspace.folder),
        [
            "/deep/",
            "/deep/root/ 0750 @9",
            "/deep/root/a =1 0644 @500",
            "/deep/root/d/ 0755 @500",
            "/deep/root/d/b =2 0644 @500"
        ]
    );
    // Its own is replaced, whole, whatever was put into it; nothing stays beside it.
    fs::write(folder.join("stray"), "").unwrap();
    export_directory(&world.context(), &world.snapshot("/c =3"), &folder).unwrap();
    assert_eq!(lines(&workspace.folder), ["/deep/", "/deep/root/ 0755 @500", "/deep/root/c =3 0644 @500"]);
    // An empty one is as good as none; anything else is somebody's.
    let empty = workspace.folder.join("empty");
    fs::create_dir(&empty).unwrap();
    export_directory(&world.context(), &first, &empty).unwrap();
    workspace.put("theirs/x", "x");
    let theirs = workspace.folder.join("theirs");
    let refused = export_directory(&world.context(), &first, &theirs).unwrap_err();
    assert_eq!(refused.code(), Some("type-conflict"));
    assert_eq!(lines(&theirs), ["/x =x"]);
    symlink(&theirs, workspace.folder.join("link")).unwrap();
    let refused = export_directory(&world.context(), &first, &workspace.folder.join("link")).unwrap_err();
    assert!(refused.to_string().contains("link is a symbolic link"), "{refused}");
    assert!(export_directory(&world.context(), &first, &theirs.join("x")).is_err(), "a file is there");
}

#[test]
fn builds_of_one_directory_output_wait_for_each_other() {
    let workspace = Workspace::new();
    let world = &workspace.world;
    let folder = workspace.folder.join("root");
    let trees: Vec<_> = (0..4).map(|one| world.snapshot(&format!("/a/b =1\n/a/c =2\n/{one} =x"))).collect();
    for _ in 0..30 {
        let _ = fs::remove_dir_all(&folder);
        std::thread::scope(|scope| {
            for tree in &trees {
                scope.spawn(|| export_directory(&world.context(), tree, &folder).unwrap());
            }
        });
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        assert_eq!(fs::read_dir(&workspace.folder).unwrap().count(), 1, "nothing is left beside it");
    }
}

#[test]
fn the_state_of_a_directory_output_changes_with_all_that_is_in_it() {
    let workspace = Workspace::new();
    let world = &workspace.world;
    let folder = workspace.folder.join("root");
    let tree = world.snapshot("/a =1\n/d/b =2\n/d/l ->b");
    let write = || export_directory(&world.context(), &tree, &folder).unwrap().state.unwrap();
    let written = write();
    assert_eq!(folder_state(&folder).unwrap(), Some(written.clone()));
    let changes: [&dyn Fn(&Path); 6] = [
        &|folder| fs::write(folder.join("d/b"), "3").unwrap(),
        &|folder| fs::write(folder.join("d/new"), "").unwrap(),
        &|folder| fs::remove_file(folder.join("d/l")).unwrap(),
        &|folder| fs::set_permissions(folder.join("a"), PermissionsExt::from_mode(0o600)).unwrap(),
        &|folder| fs::set_permissions(folder, PermissionsExt::from_mode(0o700)).unwrap(),
        &|folder| fs::rename(folder.join("d"), folder.join("e")).unwrap(),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let written = write();
        change(&folder);
        assert_ne!(folder_state(&folder).unwrap(), Some(written), "change {number}");
    }
}

#[test]
fn a_directory_output_that_fails_leaves_the_old_one() {
    let workspace = Workspace::new();
    let world = &workspace.world;
    let folder = workspace.folder.join("root");
    export_directory(&world.context(), &world.snapshot("/a =1"), &folder).unwrap();
    let broken = world.snapshot("/a =2\n/z =gone");
    world.store.drop_object(&rbuild_tree::ObjectId::of(b"gone"));
    assert!(export_directory(&world.context(), &broken, &folder).is_err());
    assert_eq!(lines(&workspace.folder), ["/root/ 0755 @500", "/root/a =1 0644 @500"]);
}

#[test]
fn what_a_killed_process_left_is_replaced_and_what_a_live_one_writes_is_waited_for() {
    let workspace = Workspace::new();
    let unfinished = |name: &str| {
        let hash = blake3::hash(name.as_bytes()).to_hex();
        workspace.folder.join(format!(".rbuild-{}", &hash[..16]))
    };
    // Of a file a half one, of a folder one that is closed to its owner's own listing, of a hostile workspace a link.
    fs::write(unfinished("a.jar"), "half").unwrap();
    symlink("/etc/passwd", unfinished("run")).unwrap();
    fs::create_dir_all(unfinished("root").join("sub")).unwrap();
    workspace.check(
        "path = '/out/{a.jar,run}'\ndest = './'",
        &format!(
            "/{}/\n/{0}/sub/\n/a.jar =jar 0600 @500\n/run =run 0755 @500",
            unfinished("root").file_name().unwrap().display()
        ),
    );
    let world = &workspace.world;
    export_directory(&world.context(), &world.snapshot("/f =1"), &workspace.folder.join("root")).unwrap();
    assert!(!unfinished("root").exists());
    // A live writer holds a lock; when it lets go, having finished or not, we go on.
    let live = fs::File::create(unfinished("a.jar")).unwrap();
    live.lock().unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| workspace.export("path = '/other/a.jar'\ndest = './'"));
        fs::rename(unfinished("a.jar"), workspace.folder.join("a.jar")).unwrap();
        drop(live);
        waiting.join().unwrap().unwrap();
    });
    assert_eq!(fs::read_to_string(workspace.folder.join("a.jar")).unwrap(), "other");
}

#[test]
fn an_optional_artifact_that_is_gone_mirrors_nothing() {
    let workspace = Workspace::new();
    workspace.put("dist/stale", "x");
    let fields = "path = '/nope'\ndest = 'dist/'\noptional = true";
    workspace.check(fields, "/dist/\n/dist/stale =x");
    workspace.check(&format!("{fields}\nmirror = true"), "/dist/");
}

#[test]
fn paths_of_outputs_stay_inside() {
    let workspace = Workspace::new();
    symlink("/", workspace.folder.join("link")).unwrap();
    let path = |text: &str| output_path(&workspace.folder, Path::new(text));
    assert_eq!(path("a/b/../img.tar").unwrap(), workspace.folder.join("a/img.tar"));
    assert!(workspace.folder.join("a").is_dir() && !workspace.folder.join("a/b").exists());
    assert_eq!(path("./").unwrap(), workspace.folder);
    for text in ["../x", "a/../../x", "/etc/x", "link/tmp/x", "link"] {
        assert_eq!(path(text).unwrap_err().code(), Some("type-conflict"), "{text}");
    }
}
