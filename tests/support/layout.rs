//! Images as others see them: layouts, read with nothing of rbuild but a JSON parser and GNU tar.

use super::Project;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

/// An OCI layout in a folder.
pub struct Layout {
    folder: PathBuf,
}

impl Project {
    /// The layout that an image was written to.
    pub fn layout(&self, path: &str) -> Layout {
        Layout { folder: self.path(path) }
    }
}

impl Layout {
    /// The digest of each image, by the name it has here.
    pub fn references(&self) -> BTreeMap<String, String> {
        let index = fs::read(self.folder.join("index.json")).expect("the layout's index");
        let index: Value = serde_json::from_slice(&index).expect("the index is JSON");
        let manifests = index["manifests"].as_array().expect("an index lists manifests");
        let named = manifests.iter().map(|manifest| {
            let name = &manifest["annotations"]["org.opencontainers.image.ref.name"];
            (text(name), text(&manifest["digest"]))
        });
        named.collect()
    }

    /// The digest of one image.
    #[track_caller]
    pub fn digest(&self, reference: &str) -> String {
        let references = self.references();
        references.get(reference).unwrap_or_else(|| panic!("{reference} is not in {references:?}")).clone()
    }

    /// A manifest's bytes.
    #[track_caller]
    pub fn raw_manifest(&self, reference: &str) -> Vec<u8> {
        self.blob(&self.digest(reference))
    }

    /// A manifest.
    #[track_caller]
    pub fn manifest(&self, reference: &str) -> Value {
        serde_json::from_slice(&self.raw_manifest(reference)).expect("a manifest is JSON")
    }

    /// The configuration of an image.
    #[track_caller]
    pub fn configuration(&self, reference: &str) -> Value {
        let digest = text(&self.manifest(reference)["config"]["digest"]);
        serde_json::from_slice(&self.blob(&digest)).expect("a configuration is JSON")
    }

    /// The digests of an image's layers, from the bottom up.
    #[track_caller]
    pub fn layers(&self, reference: &str) -> Vec<String> {
        let manifest = self.manifest(reference);
        let layers = manifest["layers"].as_array().expect("a manifest lists layers");
        layers.iter().map(|layer| text(&layer["digest"])).collect()
    }

    /// The names in each layer of an image, in their order.
    #[track_caller]
    pub fn names(&self, reference: &str) -> Vec<Vec<String>> {
        self.layers(reference).iter().map(|layer| self.names_in(layer)).collect()
    }

    fn names_in(&self, layer: &str) -> Vec<String> {
        let listed =
            Command::new("tar").arg("-tf").arg(self.blob_path(layer)).output().expect("tar can be started");
        assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
        String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect()
    }

    /// What the history says of each layer; those without one in brackets.
    pub fn history(&self, reference: &str) -> Vec<String> {
        let configuration = self.configuration(reference);
        let history = configuration["history"].as_array().expect("a configuration has a history");
        let line = |entry: &Value| match entry["empty_layer"].as_bool() {
            Some(true) => format!("({})", text(&entry["created_by"])),
            _ => text(&entry["created_by"]),
        };
        history.iter().map(line).collect()
    }

    /// Fails the test unless every digest and size of an image is that of the bytes, and history and layers agree.
    #[track_caller]
    pub fn check(&self, reference: &str) {
        let (manifest, configuration) = (self.manifest(reference), self.configuration(reference));
        let layers = manifest["layers"].as_array().expect("a manifest lists layers");
        for descriptor in layers.iter().chain([&manifest["config"]]) {
            let bytes = self.blob(&text(&descriptor["digest"]));
            assert_eq!(descriptor["size"].as_u64(), u64::try_from(bytes.len()).ok(), "{descriptor}");
        }
        let ids = configuration["rootfs"]["diff_ids"].as_array().expect("a configuration lists layers");
        let plain: Vec<String> = layers.iter().map(|layer| sha256(&self.uncompressed(layer))).collect();
        assert_eq!(ids.iter().map(text).collect::<Vec<_>>(), plain, "{reference}");
        let told = self.history(reference);
        assert_eq!(told.iter().filter(|line| !line.starts_with('(')).count(), layers.len(), "{told:?}");
    }

    fn uncompressed(&self, layer: &Value) -> Vec<u8> {
        let path = self.blob_path(&text(&layer["digest"]));
        let program = match text(&layer["mediaType"]).rsplit('+').next() {
            Some("gzip") => "gzip",
            Some("zstd") => "zstd",
            _ => return fs::read(path).expect("a layer"),
        };
        let output = Command::new(program).arg("-dc").stdin(fs::File::open(path).expect("a layer")).output();
        output.unwrap_or_else(|error| panic!("{program}: {error}")).stdout
    }

    /// A blob; the test fails unless it has the digest it is named by.
    #[track_caller]
    fn blob(&self, digest: &str) -> Vec<u8> {
        let bytes = fs::read(self.blob_path(digest)).unwrap_or_else(|error| panic!("{digest}: {error}"));
        assert_eq!(sha256(&bytes), digest);
        bytes
    }

    fn blob_path(&self, digest: &str) -> PathBuf {
        self.folder.join("blobs").join(digest.replace(':', "/"))
    }
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}")).to_owned()
}
