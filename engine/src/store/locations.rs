//! Where blobs are, of all repositories that they came from or went to: a registry takes a blob from another one of its
//! repositories, without its bytes. A memory and no more: what it says may not hold any longer.

use super::index::Index;
use rusqlite::params;
use std::time::SystemTime;

pub(super) const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS locations (
    digest TEXT, repository TEXT, seen INTEGER, PRIMARY KEY (digest, repository)
) WITHOUT ROWID;";
/// Repositories of one blob that are told: each costs a request where it does not help.
const MOST: u32 = 3;

impl Index {
    /// Repositories (`registry.example/shop`) of a registry (`registry.example`) that had a blob, the latest first.
    pub fn locations(&self, digest: &str, registry: &str) -> Vec<String> {
        let guard = self.connection();
        let find = || -> rusqlite::Result<Vec<String>> {
            let Some(connection) = guard.as_ref() else { return Ok(Vec::new()) };
            let mut query = connection.prepare_cached(
                "SELECT repository FROM locations WHERE digest = ?1 AND substr(repository, 1, length(?2)) = ?2
                 ORDER BY seen DESC LIMIT ?3",
            )?;
            query.query_map(params![digest, format!("{registry}/"), MOST], |row| row.get(0))?.collect()
        };
        find().unwrap_or_else(|error| {
            tracing::debug!(%error, "where blobs are could not be read");
            Vec::new()
        })
    }

    /// Remembers that a repository has blobs.
    pub fn remember_locations<'a>(&self, repository: &str, digests: impl IntoIterator<Item = &'a str>) {
        let mut guard = self.connection();
        let Some(connection) = guard.as_mut() else { return };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let seen = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let write = || -> rusqlite::Result<()> {
            let transaction =
                connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            for digest in digests {
                transaction
                    .prepare_cached("INSERT OR REPLACE INTO locations VALUES (?1, ?2, ?3)")?
                    .execute(params![digest, repository, seen])?;
            }
            transaction.commit()
        };
        if let Err(error) = write() {
            tracing::debug!(%error, "where blobs are could not be remembered");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_latest_repositories_of_the_registry_are_known() {
        let folder = tempfile::tempdir().unwrap();
        let index = Index::open(&folder.path().join("index"));
        for repository in ["one.example/a", "one.example.org/b", "one.example/c"] {
            index.remember_locations(repository, ["sha256:x", "sha256:y"]);
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        index.remember_locations("one.example/a", ["sha256:y"]);
        assert_eq!(index.locations("sha256:x", "one.example"), ["one.example/c", "one.example/a"]);
        assert_eq!(index.locations("sha256:y", "one.example"), ["one.example/a", "one.example/c"]);
        assert_eq!(index.locations("sha256:z", "one.example"), Vec::<String>::new());
    }
}
