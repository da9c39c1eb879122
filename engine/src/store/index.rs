//! The stat cache: which digest a file of the machine had when it was last read, by path.
//!
//! SQLite in WAL mode, shared by processes, and disposable: an index that can't be opened or is damaged is made anew,
//! and where that fails too (a filesystem without locks) there is none and files are read again.
//!
//! A stamp is trusted only if the file had been quiet, when it was read, for longer than the clock its times come
//! from can tell apart: otherwise it could have been written again without the stamp changing.

use super::locations;
use rbuild_tree::ObjectId;
use rusqlite::{Connection, OptionalExtension, params};
use std::{
    fs::Metadata,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

const SCHEMA_VERSION: i64 = 2;
const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS files (
    path BLOB PRIMARY KEY, device INTEGER, inode INTEGER, size INTEGER, mtime INTEGER, ctime INTEGER, digest BLOB
) WITHOUT ROWID;";

/// What tells that a file has not changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileStamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Nanoseconds since 1970.
    mtime: i64,
    /// Nanoseconds since 1970.
    ctime: i64,
}

impl FileStamp {
    /// The stamp of a file that was just looked at.
    pub fn of(metadata: &Metadata) -> Self {
        let nanoseconds =
            |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            mtime: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            ctime: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// The stamp of a file that an overlay looked at.
    pub fn of_live(stamp: &rbuild_overlay::Stamp) -> Self {
        let nanoseconds = |time: rbuild_tree::Timestamp| {
            time.seconds.saturating_mul(1_000_000_000).saturating_add(time.nanoseconds.into())
        };
        Self {
            device: stamp.device,
            inode: stamp.inode,
            size: stamp.size,
            mtime: nanoseconds(stamp.mtime),
            ctime: nanoseconds(stamp.ctime),
        }
    }

    /// Whether the file was quiet long enough before `read`, when its reading began, for the stamp to be believed.
    pub fn was_quiet(&self, read: SystemTime) -> bool {
        // Whole seconds on both: most likely a filesystem that keeps no more (up to 2 s on FAT).
        let coarse = self.mtime % 1_000_000_000 == 0 && self.ctime % 1_000_000_000 == 0;
        let granularity = if coarse { Duration::from_secs(3) } else { Duration::from_millis(50) };
        let since = |time: i64| SystemTime::UNIX_EPOCH + Duration::from_nanos(time.max(0).unsigned_abs());
        since(self.mtime.max(self.ctime)) + granularity < read
    }
}

/// The stat cache; see the module's head.
pub struct Index {
    connection: Mutex<Option<Connection>>,
}

impl Index {
    /// Opens it; one that can't be used is made anew, or done without.
    pub fn open(path: &Path) -> Self {
        let connection = connect(path)
            .or_else(|error| {
                tracing::debug!(%error, "the index is made anew");
                for suffix in ["", "-wal", "-shm"] {
                    let mut name = path.as_os_str().to_owned();
                    name.push(suffix);
                    let _ = std::fs::remove_file(name);
                }
                connect(path)
            })
            .ok();
        Self { connection: Mutex::new(connection) }
    }

    /// None if there is no index.
    pub(super) fn connection(&self) -> MutexGuard<'_, Option<Connection>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The digest the file had when it had this stamp.
    pub fn digest(&self, path: &Path, stamp: &FileStamp) -> Option<ObjectId> {
        let guard = self.connection();
        let mut query = guard
            .as_ref()?
            .prepare_cached("SELECT digest, device, inode, size, mtime, ctime FROM files WHERE path = ?1")
            .ok()?;
        let found = query.query_row([path.as_os_str().as_bytes()], |row| {
            let known = FileStamp {
                device: row.get::<_, i64>(1)? as u64,
                inode: row.get::<_, i64>(2)? as u64,
                size: row.get::<_, i64>(3)? as u64,
                mtime: row.get(4)?,
                ctime: row.get(5)?,
            };
            Ok((row.get::<_, [u8; 32]>(0)?, known))
        });
        let (digest, known) = found.optional().ok()??;
        (known == *stamp).then(|| ObjectId::from_bytes(digest))
    }

    /// Remembers digests, in one transaction. The caller has checked [`FileStamp::was_quiet`].
    pub fn remember<'a>(&self, files: impl IntoIterator<Item = (&'a Path, FileStamp, ObjectId)>) {
        let mut guard = self.connection();
        let Some(connection) = guard.as_mut() else { return };
        let write = || -> rusqlite::Result<()> {
            let transaction =
                connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            {
                let mut insert = transaction
                    .prepare_cached("INSERT OR REPLACE INTO files VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
                for (path, stamp, digest) in files {
                    insert.execute(params![
                        path.as_os_str().as_bytes(),
                        stamp.device as i64,
                        stamp.inode as i64,
                        stamp.size as i64,
                        stamp.mtime,
                        stamp.ctime,
                        digest.as_bytes(),
                    ])?;
                }
            }
            transaction.commit()
        };
        if let Err(error) = write() {
            tracing::debug!(%error, "the stat cache could not be written");
        }
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version > SCHEMA_VERSION {
        return Err(rusqlite::Error::InvalidQuery);
    }
    if version < SCHEMA_VERSION {
        connection.execute_batch(SCHEMA)?;
        connection.execute_batch(locations::SCHEMA)?;
        connection.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    Ok(connection)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;

    #[test]
    fn a_stamp_answers_only_for_itself() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f");
        fs::write(&file, "one").unwrap();
        let stamp = FileStamp::of(&fs::metadata(&file).unwrap());
        let index = Index::open(&folder.path().join("index.db"));
        assert_eq!(index.digest(&file, &stamp), None);
        index.remember([(file.as_path(), stamp, ObjectId::of(b"one"))]);
        assert_eq!(index.digest(&file, &stamp), Some(ObjectId::of(b"one")));
        assert_eq!(index.digest(&file, &FileStamp { mtime: stamp.mtime + 1, ..stamp }), None);
        assert_eq!(index.digest(&file, &FileStamp { inode: stamp.inode + 1, ..stamp }), None);
    }

    #[test]
    fn a_file_just_written_is_not_quiet() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f");
        fs::write(&file, "one").unwrap();
        let stamp = FileStamp::of(&fs::metadata(&file).unwrap());
        assert!(!stamp.was_quiet(SystemTime::now()));
        assert!(stamp.was_quiet(SystemTime::now() + Duration::from_secs(1)));
        let coarse = FileStamp { mtime: 5_000_000_000, ctime: 5_000_000_000, ..stamp };
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert!(!coarse.was_quiet(at(7)) && coarse.was_quiet(at(9)));
    }

    #[test]
    fn a_damaged_index_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.db");
        fs::write(&path, vec![7; 8192]).unwrap();
        let index = Index::open(&path);
        let stamp = FileStamp { device: 1, inode: 2, size: 3, mtime: 4, ctime: 5 };
        index.remember([(Path::new("/x"), stamp, ObjectId::of(b"x"))]);
        assert_eq!(index.digest(Path::new("/x"), &stamp), Some(ObjectId::of(b"x")));
    }
}
