//! The program that children are started from, on the engine's side: see `child/guard.rs`.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::control::{FromChild, ToChild};
use crate::process::{Process, program};
use crate::{Error, Extent, IdMap, Part, Result};

/// What children are started from, once it was tried; inside none if it can't be had.
static GUARDED: Mutex<Option<Option<Arc<OwnedFd>>>> = Mutex::new(None);

/// This program where a step can't change it (see `child/guard.rs`). `None` if that can't be had, and none of the ids
/// could change the file.
pub(crate) fn guarded_program(ids: &IdMap) -> Result<Option<Arc<OwnedFd>>> {
    let mut kept = GUARDED.lock().unwrap_or_else(PoisonError::into_inner);
    match &*kept {
        Some(Some(file)) => return Ok(Some(Arc::clone(file))),
        Some(None) if !is_writable(ids) => return Ok(None),
        _ => {}
    }
    match guard() {
        Ok(file) => Ok(kept.insert(Some(Arc::new(file))).clone()),
        // Not reachable by its path, as in a home that is closed to root of a user namespace.
        Err(Error::Failed { failure, .. }) if failure.part == Part::Mount && !is_writable(ids) => {
            *kept = Some(None);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn guard() -> Result<OwnedFd> {
    let doing = "guarded its program";
    let process = Process::start(None)?;
    process.send(&ToChild::Guard)?;
    let (FromChild::Guarded, descriptors) = process.next(doing)? else { return Err(Error::Lost(doing)) };
    descriptors.into_iter().next().ok_or(Error::Lost(doing))
}

/// Whether somebody in a sandbox of these ids could change this program's file.
fn is_writable(ids: &IdMap) -> bool {
    let inside = |extents: &[Extent], id: u32| {
        extents
            .iter()
            .any(|extent| id.checked_sub(extent.outside).is_some_and(|offset| offset < extent.count))
    };
    fs::metadata(program()).map_or(true, |file| {
        inside(&ids.uids, file.uid()) || inside(&ids.gids, file.gid()) || file.mode() & 0o022 != 0
    })
}
