//! Documents that make no sense: each is a clear error that names the image, and nothing is taken from it.

use crate::support::{
    World,
    http::{Reply, Server},
    image::{self, Blobs, with_platform},
};
use proptest::prelude::*;
use rbuild_registry::document;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// The document behind the tag, the blobs beside it, and the content type it is served with.
struct Case {
    root: Vec<u8>,
    blobs: Blobs,
    content_type: &'static str,
}

fn manifest(edit: impl FnOnce(&mut Value, &mut Blobs)) -> Case {
    let mut blobs = Blobs::default();
    let descriptor = blobs.image("linux/amd64", &[image::layer(1, 100), image::layer(2, 100)]);
    let mut value: Value = serde_json::from_slice(blobs.get(&descriptor)).unwrap();
    edit(&mut value, &mut blobs);
    Case { root: value.to_string().into_bytes(), blobs, content_type: image::MANIFEST }
}

fn config(edit: impl FnOnce(&mut Value)) -> Case {
    manifest(|value, blobs| {
        let mut config: Value = serde_json::from_slice(blobs.get(&value["config"])).unwrap();
        edit(&mut config);
        value["config"] = blobs.add(image::CONFIG, config.to_string());
    })
}

fn index(edit: impl FnOnce(&mut Value, &mut Blobs)) -> Case {
    let mut blobs = Blobs::default();
    let descriptor = blobs.image("linux/amd64", &[image::layer(1, 100)]);
    let entries = [with_platform(descriptor, "linux/amd64")];
    let mut value = json!({ "schemaVersion": 2, "mediaType": image::INDEX, "manifests": entries });
    edit(&mut value, &mut blobs);
    Case { root: value.to_string().into_bytes(), blobs, content_type: image::INDEX }
}

fn raw(root: impl Into<Vec<u8>>) -> Case {
    Case { root: root.into(), blobs: Blobs::default(), content_type: image::MANIFEST }
}

fn served_as(content_type: &'static str, case: Case) -> Case {
    Case { content_type, ..case }
}

/// Indexes in each other.
fn nested(depth: usize) -> Case {
    let mut blobs = Blobs::default();
    let mut inner = blobs.image("linux/amd64", &[]);
    for _ in 0..depth {
        inner = blobs.index(vec![inner]);
    }
    let root = blobs.get(&inner).to_vec();
    Case { root, blobs, content_type: image::INDEX }
}

fn other_digest(value: &Value) -> Value {
    let mut other = value.clone();
    other["digest"] = format!("sha256:{}", "0".repeat(64)).into();
    other
}

#[rustfmt::skip]
fn cases() -> Vec<(&'static str, Case)> {
    vec![
        ("no JSON", raw("")),
        ("no JSON", raw("<html>")),
        ("no JSON", raw("{\"schemaVersion\":2,")),
        ("no JSON", raw("[".repeat(100_000))),
        ("not of schemaVersion 2", raw("[]")),
        ("not of schemaVersion 2", raw("null")),
        ("not of schemaVersion 2", raw("{}")),
        ("not of schemaVersion 2", manifest(|value, _| value["schemaVersion"] = json!("2"))),
        ("schema 1", manifest(|value, _| value["schemaVersion"] = json!(1))),
        ("schema 1", served_as("application/vnd.docker.distribution.manifest.v1+prettyjws", manifest(|_, _| {}))),
        ("neither a manifest nor an index", raw(r#"{"schemaVersion":2}"#)),
        ("manifest and index at once", manifest(|value, _| value["manifests"] = json!([]))),
        ("the registry says it is", served_as(image::INDEX, manifest(|_, _| {}))),
        ("has not its members", manifest(|value, _| value["mediaType"] = json!(image::INDEX)).vague()),
        ("no image but", manifest(|value, _| value["mediaType"] = json!("application/x")).vague()),
        ("mediaType is no string", manifest(|value, _| value["mediaType"] = json!(7))),
        ("config is no descriptor", manifest(|value, _| { value.as_object_mut().unwrap().remove("config"); })),
        ("its layers are no array", manifest(|value, _| value["layers"] = json!({}))),
        ("config is of type", manifest(|value, _| value["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json"))),
        ("config has 17179869184 bytes", manifest(|value, _| value["config"]["size"] = json!(17_179_869_184_u64))),
        ("layer 1 has the size -1", manifest(|value, _| value["layers"][1]["size"] = json!(-1))),
        ("layer 0 has the size 1.5", manifest(|value, _| value["layers"][0]["size"] = json!(1.5))),
        ("layer 0 has the size null", manifest(|value, _| { value["layers"][0].as_object_mut().unwrap().remove("size"); })),
        ("layer 0 has the size 18446744073709551615", manifest(|value, _| value["layers"][0]["size"] = json!(u64::MAX))),
        ("layer 0 has 2199023255552 bytes", manifest(|value, _| value["layers"][0]["size"] = json!(2_u64 << 40))),
        ("layer 1 has a digest that is no digest", manifest(|value, _| value["layers"][1]["digest"] = json!("sha256:12"))),
        ("layer 1 has a digest that is no digest", manifest(|value, _| value["layers"][1]["digest"] = json!("sha256:../../../etc/passwd"))),
        ("a digest that is not of sha256, which alone is supported", manifest(|value, _| value["layers"][0]["digest"] = json!("md5:d41d8cd98f00b204e9800998ecf8427e"))),
        ("layer 1 is no descriptor", manifest(|value, _| value["layers"][1] = json!("x"))),
        ("layer 0 is of a type that is not supported", manifest(|value, _| value["layers"][0]["mediaType"] = json!("application/x-tar"))),
        ("layer 0 is of a type that is not supported", manifest(|value, _| value["layers"][0]["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+encrypted"))),
        ("with two sizes", manifest(|value, _| { value["layers"][1] = value["layers"][0].clone(); value["layers"][1]["size"] = json!(3); })),
        ("it has 5000 layers", manifest(|value, _| value["layers"] = vec![value["layers"][0].clone(); 5000].into())),
        ("is damaged", manifest(|value, blobs| { let at = value["config"]["digest"].as_str().unwrap().to_owned(); *blobs.0.get_mut(&at).unwrap().last_mut().unwrap() = b' '; })),
        ("bytes instead of", manifest(|value, _| value["config"]["size"] = json!(3))),
        ("not found", manifest(|value, _| value["config"] = other_digest(&value["config"]))),
        ("its config can't be read", manifest(|value, blobs| value["config"] = blobs.add(image::CONFIG, "{}"))),
        ("its config can't be read", manifest(|value, blobs| value["config"] = blobs.add(image::CONFIG, "\u{1b}[31m"))),
        ("its config can't be read", config(|value| { value.as_object_mut().unwrap().remove("rootfs"); })),
        ("2 layers, but its config 3 diff_ids", config(|value| value["rootfs"]["diff_ids"] = json!(["a", "b", "c"]))),
        ("diff_id 1 of its config", config(|value| value["rootfs"]["diff_ids"][1] = json!("sha256:xyz"))),
        ("its manifests are no array", index(|value, _| value["manifests"] = json!("x"))),
        ("it has 5000 manifests", index(|value, _| value["manifests"] = vec![value["manifests"][0].clone(); 5000].into())),
        ("entry 0 of its index has 9000000 bytes", index(|value, _| value["manifests"][0]["size"] = json!(9_000_000))),
        ("has no image for linux/amd64, but for no platform at all", index(|value, _| value["manifests"] = json!([]))),
        ("has no image for linux/amd64, but for plan9/mips", index(|value, _| value["manifests"][0]["platform"] = json!({"os": "plan9", "architecture": "mips"}))),
        ("bytes, not 7 as it says", index(|value, _| value["manifests"][0]["size"] = json!(7))),
        ("not found", index(|value, _| value["manifests"][0] = other_digest(&value["manifests"][0]))),
        ("entry 0 is malformed", index(|value, _| value["manifests"][0]["platform"] = json!("linux"))),
        ("nest deeper than", nested(9)),
        ("more than 4194304 bytes", raw(" ".repeat(5 << 20))),
    ]
}

impl Case {
    fn vague(self) -> Self {
        served_as("application/octet-stream", self)
    }
}

#[test]
fn each_is_a_clear_error() {
    let current: Arc<Mutex<Option<Case>>> = Arc::default();
    let served = current.clone();
    let server = Server::start(move |request| {
        let served = served.lock().unwrap();
        let Some(case) = served.as_ref() else { return Reply::ok("") };
        let key = request.path().rsplit('/').next().unwrap();
        match (key, case.blobs.0.get(key)) {
            ("1", _) => Reply::ok(case.root.clone()).header("Content-Type", case.content_type),
            (_, Some(bytes)) => Reply::ok(bytes.clone()).header("Content-Type", "application/octet-stream"),
            _ if request.path() == "/v2/" => Reply::ok(""),
            _ => Reply::new(404),
        }
    });
    let cases = cases();
    assert!(cases.len() >= 40, "{}", cases.len());
    let image = format!("{}/team/shop:1", server.host()).parse().unwrap();
    for (at, (reason, case)) in cases.into_iter().enumerate() {
        *current.lock().unwrap() = Some(case);
        let found = World::new().client().image(&image, &"linux/amd64".parse().unwrap());
        let error = found.map(|_| ()).expect_err(reason).to_string();
        assert!(error.contains(reason), "case {at}: {reason:?} is not in: {error}");
        assert!(error.contains("team/shop"), "case {at}: {error}");
        assert!(!error.contains(['\u{1b}', '\n']) && error.len() < 700, "case {at}: {error}");
    }
}

/// A circle can't be made of digests; it can be of a registry that answers whatever it likes.
#[test]
fn a_registry_that_lies_about_digests_gets_nowhere() {
    let mut blobs = Blobs::default();
    let lie = blobs.index(vec![json!({
        "mediaType": image::INDEX, "digest": format!("sha256:{}", "1".repeat(64)), "size": 10,
    })]);
    let bytes = blobs.get(&lie).to_vec();
    let server = Server::start(move |request| match request.path() {
        "/v2/" => Reply::ok(""),
        _ => Reply::ok(bytes.clone()).header("Content-Type", image::INDEX),
    });
    let image = format!("{}/shop:1", server.host()).parse().unwrap();
    let error = World::new().client().image(&image, &"linux/amd64".parse().unwrap()).unwrap_err().to_string();
    assert!(error.contains("is damaged") && error.contains("shop"), "{error}");
    let lying = Server::start(|request| match request.path() {
        "/v2/" => Reply::ok(""),
        _ => Reply::ok(r#"{"schemaVersion":2,"manifests":[]}"#)
            .header("Content-Type", image::INDEX)
            .header("Docker-Content-Digest", format!("sha256:{}", "2".repeat(64))),
    });
    let image = format!("{}/shop:1", lying.host()).parse().unwrap();
    let error = World::new().client().manifest(&image).unwrap_err().to_string();
    assert!(error.contains("the registry says that it is sha256:222"), "{error}");
}

proptest! {
    /// One byte of a right document is another, or it ends too soon: it is read or refused, and never more.
    #[test]
    fn a_garbled_document_is_survived(at in 0_usize..5000, byte: u8, end in 0_usize..5000) {
        for case in [manifest(|_, _| {}), index(|_, _| {})] {
            let mut bytes = case.root;
            let at = at % bytes.len();
            bytes[at] = byte;
            bytes.truncate(bytes.len().min(end));
            let _ = document::media_type_of("x", &bytes, Some(case.content_type));
            if let Err(error) = document::read("x", &bytes) {
                prop_assert!(!error.to_string().contains(char::is_control), "{}", error);
            }
            let _ = document::read_configuration("x", &bytes, &[]);
        }
    }
}
