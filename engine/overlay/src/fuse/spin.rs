//! Waiting awake for the next request.
//!
//! A program that makes a thousand small requests waits for each answer before it asks again, and most of that time
//! goes into waking this server on an idle processor (20 to 50 us on a virtual machine; 10 us if nobody sleeps). So a
//! thread that answered looks for the next request for a moment before it sleeps - but only where that costs nobody a
//! processor: one thread at a time, while no other request is in hand, a processor is idle, and it paid lately.

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::pread,
};
use std::{
    fs::File,
    os::fd::OwnedFd,
    sync::{
        Mutex, TryLockError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long a program is given to ask again.
const PATIENCE: Duration = Duration::from_micros(50);
/// How long what was learned about the machine is believed.
const BELIEVED: Duration = Duration::from_millis(1);
/// Answers that are not waited after, at most, after waits in vain.
const MOST_SKIPPED: u32 = 256;

/// Decides and does the waiting of one mount.
pub(super) struct Spinner {
    device: OwnedFd,
    /// Requests being worked on.
    busy: AtomicUsize,
    state: Mutex<State>,
}

/// What the one who waits knows.
struct State {
    processors: usize,
    load: Option<File>,
    idle: bool,
    asked: Instant,
    /// Answers to let pass, and how many it will be after the next wait in vain.
    skip: u32,
    next_skip: u32,
}

/// A request being worked on. The wait is in its end, which has to come after the answer.
pub(super) struct Turn<'a>(&'a Spinner);

impl Spinner {
    /// For the requests that come from `device`, a second descriptor of what the session reads.
    pub fn new(device: OwnedFd) -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let load = if processors > 1 { File::open("/proc/loadavg").ok() } else { None };
        let state = State { processors, load, idle: false, asked: Instant::now(), skip: 0, next_skip: 1 };
        Self { device, busy: AtomicUsize::new(0), state: Mutex::new(state) }
    }

    /// Begins a request.
    pub fn turn(&self) -> Turn<'_> {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Turn(self)
    }

    fn wait(&self) {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Another thread waits.
            Err(TryLockError::WouldBlock) => return,
        };
        if state.is_worth_it() {
            let came = self.look();
            state.learn(came);
        }
    }

    /// Whether a request came in time.
    fn look(&self) -> bool {
        let begin = Instant::now();
        loop {
            let mut device = [PollFd::new(&self.device, PollFlags::IN)];
            if poll(&mut device, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) != Ok(0) {
                return true;
            }
            if begin.elapsed() > PATIENCE {
                return false;
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.0.busy.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.wait();
        }
    }
}

impl State {
    fn is_worth_it(&mut self) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if self.asked.elapsed() > BELIEVED {
            self.idle = self.running().is_some_and(|running| running <= self.processors);
            self.asked = Instant::now();
        }
        self.idle
    }

    fn learn(&mut self, came: bool) {
        if came {
            self.next_skip = 1;
        } else {
            self.skip = self.next_skip;
            self.next_skip = (self.next_skip * 2).min(MOST_SKIPPED);
        }
    }

    fn running(&self) -> Option<usize> {
        let mut line = [0; 128];
        let length = pread(self.load.as_ref()?, &mut line, 0).ok()?;
        running(str::from_utf8(&line[..length]).ok()?)
    }
}

/// How many threads of the machine run, of the text of `/proc/loadavg` (proc(5)): the one that asks and the program
/// that was answered among them.
fn running(load: &str) -> Option<usize> {
    load.split(' ').nth(3)?.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::{self, Write};

    fn spinner() -> (Spinner, io::PipeWriter) {
        let (reader, writer) = io::pipe().unwrap();
        let spinner = Spinner::new(reader.into());
        spinner.state.lock().unwrap().load = None;
        (spinner, writer)
    }

    #[test]
    fn a_request_ends_the_wait_and_so_does_time() {
        let (spinner, mut writer) = spinner();
        assert!(!spinner.look());
        writer.write_all(b"request").unwrap();
        assert!(spinner.look());
    }

    #[test]
    fn waits_in_vain_become_rare() {
        let (spinner, _writer) = spinner();
        let mut state = spinner.state.lock().unwrap();
        let mut waits = |answers| {
            let mut tried = 0;
            for _ in 0..answers {
                (state.idle, state.asked) = (true, Instant::now());
                if state.is_worth_it() {
                    tried += 1;
                    state.learn(false);
                }
            }
            tried
        };
        assert_eq!(waits(511), 9);
        assert_eq!(waits(2570), 10);
        state.learn(true);
        assert_eq!(state.next_skip, 1);
    }

    #[test]
    fn nobody_waits_on_a_busy_machine_or_beside_another_request() {
        let (spinner, _writer) = spinner();
        let other = spinner.turn();
        drop(spinner.turn());
        let state = || {
            let state = spinner.state.lock().unwrap();
            (state.skip, state.next_skip)
        };
        assert_eq!(state(), (0, 1), "not even asked");
        // The machine says nothing: taken for busy.
        thread::sleep(BELIEVED * 2);
        drop(other);
        assert_eq!(state(), (0, 1));
        assert_eq!(running("0.78 1.00 1.29 2/104 19257\n"), Some(2));
        assert_eq!(running("0.78 1.00"), None);
    }
}
