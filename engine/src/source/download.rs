//! A layer on its way into the store, which can be read while it comes.

use super::{Surroundings, layers};
use crate::{
    error::{Error, Result},
    transfer::Transfer,
};
use rbuild_oci::{LayerDescriptor, oci_spec::image::Digest};
use rbuild_registry::{BlobTarget, Client, RemoteLayer, Repository};
use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::FileExt,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// One blob.
pub(super) struct Download<'a> {
    layer: &'a RemoteLayer,
    transfer: &'a Arc<Transfer>,
    state: Mutex<State>,
    changed: Condvar,
    /// Nobody wants it any more.
    given_up: AtomicBool,
    /// Who read it meanwhile read bytes that turned out wrong.
    misled: AtomicBool,
}

#[derive(Default)]
struct State {
    /// There once it has begun.
    file: Option<Arc<File>>,
    written: u64,
    /// How often what was written was thrown away.
    restarts: u32,
    /// Whether it is whole, once it has ended.
    ended: Option<bool>,
}

impl<'a> Download<'a> {
    pub(super) fn new(layer: &'a RemoteLayer, transfer: &'a Arc<Transfer>) -> Self {
        Self {
            layer,
            transfer,
            state: Mutex::default(),
            changed: Condvar::new(),
            given_up: AtomicBool::new(false),
            misled: AtomicBool::new(false),
        }
    }

    pub(super) fn digest(&self) -> &'a Digest {
        &self.layer.layer.digest
    }

    /// Whether it is the blob of this layer.
    pub(super) fn is_of(&self, layer: &LayerDescriptor) -> bool {
        self.layer.layer.digest == layer.digest
    }

    /// Fetches it into the store.
    pub(super) fn run(
        &self,
        client: &Client,
        repository: &Repository,
        surroundings: &Surroundings<'_>,
    ) -> Result<()> {
        let digest = self.layer.layer.digest.as_ref();
        let _counted = surroundings.registries.on_the_way().enter(digest, self.transfer);
        layers::keep_blob(surroundings.store, &self.layer.layer.digest, |file| {
            let shared = file
                .try_clone()
                .map_err(|error| Error::environment("cannot share a file").caused_by(error))?;
            self.change(|state| state.file = Some(Arc::new(shared)));
            let mut target = Target { download: self, file };
            Ok(client.save_blob(repository, &self.layer.descriptor, &mut target)?)
        })?;
        if self.state().file.is_none() {
            self.adopt(surroundings)?;
        }
        self.transfer.blob_done();
        Ok(())
    }

    /// Somebody else has put it into the store meanwhile.
    fn adopt(&self, surroundings: &Surroundings<'_>) -> Result<()> {
        let file = layers::open_blob(surroundings, &self.layer.layer)?;
        self.change(|state| {
            state.written = self.layer.layer.size;
            state.file = Some(Arc::new(file));
        });
        Ok(())
    }

    /// Tells those who read it whether it is whole. After whoever is to know of a failure knows of it.
    pub(super) fn end(&self, is_whole: bool) {
        self.change(|state| {
            state.ended.get_or_insert(is_whole);
        });
    }

    /// Lets it fail.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::SeqCst);
    }

    /// Whether somebody read bytes that were thrown away afterwards.
    pub(super) fn has_misled(&self) -> bool {
        self.misled.load(Ordering::SeqCst)
    }

    /// Whether what somebody read and could not understand was thrown away: waits until that is known.
    pub(super) fn was_misleading(&self) -> bool {
        let stands = |state: &mut State| state.ended.is_none();
        let state = self.changed.wait_while(self.state(), stands).unwrap_or_else(PoisonError::into_inner);
        let misleading = state.ended == Some(true) && state.restarts > 0;
        self.misled.fetch_or(misleading, Ordering::SeqCst);
        misleading
    }

    /// Reads it from its beginning, as far as it is there.
    pub(super) fn follow(&self) -> impl Read + Send {
        Follower { download: self, file: None, restarts: 0, offset: 0 }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }
}

/// What is written is there for the followers.
struct Target<'a> {
    download: &'a Download<'a>,
    file: &'a mut File,
}

impl Write for Target<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.download.given_up.load(Ordering::SeqCst) {
            return Err(io::Error::other("nobody wants it any more"));
        }
        let count = self.file.write(bytes)?;
        self.download.change(|state| state.written += count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl BlobTarget for Target<'_> {
    fn begin_again(&mut self) -> io::Result<()> {
        self.download.change(|state| {
            self.download.transfer.take_back(state.written);
            state.written = 0;
            state.restarts += 1;
        });
        self.file.begin_again()
    }
}

struct Follower<'a> {
    download: &'a Download<'a>,
    file: Option<Arc<File>>,
    restarts: u32,
    offset: u64,
}

impl Follower<'_> {
    /// Waits for more; says how far it may read.
    fn wait(&mut self) -> io::Result<u64> {
        let (restarts, offset) = (self.restarts, self.offset);
        let stands = |state: &mut State| {
            state.ended.is_none() && state.restarts == restarts && state.written <= offset
        };
        let state = self.download.changed.wait_while(self.download.state(), stands);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        if state.ended == Some(false) {
            return Err(io::Error::other("the layer did not come"));
        }
        if state.restarts != restarts && offset > 0 {
            self.download.misled.store(true, Ordering::SeqCst);
            return Err(io::Error::other("the layer came damaged, and comes again"));
        }
        self.restarts = state.restarts;
        self.file.clone_from(&state.file);
        Ok(state.written)
    }
}

impl Read for Follower<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let end = self.wait()?;
            let Some(file) = &self.file else { return Ok(0) };
            let most = usize::try_from(end - self.offset).unwrap_or(usize::MAX).min(buffer.len());
            let count = file.read_at(&mut buffer[..most], self.offset)?;
            // Nothing where something was: it was thrown away just now, as waiting again will tell.
            if count > 0 || most == 0 {
                self.offset += count as u64;
                return Ok(count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Direction, Silent};
    use rbuild_oci::oci_spec::image::{Descriptor, MediaType};
    use std::thread;

    fn layer() -> RemoteLayer {
        let digest = rbuild_oci::sha256(b"hello world");
        let media_type = MediaType::ImageLayer;
        let descriptor = Descriptor::new(media_type.clone(), 11, digest.clone());
        RemoteLayer {
            layer: LayerDescriptor { media_type, digest: digest.clone(), size: 11, diff_id: digest },
            descriptor,
        }
    }

    fn read(download: &Download<'_>) -> io::Result<String> {
        let mut text = String::new();
        download.follow().read_to_string(&mut text).map(|_| text)
    }

    /// Lets `write` fill a download while another thread reads it; gives what that one got.
    fn followed(download: &Download<'_>, write: impl FnOnce(&mut Target<'_>)) -> io::Result<String> {
        let mut file = tempfile::tempfile()?;
        thread::scope(|scope| {
            let reader = scope.spawn(|| read(download));
            let shared = file.try_clone()?;
            download.change(|state| state.file = Some(Arc::new(shared)));
            write(&mut Target { download, file: &mut file });
            reader.join().unwrap_or_else(|_| Err(io::Error::other("the reader panicked")))
        })
    }

    fn transfer() -> Arc<Transfer> {
        Arc::new(Transfer::new("x", Direction::Pull, [11], Arc::new(Silent)))
    }

    #[test]
    fn a_reader_gets_what_comes_later_and_ends_with_it() {
        let (layer, transfer) = (layer(), transfer());
        let download = Download::new(&layer, &transfer);
        let got = followed(&download, |target| {
            assert!(target.write_all(b"hello ").and_then(|()| target.write_all(b"world")).is_ok());
            download.end(true);
        });
        assert_eq!(got.ok().as_deref(), Some("hello world"));
        assert!(!download.has_misled());
    }

    #[test]
    fn a_reader_of_bytes_that_were_wrong_learns_it_and_the_next_one_gets_the_right_ones() {
        let (layer, transfer) = (layer(), transfer());
        let download = Download::new(&layer, &transfer);
        let mut file = tempfile::tempfile().expect("a file");
        let shared = file.try_clone().expect("a second handle");
        download.change(|state| state.file = Some(Arc::new(shared)));
        let mut target = Target { download: &download, file: &mut file };
        target.write_all(b"hallo").expect("a write");
        let mut early = download.follow();
        early.read_exact(&mut [0; 5]).expect("what is there");
        target.begin_again().and_then(|()| target.write_all(b"hello world")).expect("a write");
        download.end(true);
        assert!(early.read(&mut [0; 5]).is_err() && download.has_misled());
        assert_eq!(read(&download).ok().as_deref(), Some("hello world"));
    }

    #[test]
    fn a_reader_learns_that_the_rest_does_not_come() {
        let (layer, transfer) = (layer(), transfer());
        let download = Download::new(&layer, &transfer);
        let got = followed(&download, |target| {
            assert!(target.write_all(b"hello ").is_ok());
            download.end(false);
            download.end(true); // the first word counts
        });
        assert!(got.is_err() && !download.has_misled());
    }
}
