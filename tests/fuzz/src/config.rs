//! An image's configuration, joined with the layers of its manifest: a line with the manifest, then the configuration.
//! Without such a line the bytes are the configuration of images with a few layers.

use rbuild_oci::oci_spec::image::Descriptor;
use rbuild_registry::document::{self, Document};
use serde_json::{Value, json};

const NAME: &str = "registry.example/some/image:1";

/// Each layer gets the diff_id that stands at its place, and there are as many of both.
pub fn check(bytes: &[u8]) {
    if let Some(at) = bytes.iter().position(|byte| *byte == b'\n')
        && let Ok(Document::Manifest(manifest)) = document::read(NAME, &bytes[..at])
    {
        return check_joined(&bytes[at + 1..], &manifest.layers);
    }
    for count in 0..4 {
        check_joined(bytes, &layers(count));
    }
}

fn check_joined(bytes: &[u8], layers: &[Descriptor]) {
    let (parsed, joined) = match document::read_configuration(NAME, bytes, layers) {
        Ok(read) => read,
        Err(error) => {
            let message = error.to_string();
            assert!(message.contains(NAME) && !message.contains(char::is_control), "{message:?}");
            assert!(message.len() < 2000, "{} bytes of message", message.len());
            return;
        }
    };
    assert_eq!(joined.len(), layers.len());
    // What has no meaning here is skipped, whatever its strings hold.
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return };
    assert_eq!(Some(parsed.os().to_string().as_str()), value["os"].as_str());
    assert_eq!(Some(parsed.architecture().to_string().as_str()), value["architecture"].as_str());
    let diff_ids = value["rootfs"]["diff_ids"].as_array().expect("an array");
    assert_eq!(joined.len(), diff_ids.len());
    for ((joined, layer), diff_id) in joined.iter().zip(layers).zip(diff_ids) {
        assert_eq!((&joined.digest, joined.size), (layer.digest(), layer.size()));
        assert_eq!(Some(joined.diff_id.as_ref()), diff_id.as_str());
        let media_type = joined.media_type.to_string();
        let compression = media_type.strip_prefix("application/vnd.oci.image.layer.v1.tar");
        assert!(matches!(compression, Some("" | "+gzip" | "+zstd")), "{media_type}");
    }
}

fn layers(count: usize) -> Vec<Descriptor> {
    let layer = |number: usize| {
        json!({
            "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
            "digest": format!("sha256:{number:064x}"),
            "size": 100 + number,
        })
    };
    (0..count).map(|number| serde_json::from_value(layer(number)).expect("a descriptor")).collect()
}
