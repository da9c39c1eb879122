//! Content on its way into the store: hashed and written by other threads, awaited in order.

use crate::ObjectStore;
use rbuild_tree::ObjectId;
use std::{
    io::{self, Read},
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, Sender, TryRecvError, channel},
    },
    thread,
};

/// More threads than this would wait for the one that reads the archive.
const MOST_THREADS: usize = 4;

/// An object and its size.
pub(super) type Stored = (ObjectId, u64);

/// The content of an entry.
pub(super) enum Content {
    /// It has none.
    None,
    /// It is in the store.
    Stored(Stored),
    /// A thread has it.
    Pending(Receiver<io::Result<Stored>>),
    /// Storing it failed.
    Failed(io::Error),
}

impl Content {
    /// Whether [`Self::wait`] would not wait.
    pub fn is_ready(&mut self) -> bool {
        let Self::Pending(receiver) = self else { return true };
        match receiver.try_recv() {
            Err(TryRecvError::Empty) => false,
            Ok(Ok(stored)) => self.settle(Self::Stored(stored)),
            Ok(Err(error)) => self.settle(Self::Failed(error)),
            Err(TryRecvError::Disconnected) => self.settle(Self::Failed(thread_died())),
        }
    }

    fn settle(&mut self, content: Self) -> bool {
        *self = content;
        true
    }

    /// The object, if the entry has content.
    pub fn wait(self) -> io::Result<Option<Stored>> {
        match self {
            Self::None => Ok(None),
            Self::Stored(stored) => Ok(Some(stored)),
            Self::Pending(receiver) => receiver.recv().unwrap_or_else(|_| Err(thread_died())).map(Some),
            Self::Failed(error) => Err(error),
        }
    }
}

fn thread_died() -> io::Error {
    io::Error::other("a thread that stores files died")
}

struct Task {
    bytes: Vec<u8>,
    done: Sender<io::Result<Stored>>,
}

/// The way into the store.
pub(super) struct Storing<'s> {
    store: &'s dyn ObjectStore,
    tasks: Option<Sender<Task>>,
}

impl Storing<'_> {
    /// Stores a stream before it returns.
    pub fn store_now(&self, reader: &mut dyn Read, size: u64) -> io::Result<Stored> {
        self.store.put_stream(reader, size)
    }

    /// Stores bytes on another thread.
    pub fn store_later(&self, bytes: Vec<u8>) -> Content {
        let (done, receiver) = channel();
        let count = bytes.len() as u64;
        let unsent = match &self.tasks {
            Some(tasks) => tasks.send(Task { bytes, done }).err().map(|unsent| unsent.0),
            None => Some(Task { bytes, done }),
        };
        match unsent {
            None => Content::Pending(receiver),
            Some(Task { bytes, .. }) => match self.store_now(&mut bytes.as_slice(), count) {
                Ok(stored) => Content::Stored(stored),
                Err(error) => Content::Failed(error),
            },
        }
    }
}

/// Runs `work` with threads that store for it; without any if none can be started.
pub(super) fn with_threads<T>(store: &dyn ObjectStore, work: impl FnOnce(&Storing<'_>) -> T) -> T {
    let (sender, receiver) = channel::<Task>();
    let receiver = Mutex::new(receiver);
    thread::scope(|scope| {
        let wanted = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
        let started = (0..wanted).filter(|_| {
            let thread = thread::Builder::new().name("rbuild-import".to_owned());
            thread.spawn_scoped(scope, || store_tasks(store, &receiver)).is_ok()
        });
        let tasks = (started.count() > 0).then_some(sender);
        // The sender goes away with `Storing`, which ends the threads.
        work(&Storing { store, tasks })
    })
}

fn store_tasks(store: &dyn ObjectStore, tasks: &Mutex<Receiver<Task>>) {
    loop {
        let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Task { bytes, done }) = task else { return };
        let stored = store.put_stream(&mut bytes.as_slice(), bytes.len() as u64);
        let _ = done.send(stored); // nobody waits any more: the import has failed
    }
}
