//! What was found in the lower directories, as one file: so that the next mount walks nothing.
//!
//! ```text
//! "rbo" 1, count (8), (key (32), offset (8), length (4))* by ascending key, the values
//! ```
//! Numbers are little-endian, offsets from the file's start. Keys are tree ids (the tree's encoding), object ids (the
//! path of the file), and two of their own: [`ROOT`] (the snapshot) and [`LOWER`] (the lower directories). It is read
//! in place: opening it costs the same for any number of entries.

use crate::error::{Error, Result};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::fs::FileExt,
    path::Path,
};

/// The key of a value.
pub type Key = [u8; 32];
/// The key of the snapshot.
pub const ROOT: Key = [0; 32];
/// The key of the lower directories' paths.
pub const LOWER: Key = [0xff; 32];

const MAGIC: [u8; 4] = *b"rbo\x01";
const HEAD: u64 = 12;
const RECORD: u64 = 44;
/// Records that are read at a time.
const WINDOW: u64 = 256;

/// An open index.
pub struct Index {
    file: File,
    count: u64,
}

impl Index {
    /// Opens it; none if there is no such file.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        let file = match File::open(path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(Error::io("open", &path.display()))?,
        };
        let mut head = [0; HEAD as usize];
        file.read_exact_at(&mut head, 0).map_err(Error::io("read", &path.display()))?;
        let (magic, count) = head.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(Error::Layer(format!(
                "{} is not an index: remove it, and it is made anew",
                path.display()
            )));
        }
        Ok(Some(Self { file, count: number(count) }))
    }

    /// Writes one, whole or not at all.
    pub fn write(path: &Path, values: &BTreeMap<Key, Vec<u8>>) -> Result<()> {
        let new = path.with_extension("new");
        let write = || {
            let mut out = BufWriter::new(File::create(&new)?);
            out.write_all(&MAGIC)?;
            out.write_all(&(values.len() as u64).to_le_bytes())?;
            let mut offset = HEAD + RECORD * values.len() as u64;
            for (key, value) in values {
                let length = u32::try_from(value.len()).map_err(io::Error::other)?;
                out.write_all(key)?;
                out.write_all(&offset.to_le_bytes())?;
                out.write_all(&length.to_le_bytes())?;
                offset += u64::from(length);
            }
            values.values().try_for_each(|value| out.write_all(value))?;
            out.flush()?;
            fs::rename(&new, path)
        };
        write().map_err(Error::io("write", &path.display()))
    }

    /// The value of a key. Keys are hashes, evenly spread: the first look is where the key should be.
    pub fn get(&self, key: &Key) -> io::Result<Option<Vec<u8>>> {
        let (mut low, mut high) = (0, self.count);
        let mut middle = self.expected(key);
        while low < high {
            let start = middle.saturating_sub(WINDOW / 2).max(low);
            let end = (start + WINDOW).min(high);
            let mut window = vec![0; ((end - start) * RECORD) as usize];
            self.file.read_exact_at(&mut window, HEAD + RECORD * start)?;
            let (records, _) = window.as_chunks::<{ RECORD as usize }>();
            match records.binary_search_by(|record| record[..key.len()].cmp(key)) {
                Ok(at) => return self.value(&records[at][key.len()..]).map(Some),
                Err(0) => high = start,
                Err(at) if at == records.len() => low = end,
                Err(_) => return Ok(None),
            }
            middle = low + (high - low) / 2;
        }
        Ok(None)
    }

    fn expected(&self, key: &Key) -> u64 {
        let fraction = u128::from(u64::from_be_bytes(*key.first_chunk().unwrap_or(&[0; 8])));
        ((fraction * u128::from(self.count)) >> 64) as u64
    }

    fn value(&self, place: &[u8]) -> io::Result<Vec<u8>> {
        let (offset, length) = place.split_at(8);
        let mut value = vec![0; usize::try_from(number(length)).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut value, number(offset))?;
        Ok(value)
    }
}

/// At most eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_value_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        assert!(Index::open(&path).unwrap().is_none());
        let values: BTreeMap<Key, Vec<u8>> =
            (0..=100).map(|byte| ([byte * 2; 32], vec![byte; byte.into()])).collect();
        Index::write(&path, &values).unwrap();
        let index = Index::open(&path).unwrap().unwrap();
        for (key, value) in &values {
            assert_eq!(index.get(key).unwrap().as_ref(), Some(value));
        }
        assert_eq!(index.get(&[3; 32]).unwrap(), None);
        fs::write(&path, b"something else").unwrap();
        assert!(Index::open(&path).is_err());
    }
}
