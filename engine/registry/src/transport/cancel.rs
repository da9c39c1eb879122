//! The end of everything a client does, from another thread.

use crate::{Error, Result};
use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use ureq::Agent;

/// Ends what a [`Client`](crate::Client) and its clones are doing, for good: blocked reads and writes, waits between
/// tries. Their results are [`Error::Cancelled`].
///
/// A connection that is just being made is noticed when it is there, or when [`Timeouts::connect`](crate::Timeouts)
/// is over.
#[derive(Clone, Default)]
pub struct Cancel {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_cancelled: bool,
    agents: Vec<Agent>,
}

impl Cancel {
    /// Ends everything.
    pub fn cancel(&self) {
        let agents = {
            let mut state = self.state();
            state.is_cancelled = true;
            std::mem::take(&mut state.agents)
        };
        self.shared.changed.notify_all();
        agents.into_iter().for_each(Agent::shutdown);
    }

    /// Whether that was done.
    pub fn is_cancelled(&self) -> bool {
        self.state().is_cancelled
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Takes note of connections that are to be shut.
    pub(crate) fn register(&self, agent: Agent) -> Result<()> {
        let mut state = self.state();
        if state.is_cancelled {
            return Err(Error::Cancelled);
        }
        state.agents.push(agent);
        Ok(())
    }

    /// Waits, unless it is cancelled meanwhile.
    pub(crate) fn sleep(&self, duration: Duration) -> Result<()> {
        let end = Instant::now() + duration;
        let mut state = self.state();
        while !state.is_cancelled {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Err(Error::Cancelled)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Cancel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cancel").field("is_cancelled", &self.is_cancelled()).finish()
    }
}
