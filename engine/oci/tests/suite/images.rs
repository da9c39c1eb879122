//! Images into layouts and archives.

use rbuild_oci::{
    BlobWriter, Compression, Exported, HistoryEntry, Image, ImageSpec, Index, LayerDescriptor, Platform,
    oci_spec::image::Digest, sha256, write_docker_archive, write_layout, write_oci_archive,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// A store of blobs, and the images made of them.
pub struct Blobs {
    pub directory: TempDir,
}

impl Blobs {
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.directory.path().join(digest.digest())
    }

    /// Keeps a layer.
    pub fn layer(&self, tar: &[u8], compression: Compression) -> LayerDescriptor {
        let mut writer = BlobWriter::new(Vec::new(), compression);
        writer.write_all(tar).unwrap();
        let (blob, bytes) = writer.finish().unwrap();
        fs::write(self.path(&blob.digest), bytes).unwrap();
        LayerDescriptor::from(&blob)
    }

    pub fn finder(&self) -> impl Fn(&Digest) -> io::Result<PathBuf> + '_ {
        |digest| Ok(self.path(digest))
    }

    /// An image whose layers hold these bytes.
    pub fn image(&self, platform: &str, layers: &[&[u8]], compression: Compression) -> Image {
        let mut spec = ImageSpec::new(platform.parse().unwrap());
        for tar in layers {
            spec.history.push(HistoryEntry::new(None, "a layer", Some(self.layer(tar, compression))));
        }
        Image::build(&spec).unwrap()
    }
}

fn full_spec(blobs: &Blobs) -> ImageSpec {
    let mut spec = ImageSpec::new("linux/arm64/v8".parse().unwrap());
    let created = Some("2020-01-01T00:00:00Z".to_owned());
    let layer = |tar: &[u8]| Some(blobs.layer(tar, Compression::Gzip));
    spec.created = created.clone();
    spec.history.push(HistoryEntry::new(created.clone(), "base", layer(b"one")));
    spec.history.push(HistoryEntry::new(created.clone(), "config only", None));
    spec.history.push(HistoryEntry::new(created, "app", layer(b"two")));
    let strings = |strings: &[&str]| Some(strings.iter().map(|text| (*text).to_owned()).collect());
    spec.config.set_env(strings(&["PATH=/bin", "B=2", "A=1"])).set_entrypoint(strings(&["/run"]));
    spec.config.set_exposed_ports(strings(&["8080/tcp", "443/tcp"]));
    let labels = (0..20).map(|number| (format!("label{number:02}"), "x".to_owned()));
    spec.config.set_labels(Some(labels.collect()));
    spec.docker = BTreeMap::from([("Healthcheck".to_owned(), json!({ "Test": ["CMD", "true"] }))]);
    spec.annotations = BTreeMap::from([("b".to_owned(), "2".to_owned()), ("a".to_owned(), "1".to_owned())]);
    spec
}

#[test]
fn documents_are_canonical_and_agree() {
    let blobs = Blobs::new();
    let spec = full_spec(&blobs);
    let image = Image::build(&spec).unwrap();
    for _ in 0..20 {
        // Hash maps are seeded anew each time.
        assert_eq!(Image::build(&full_spec(&blobs)).unwrap(), image);
    }
    let configuration: Value = serde_json::from_slice(&image.configuration).unwrap();
    let text = String::from_utf8(image.configuration.clone()).unwrap();
    assert!(text.starts_with(r#"{"architecture":"arm64","config":{"Entrypoint":["/run"],"Env":["PATH=/bin","B=2","A=1"],"ExposedPorts":{"443/tcp":{},"8080/tcp":{}},"Healthcheck":{"Test":["CMD","true"]},"Labels":{"label00":"x","label01""#), "{text}");
    assert_eq!(configuration["variant"], "v8");
    let history = &configuration["history"];
    assert_eq!(history.as_array().unwrap().len(), 3);
    assert_eq!((&history[0]["empty_layer"], &history[1]["empty_layer"]), (&Value::Null, &Value::Bool(true)));
    let diff_ids: Vec<String> = image.layers.iter().map(|layer| layer.diff_id.to_string()).collect();
    assert_eq!(configuration["rootfs"], json!({ "type": "layers", "diff_ids": diff_ids }));
    let manifest: Value = serde_json::from_slice(&image.manifest).unwrap();
    assert_eq!(manifest["config"]["digest"], sha256(&image.configuration).to_string());
    assert_eq!(manifest["config"]["size"], image.configuration.len());
    assert_eq!(manifest["annotations"], json!({ "a": "1", "b": "2" }));
    assert_eq!(manifest["layers"][1]["digest"], image.layers[1].digest.to_string());
    assert_eq!(manifest["layers"][1]["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
    assert_eq!(*image.descriptor.digest(), sha256(&image.manifest));
}

#[test]
fn images_without_layers_and_indexes() {
    let empty = Image::build(&ImageSpec::new("linux/amd64".parse().unwrap())).unwrap();
    assert_eq!(
        String::from_utf8(empty.configuration.clone()).unwrap(),
        r#"{"architecture":"amd64","config":{},"history":[],"os":"linux","rootfs":{"diff_ids":[],"type":"layers"}}"#
    );
    let arm = Image::build(&ImageSpec::new("linux/arm/v7".parse().unwrap())).unwrap();
    let index = Index::build(vec![empty, arm], &BTreeMap::new()).unwrap();
    let value: Value = serde_json::from_slice(&index.bytes).unwrap();
    assert_eq!(
        value["manifests"][1]["platform"],
        json!({ "architecture": "arm", "os": "linux", "variant": "v7" })
    );
    assert_eq!(value["manifests"][0]["platform"], json!({ "architecture": "amd64", "os": "linux" }));
}

fn files(directory: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(next) = directories.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                directories.push(entry.path());
            } else {
                names.push(entry.path().strip_prefix(directory).unwrap().display().to_string());
            }
        }
    }
    names.sort();
    names
}

#[test]
fn layouts_hold_what_they_say() {
    let blobs = Blobs::new();
    let image = blobs.image("linux/amd64", &[b"one", b"two", b"one"], Compression::Gzip);
    let work = tempfile::tempdir().unwrap();
    let layout = work.path().join("new/layout");
    write_layout(&layout, &Exported::from(&image), &["1.0".into(), "latest".into()], &blobs.finder())
        .unwrap();
    assert_eq!(fs::read_to_string(layout.join("oci-layout")).unwrap(), r#"{"imageLayoutVersion":"1.0.0"}"#);
    let names = files(&layout);
    assert_eq!(names.len(), 2 + 2 + 2, "two documents, two layers, index and layout: {names:?}");
    for name in names.iter().filter_map(|name| name.strip_prefix("blobs/sha256/")) {
        let bytes = fs::read(layout.join("blobs/sha256").join(name)).unwrap();
        assert_eq!(sha256(&bytes).digest(), name);
    }
    assert_eq!(fs::metadata(layout.join("index.json")).unwrap().mode() & 0o777, 0o644);
}

#[test]
fn layers_are_hard_links_to_what_nobody_writes() {
    let blobs = Blobs::new();
    let image = blobs.image("linux/amd64", &[b"one"], Compression::None);
    let digest = &image.layers[0].digest;
    let source = blobs.finder()(digest).unwrap();
    let work = tempfile::tempdir().unwrap();
    let write = || {
        write_layout(work.path(), &Exported::from(&image), &[], &blobs.finder()).unwrap();
        work.path().join("blobs/sha256").join(digest.digest())
    };
    let blob = write();
    assert_eq!(fs::metadata(&blob).unwrap().nlink(), 1, "a file that can be written is copied");
    fs::set_permissions(&source, fs::Permissions::from_mode(0o444)).unwrap();
    fs::write(&blob, vec![0; fs::metadata(&source).unwrap().len() as usize]).unwrap();
    write();
    assert_eq!(fs::metadata(&blob).unwrap().ino(), fs::metadata(&source).unwrap().ino());
    write();
    assert_eq!(files(work.path()).len(), 5, "nothing is left beside them");
}

#[test]
fn what_a_killed_writer_left_is_removed() {
    let blobs = Blobs::new();
    let image = blobs.image("linux/amd64", &[b"one"], Compression::None);
    let work = tempfile::tempdir().unwrap();
    let write = || write_layout(work.path(), &Exported::from(&image), &[], &blobs.finder()).unwrap();
    // Killed before the first file had its name, and in the middle of a layer.
    fs::write(work.path().join(".rbuild-a1B2c3"), "{").unwrap();
    write();
    fs::write(work.path().join("blobs/sha256/.rbuild-a1B2c3"), "half").unwrap();
    write();
    assert!(files(work.path()).iter().all(|name| !name.contains(".rbuild-")), "{:?}", files(work.path()));
}

#[test]
fn other_images_of_a_layout_stay() {
    let blobs = Blobs::new();
    let work = tempfile::tempdir().unwrap();
    let write = |image: &Image, references: &[&str]| {
        let references: Vec<String> = references.iter().map(|text| (*text).to_owned()).collect();
        write_layout(work.path(), &Exported::from(image), &references, &blobs.finder()).unwrap();
    };
    let (one, two) = (
        blobs.image("linux/amd64", &[b"1"], Compression::Gzip),
        blobs.image("linux/amd64", &[b"2"], Compression::None),
    );
    write(&one, &["a", "b"]);
    let index = work.path().join("index.json");
    let foreign = json!({ "digest": "sha512:other", "mediaType": "x/y", "size": 3, "unknown": [1, 2.5], "annotations": { "k": "v" } });
    let mut value: Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
    value["manifests"].as_array_mut().unwrap().insert(0, foreign.clone());
    value["extra"] = json!("kept");
    fs::write(&index, value.to_string()).unwrap();
    write(&two, &["b"]);
    write(&two, &[]);
    write(&one, &[]);
    write(&one, &[]);
    let value: Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
    let manifests = value["manifests"].as_array().unwrap();
    let named: Vec<_> = manifests
        .iter()
        .map(|entry| {
            (
                entry["annotations"]["org.opencontainers.image.ref.name"].as_str(),
                entry["digest"].as_str().unwrap(),
            )
        })
        .collect();
    let (one, two) = (one.descriptor.digest().to_string(), two.descriptor.digest().to_string());
    // What has no name takes nobody's place.
    assert_eq!(
        named,
        [(None, "sha512:other"), (Some("a"), one.as_str()), (Some("b"), &two), (None, &two), (None, &one)]
    );
    assert_eq!((&manifests[0], &value["extra"]), (&foreign, &json!("kept")));
}

#[test]
fn what_is_no_layout_is_left_alone() {
    let blobs = Blobs::new();
    let image = blobs.image("linux/amd64", &[b"1"], Compression::Gzip);
    let write = |directory: &Path| {
        write_layout(directory, &Exported::from(&image), &[], &blobs.finder()).unwrap_err().to_string()
    };
    let work = tempfile::tempdir().unwrap();
    let directory = |name: &str, file: &str, content: &str| {
        let directory = work.path().join(name);
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join(file), content).unwrap();
        directory
    };
    let home = directory("home", "thesis.tex", "");
    assert!(write(&home).contains("neither empty nor an image layout"));
    assert_eq!(files(&home), ["thesis.tex"]);
    let newer = directory("newer", "oci-layout", r#"{"imageLayoutVersion":"2.0.0"}"#);
    assert!(write(&newer).contains("not an image layout of version 1.0.0"));
    let broken = directory("broken", "oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
    fs::write(broken.join("index.json"), "[").unwrap();
    assert!(write(&broken).contains("index.json is not JSON"));
    let linked = directory("linked", "oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
    symlink(&home, linked.join("blobs")).unwrap();
    assert!(write(&linked).contains("blobs is not a directory"));
    assert_eq!(files(&home), ["thesis.tex"]);
}

#[test]
fn damaged_or_missing_layers_are_not_exported() {
    let blobs = Blobs::new();
    let image = blobs.image("linux/amd64", &[b"layer"], Compression::None);
    let digest = &image.layers[0].digest;
    let work = tempfile::tempdir().unwrap();
    let all = |reason: &str| {
        let mut sink = Vec::new();
        let layout = work.path().join(reason.replace(' ', "-"));
        let results = [
            write_layout(&layout, &Exported::from(&image), &[], &blobs.finder()),
            write_oci_archive(&mut sink, &Exported::from(&image), &[], &blobs.finder()),
            write_docker_archive(&mut sink, &image, &[], &blobs.finder()),
        ];
        for result in results {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(&digest.to_string()) || error.contains(digest.digest()), "{error}");
        }
        assert!(!layout.join("index.json").exists());
    };
    fs::write(blobs.path(digest), "longer than it was").unwrap();
    all("longer");
    fs::remove_file(blobs.path(digest)).unwrap();
    all("missing");
}

#[test]
fn archives_are_always_the_same_bytes() {
    let blobs = Blobs::new();
    let image = blobs.image("linux/amd64", &[b"one", &[b'2'; 3000], b"one"], Compression::Zstd);
    let index = Index::build(
        vec![image.clone(), blobs.image("linux/arm64", &[b"3"], Compression::Gzip)],
        &BTreeMap::new(),
    );
    let index = index.unwrap();
    let oci = |exported| {
        let mut out = Vec::new();
        write_oci_archive(&mut out, &exported, &["1".to_owned()], &blobs.finder()).unwrap();
        out
    };
    let docker = || {
        let mut out = Vec::new();
        write_docker_archive(&mut out, &image, &["team/shop:1".to_owned()], &blobs.finder()).unwrap();
        out
    };
    assert!(oci(Exported::from(&image)) == oci(Exported::from(&image)));
    assert!(oci(Exported::from(&index)) == oci(Exported::from(&index)));
    assert!(docker() == docker());
    let names = crate::support::listed(&docker());
    let hex = |bytes: &[u8]| sha256(bytes).digest().to_owned();
    let (first, second) = (hex(b"one"), hex(&[b'2'; 3000]));
    assert_eq!(
        names,
        [
            format!("5 {first}/"),
            format!("0 {first}/layer.tar"),
            format!("5 {second}/"),
            format!("0 {second}/layer.tar"),
            format!("0 {}.json", hex(&image.configuration)),
            "0 manifest.json".to_owned(),
        ]
    );
    let names = crate::support::listed(&oci(Exported::from(&image)));
    assert_eq!((names[0].as_str(), names[1].as_str(), names.len()), ("5 blobs/", "5 blobs/sha256/", 8));
    assert_eq!(names[6..], ["0 index.json", "0 oci-layout"]);
    assert_eq!(image.platform, Platform { os: "linux".into(), architecture: "amd64".into(), variant: None });
}
