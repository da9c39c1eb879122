//! Whole trees laid out in memory: files that name their bytes take none on a disk, and making them there takes several times
//! as long. Most CI jobs build over a base once; what a second build needs, too, is laid out in the store then
//! ([`kept`](super::kept)), which later ones find.

use super::{Checkouts, fill::Bytes, hand::Hand, kept, layer::Trees, locked};
use crate::error::{Error, Result};
use rbuild_sandbox::{Memory, memory_limit};
use rbuild_tree::{Metadata, Snapshot};
use std::{fs, os::fd::AsFd, sync::atomic::Ordering};

/// A build has no more bytes of entries in memory: some 60,000 of them.
const MOST: u64 = 80 << 20;
/// Nor more than this part of what the machine has left, or of what the control groups allow: whoever takes more is ended.
const PART: u64 = 16;
/// Of a tree, bytes of files that can't name theirs, and of links.
const CONTENTS: u64 = 8 << 20;

/// The bytes that an entry with this metadata takes in memory at most, as the kernel counts: an inode, attributes, and with
/// them the marks of a file that names its bytes.
pub(super) fn weight(metadata: &Metadata) -> u64 {
    let attributes = metadata.xattrs.iter().map(|(name, value)| name.len() + value.len() + 64);
    1024 + 256 + attributes.sum::<usize>() as u64
}

/// How much this machine has left for it.
fn most() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:")?.strip_suffix("kB")?.trim().parse().ok());
    let available = available.map_or(0, |kibibytes: u64| kibibytes << 10);
    (available.min(memory_limit().unwrap_or(u64::MAX)) / PART).min(MOST)
}

impl Checkouts {
    /// A tree of entries that take so many bytes, if it should and can be in memory.
    ///
    /// # Errors
    /// The build is stopped. Of all else the disk tells.
    pub(super) fn lay_in_memory(
        &self,
        hand: &Hand,
        trees: &Trees<'_>,
        tree: &Snapshot,
        bytes: u64,
        name: &str,
    ) -> Result<Option<Memory>> {
        // Owners of one id are found by inode numbers, which are those of the upper filesystem only.
        if matches!(self.bytes(), Bytes::Copied)
            || self.ids.is_single()
            || kept::is_missed_again(&self.store, name)
        {
            return Ok(None);
        }
        if !self.take_memory(bytes) {
            return Ok(None);
        }
        let made = hand.memory(bytes).and_then(|memory| {
            self.fill(hand, trees, tree, memory.as_fd(), self.bytes())?;
            Ok(memory)
        });
        match made {
            Ok(memory) => Ok(Some(memory)),
            Err(error) if self.stopped.load(Ordering::SeqCst) => Err(error),
            Err(error) => {
                *locked(&self.in_memory) -= bytes;
                tracing::debug!(error = error.message(), "a tree is not laid out in memory");
                Ok(None)
            }
        }
    }

    /// Whether there is room for so much more.
    fn take_memory(&self, bytes: u64) -> bool {
        let mut used = locked(&self.in_memory);
        let is_room = *used + bytes <= most();
        if is_room {
            *used += bytes;
        }
        is_room
    }
}

impl Hand {
    /// A new filesystem in memory for entries of so many bytes.
    fn memory(&self, bytes: u64) -> Result<Memory> {
        let kibibytes = bytes.div_ceil(1024) + 1;
        let (_, descriptors) =
            self.ask(&[b"memory", &kibibytes.to_le_bytes(), &CONTENTS.to_le_bytes()], &[])?;
        let memory = descriptors.into_iter().next().map(Memory::from);
        memory.ok_or_else(|| Error::internal("the worker's answer is malformed"))
    }
}
