//! The threads that compress.
//!
//! A pool of its own and not the global one: `rayon::spawn` inside a worker of some pool means *that* pool, and the
//! caller here is often such a worker which then waits. Workers of this pool never wait for anything.

use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::LazyLock;

static POOL: LazyLock<Option<ThreadPool>> = LazyLock::new(|| {
    ThreadPoolBuilder::new().thread_name(|index| format!("rbuild-compress-{index}")).build().ok()
});

/// How many tasks run at once.
pub(crate) fn threads() -> usize {
    POOL.as_ref().map_or(1, ThreadPool::current_num_threads)
}

/// Runs `task` on some thread; here and now if no thread could be started.
pub(crate) fn spawn(task: impl FnOnce() + Send + 'static) {
    match &*POOL {
        Some(pool) => pool.spawn(task),
        None => task(),
    }
}
