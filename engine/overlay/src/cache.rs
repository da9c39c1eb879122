//! A bounded cache of open files: the hard limit of descriptors can be as low as 1,024, so none is kept per inode.

use std::{
    collections::HashMap,
    hash::Hash,
    io,
    sync::{Arc, Mutex, PoisonError},
};

/// The least recently used of `capacity` things is given up; whoever still uses it keeps it open.
pub(crate) struct Cache<K, V> {
    capacity: usize,
    known: Mutex<Known<K, V>>,
}

struct Known<K, V> {
    clock: u64,
    items: HashMap<K, (u64, Arc<V>)>,
}

/// How many descriptors one cache may hold: a small share of what this process may open, since several mounts are
/// served at once.
pub(crate) fn descriptors() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(4096);
    usize::try_from(limit / 64).unwrap_or(usize::MAX).clamp(16, 256)
}

impl<K: Hash + Eq + Clone, V> Cache<K, V> {
    /// An empty one.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, known: Mutex::new(Known { clock: 0, items: HashMap::new() }) }
    }

    /// What `key` names; opened without any lock held if it is not known.
    pub fn get(&self, key: &K, open: impl FnOnce() -> io::Result<V>) -> io::Result<Arc<V>> {
        if let Some(item) = self.with(|known| known.find(key)) {
            return Ok(item);
        }
        let item = Arc::new(open()?);
        self.with(|known| known.keep(key.clone(), Arc::clone(&item), self.capacity));
        Ok(item)
    }

    /// Forgets one.
    pub fn remove(&self, key: &K) {
        let gone = self.with(|known| known.items.remove(key));
        drop(gone); // closed outside of the lock
    }

    fn with<T>(&self, action: impl FnOnce(&mut Known<K, V>) -> T) -> T {
        action(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<K: Hash + Eq + Clone, V> Known<K, V> {
    fn find(&mut self, key: &K) -> Option<Arc<V>> {
        self.clock += 1;
        let (used, item) = self.items.get_mut(key)?;
        *used = self.clock;
        Some(Arc::clone(item))
    }

    fn keep(&mut self, key: K, item: Arc<V>, capacity: usize) {
        self.clock += 1;
        if self.items.len() >= capacity {
            let oldest = self.items.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone());
            oldest.and_then(|key| self.items.remove(&key));
        }
        self.items.insert(key, (self.clock, item));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_least_recently_used_goes() {
        let cache = Cache::new(2);
        let get = |key: u32| {
            let mut opened = false;
            let value = cache.get(&key, || {
                opened = true;
                Ok(key * 10)
            });
            (*value.unwrap(), opened)
        };
        assert_eq!([get(1), get(2), get(1)], [(10, true), (20, true), (10, false)]);
        assert_eq!([get(3), get(1), get(2)], [(30, true), (10, false), (20, true)]);
        cache.remove(&1);
        assert_eq!(get(1), (10, true));
        assert!(cache.get(&9, || Err(io::ErrorKind::NotFound.into())).is_err());
    }
}
