//! Images out of layouts and archives, ours and others'.

use crate::{images::Blobs, support::Tar};
use rbuild_oci::{
    Compression, Exported, Image, ImageSource, Index, Platform, Result, oci_spec::image::MediaType, sha256,
    write_docker_archive, write_layout, write_oci_archive,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
};

fn amd64() -> Platform {
    "linux/amd64".parse().unwrap()
}

fn open(path: &Path, reference: Option<&str>) -> Result<ImageSource> {
    ImageSource::open(path, reference, &amd64())
}

fn refused(path: &Path, reference: Option<&str>) -> String {
    open(path, reference).expect_err("it should be refused").to_string()
}

fn read(mut reader: Box<dyn Read + Send>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A folder with a layout, an oci-archive and a docker-archive of an image, plain and compressed.
fn everywhere(blobs: &Blobs, image: &Image) -> (tempfile::TempDir, Vec<PathBuf>) {
    let work = tempfile::tempdir().unwrap();
    let reference = ["team/shop:1".to_owned()];
    let exported = &Exported::from(image);
    write_layout(&work.path().join("layout"), exported, &reference, &blobs.finder()).unwrap();
    let (mut oci, mut docker) = (Vec::new(), Vec::new());
    write_oci_archive(&mut oci, exported, &reference, &blobs.finder()).unwrap();
    write_docker_archive(&mut docker, image, &reference, &blobs.finder()).unwrap();
    for (name, bytes) in [("oci.tar", oci), ("docker.tar", docker)] {
        fs::write(work.path().join(name), &bytes).unwrap();
        let mut gzip = rbuild_oci::BlobWriter::new(Vec::new(), Compression::Gzip);
        gzip.write_all(&bytes).unwrap();
        fs::write(work.path().join(format!("{name}.gz")), gzip.finish().unwrap().1).unwrap();
    }
    let names = ["layout", "oci.tar", "oci.tar.gz", "docker.tar", "docker.tar.gz"];
    let paths = names.map(|name| work.path().join(name)).to_vec();
    (work, paths)
}

#[test]
fn what_was_written_is_read() {
    for compression in [Compression::Gzip, Compression::Zstd, Compression::None] {
        let blobs = Blobs::new();
        let image = blobs.image("linux/amd64", &[b"one", b"two", b"one"], compression);
        let (_work, paths) = everywhere(&blobs, &image);
        for path in &paths {
            for reference in [None, Some("team/shop:1")] {
                let source = open(path, reference).unwrap();
                assert_eq!(source.configuration, image.configuration);
                assert_eq!(source.platform(), amd64());
                let tars: Vec<_> =
                    (0..3).map(|index| read(source.open_tar(index).unwrap()).unwrap()).collect();
                assert_eq!(tars, [&b"one"[..], b"two", b"one"]);
                if let Some(manifest) = &source.manifest {
                    assert_eq!(
                        (&manifest.bytes, &manifest.digest),
                        (&image.manifest, image.descriptor.digest())
                    );
                    assert_eq!(source.layers, image.layers);
                    let blob = read(source.open_layer(1).unwrap()).unwrap();
                    assert_eq!(blob, fs::read(blobs.path(&image.layers[1].digest)).unwrap());
                }
                assert_eq!(source.history().len(), 3);
                assert_eq!(source.history()[1].layer.as_ref(), Some(&source.layers[1]));
                assert!(source.open_layer(3).is_err());
            }
            assert!(refused(path, Some("other:2")).contains("team/shop:1"));
        }
        assert!(open(&paths[0], Some(image.descriptor.digest().as_ref())).is_ok());
        assert!(open(&paths[3], Some(image.configuration_descriptor.digest().as_ref())).is_ok());
    }
}

#[test]
fn several_images_must_be_told_apart() {
    let blobs = Blobs::new();
    let work = tempfile::tempdir().unwrap();
    for (reference, layer) in [("1.0", b"1"), ("2.0", b"2")] {
        let image = blobs.image("linux/amd64", &[layer], Compression::Gzip);
        write_layout(work.path(), &Exported::from(&image), &[reference.into()], &blobs.finder()).unwrap();
    }
    let text = refused(work.path(), None);
    assert!(text.contains("several images, say which: 1.0, 2.0"), "{text}");
    assert_eq!(read(open(work.path(), Some("2.0")).unwrap().open_tar(0).unwrap()).unwrap(), b"2");
}

#[test]
fn indexes_are_resolved_by_platform() {
    let blobs = Blobs::new();
    let image = |platform: &str| blobs.image(platform, &[platform.as_bytes()], Compression::Gzip);
    let index = |platforms: &[&str]| {
        Index::build(platforms.iter().map(|platform| image(platform)).collect(), &BTreeMap::new()).unwrap()
    };
    let index = index(&["linux/arm/v6", "linux/arm/v7", "linux/arm64", "linux/amd64"]);
    let work = tempfile::tempdir().unwrap();
    write_layout(work.path(), &Exported::from(&index), &["x".into()], &blobs.finder()).unwrap();
    for (wanted, expected) in [
        ("linux/amd64", "linux/amd64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm/v7", "linux/arm/v7"),
        ("linux/arm", "linux/arm/v6"),
    ] {
        let source = ImageSource::open(work.path(), Some("x"), &wanted.parse().unwrap()).unwrap();
        assert_eq!(read(source.open_tar(0).unwrap()).unwrap(), expected.as_bytes());
        assert_eq!(source.platform().to_string(), expected);
    }
    let text = ImageSource::open(work.path(), None, &"linux/s390x".parse().unwrap()).unwrap_err().to_string();
    assert!(text.contains("no image for linux/s390x, but for linux/arm/v6, linux/arm/v7"), "{text}");
}

/// Rewrites a layout's documents from the manifest up, so that their digests fit again.
fn rewrite(layout: &Path, image: &Image, change: impl FnOnce(&mut Value)) {
    let mut manifest: Value = serde_json::from_slice(&image.manifest).unwrap();
    change(&mut manifest);
    let media_type = manifest["mediaType"].clone();
    let bytes = manifest.to_string().into_bytes();
    let digest = sha256(&bytes);
    fs::write(layout.join("blobs/sha256").join(digest.digest()), &bytes).unwrap();
    let entry = json!({ "mediaType": media_type, "digest": digest.to_string(), "size": bytes.len() });
    let index = json!({ "schemaVersion": 2, "manifests": [entry] });
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
}

#[test]
fn documents_of_docker_are_understood() {
    let blobs = Blobs::new();
    let image = blobs.image("linux/amd64", &[b"one"], Compression::Gzip);
    let (_work, paths) = everywhere(&blobs, &image);
    rewrite(&paths[0], &image, |manifest| {
        manifest["mediaType"] = "application/vnd.docker.distribution.manifest.v2+json".into();
        manifest["config"]["mediaType"] = "application/vnd.docker.container.image.v1+json".into();
        manifest["layers"][0]["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.gzip".into();
    });
    let source = open(&paths[0], None).unwrap();
    assert_eq!(source.layers[0].media_type, MediaType::ImageLayerGzip);
    assert!(source.manifest.as_ref().unwrap().media_type.as_ref().contains("docker"));
    assert_eq!(read(source.open_tar(0).unwrap()).unwrap(), b"one");
}

#[test]
fn what_does_not_fit_is_told() {
    type Change = fn(&mut Value);
    let changes: [(Change, &str); 6] = [
        (|manifest| manifest["schemaVersion"] = 1.into(), "neither an image manifest nor an index"),
        (|manifest| manifest["layers"] = json!([]), "0 layers but its configuration has 1"),
        (
            |manifest| manifest["config"]["mediaType"] = "application/x.helm".into(),
            "no image but a application/x.helm",
        ),
        (|manifest| manifest["layers"][0]["mediaType"] = "text/plain".into(), "not supported: text/plain"),
        (|manifest| manifest["config"]["size"] = 7.into(), "instead of 7"),
        (
            |manifest| manifest["config"]["digest"] = format!("sha512:{}", "0".repeat(128)).into(),
            "only sha256",
        ),
    ];
    for (change, reason) in changes {
        let blobs = Blobs::new();
        let image = blobs.image("linux/amd64", &[b"one"], Compression::Gzip);
        let (_work, paths) = everywhere(&blobs, &image);
        rewrite(&paths[0], &image, change);
        let text = refused(&paths[0], None);
        assert!(text.contains(reason), "{text}");
    }
}

#[test]
fn damaged_blobs_are_found() {
    let blobs = Blobs::new();
    let image = blobs.image("linux/amd64", &[b"a layer that is long enough"], Compression::Gzip);
    let (_work, paths) = everywhere(&blobs, &image);
    let blob = |name: &str| paths[0].join("blobs/sha256").join(name);
    let layer = blob(image.layers[0].digest.digest());
    let mut bytes = fs::read(&layer).unwrap();
    let last = bytes.len() - 1;
    fs::remove_file(&layer).unwrap(); // it is a hard link
    bytes[last] ^= 1;
    fs::write(&layer, &bytes).unwrap();
    let source = open(&paths[0], None).unwrap();
    let text = read(source.open_layer(0).unwrap()).unwrap_err().to_string();
    assert!(text.contains("is damaged") && text.contains(image.layers[0].digest.as_ref()), "{text}");
    assert!(read(source.open_tar(0).unwrap()).is_err());
    fs::write(&layer, &bytes[..last]).unwrap();
    assert!(source.open_layer(0).err().unwrap().to_string().contains("bytes instead of"));
    fs::remove_file(&layer).unwrap();
    assert!(source.open_layer(0).err().unwrap().to_string().contains("is missing"));
    let configuration = blob(image.configuration_descriptor.digest().digest());
    fs::write(&configuration, vec![b' '; image.configuration.len()]).unwrap();
    assert!(refused(&paths[0], None).contains("is damaged"));
    fs::remove_file(&configuration).unwrap();
    assert!(refused(&paths[0], None).contains("is missing"));
}

#[test]
fn a_wrong_diff_id_is_found() {
    let blobs = Blobs::new();
    let mut spec = rbuild_oci::ImageSpec::new(amd64());
    let mut layer = blobs.layer(b"one", Compression::Gzip);
    layer.diff_id = sha256(b"other");
    spec.history.push(rbuild_oci::HistoryEntry::new(None, "", Some(layer)));
    let image = Image::build(&spec).unwrap();
    let work = tempfile::tempdir().unwrap();
    write_layout(work.path(), &Exported::from(&image), &[], &blobs.finder()).unwrap();
    let source = open(work.path(), None).unwrap();
    assert!(read(source.open_layer(0).unwrap()).is_ok());
    assert!(read(source.open_tar(0).unwrap()).unwrap_err().to_string().contains("uncompressed layer"));
}

/// As older versions of docker save: folders, links where layers are the same; and several images, a compressed layer.
#[test]
fn docker_archives_of_others() {
    let blobs = Blobs::new();
    let image = blobs.image("linux/amd64", &[b"one", b"one"], Compression::None);
    let other = blobs.image("linux/amd64", &[b"two"], Compression::Gzip);
    let zipped = fs::read(blobs.path(&other.layers[0].digest)).unwrap();
    let manifest = json!([
        { "Config": "config.json", "RepoTags": ["shop:1", "shop:latest"], "Layers": ["aaa/layer.tar", "bbb/layer.tar"] },
        { "Config": "other.json", "RepoTags": null, "Layers": ["two.tar.gz"] },
    ]);
    let tar = Tar::new()
        .directory("aaa/")
        .file("aaa/layer.tar", "one")
        .symlink("bbb/layer.tar", "../aaa/layer.tar")
        .entry(b'0', b"two.tar.gz", &zipped, |_| {})
        .symlink("loop", "loop")
        .symlink("outside", "../../etc/passwd")
        .entry(b'0', b"./config.json", &image.configuration, |_| {})
        .entry(b'0', b"other.json", &other.configuration, |_| {})
        .file("manifest.json", &manifest.to_string());
    let work = tempfile::tempdir().unwrap();
    let path = work.path().join("saved.tar");
    fs::write(&path, tar.end()).unwrap();
    let source = open(&path, Some("docker.io/library/shop:1")).unwrap();
    assert_eq!(read(source.open_tar(1).unwrap()).unwrap(), b"one");
    let source = open(&path, Some("other")).unwrap();
    assert_eq!(source.layers, other.layers);
    assert_eq!(read(source.open_layer(0).unwrap()).unwrap(), zipped);
    let text = refused(&path, None);
    assert!(text.contains("say which: shop:1, shop:latest, other.json"), "{text}");
}

#[test]
fn what_is_no_image() {
    let work = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = work.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    assert!(refused(&work.path().join("none"), None).contains("reading image"));
    assert!(refused(work.path(), None).contains("neither index.json"));
    assert!(refused(&write("text", b"hello"), None).contains("not an image archive"));
    assert!(
        refused(&write("root.tar", &Tar::new().file("etc/passwd", "").end()), None)
            .contains("neither index.json")
    );
    let escape = json!([{ "Config": "../../etc/passwd", "Layers": [] }]).to_string();
    let path = write("escape.tar", &Tar::new().file("manifest.json", &escape).end());
    assert!(refused(&path, None).contains("../../etc/passwd is missing"));
    let path = write("loop.tar", &Tar::new().symlink("manifest.json", "manifest.json").end());
    assert!(refused(&path, None).contains("manifest.json is missing"));
}

/// A layout's blobs may be symbolic links (Bazel writes them so), but not to what has no end.
#[test]
fn blobs_are_regular_files_of_a_bounded_size() {
    let blobs = Blobs::new();
    let image = blobs.image("linux/amd64", &[b"one"], Compression::Gzip);
    let work = tempfile::tempdir().unwrap();
    let layout = work.path().join("layout");
    write_layout(&layout, &Exported::from(&image), &[], &blobs.finder()).unwrap();
    let configuration = layout.join("blobs/sha256").join(image.configuration_descriptor.digest().digest());
    let elsewhere = work.path().join("elsewhere");
    fs::rename(&configuration, &elsewhere).unwrap();
    let link = |target: &Path| {
        let _ = fs::remove_file(&configuration);
        std::os::unix::fs::symlink(target, &configuration).unwrap();
    };
    link(&elsewhere);
    assert_eq!(open(&layout, None).unwrap().configuration, image.configuration);
    link(Path::new("/dev/zero"));
    assert!(refused(&layout, None).contains("is not a regular file"));
    fs::File::options().write(true).open(&elsewhere).unwrap().set_len(1 << 40).unwrap();
    link(&elsewhere);
    assert!(refused(&layout, None).contains("more than 32 MiB"));
}

/// What docker saved and somebody unpacked: names lead nowhere else, links inside are as docker wrote them.
#[test]
fn unpacked_docker_archives_stay_in_their_directory() {
    let blobs = Blobs::new();
    let image = blobs.image("linux/amd64", &[b"one", b"one"], Compression::None);
    let work = tempfile::tempdir().unwrap();
    let saved = work.path().join("saved");
    fs::create_dir_all(saved.join("bbb")).unwrap();
    fs::write(saved.join("layer.tar"), "one").unwrap();
    fs::write(saved.join("config.json"), &image.configuration).unwrap();
    fs::write(work.path().join("secret"), &image.configuration).unwrap();
    std::os::unix::fs::symlink("../layer.tar", saved.join("bbb/layer.tar")).unwrap();
    std::os::unix::fs::symlink("../secret", saved.join("link.json")).unwrap();
    let manifest = |configuration: &str, layer: &str| {
        let manifest = json!([{ "Config": configuration, "Layers": ["layer.tar", layer] }]);
        fs::write(saved.join("manifest.json"), manifest.to_string()).unwrap();
    };
    manifest("config.json", "bbb/layer.tar");
    assert_eq!(read(open(&saved, None).unwrap().open_tar(1).unwrap()).unwrap(), b"one");
    let absolute = work.path().join("secret");
    for bad in ["../secret", "link.json", absolute.to_str().unwrap()] {
        manifest(bad, "layer.tar");
        assert!(refused(&saved, None).contains(&format!("{bad} leads out of it")), "{bad}");
        manifest("config.json", bad);
        assert!(refused(&saved, None).contains(&format!("{bad} leads out of it")), "{bad}");
    }
}

#[test]
fn a_history_that_does_not_fit_is_dropped() {
    let blobs = Blobs::new();
    let image = blobs.image("linux/amd64", &[b"one", b"two"], Compression::Gzip);
    let mut configuration: Value = serde_json::from_slice(&image.configuration).unwrap();
    configuration["history"] = json!([{ "created_by": "only one line" }]);
    let configuration = configuration.to_string().into_bytes();
    let tar = Tar::new()
        .file("1", "one")
        .file("2", "two")
        .entry(b'0', b"c.json", &configuration, |_| {})
        .file("manifest.json", &json!([{ "Config": "c.json", "Layers": ["1", "2"] }]).to_string());
    let work = tempfile::tempdir().unwrap();
    let path = work.path().join("saved.tar");
    fs::write(&path, tar.end()).unwrap();
    let source = open(&path, None).unwrap();
    let history = source.history();
    assert_eq!(history.len(), 2);
    assert!(history.iter().all(|line| line.layer.is_some() && line.history.created_by().is_none()));
    assert_eq!(source.configuration, configuration);
}
