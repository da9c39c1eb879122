//! Where images are written: layouts, archives, the bare tree; what is there already is left alone.

use crate::{
    images::CHAIN,
    support::{Project, busybox},
};
use std::{fs, os::unix::fs::MetadataExt, process::Command};

/// An image of one file with these lines in its table.
fn small(lines: &str) -> String {
    format!(
        "version = 1\nepoch = 1764000000\n[step.root]\nfiles = [{{ path = \"/f\", content = \"1\" }}]\n\
         [image.small]\nfrom = \"root\"\n{lines}\n"
    )
}

#[test]
fn every_tag_is_a_name_in_a_layout() {
    for (lines, names) in [
        ("tags = [\"a:1\", \"a:2\", \"b.example/c:x\"]\noutput = [{ oci = \"dist\" }]", vec!["1", "2", "x"]),
        ("output = [{ oci = \"dist\" }]", vec!["latest"]),
        ("tags = [\"a:1\"]\noutput = [{ oci = \"dist:named\" }]", vec!["named"]),
    ] {
        let project = Project::new(&small(lines));
        project.rbuild(["apply"]).success();
        let references = project.layout("dist").references();
        assert_eq!(references.keys().collect::<Vec<_>>(), names, "{lines}");
        assert_eq!(references.values().collect::<std::collections::BTreeSet<_>>().len(), 1);
    }
}

/// The step prints something: else its log is a second file without any byte.
#[test]
fn sandbox_the_only_empty_file_is_in_the_image() {
    needs!(fuse, busybox);
    let project = busybox(
        "[step.it]\nfrom = 'base'\nrun = 'echo made; : > /empty'\n\
         [image.small]\nfrom = 'it'\noutput = [{ oci = 'dist' }]\n",
    );
    project.rbuild(["apply"]).success();
    project.layout("dist").check("latest");
}

#[test]
fn other_images_of_a_layout_stay() {
    let spec = |tag: &str| small(&format!("tags = [\"a:{tag}\"]\noutput = [{{ oci = \"dist\" }}]"));
    let project = Project::new(&spec("one"));
    project.rbuild(["apply"]).success();
    let first = project.layout("dist").digest("one");
    project.write("build.toml", spec("two").replace("\"1\"", "\"2\""));
    project.rbuild(["apply"]).success();
    assert_eq!(project.layout("dist").digest("one"), first);
    project.layout("dist").check("one");
    // A name that is there is moved.
    project.write("build.toml", spec("one").replace("\"1\"", "\"2\""));
    project.rbuild(["apply"]).success();
    let layout = project.layout("dist");
    assert_eq!(layout.digest("one"), layout.digest("two"));
    assert_ne!(layout.digest("one"), first);
    assert_eq!(layout.references().len(), 2);
}

#[test]
fn outputs_that_are_gone_are_written_again() {
    let lines = r#"tags = ["app:latest"]
output = [{ oci = "dist" }, { oci-archive = "a.tar" }, { docker-archive = "d.tar" }, { tar = "t.tar" }]"#;
    let project = Project::new(&small(lines));
    project.rbuild(["apply"]).success();
    let files = ["dist/index.json", "dist/oci-layout", "a.tar", "d.tar", "t.tar"];
    let read =
        || files.map(|file| fs::read(project.path(file)).unwrap_or_else(|error| panic!("{file}: {error}")));
    let before = read();
    fs::remove_dir_all(project.path("dist")).expect("the layout");
    for file in &files[2..] {
        fs::remove_file(project.path(file)).expect("an archive");
    }
    project.rbuild(["apply"]).success();
    assert_eq!(read(), before);
}

#[test]
fn an_output_that_is_there_is_not_written_again() {
    let lines = r#"tags = ["app:1"]
output = [
  { oci = "layout" },
  { oci-archive = "a.tar" },
  { docker-archive = "d.tar" },
  { tar = "t.tar" },
  { dir = "root" },
]"#;
    let project = Project::new(&small(lines));
    let state = |path: &str| {
        let metadata = fs::symlink_metadata(project.path(path)).expect("an output");
        (metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
    };
    let files = ["a.tar", "d.tar", "t.tar", "root/f"];
    let apply = || {
        project.rbuild(["apply"]).success();
        (files.map(state), files.map(|file| fs::read(project.path(file)).expect("an output")))
    };
    let first = apply();
    assert_eq!(apply(), first);
    for (number, file) in files.iter().enumerate() {
        // As long as it was: only its times tell.
        fs::write(project.path(file), vec![b'x'; first.1[number].len()]).expect("an output");
        let (states, contents) = apply();
        assert_eq!(contents, first.1, "{file} was changed");
        assert_ne!(states[number], first.0[number], "{file}");
        fs::remove_file(project.path(file)).expect("an output");
        assert_eq!(apply().1, first.1, "{file} was removed");
    }
    // In a folder also what was added.
    project.write("root/stray", "");
    apply();
    assert!(!project.path("root/stray").exists());
    // The same file under another name is not what was written there.
    fs::rename(project.path("t.tar"), project.path("d.tar")).expect("an output");
    assert_eq!(apply().1, first.1);
    project.write("build.toml", small(lines).replace("\"1\"", "\"2\""));
    assert!(apply().1.iter().zip(&first.1).all(|(now, then)| now != then));
}

#[test]
fn a_layer_that_was_damaged_in_a_layout_is_put_right() {
    let project = Project::new(&small("output = [{ oci = \"dist\" }]"));
    project.rbuild(["apply"]).success();
    let layout = project.layout("dist");
    let layer = layout.layers("latest").first().cloned().unwrap_or_default();
    let blob = project.path("dist/blobs/sha256").join(layer.trim_start_matches("sha256:"));
    let metadata = fs::metadata(&blob).expect("a layer");
    assert_eq!(metadata.mode() & 0o222, 0, "the store has the same file: nobody writes into it by mistake");
    let whole = fs::read(&blob).expect("a layer");
    project.chmod(blob.to_str().expect("a name"), 0o644);
    fs::write(&blob, vec![0; whole.len()]).expect("a layer");
    project.rbuild(["apply"]).success();
    assert_eq!(fs::read(&blob).expect("a layer"), whole);
}

#[test]
fn what_a_folder_can_not_hold_is_told_every_time() {
    let project = Project::empty().file(
        "build.toml",
        "version = 1\nepoch = 1764000000\n[source.base]\narchive = \"base.tar\"\n\
         [image.out]\nfrom = \"base\"\noutput = [{ dir = \"root\" }]\n",
    );
    let tree = project.path("tree");
    fs::create_dir(&tree).expect("a folder");
    let made = Command::new("mkfifo").arg(tree.join("pipe")).status();
    assert!(made.is_ok_and(|status| status.success()));
    let mut pack = Command::new("tar");
    let packed = pack.args(["-cf", "base.tar", "-C", "tree", "."]).current_dir(project.path("")).status();
    assert!(packed.is_ok_and(|status| status.success()));
    for _ in 0..2 {
        let output = project.rbuild(["apply"]);
        assert!(output.stderr.contains("/pipe is a fifo and is left out"), "{output}");
    }
}

#[test]
fn a_bare_tree_as_tar_and_as_folder() {
    let image =
        "[image.out]\nfrom = \"top\"\noutput = [{ tar = \"dist/root.tar\" }, { dir = \"dist/root\" }]\n";
    let project = Project::new(&format!("{CHAIN}{image}"));
    project.rbuild(["apply"]).success();
    let tar = Command::new("tar").arg("-tvf").arg(project.path("dist/root.tar")).env("TZ", "UTC").output();
    let listing = String::from_utf8_lossy(&tar.expect("tar can be started").stdout).into_owned();
    let lines: Vec<Vec<&str>> = listing.lines().map(|line| line.split_whitespace().collect()).collect();
    let expected = [
        ["drwxr-xr-x", "0/0", "0", "2025-11-24", "16:00", "./"],
        ["drwx------", "0/0", "0", "2025-11-24", "16:00", "d/"],
        ["-rw-r--r--", "0/0", "1", "2025-11-24", "16:00", "d/new"],
        ["-rw-------", "0/0", "1", "2025-11-24", "16:00", "keep"],
    ];
    assert_eq!(lines, expected);
    assert_eq!(
        (project.read("dist/root/d/new"), project.read("dist/root/keep")),
        ("n".to_owned(), "k".to_owned())
    );
    assert!(!project.path("dist/root/gone").exists());
}

#[test]
fn a_folder_is_rbuilds_own_or_is_left_alone() {
    let project = Project::new(&small("output = [{ dir = \"dist\" }]"));
    project.rbuild(["apply"]).success();
    // Its own: what is no more in the tree goes.
    project.write("build.toml", small("output = [{ dir = \"dist\" }]").replace("/f", "/g"));
    project.rbuild(["apply"]).success();
    assert_eq!((project.path("dist/f").exists(), project.read("dist/g")), (false, "1".to_owned()));
    // Somebody else's.
    project.write("build.toml", small("output = [{ dir = \"mine\" }]"));
    project.write("mine/letter", "dear");
    let output = project.rbuild(["apply"]);
    assert_ne!(output.code, Some(0), "{output}");
    assert!(output.stderr.contains("mine"), "{output}");
    assert_eq!(project.read("mine/letter"), "dear");
    assert!(!project.path("mine/f").exists());
}

#[test]
fn out_moves_every_output() {
    let lines = r#"tags = ["a:1"]
output = [{ oci = "dist/layout" }, { tar = "dist/root.tar" }, { dir = "root" }]
[artifact.f]
from = "root"
path = "/f"
dest = "files/""#;
    let project = Project::new(&small(lines));
    project.rbuild(["apply", "--out", "elsewhere"]).success();
    project.layout("elsewhere/dist/layout").check("1");
    for path in ["dist/root.tar", "root/f", "files/f"] {
        assert!(project.path("elsewhere").join(path).is_file(), "{path}");
        assert!(!project.path(path).exists(), "{path}");
    }
}

#[test]
fn outputs_follow_no_links_of_the_workspace() {
    let lines = r#"output = [{ oci = "dist/layout" }, { tar = "dist/root.tar" }, { dir = "dist/root" }]"#;
    let project = Project::new(&small(lines));
    let outside = tempfile::tempdir().expect("a temporary folder");
    std::os::unix::fs::symlink(outside.path(), project.path("dist")).expect("a link");
    let output = project.rbuild(["apply"]);
    assert_ne!(output.code, Some(0), "{output}");
    assert!(output.stderr.contains("dist"), "{output}");
    assert_eq!(fs::read_dir(outside.path()).expect("the folder").count(), 0);
}
