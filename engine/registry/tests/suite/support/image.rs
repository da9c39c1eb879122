//! Images as layouts, for skopeo and for pushing.

use rbuild_oci::sha256;
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::Path};

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Documents and layers by digest.
#[derive(Clone, Default)]
pub struct Blobs(pub BTreeMap<String, Vec<u8>>);

impl Blobs {
    pub fn add(&mut self, media_type: &str, bytes: impl Into<Vec<u8>>) -> Value {
        let bytes = bytes.into();
        let digest = sha256(&bytes).to_string();
        let descriptor = json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() });
        self.0.insert(digest, bytes);
        descriptor
    }

    /// An image of these (uncompressed) layers; its descriptor.
    pub fn image(&mut self, platform: &str, layers: &[Vec<u8>]) -> Value {
        let (os, architecture) = platform.split_once('/').unwrap();
        let diff_ids: Vec<String> = layers.iter().map(|layer| sha256(layer).to_string()).collect();
        let config = json!({
            "os": os, "architecture": architecture, "config": {}, "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = self.add(CONFIG, config.to_string());
        let layers: Vec<Value> = layers.iter().map(|layer| self.add(LAYER, layer.clone())).collect();
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
        self.add(MANIFEST, manifest.to_string())
    }

    pub fn index(&mut self, entries: Vec<Value>) -> Value {
        self.add(INDEX, json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries }).to_string())
    }

    pub fn get(&self, descriptor: &Value) -> &[u8] {
        &self.0[descriptor["digest"].as_str().unwrap()]
    }

    /// Writes a layout whose only image is this one.
    pub fn write_layout(&self, folder: &Path, descriptor: &Value) {
        std::fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
        for (digest, bytes) in &self.0 {
            std::fs::write(folder.join("blobs").join(digest.replacen(':', "/", 1)), bytes).unwrap();
        }
        std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let index = json!({ "schemaVersion": 2, "manifests": [descriptor] });
        std::fs::write(folder.join("index.json"), index.to_string()).unwrap();
    }
}

pub fn with_platform(mut descriptor: Value, platform: &str) -> Value {
    let mut parts = platform.split('/');
    let (os, architecture) = (parts.next().unwrap(), parts.next().unwrap());
    descriptor["platform"] = json!({ "os": os, "architecture": architecture });
    if let Some(variant) = parts.next() {
        descriptor["platform"]["variant"] = json!(variant);
    }
    descriptor
}

/// A tar of one file with these many bytes of noise.
pub fn layer(seed: u64, size: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let content: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(size).collect();
    let mut header = [0_u8; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, &format!("file-{seed}"));
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut tar = header.to_vec();
    tar.extend(content);
    tar.resize(tar.len().div_ceil(512) * 512 + 1024, 0);
    tar
}

/// A descriptor as the client takes it.
pub fn descriptor(value: &Value) -> rbuild_oci::oci_spec::image::Descriptor {
    serde_json::from_value(value.clone()).unwrap()
}
