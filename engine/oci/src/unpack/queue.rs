//! Content on its way into the store: hashed and written by other threads, awaited in order.
//!
//! Bytes that wait for a thread are bounded, whether anybody awaits them yet or not.

use crate::ObjectStore;
use rbuild_tree::ObjectId;
use std::{
    io::{self, Read},
    sync::{
        Condvar, Mutex, PoisonError,
        mpsc::{Receiver, Sender, TryRecvError, channel},
    },
    thread,
};

/// More threads than this would wait for the one that reads the archive.
const MOST_THREADS: usize = 4;
/// Bytes that threads have or are to have, in one import.
const IN_FLIGHT: u64 = 8 << 20;

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

/// Bytes in memory that are not stored yet.
#[derive(Default)]
struct InFlight {
    bytes: Mutex<u64>,
    fewer: Condvar,
}

impl InFlight {
    /// Waits until there is room. What alone is larger than the bound has it alone.
    fn enter(&self, count: u64) {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |bytes: &mut u64| *bytes > 0 && *bytes + count > IN_FLIGHT;
        let mut bytes = self.fewer.wait_while(bytes, is_full).unwrap_or_else(PoisonError::into_inner);
        *bytes += count;
    }

    fn leave(&self, count: u64) {
        *self.bytes.lock().unwrap_or_else(PoisonError::into_inner) -= count;
        self.fewer.notify_all();
    }
}

struct Task<'s> {
    bytes: Vec<u8>,
    in_flight: &'s InFlight,
    done: Sender<io::Result<Stored>>,
}

impl Task<'_> {
    fn run(self, store: &dyn ObjectStore) {
        let stored = store.put_stream(&mut self.bytes.as_slice(), self.bytes.len() as u64);
        let _ = self.done.send(stored); // nobody waits any more: the import has failed
    }
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        self.in_flight.leave(self.bytes.len() as u64);
    }
}

/// The way into the store.
pub(super) struct Storing<'s> {
    store: &'s dyn ObjectStore,
    in_flight: &'s InFlight,
    tasks: Option<Sender<Task<'s>>>,
}

impl Storing<'_> {
    /// Stores a stream before it returns.
    pub fn store_now(&self, reader: &mut dyn Read, size: u64) -> io::Result<Stored> {
        self.store.put_stream(reader, size)
    }

    /// Stores bytes on another thread; waits while too many are on their way.
    pub fn store_later(&self, bytes: Vec<u8>) -> Content {
        let (done, receiver) = channel();
        self.in_flight.enter(bytes.len() as u64);
        let task = Task { bytes, in_flight: self.in_flight, done };
        match &self.tasks {
            // The threads end only after this value.
            Some(tasks) => drop(tasks.send(task)),
            None => task.run(self.store),
        }
        Content::Pending(receiver)
    }
}

/// Runs `work` with threads that store for it; without any if none can be started.
pub(super) fn with_threads<T>(store: &dyn ObjectStore, work: impl FnOnce(&Storing<'_>) -> T) -> T {
    let in_flight = InFlight::default();
    let (sender, receiver) = channel::<Task<'_>>();
    let receiver = Mutex::new(receiver);
    thread::scope(|scope| {
        let wanted = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
        let started = (0..wanted).filter(|_| {
            let thread = thread::Builder::new().name("rbuild-import".to_owned());
            thread.spawn_scoped(scope, || store_tasks(store, &receiver)).is_ok()
        });
        let tasks = (started.count() > 0).then_some(sender);
        // The sender goes away with `Storing`, which ends the threads.
        work(&Storing { store, in_flight: &in_flight, tasks })
    })
}

fn store_tasks(store: &dyn ObjectStore, tasks: &Mutex<Receiver<Task<'_>>>) {
    loop {
        let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(task) = task else { return };
        task.run(store);
    }
}
