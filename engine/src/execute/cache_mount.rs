//! Cache mounts: directories of the store that live from build to build.
//!
//! One per name, platform and outer id of the sandbox's root (the files in it belong to ids that the map gives, so
//! another map would not own them). `locked` holds a lock while the step runs; `private` takes the first instance that
//! nobody holds. A name that a step mounts twice is one cache: the strictest `sharing` holds for it.

use super::{Cancel, Engine, Machine, lock::Lock};
use crate::{
    error::{Error, Result},
    spec::types::{Body, MountKind, Sharing},
};
use rbuild_sandbox::IdMap;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A cache's directory, and what keeps others out of it.
pub(super) struct CacheDirectory {
    pub(super) path: PathBuf,
    /// Held by the step; none if others use the cache meanwhile.
    pub(super) lock: Option<Lock>,
}

/// The caches of a step, by name.
pub(super) type Caches = BTreeMap<String, CacheDirectory>;

/// Opens the caches of a step, in the order of their names, so that two steps never wait for each other.
///
/// # Errors
/// A folder or lock can't be made, the build is stopped while a `locked` one is waited for.
pub(super) fn open_all(engine: &Engine, body: &Body, machine: &Machine) -> Result<Caches> {
    let (wanted, ids) = (wanted(body), &machine.ids);
    let open = |(name, sharing): (String, Sharing)| {
        let sharing = match sharing {
            Sharing::Shared if machine.moves_caches() => Sharing::Locked,
            sharing => sharing,
        };
        let cache = open(&base_path(engine, &name, ids), sharing, &engine.cancel)?;
        Ok((name, cache))
    };
    wanted.into_iter().map(open).collect()
}

fn wanted(body: &Body) -> BTreeMap<String, Sharing> {
    let mut wanted: BTreeMap<String, Sharing> = BTreeMap::new();
    for mount in &body.mounts {
        if let MountKind::Cache { name, sharing, .. } = &mount.kind {
            let strictest = wanted.entry(name.value.clone()).or_default();
            *strictest = (*strictest).max(*sharing);
        }
    }
    wanted
}

fn open(base: &Path, sharing: Sharing, cancel: &Cancel) -> Result<CacheDirectory> {
    let lock_path = |path: &Path| suffixed(path, "lock");
    match sharing {
        Sharing::Shared => directory(base.to_owned(), None),
        Sharing::Locked => {
            let lock = Lock::wait(&lock_path(base), cancel)?;
            directory(base.to_owned(), Some(lock))
        }
        Sharing::Private => {
            for number in 0.. {
                let path = suffixed(base, &number.to_string());
                if let Some(lock) = Lock::attempt(&lock_path(&path))? {
                    return directory(path, Some(lock));
                }
            }
            Err(Error::internal("no number is left for a private cache"))
        }
    }
}

/// The folder of a cache; a private one's has a number behind it.
fn base_path(engine: &Engine, name: &str, ids: &IdMap) -> PathBuf {
    let platform = engine.session.platform.to_string().replace('/', "-");
    let owner = ids.host_uid(0).unwrap_or_default();
    engine.session.store.cache_path(&format!("{name}.{platform}.{owner}"))
}

/// `with_extension` would cut off what stands behind the last dot.
pub(super) fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{suffix}"));
    name.into()
}

fn directory(path: PathBuf, lock: Option<Lock>) -> Result<CacheDirectory> {
    fs::create_dir_all(&path).map_err(|error| Error::io("make", &path, error))?;
    Ok(CacheDirectory { path, lock })
}
