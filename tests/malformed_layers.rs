//! Images whose documents are right and whose layers are not: each ends in an error that names image, layer and entry,
//! and nothing of it is taken for the image afterwards.

use crate::support::{Project, registry::Registry};
use rbuild_oci::{BlobWriter, Compression, sha256};
use serde_json::{Value, json};
use std::io::Write;

const GIB: u64 = 1 << 30;

/// A layer as it comes, and what its tar should be.
struct Layer {
    blob: Vec<u8>,
    diff_id: String,
}

/// A tar of these entries: type, name, link target, content.
pub(crate) fn tar(entries: &[(u8, &str, &str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, name, target, content) in entries {
        bytes.extend(header(*kind, name, target, content.len() as u64));
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// A header of POSIX ustar.
fn header(kind: u8, name: &str, target: &str, size: u64) -> Vec<u8> {
    let mut header = vec![0; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\x000000000\x000000000\0");
    put(124, &format!("{size:011o}\x0000000000000\0        "));
    put(157, target);
    put(257, "ustar\x0000");
    header[156] = kind;
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

fn compressed(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    let mut blob = BlobWriter::new(Vec::new(), compression);
    blob.write_all(bytes).expect("a layer");
    blob.finish().expect("a layer").1
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    compressed(Compression::Gzip, bytes)
}

/// A layer whose diff_id is right.
fn layer(tar: &[u8]) -> Layer {
    Layer { blob: gzip(tar), diff_id: sha256(tar).to_string() }
}

fn good() -> Vec<u8> {
    tar(&[(b'0', "good", "", b"content"), (b'0', "later", "", &[b'x'; 5000])])
}

/// A layer whose diff_id is that of [`good`], which its blob is not.
fn instead(blob: Vec<u8>) -> Layer {
    Layer { blob, diff_id: sha256(&good()).to_string() }
}

/// Ten times 1 GiB of zeros after these bytes, as members of one gzip file.
fn bomb(first: &[u8]) -> Layer {
    let zeros = gzip(&vec![0; 16 << 20]);
    let members = usize::try_from(10 * GIB / (16 << 20)).expect("few");
    instead([gzip(first), zeros.repeat(members)].concat())
}

/// The same after an archive's end, in a few hundred kilobytes of zstd.
fn trailing() -> Layer {
    let zeros = compressed(Compression::Zstd, &vec![0; 64 << 20]);
    instead([compressed(Compression::Zstd, &good()), zeros.repeat(160)].concat())
}

/// Each with what its error must say.
fn cases() -> Vec<(Layer, &'static str)> {
    let changed = |edit: fn(&mut Vec<u8>)| {
        let mut blob = gzip(&good());
        edit(&mut blob);
        instead(blob)
    };
    let hello = |kind, name, target| layer(&tar(&[(b'0', "good", "", b"x"), (kind, name, target, b"")]));
    let claims = [header(b'0', "good", "", 0), header(b'0', "large", "", 7 * GIB), vec![0; 512]].concat();
    vec![
        (layer(b"hello"), "cut off before its first entry"),
        (layer(&[b'h'; 1024]), "malformed archive before its first entry"),
        (layer(&good()[..2000]), "archive is cut off in or after entry \"later\""),
        (layer(&claims), "\"large\""),
        (changed(|blob| blob.truncate(40)), "cut off before its first entry"),
        (changed(|blob| blob[30] ^= 1), "the archive before its first entry: corrupt deflate stream"),
        (changed(|blob| blob.truncate(blob.len() - 4)), "cut off in or after entry \"later\""),
        (changed(|blob| blob.extend(b"garbage")), "cut off in or after entry \"later\""),
        (changed(Vec::clear), "before its first entry: uncompressed layer sha256:"),
        (instead(gzip(&tar(&[(b'0', "other", "", b"")]))), "its digest is sha256:"),
        (hello(b'0', "../up", ""), "\"../up\": `..` is not allowed"),
        (hello(b'1', "link", "../../etc/passwd"), "\"link\": `..` is not allowed"),
        (hello(b'1', "link", "nothing"), "\"link\""),
        (hello(b'1', "link", "link"), "\"link\""),
        (hello(b'2', "link", ""), "\"link\": "),
        (hello(b'0', "good/below", ""), "\"good/below\""),
        (hello(b'D', "dump", ""), "\"dump\": its type 'D' is not supported"),
        (bomb(&header(b'0', "zeros", "", 7 * GIB)), "\"zeros\": the archive has more than"),
        (bomb(&good()), "decompression bombs"),
        (trailing(), "decompression bombs"),
    ]
}

impl Project {
    /// Writes an image of these layers into the layout `images`.
    fn add_image(&self, name: &str, layers: &[&Layer]) {
        let blob = |media_type: &str, bytes: &[u8]| {
            let digest = sha256(bytes);
            self.write(&format!("images/blobs/sha256/{}", digest.digest()), bytes);
            json!({ "mediaType": media_type, "digest": digest.to_string(), "size": bytes.len() })
        };
        let diff_ids: Vec<&String> = layers.iter().map(|layer| &layer.diff_id).collect();
        let config = json!({ "os": "linux", "architecture": "amd64",
            "rootfs": { "type": "layers", "diff_ids": diff_ids } });
        let media = |kind: &str| format!("application/vnd.oci.image.{kind}");
        let layers: Vec<Value> =
            layers.iter().map(|layer| blob(&media("layer.v1.tar+gzip"), &layer.blob)).collect();
        let manifest = json!({ "schemaVersion": 2, "mediaType": media("manifest.v1+json"),
            "config": blob(&media("config.v1+json"), config.to_string().as_bytes()), "layers": layers });
        let mut entry = blob(&media("manifest.v1+json"), manifest.to_string().as_bytes());
        entry["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        let index = json!({ "schemaVersion": 2, "manifests": [entry] });
        self.write("images/oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
        self.write("images/index.json", index.to_string());
    }

    /// That building from this source fails, says all of it, and leaves nothing that a later build takes.
    #[track_caller]
    fn fails(&self, source: &str, words: &[&str]) {
        self.write("build.toml", format!("version = 1\n[source.base]\n{source}\n[step.it]\nfrom = 'base'\n"));
        for attempt in ["first", "second"] {
            let told = self.rbuild(["apply", "it"]).failure(3);
            for word in words {
                assert!(told.contains(word), "{source}, {attempt}: {word:?} is not in\n{told}");
            }
        }
        let scratch = self.store().join("tmp").read_dir().expect("a folder of the store").count();
        assert_eq!(scratch, 0, "{source}: nothing half-written stays");
    }
}

#[test]
fn sandbox_layers_that_are_wrong_are_named_and_not_taken() {
    needs!("docker-registry", "skopeo");
    let (registry, project) = (Registry::start(), Project::empty());
    let (lowest, right) = (layer(&tar(&[(b'0', "low", "", b"low")])), layer(&good()));
    for (number, (bad, reason)) in cases().iter().enumerate() {
        let name = format!("case{number}");
        project.add_image(&name, &[&lowest, bad]);
        project.fails(&format!("oci = 'images:{name}'"), &["source `base`: images: layer 2: ", reason]);
        registry.push(&project.path("images"), &name, &format!("bad:{name}"));
        let image = format!("image = '{}/bad:{name}'", registry.host);
        project.fails(&image, &["source `base`: ", "/bad@sha256:", "layer 2: ", reason]);
        std::fs::remove_dir_all(project.path("images")).expect("the layout");
    }
    // Those with the right diff_id are not what it stands for.
    project.add_image("right", &[&lowest, &right]);
    let spec = "version = 1\n[source.base]\noci = 'images:right'\n[step.it]\nfrom = 'base'\n";
    project.write("build.toml", spec);
    project.rbuild(["apply", "it"]).success();
    assert_eq!(project.paths("it"), ["/", "/good", "/later", "/low"]);
}
