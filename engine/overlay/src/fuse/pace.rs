//! How the threads of a mount wait for the next request.
//!
//! A program that works on a filesystem waits for each answer before it asks again, so most of what a request costs are
//! two wake-ups, the server's and the program's: 20 to 70 us together where an idle processor of a virtual machine must
//! be woken. Two habits save the server's. *One thread looks for requests, the others are parked* (leader and
//! followers): a thread that sleeps in `read` is woken by a request even if another takes it. And *the one that looks
//! does not sleep at once*: it polls for [`PATIENCE`].
//!
//! Polling takes from others what it uses, perhaps from the very program that is to ask. So it goes on only while it
//! pays: after one in vain nobody polls for a while, twice as long each time, until one pays again. A thread may be
//! held up while it answers; so a parked one looks every [`CHECK`], and under load all of them work.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    hint,
    os::fd::OwnedFd,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A little more than what a program that copies, unpacks or compiles does between two requests.
const PATIENCE: Duration = Duration::from_micros(50);
const SHORTEST_RECESS: Duration = Duration::from_millis(1);
const LONGEST_RECESS: Duration = Duration::from_millis(100);
const CHECK: Duration = Duration::from_millis(1);

/// Shared by the threads of one mount.
pub(super) struct Pace {
    /// None: every thread reads, always.
    device: Option<OwnedFd>,
    state: Mutex<State>,
    wanted: Condvar,
}

struct State {
    /// Threads that read or poll.
    looking: usize,
    parked: usize,
    /// Until then everybody reads and nobody polls.
    recess: Option<Instant>,
    /// How long the next one is.
    next: Duration,
}

impl Pace {
    /// For `threads` threads that all read now; `device` is what they read from.
    pub fn new(device: Option<OwnedFd>, threads: usize) -> Self {
        let state = State { looking: threads, parked: 0, recess: None, next: SHORTEST_RECESS };
        Self { device, state: Mutex::new(state), wanted: Condvar::new() }
    }

    /// A thread has read a request.
    pub fn begin(&self) {
        if self.device.is_some() {
            self.state().looking -= 1;
        }
    }

    /// It has answered. Returns when it should read again.
    pub fn end(&self) {
        let Some(device) = &self.device else { return };
        let mut state = self.state();
        if state.recess.is_some_and(|end| Instant::now() < end) {
            state.looking += 1;
            return;
        }
        state.recess = None;
        while state.looking > 0 && !request_waits(device) {
            state.parked += 1;
            state = self.wanted.wait_timeout(state, CHECK).unwrap_or_else(PoisonError::into_inner).0;
            state.parked -= 1;
        }
        state.looking += 1;
        if state.looking == 1 {
            drop(state);
            self.poll(device);
        }
    }

    fn poll(&self, device: &OwnedFd) {
        let start = Instant::now();
        let mut paid = request_waits(device);
        while !paid && start.elapsed() < PATIENCE {
            hint::spin_loop();
            paid = request_waits(device);
        }
        let mut state = self.state();
        if paid {
            state.next = SHORTEST_RECESS;
        } else {
            state.recess = Some(start + PATIENCE + state.next);
            state.next = LONGEST_RECESS.min(2 * state.next);
            if state.parked > 0 {
                self.wanted.notify_all();
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Also true when the connection has ended: reading says so.
fn request_waits(device: &OwnedFd) -> bool {
    let mut device = [PollFd::new(device, PollFlags::IN)];
    poll(&mut device, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
}
