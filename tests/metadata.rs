//! `--metadata-file`: what was made, for pipelines.

use crate::support::{Project, busybox, registry::Registry};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::symlink};

const LINES: &str = r#"
[source.all]
path = "."
[step.it]
from = "base"
copy = [{ from = "all", dest = "/all/" }]
[step.more]
from = "it"
files = [{ path = "/x", content = "x" }]
[image.app]
from = "more"
tags = ["app:1"]
output = [{ oci = "dist/layout" }, { oci-archive = "dist/app.tar" }, { dir = "dist/root" }]
[image.kept]
from = "base"
[artifact.x]
from = "more"
path = "/x"
dest = "files/"
"#;

/// The file, which the schema takes.
#[track_caller]
fn read(project: &Project, path: &str) -> Value {
    let metadata: Value = serde_json::from_str(&project.read(path)).expect("metadata is JSON");
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/metadata.schema.json");
    let schema = fs::read_to_string(schema).expect("the schema");
    let schema = serde_json::from_str(&schema).expect("the schema is JSON");
    let validator = jsonschema::validator_for(&schema).expect("it is a schema");
    let errors: Vec<String> = validator.iter_errors(&metadata).map(|error| error.to_string()).collect();
    assert_eq!(errors, [""; 0], "{metadata}");
    assert!(!validator.is_valid(&json!({ "version": 2, "images": {}, "artifacts": {} })));
    metadata
}

#[test]
fn it_says_what_is_in_the_layout() {
    needs!(busybox);
    let project = busybox(LINES);
    project.rbuild(["apply", "--metadata-file", "out/made.json"]).success();
    let metadata = read(&project, "out/made.json");
    let (layout, app) = (project.layout("dist/layout"), &metadata["images"]["app"]);
    let (manifest, configuration) = (layout.manifest("1"), layout.configuration("1"));
    assert_eq!(app["digest"], layout.digest("1"));
    assert_eq!(app["config-digest"], manifest["config"]["digest"]);
    assert_eq!(app["tags"], json!(["app:1"]));
    let platform = ["os", "architecture"].map(|key| configuration[key].as_str().expect("a word"));
    assert_eq!(app["platform"], platform.join("/"));
    let blobs = manifest["layers"].as_array().expect("layers");
    let ids = configuration["rootfs"]["diff_ids"].as_array().expect("layers");
    let expected: Vec<Value> = blobs
        .iter()
        .zip(ids)
        .map(|(blob, id)| {
            let [digest, size, kind] = ["digest", "size", "mediaType"].map(|key| &blob[key]);
            json!({ "digest": digest, "diff-id": id, "size": size, "media-type": kind })
        })
        .collect();
    assert_eq!((expected.len(), &app["layers"]), (3, &Value::Array(expected)));
    let files = fs::read_dir(project.path("dist/layout/blobs/sha256")).expect("blobs").flatten();
    let all: u64 = files.map(|file| file.metadata().expect("a blob").len()).sum();
    assert_eq!(app["size"], all, "the layout holds this image alone");
    let outputs = json!([
        { "kind": "oci", "place": "dist/layout", "reference": "1" },
        { "kind": "oci-archive", "place": "dist/app.tar" },
        { "kind": "dir", "place": "dist/root" },
    ]);
    assert_eq!(app["outputs"], outputs);
    assert_eq!(metadata["images"]["kept"]["outputs"], json!([]));
    assert_eq!(metadata["artifacts"], json!({ "x": { "place": "files", "files": 1 } }));
}

#[test]
fn places_are_named_as_the_caller_does() {
    needs!(busybox);
    let project = busybox(LINES);
    let folder = project.path("").display().to_string();
    let whole = format!("{}/", folder.trim_end_matches('/'));
    for (arguments, prefix) in [
        (vec!["-f", "../work/build.toml"], "../work/"),
        (vec!["-f", &folder], &whole),
        (vec!["--out", "else/where"], "else/where/"),
    ] {
        project.rbuild([&["apply", "--metadata-file", "made.json"], &arguments[..]].concat()).success();
        let metadata = read(&project, "made.json");
        let (app, x) =
            (&metadata["images"]["app"]["outputs"][0]["place"], &metadata["artifacts"]["x"]["place"]);
        assert_eq!((app, x), (&json!(format!("{prefix}dist/layout")), &json!(format!("{prefix}files"))));
        let place = app.as_str().expect("a path");
        assert!(project.path(place).join("index.json").is_file(), "{place}");
    }
}

/// It lies in the folder that a source takes, and is in no source.
#[test]
fn it_changes_no_image() {
    needs!(busybox);
    let project = busybox(LINES);
    let apply = || {
        let build = project.apply(["--metadata-file", "made.json"]).success();
        (build.ran().len(), build.digest("app").to_owned(), project.read("made.json"))
    };
    let first = apply();
    assert_eq!(apply(), (0, first.1, first.2));
}

#[test]
fn after_a_failed_build_there_is_none() {
    needs!(busybox);
    let project = busybox(LINES);
    let apply = || project.rbuild(["apply", "--metadata-file", "made.json"]);
    let spec = project.read("build.toml");
    let gone = "[artifact.gone]\nfrom = 'base'\npath = '/gone'\ndest = 'gone'\n";
    for (wrong, code) in [(gone, 1), ("[step.broken]\nmore = 1\n", 2)] {
        project.write("build.toml", &spec);
        apply().success();
        assert!(project.path("made.json").is_file());
        project.write("build.toml", format!("{spec}{wrong}"));
        apply().failure(code);
        assert!(!project.path("made.json").exists(), "{wrong}");
    }
    project.write("made.json", "");
    project.write("build.toml", &spec);
    apply().success();
    read(&project, "made.json");
}

#[test]
fn nothing_else_is_written_over() {
    needs!(busybox);
    let project = busybox(LINES).file("notes.json", "{ \"version\": \"1\" }").file("src/x", "");
    let outside = tempfile::tempdir().expect("a temporary folder");
    fs::write(outside.path().join("made.json"), "{ \"version\": 1, \"images\": {} }").expect("a file");
    symlink(outside.path(), project.path("link")).expect("a link");
    symlink(outside.path().join("made.json"), project.path("to-file")).expect("a link");
    for (name, told) in [
        ("-", "the standard output"),
        ("build.toml", "holds no metadata of rbuild"),
        ("notes.json", "holds no metadata of rbuild"),
        ("/dev/null", "a folder, link or device"),
        ("src", "a folder, link or device"),
        ("dist/app.tar", "the build writes dist/app.tar itself"),
        ("link/made.json", "symbolic link"),
        ("to-file", "symbolic link"),
    ] {
        let output = project.rbuild(["apply", "--metadata-file", name]);
        assert!(matches!(output.code, Some(1 | 2)) && output.stderr.contains(told), "{name}: {output}");
    }
    assert_eq!(project.read("notes.json"), "{ \"version\": \"1\" }");
    assert!(outside.path().join("made.json").is_file() && !project.path("dist/layout").exists());
}

#[test]
fn what_is_pushed_is_named_by_tag_and_by_digest() {
    needs!(busybox, "docker-registry", skopeo);
    let registry = Registry::start();
    let host = &registry.host;
    let project = busybox(&format!(
        "[image.app]\nfrom = 'base'\ntags = ['{host}/team/app:1']\noutput = [{{ push = true }}]\n"
    ));
    project.rbuild(["apply", "--metadata-file", "made.json"]).success();
    let made = read(&project, "made.json");
    let digest = registry.digest("team/app:1");
    let output = |path: &str, tag: &str| {
        let (tag, digest) = (format!("{host}/{path}:{tag}"), format!("{host}/{path}@{digest}"));
        json!([{ "kind": "push", "place": tag, "by-digest": digest }])
    };
    assert_eq!(made["images"]["app"]["outputs"], output("team/app", "1"));
    let other = format!("{host}/other:2");
    project.rbuild(["push", "app", &other, "--metadata-file", "pushed.json"]).success();
    let pushed = read(&project, "pushed.json");
    assert_eq!(pushed["images"]["app"]["outputs"], output("other", "2"));
    assert_eq!(pushed["images"]["app"]["layers"], made["images"]["app"]["layers"]);
    project.rbuild(["push", "app", "127.0.0.1:1/x:1", "--metadata-file", "pushed.json"]).failure(3);
    assert!(!project.path("pushed.json").exists());
}
