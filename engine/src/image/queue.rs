//! Writes layers, in the background while steps run, or when an image needs one that is not written yet.
//!
//! A layer is remembered by the two snapshots it lies between, the writer's and compressor's versions and, where it has
//! whiteouts, their time, the epoch: the same question has one answer, so the blob is written once.

use super::layers::LayerPiece;
use crate::{
    convert::STORE_DAMAGED,
    error::{Error, Result},
    store::{LayerMemo, Store},
};
use rbuild_oci::{BlobWriter, COMPRESSOR, Compression, LayerDescriptor, write_layer};
use rbuild_tree::Timestamp;
use std::{
    collections::HashMap,
    fs::File,
    io::BufWriter,
    str::FromStr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

/// Of the layer's bytes before compression. Changes when `write_layer` writes anything differently.
pub(super) const WRITER: &str = "layer 1";

/// A layer of an image.
#[derive(Clone)]
pub struct WrittenLayer {
    /// None if the two snapshots are the same.
    pub descriptor: Option<LayerDescriptor>,
    /// What could not be put in.
    pub warnings: Vec<String>,
}

/// The layers that are being written.
pub struct LayerQueue {
    shared: Arc<Shared>,
    sender: Option<mpsc::Sender<(LayerPiece, Compression)>>,
    thread: Option<thread::JoinHandle<()>>,
}

struct Shared {
    store: Arc<Store>,
    epoch: Timestamp,
    /// By name: whoever holds the lock writes the layer.
    slots: Mutex<HashMap<String, Arc<Mutex<Option<WrittenLayer>>>>>,
    closing: AtomicBool,
}

impl LayerQueue {
    /// An empty queue. `epoch` is the time of whiteouts.
    pub fn new(store: Arc<Store>, epoch: Timestamp) -> Self {
        let shared =
            Arc::new(Shared { store, epoch, slots: Mutex::default(), closing: AtomicBool::new(false) });
        let (sender, receiver) = mpsc::channel::<(LayerPiece, Compression)>();
        let worker = shared.clone();
        let work = move || {
            for (piece, compression) in receiver {
                if worker.closing.load(Ordering::Relaxed) {
                    return;
                }
                // An error is told when the image asks for the layer.
                if let Err(error) = worker.layer(&piece, compression) {
                    tracing::debug!(%error, "a layer could not be written in advance");
                }
            }
        };
        // Without the thread layers are written when they are needed.
        let thread = thread::Builder::new().name("layers".to_owned()).spawn(work).ok();
        Self { shared, sender: Some(sender), thread }
    }

    /// Has a layer written in the background.
    pub fn prepare(&self, piece: LayerPiece, compression: Compression) {
        if let Some(sender) = &self.sender {
            let _ = sender.send((piece, compression));
        }
    }

    /// The layer, once it is written.
    ///
    /// # Errors
    /// It can't be written: a name that layers can't hold, a damaged object, a full disk.
    pub fn layer(&self, piece: &LayerPiece, compression: Compression) -> Result<WrittenLayer> {
        self.shared.layer(piece, compression)
    }
}

impl Drop for LayerQueue {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Relaxed);
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn layer(&self, piece: &LayerPiece, compression: Compression) -> Result<WrittenLayer> {
        let base = piece.base.as_ref().map_or_else(String::new, |base| base.id().to_string());
        let name = format!("{WRITER} {COMPRESSOR} {compression:?} {base} {}", piece.result.id());
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.entry(name.clone()).or_default().clone()
        };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(layer) = &*slot {
            return Ok(layer.clone());
        }
        let layer = match self.remembered(&name).or_else(|| self.remembered(&self.at_epoch(&name))) {
            Some(layer) => layer,
            None => self.write(piece, compression, &name)?,
        };
        *slot = Some(layer.clone());
        Ok(layer)
    }

    /// The name of a layer with whiteouts.
    fn at_epoch(&self, name: &str) -> String {
        format!("{name} {}", self.epoch.seconds)
    }

    fn remembered(&self, name: &str) -> Option<WrittenLayer> {
        let memo = self.store.records().layer(name)?;
        let warnings = memo.warnings;
        let Some(diff_id) = memo.diff_id else { return Some(WrittenLayer { descriptor: None, warnings }) };
        let digest = rbuild_oci::oci_spec::image::Digest::from_str(&memo.digest).ok()?;
        if !self.store.has_blob(digest.digest()) {
            return None;
        }
        let descriptor = LayerDescriptor {
            media_type: memo.media_type.as_str().into(),
            diff_id: rbuild_oci::oci_spec::image::Digest::from_str(&diff_id).ok()?,
            size: memo.size,
            digest,
        };
        Some(WrittenLayer { descriptor: Some(descriptor), warnings })
    }

    fn write(&self, piece: &LayerPiece, compression: Compression, name: &str) -> Result<WrittenLayer> {
        let fresh = self.store.scratch().fresh();
        let file = File::create(&fresh).map_err(|error| Error::io("create", &fresh, error))?;
        let mut blob = BlobWriter::new(BufWriter::with_capacity(1 << 18, file), compression);
        let base = piece.base.as_deref();
        let summary =
            write_layer(&*self.store, base, &piece.result, self.epoch, &mut blob).map_err(|error| {
                if let rbuild_oci::Error::Object { id, .. } = &error {
                    self.store.drop_object(id);
                }
                Error::from(error)
            });
        let summary = summary.map_err(|error| match error.code() {
            Some(STORE_DAMAGED) => error,
            _ => error.within(&format!("the layer of `{}`", piece.made_by)),
        })?;
        let (blob, _) = blob.finish().map_err(|error| Error::io("write", &fresh, error))?;
        let left_out = summary.skipped_sockets.iter();
        let warnings: Vec<String> =
            left_out.map(|path| format!("{path} is a socket and is left out of the layer")).collect();
        let descriptor = (summary.entries > 0).then(|| LayerDescriptor::from(&blob));
        if descriptor.is_some() {
            self.store.put_blob(blob.digest.digest(), &fresh)?;
        }
        let memo = LayerMemo {
            diff_id: descriptor.as_ref().map(|layer| layer.diff_id.to_string()),
            digest: blob.digest.to_string(),
            size: blob.size,
            uncompressed: blob.uncompressed_size,
            media_type: compression.layer_media_type().to_string(),
            warnings: warnings.clone(),
        };
        let with_time = (summary.whiteouts > 0).then(|| self.at_epoch(name));
        self.store.records().put_layer(with_time.as_deref().unwrap_or(name), &memo)?;
        Ok(WrittenLayer { descriptor, warnings })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rbuild_tree::{Editor, Entry, Kind, Metadata, Snapshot, TreePath};

    #[test]
    fn a_layer_depends_on_the_epoch_only_by_its_whiteouts() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let tree = |names: &[&str]| {
            let mut editor = Editor::new(&*store, &Snapshot::scratch());
            for name in names {
                let object = store.put_object(b"x").unwrap();
                let metadata = Metadata::root(0o644, Timestamp::from_seconds(7));
                let entry = Entry { metadata, kind: Kind::File { object, size: 1 } };
                editor.insert(&TreePath::parse(name.as_bytes()).unwrap(), entry).unwrap();
            }
            Arc::new(editor.finish().unwrap())
        };
        let (both, one) = (tree(&["/a", "/b"]), tree(&["/a"]));
        let bottom = LayerPiece { base: None, result: both.clone(), made_by: "base".to_owned() };
        let top = LayerPiece { base: Some(both), result: one, made_by: "top".to_owned() };
        let digest = |epoch, piece: &LayerPiece| {
            let queue = LayerQueue::new(store.clone(), Timestamp::from_seconds(epoch));
            queue.layer(piece, Compression::Gzip).unwrap().descriptor.unwrap().digest
        };
        let first = (digest(100, &bottom), digest(100, &top));
        // An object that is gone: the layer can't be written again, and need not be.
        store.drop_object(&rbuild_tree::ObjectId::of(b"x"));
        assert_eq!(digest(200, &bottom), first.0);
        assert_ne!(digest(200, &top), first.1, "a whiteout has the epoch as its time");
        assert_eq!(digest(100, &top), first.1);
    }
}
