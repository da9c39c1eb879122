//! All of what a name of a layout or archive stands for, byte for byte: to be copied, not to be understood.

use super::{Files, ImageSource, layout};
use crate::{
    Image, Platform, Result,
    digest::Verified,
    layout::{INDEX_FILE, blob_name},
};
use oci_spec::image::{Descriptor, Digest};
use std::{
    collections::{BTreeMap, HashMap},
    io::{Cursor, Read},
    path::{Path, PathBuf},
};

/// An image, or an index of several, in a layout or archive. What a `docker-archive` holds gets a manifest here: it has
/// none of its own.
#[derive(Debug)]
pub struct StoredImage {
    /// What the reference names: a manifest, or an index.
    pub descriptor: Descriptor,
    files: Files,
    /// Documents that are no blobs of their own.
    documents: HashMap<String, Vec<u8>>,
    /// Blobs that are not called after their digests.
    names: HashMap<String, String>,
}

impl StoredImage {
    /// Opens what this reference names (a reference of the layout, a name, a digest); without one there must be one
    /// image only. With a platform it is the one image for that; without, all there is under the name.
    ///
    /// # Errors
    /// As [`ImageSource::open`].
    pub fn open(path: &Path, reference: Option<&str>, platform: Option<&Platform>) -> Result<Self> {
        let files = Files::open(path)?;
        if platform.is_none()
            && files.has(INDEX_FILE)
            && let Some(descriptor) = layout::root(&files, reference)?
        {
            return Ok(Self { descriptor, files, documents: HashMap::new(), names: HashMap::new() });
        }
        drop(files);
        let host = Platform::host();
        let mut image = ImageSource::open(path, reference, platform.unwrap_or(&host))?;
        let Some(manifest) = image.manifest.take() else { return Self::of_docker_archive(image) };
        let descriptor = Descriptor::new(manifest.media_type, manifest.bytes.len() as u64, manifest.digest);
        Ok(Self { descriptor, files: image.files, documents: HashMap::new(), names: HashMap::new() })
    }

    fn of_docker_archive(image: ImageSource) -> Result<Self> {
        let platform = image.platform();
        let ImageSource { configuration, layers, files, names, .. } = image;
        let digests: Vec<String> = layers.iter().map(|layer| layer.digest.to_string()).collect();
        let built = Image::of_configuration(platform, configuration, layers, &BTreeMap::new())?;
        let documents = [
            (built.configuration_descriptor.digest().to_string(), built.configuration),
            (built.descriptor.digest().to_string(), built.manifest),
        ];
        let names = digests.into_iter().zip(names).collect();
        Ok(Self { descriptor: built.descriptor, files, documents: documents.into(), names })
    }

    /// A manifest, index or configuration, whole.
    ///
    /// # Errors
    /// [`Error::Image`](crate::Error::Image) if it is not there or damaged; [`Error::Io`](crate::Error::Io).
    pub fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        match self.documents.get(descriptor.digest().as_ref()) {
            Some(bytes) => Ok(bytes.clone()),
            None => layout::read_blob(&self.files, descriptor),
        }
    }

    /// A blob. Reading it to its end fails if it is not what its digest says.
    ///
    /// # Errors
    /// As [`Self::document`].
    pub fn blob(&self, digest: &Digest, size: u64) -> Result<Box<dyn Read + Send + '_>> {
        if let Some(bytes) = self.documents.get(digest.as_ref()) {
            return Ok(Box::new(Cursor::new(bytes)));
        }
        super::supported(&self.files, digest)?;
        let name = self.names.get(digest.as_ref()).cloned().unwrap_or_else(|| blob_name(digest));
        let missing = || self.files.refuse(format!("blob {digest} is missing"));
        let (reader, _) = self.files.open_file(&name)?.ok_or_else(missing)?;
        Ok(Box::new(Verified::new(reader, "blob", digest.clone(), Some(size))))
    }

    /// The file of a blob, where there is one for it alone. Its bytes are not checked.
    pub fn blob_path(&self, digest: &Digest) -> Option<PathBuf> {
        self.files.file_path(&blob_name(digest))
    }
}
