//! Manifests and indexes of a registry: any bytes.

use rbuild_oci::{
    Platform,
    oci_spec::image::{Descriptor, MediaType},
};
use rbuild_registry::{
    document::{
        self, Document, LARGEST_CONFIGURATION, LARGEST_LAYER, LARGEST_MANIFEST, MOST_ENTRIES, MOST_LAYERS,
    },
    fuzzing::choose,
};
use serde_json::Value;

const NAME: &str = "registry.example/some/image:1";
const CONTENT_TYPES: [&str; 5] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json; charset=utf-8",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/json",
];
const PLATFORMS: [&str; 4] = ["linux/amd64", "linux/arm64/v8", "linux/arm/v7", "windows/amd64"];

/// What is taken is what the document says, within the limits; of an index the entry is taken that serves best. An error
/// is one short line that names the image.
pub fn check(bytes: &[u8]) {
    let media_type = document::media_type_of(NAME, bytes, None);
    check_content_types(bytes, media_type.as_ref().ok());
    let read = document::read(NAME, bytes);
    if let Err(error) = &read {
        return check_message(&error.to_string());
    }
    let value: Value = serde_json::from_slice(bytes).expect("what is read is JSON");
    assert_eq!(value["schemaVersion"], 2);
    let is_manifest = !value["layers"].is_null() || !value["config"].is_null();
    assert_ne!(is_manifest, !value["manifests"].is_null(), "one or the other (CVE-2021-41190)");
    match read.expect("errors were looked at") {
        Document::Manifest(manifest) => {
            assert!(is_manifest);
            check_descriptor(&manifest.config, &value["config"], LARGEST_CONFIGURATION);
            check_descriptors(&manifest.layers, &value["layers"], MOST_LAYERS, LARGEST_LAYER);
        }
        Document::Index(entries) => {
            check_descriptors(&entries, &value["manifests"], MOST_ENTRIES, LARGEST_MANIFEST);
            for platform in PLATFORMS {
                check_choice(&entries, &platform.parse().expect("a platform"));
            }
        }
    }
}

/// A content type can be wrong, but it never changes what the document says of itself.
fn check_content_types(bytes: &[u8], own: Option<&MediaType>) {
    for content_type in CONTENT_TYPES {
        match document::media_type_of(NAME, bytes, Some(content_type)) {
            Err(error) => check_message(&error.to_string()),
            Ok(found) => {
                let said = content_type.split(';').next().unwrap_or_default();
                let own = own.expect("a content type helps no bad document");
                assert!(found.to_string() == said || said == "application/json" && found == *own);
            }
        }
    }
}

fn check_message(message: &str) {
    assert!(message.contains(NAME), "{message}");
    assert!(!message.contains(char::is_control), "{message:?}");
    assert!(message.len() < 50_000, "{} bytes of message", message.len());
}

fn check_descriptors(found: &[Descriptor], said: &Value, most: usize, largest: u64) {
    let said = said.as_array().expect("an array");
    assert_eq!(found.len(), said.len());
    assert!(found.len() <= most);
    found.iter().zip(said).for_each(|(found, said)| check_descriptor(found, said, largest));
}

fn check_descriptor(found: &Descriptor, said: &Value, largest: u64) {
    assert_eq!(Some(found.size()), said["size"].as_u64());
    assert_eq!(Some(found.digest().as_ref()), said["digest"].as_str());
    assert_eq!(Some(found.media_type().to_string().as_str()), said["mediaType"].as_str());
    assert!(found.size() <= largest);
}

fn check_choice(entries: &[Descriptor], wanted: &Platform) {
    let rank = |entry: &Descriptor| {
        let offered = entry.platform().as_ref()?;
        let variant = offered.variant().clone().filter(|variant| !variant.is_empty());
        let (os, architecture) = (offered.os().to_string(), offered.architecture().to_string());
        wanted.serves(&Platform { os, architecture, variant })
    };
    let is_image = |entry: &&Descriptor| {
        let annotations = entry.annotations().as_ref();
        !annotations.is_some_and(|all| all.contains_key("vnd.docker.reference.type"))
    };
    let best = entries.iter().filter(is_image).filter_map(rank).max();
    match choose(NAME, entries, wanted) {
        Ok(chosen) => {
            assert!(is_image(&chosen), "what is said about an image is none");
            assert_eq!(rank(chosen), best, "the best one, or one that says nothing if none serves");
            assert!(best.is_some() || chosen.platform().is_none());
            let first = entries.iter().filter(is_image).find(|entry| rank(entry) == best);
            assert!(best.is_none() || first == Some(chosen), "the first of equals");
        }
        Err(error) => {
            assert_eq!(best, None, "{error}");
            check_message(&error.to_string());
        }
    }
}
