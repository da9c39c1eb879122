//! Whole trees laid out in memory: files that name their bytes take none on a disk, and making them there takes several times
//! as long. Most CI jobs build over a base once; what a second build needs, too, is laid out in the store then
//! ([`kept`](super::kept)), which later ones find.

use super::{Checkouts, fill::Bytes, hand::Hand, kept, layer::Trees, locked};
use crate::error::{Error, Result};
use rbuild_sandbox::Memory;
use rbuild_tree::Snapshot;
use std::{os::fd::AsFd, sync::atomic::Ordering};

/// A build has no more entries in memory: 1.2 KiB each.
const MOST_ENTRIES: u64 = 1 << 16;
/// Nor more bytes of files that can't name theirs, and of links.
const MOST_BYTES: u64 = 8 << 20;

impl Checkouts {
    /// A tree of that many entries, if it should and can be in memory.
    ///
    /// # Errors
    /// The build is stopped. Of all else the disk tells.
    pub(super) fn lay_in_memory(
        &self,
        hand: &Hand,
        trees: &Trees<'_>,
        tree: &Snapshot,
        entries: u64,
        name: &str,
    ) -> Result<Option<Memory>> {
        // Owners of one id are found by inode numbers, which are those of the upper filesystem only.
        if matches!(self.bytes(), Bytes::Copied)
            || self.ids.is_single()
            || kept::is_missed_again(&self.store, name)
        {
            return Ok(None);
        }
        {
            let mut used = locked(&self.in_memory);
            if *used + entries > MOST_ENTRIES {
                return Ok(None);
            }
            *used += entries;
        }
        let made = hand.memory(entries).and_then(|memory| {
            self.fill(hand, trees, tree, memory.as_fd(), self.bytes())?;
            Ok(memory)
        });
        match made {
            Ok(memory) => Ok(Some(memory)),
            Err(error) if self.stopped.load(Ordering::SeqCst) => Err(error),
            Err(error) => {
                tracing::debug!(error = error.message(), "a tree is not laid out in memory");
                Ok(None)
            }
        }
    }
}

impl Hand {
    /// A new filesystem in memory.
    fn memory(&self, entries: u64) -> Result<Memory> {
        let (_, descriptors) =
            self.ask(&[b"memory", &entries.to_le_bytes(), &MOST_BYTES.to_le_bytes()], &[])?;
        let memory = descriptors.into_iter().next().map(Memory::from);
        memory.ok_or_else(|| Error::internal("the worker's answer is malformed"))
    }
}
