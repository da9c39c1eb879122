//! Files stored with holes: only their data is in the archive, zeros belong between.

use std::io::{self, Read};
use tar_core::SparseEntry;

/// Where the data of a file with holes belongs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sparse {
    regions: Vec<SparseEntry>,
    /// Bytes of the whole file, holes included.
    pub size: u64,
}

impl Sparse {
    /// A map, checked: regions ascend, don't overlap, lie inside the file, and hold exactly the `stored` bytes.
    ///
    /// # Errors
    /// A sentence that says which of these is not so.
    pub fn new(regions: Vec<SparseEntry>, size: u64, stored: u64) -> Result<Self, &'static str> {
        let (mut end, mut data) = (0_u64, 0_u64);
        for region in &regions {
            if region.offset < end {
                return Err("the regions of a sparse file overlap");
            }
            end = region.offset.checked_add(region.length).ok_or("a sparse file's region is too long")?;
            data += region.length;
        }
        if end > size {
            return Err("a region of a sparse file lies behind its end");
        }
        if data != stored {
            return Err("the map of a sparse file does not fit the data stored for it");
        }
        Ok(Self { regions, size })
    }

    /// The map of a file without holes.
    pub fn solid(size: u64) -> Self {
        Self { regions: vec![SparseEntry { offset: 0, length: size }], size }
    }

    /// How many bytes are not in the archive.
    pub fn hole_bytes(&self) -> u64 {
        self.size - self.regions.iter().map(|region| region.length).sum::<u64>()
    }

    /// The whole file, given its stored data.
    pub fn expand<R: Read>(self, data: R) -> Expanded<R> {
        Expanded { data, sparse: self, position: 0, next: 0 }
    }
}

/// Reads a sparse file with its holes as zeros.
pub(crate) struct Expanded<R> {
    data: R,
    sparse: Sparse,
    position: u64,
    /// The first region that does not end before `position`.
    next: usize,
}

impl<R: Read> Read for Expanded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let regions = &self.sparse.regions;
        while regions.get(self.next).is_some_and(|region| region.offset + region.length <= self.position) {
            self.next += 1;
        }
        let region = regions.get(self.next);
        let in_hole = region.is_none_or(|region| self.position < region.offset);
        let end = match region {
            Some(region) if in_hole => region.offset,
            Some(region) => region.offset + region.length,
            None => self.sparse.size,
        };
        let room = usize::try_from(end - self.position).unwrap_or(usize::MAX).min(buffer.len());
        let count = if in_hole {
            buffer[..room].fill(0);
            room
        } else {
            self.data.read(&mut buffer[..room])?
        };
        self.position += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn region(offset: u64, length: u64) -> SparseEntry {
        SparseEntry { offset, length }
    }

    #[test]
    fn holes_are_zeros() {
        for (regions, size, expected) in [
            (vec![region(0, 2), region(4, 1), region(6, 0)], 6, &b"ab\0\0c\0"[..]),
            (vec![region(3, 3)], 6, b"\0\0\0abc"),
            (vec![], 2, b"\0\0"),
            (vec![region(0, 0)], 0, b""),
        ] {
            let stored = regions.iter().map(|region| region.length).sum();
            let sparse = Sparse::new(regions, size, stored).unwrap();
            assert_eq!(sparse.hole_bytes(), size - stored);
            let mut whole = Vec::new();
            sparse.expand(&b"abc"[..stored as usize]).read_to_end(&mut whole).unwrap();
            assert_eq!(whole, expected);
        }
    }

    #[test]
    fn impossible_maps_are_refused() {
        for (regions, size, stored) in [
            (vec![region(4, 2), region(0, 2)], 10, 4),
            (vec![region(0, 4), region(2, 4)], 10, 8),
            (vec![region(8, 4)], 10, 4),
            (vec![region(u64::MAX, 2)], u64::MAX, 2),
            (vec![region(0, 4)], 10, 5),
        ] {
            assert!(Sparse::new(regions.clone(), size, stored).is_err(), "{regions:?}");
        }
    }
}
