//! A file that appears whole under its name, or not at all.

use crate::{
    error::{Error, Result},
    operations,
};
use std::{
    fs::{self, File, Metadata},
    io::{self, BufWriter, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
    time::{Duration, SystemTime},
};

/// Longer than the clock that files get their times from stands still.
const CLOCK_TICKS: Duration = Duration::from_millis(50);

pub(super) fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(|error| Error::io("make", parent, error))
}

/// Writes a file in one go, as far as others can see; gives what `write` gave, and what tells later that the file is
/// there still (none if nothing can). The file beside it that it is written to has one name: what a killed build left
/// there is written over, and two builds of one file wait for each other.
///
/// # Errors
/// What `write` gives; a folder or file that can't be made.
pub(crate) fn replace<T>(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<T>,
) -> Result<(T, Option<String>)> {
    make_parent(path)?;
    let failed = |error| Error::io("write", path, error);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = path.with_file_name(format!(".rbuild-{name}"));
    let file = own(&fresh).map_err(failed)?;
    file.set_len(0).map_err(failed)?;
    let mut out = BufWriter::with_capacity(1 << 18, &file);
    let written = write(&mut out).and_then(|given| out.flush().map_err(failed).map(|()| given));
    drop(out);
    let done = written.and_then(|given| {
        // Earlier than anything that somebody can do to the file under its name, even in the same tick of the clock.
        file.set_modified(SystemTime::now() - CLOCK_TICKS).map_err(failed)?;
        let before = file.metadata().map_err(failed)?;
        fs::rename(&fresh, path).map_err(failed)?;
        let now = fs::symlink_metadata(path).ok().filter(|now| is_unchanged(&before, now));
        Ok((given, now.and_then(|now| operations::file_state(&now))))
    });
    if done.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    done
}

fn is_unchanged(before: &Metadata, now: &Metadata) -> bool {
    let state = |of: &Metadata| (of.dev(), of.ino(), of.size(), of.mtime(), of.mtime_nsec());
    state(before) == state(now)
}

/// Opens the file and locks it; opens it again if whoever had the lock has moved it away meanwhile.
fn own(path: &Path) -> io::Result<File> {
    loop {
        let mut options = File::options();
        options.create(true).truncate(false).write(true).custom_flags(nix::libc::O_NOFOLLOW);
        let file = options.open(path)?;
        file.lock()?;
        let own = file.metadata()?.ino();
        if fs::symlink_metadata(path).is_ok_and(|named| named.ino() == own) {
            return Ok(file);
        }
    }
}
